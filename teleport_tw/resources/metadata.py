"""
The envelope that every stored noun shares: kind, version, metadata, spec, status.

A L{Resource} keeps C{spec} as it was written, so that YAML goes in and out unchanged; the typed views beside it
(L{teleport_tw.resources.users} and the rest) are parsed from it and check it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import evolve, field, frozen

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_time, parse_time

Json = Mapping[str, Any]
"""A JSON object: string keys; values of str, int, float, bool, None, list, dict. Treated as immutable."""


@frozen
class Metadata:
    """
    @ivar name: unique within the kind and sub_kind.
    @ivar expires: aware UTC; the resource is gone from then on.
    @ivar revision: opaque, set by the store; an update must carry the one it read.
    """

    name: str
    description: str = ""
    labels: Mapping[str, str] = field(factory=dict)
    expires: datetime | None = None
    revision: str = ""


@frozen
class Resource:
    """
    One stored noun.

    @ivar kind: C{user}, C{role}, C{node}, C{cert_authority} and so on.
    @ivar version: of the spec's shape: C{v2}, C{v7}.
    @ivar spec: as written by its author.
    @ivar status: what the cluster says of it; empty for most.
    """

    kind: str
    version: str
    metadata: Metadata
    spec: Json = field(factory=dict)
    sub_kind: str = ""
    status: Json = field(factory=dict)

    @property
    def name(self) -> str:
        """
        The name within its kind.
        """
        return self.metadata.name

    @property
    def revision(self) -> str:
        """
        The store's revision; empty when it was never stored.
        """
        return self.metadata.revision

    def with_revision(self, revision: str) -> Resource:
        """
        @return: the same with another revision.
        """
        return evolve(self, metadata=evolve(self.metadata, revision=revision))

    def to_json(self) -> dict[str, Any]:
        """
        @return: the object as C{tctl get} shows it; empty members left out.
        """
        metadata: dict[str, Any] = {"name": self.metadata.name}
        if self.metadata.description:
            metadata["description"] = self.metadata.description
        if self.metadata.labels:
            metadata["labels"] = dict(self.metadata.labels)
        if self.metadata.expires is not None:
            metadata["expires"] = format_time(self.metadata.expires)
        if self.metadata.revision:
            metadata["revision"] = self.metadata.revision
        shown: dict[str, Any] = {"kind": self.kind}
        if self.sub_kind:
            shown["sub_kind"] = self.sub_kind
        shown |= {"version": self.version, "metadata": metadata, "spec": self.spec}
        if self.status:
            shown["status"] = self.status
        return shown

    @classmethod
    def from_json(cls, value: Any) -> Resource:
        """
        @param value: a parsed JSON or YAML document.
        @raise TeleportError: BAD_PARAMETER, naming every key that is missing or of the wrong type.
        """
        wrong: list[str] = []

        def take(source: Any, path: str, key: str, type_: type, default: Any) -> Any:
            found = source.get(key, default) if isinstance(source, Mapping) else default
            if found is None:
                found = default
            if not isinstance(found, type_):
                wrong.append(f"{path}{key} must be {_TYPE_WORDS[type_]}")
                return default
            return found

        if not isinstance(value, Mapping):
            raise bad_parameter("a resource must be a mapping with kind, version, metadata and spec")
        unknown = set(map(str, value)) - {"kind", "sub_kind", "version", "metadata", "spec", "status"}
        wrong += [f"{key} is not a key of a resource" for key in sorted(unknown)]
        metadata = take(value, "", "metadata", Mapping, {})
        kind = take(value, "", "kind", str, "")
        name = take(metadata, "metadata.", "name", str, "")
        if not kind:
            wrong.append("kind is missing")
        labels = take(metadata, "metadata.", "labels", Mapping, {})
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in labels.items()):
            wrong.append("metadata.labels must map strings to strings; quote numbers, yes and no")
            labels = {}
        expires = metadata.get("expires")
        moment: datetime | None = None
        if isinstance(expires, datetime):
            moment = parse_time(expires.isoformat() if expires.tzinfo else expires.isoformat() + "Z")
        elif expires is not None:
            try:
                moment = parse_time(str(expires))
            except Exception as error:
                wrong.append(f"metadata.expires: {error}")
        resource = cls(
            kind=kind,
            version=take(value, "", "version", str, ""),
            sub_kind=take(value, "", "sub_kind", str, ""),
            metadata=Metadata(
                name=name,
                description=take(metadata, "metadata.", "description", str, ""),
                labels=dict(labels),
                expires=moment,
                revision=take(metadata, "metadata.", "revision", str, ""),
            ),
            spec=take(value, "", "spec", Mapping, {}),
            status=take(value, "", "status", Mapping, {}),
        )
        if wrong:
            raise bad_parameter("; ".join(wrong))
        return resource


_TYPE_WORDS: Mapping[type, str] = {str: "a string", Mapping: "a mapping"}


def format_labels(labels: Mapping[str, Any]) -> str:
    """
    @return: C{env=prod,team=a}, ordered by name.
    """
    return ",".join(f"{name}={words(labels[name])}" for name in sorted(labels))


def words(value: Any) -> str:
    """
    @return: the value as text; of a list, its members with C{|} between.
    """
    return "|".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
