"""
What a proxy or agent must know to decide about a user, read from its local copy of the cluster's state.

Each noun is parsed once and kept until the copy has another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Protocol, TypeVar

from attrs import define, field

from teleport_tw.access.locks import Lock
from teleport_tw.api.contract import Watched
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.base.timing import Duration
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.resources import clusters
from teleport_tw.resources.clusters import SINGLETONS, AuthPreference, Networking, Recording
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import Role

T = TypeVar("T")

KINDS = ("cert_authority", "role", "lock", clusters.AUTH_PREFERENCE, clusters.NETWORKING, clusters.RECORDING)
"""What the copy must hold."""


class Copy(Protocol):
    """
    The part of L{teleport_tw.api.mirror.Mirror} that is read here.
    """

    def get(self, kind: str, name: str, sub_kind: str = "") -> Resource:
        """
        @raise TeleportError: NOT_FOUND.
        """
        ...

    def list(self, kind: str) -> Iterable[Resource]:
        """
        All of a kind.
        """
        ...

    def age(self) -> Duration:
        """
        How old the copy may be.
        """
        ...

    def subscribe(self, listener: Callable[[Watched], None]) -> Callable[[], None]:
        """
        Be told of changes; the result ends it.
        """
        ...


@define(eq=False)
class View:
    """
    @ivar cluster: whose authorities are believed.
    """

    copy: Copy
    cluster: str
    _parsed: dict[tuple[str, str, str], tuple[Resource, Any]] = field(factory=dict, init=False)

    def _read(self, resource: Resource, parse: Callable[[Resource], T]) -> T:
        key = (resource.kind, resource.sub_kind, resource.name)
        known = self._parsed.get(key)
        if known is None or known[0] is not resource:
            known = self._parsed[key] = (resource, parse(resource))
        value: T = known[1]
        return value

    def authorities(self, *types: AuthorityType) -> list[Authority]:
        """
        @return: public halves of this cluster's own authorities of these types.
        """
        wanted = {each.value for each in types}
        return [
            self._read(resource, Authority.parse)
            for resource in self.copy.list("cert_authority")
            if resource.sub_kind in wanted and resource.name == self.cluster
        ]

    def roles(self, names: Iterable[str]) -> tuple[Role, ...]:
        """
        @raise TeleportError: ACCESS_DENIED, one is not there, or there are none: what is not known allows nothing, and
            might deny.
        """
        found = []
        for name in names:
            try:
                found.append(self._read(self.copy.get("role", name), Role.parse))
            except TeleportError as error:
                raise access_denied(details=f"role {name!r} of the certificate cannot be had: {error}") from error
        if not found:
            raise access_denied(details="the certificate names no roles")
        return tuple(found)

    def locks(self) -> list[Lock]:
        """
        @return: all, in force or not.
        @raise TeleportError: BAD_PARAMETER, one cannot be read; nobody knows whom it would hit.
        """
        return [self._read(resource, Lock.parse) for resource in self.copy.list("lock")]

    def locks_fresh_at(self, now: datetime) -> datetime | None:
        """
        @return: when the locks were last known to be true; none for never.
        """
        age = self.copy.age()
        return None if age >= Duration(days=36500) else now - age

    def preference(self) -> AuthPreference:
        """
        How users prove themselves.
        """
        return self._singleton(clusters.AUTH_PREFERENCE, AuthPreference.parse)

    def networking(self) -> Networking:
        """
        Timeouts of the cluster.
        """
        return self._singleton(clusters.NETWORKING, Networking.parse)

    def recording(self) -> Recording:
        """
        Where sessions are recorded.
        """
        return self._singleton(clusters.RECORDING, Recording.parse)

    def _singleton(self, kind: str, parse: Callable[[Resource], T]) -> T:
        try:
            resource = self.copy.get(kind, SINGLETONS[kind])
        except TeleportError:
            resource = clusters.default(kind)
        return self._read(resource, parse) if resource.revision else parse(resource)
