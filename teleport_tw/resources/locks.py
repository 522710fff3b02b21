"""
Locks: who or what is shut out at once. What a lock hits is decided in L{teleport_tw.access.locks}.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from attrs import frozen

from teleport_tw.base.timing import format_time
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

KIND = "lock"
VERSION = "v2"

TARGETS = (
    "user", "role", "login", "mfa_device", "windows_desktop", "access_request", "device", "server_id",
    "bot_instance_id", "join_token",
)  # fmt: skip
"""What a lock can name; C{node} is read as the older word for C{server_id}."""


@frozen(kw_only=True)
class Lock:
    """
    @ivar target: one or more of L{TARGETS}, each with its value; all of them must match.
    @ivar message: told to whoever is shut out.
    @ivar expires: C{None} until removed.
    """

    name: str
    target: Mapping[str, str]
    message: str = ""
    expires: datetime | None = None
    created_at: datetime | None = None
    created_by: str = ""
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Lock:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        spec.only("target", "message", "expires", "created_at", "created_by")
        section = spec.section("target")
        section.only(*TARGETS, "node")
        target = {name: value for name in TARGETS if (value := section.text(name))}
        if node := section.text("node"):
            target.setdefault("server_id", node)
        if not target:
            spec.must_be("target", f"a mapping with one or more of {', '.join(TARGETS)}")
        ends = [moment for moment in (spec.time("expires"), resource.metadata.expires) if moment is not None]
        lock = cls(
            name=resource.name,
            target=target,
            message=spec.text("message"),
            expires=min(ends, default=None),
            created_at=spec.time("created_at"),
            created_by=spec.text("created_by"),
            revision=resource.revision,
        )
        spec.done(resource)
        return lock

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored.
        """
        spec = without_empty(
            (
                ("target", dict(self.target)),
                ("message", self.message),
                ("expires", None if self.expires is None else format_time(self.expires)),
                ("created_at", None if self.created_at is None else format_time(self.created_at)),
                ("created_by", self.created_by),
            )
        )
        metadata = Metadata(name=self.name, expires=self.expires, revision=self.revision)
        return Resource(kind=KIND, version=VERSION, metadata=metadata, spec=spec)
