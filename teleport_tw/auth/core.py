"""
What every caller's API shares: stores, authorities, the audit log, and what is known of roles and locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.access.checker import Checker
from teleport_tw.access.locks import Lock
from teleport_tw.api.contract import EventPage, EventQuery, Verification, Watched
from teleport_tw.api.mirror import Mirror
from teleport_tw.auth.enrolment import Enrolment
from teleport_tw.auth.factors import SecondFactors
from teleport_tw.auth.guard import Guard
from teleport_tw.auth.login import Login
from teleport_tw.auth.password import Passwords
from teleport_tw.auth.setup import Setups
from teleport_tw.auth.signing import Signing
from teleport_tw.backends.interface import Backend
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import from_timestamp
from teleport_tw.events.sink import EventSink
from teleport_tw.pki.identity import Identity
from teleport_tw.recordings.archive import Archive
from teleport_tw.resources.clusters import AUTH_PREFERENCE, SINGLETONS, AuthPreference
from teleport_tw.resources.clusters import default as default_singleton
from teleport_tw.resources.metadata import Json, Resource
from teleport_tw.resources.roles import Role
from teleport_tw.resources.tokens import Token
from teleport_tw.resources.users import User
from teleport_tw.stores.challenges import Challenges
from teleport_tw.stores.credentials import Credentials
from teleport_tw.stores.devices import Devices
from teleport_tw.stores.headless import HeadlessStore
from teleport_tw.stores.resources import ResourceStore
from teleport_tw.stores.websessions import WebSessionStore

KNOWN_KINDS = ("role", "lock", "user", "cert_authority", *(kind for kind in SINGLETONS if kind != "cluster_name"))
"""Read for every call, so kept in memory by watching."""

MAX_CHECKERS = 2000


class AuditTrail(Protocol):
    """
    The audit log, as L{teleport_tw.audit.log.AuditLog} is.
    """

    async def emit(self, events: Sequence[Json]) -> None:
        """See the contract."""
        ...

    async def search(self, query: EventQuery) -> EventPage:
        """See the contract."""
        ...

    async def verify(self) -> Verification:
        """See the contract."""
        ...

    async def truncate(self, before: datetime) -> int:
        """See L{teleport_tw.audit.log.AuditLog.truncate}."""
        ...


@define(eq=False, kw_only=True)
class Core:
    """
    One auth's shared parts.

    @ivar version: told to whoever pings.
    @ivar known: roles, locks and settings, kept by watching.
    @ivar static_tokens: of the configuration file; never stored.
    """

    cluster: str
    version: str
    clock: IReactorTime
    backend: Backend
    resources: ResourceStore
    credentials: Credentials
    passwords: Passwords
    signing: Signing
    events: EventSink
    trail: AuditTrail
    recordings: Archive
    guard: Guard
    factors: SecondFactors
    enrolment: Enrolment
    login: Login
    setups: Setups
    web_sessions: WebSessionStore
    headless: HeadlessStore
    known: Mirror
    static_tokens: tuple[Token, ...] = ()
    _checkers: dict[object, Checker] = field(factory=dict, init=False)
    _roles: dict[str, tuple[str, Role]] = field(factory=dict, init=False)
    _users: dict[str, tuple[Resource, User]] = field(factory=dict, init=False)
    _locks: tuple[Lock, ...] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.known.subscribe(self._forget)

    @property
    def devices(self) -> Devices:
        """
        Second factors as they are kept.
        """
        return self.factors.devices

    @property
    def challenges(self) -> Challenges:
        """
        Challenges as they are kept.
        """
        return self.factors.challenges

    def now(self) -> datetime:
        """
        @return: aware UTC.
        """
        return from_timestamp(self.clock.seconds())

    def preference(self) -> AuthPreference:
        """
        @return: C{cluster_auth_preference} as it is now.
        """
        return AuthPreference.parse(self.singleton(AUTH_PREFERENCE))

    def singleton(self, kind: str) -> Resource:
        """
        @return: a setting of the cluster, its default where nothing is stored.
        """
        try:
            return self.known.get(kind, SINGLETONS[kind])
        except TeleportError:
            return default_singleton(kind)

    def role(self, name: str) -> Role | None:
        """
        @return: None where there is no such role, or it cannot be read.
        """
        try:
            resource = self.known.get("role", name)
            kept = self._roles.get(name)
            if kept is None or kept[0] != resource.revision:
                kept = self._roles[name] = (resource.revision, Role.parse(resource))
        except TeleportError:
            return None
        return kept[1]

    async def user(self, name: str) -> tuple[Resource, User]:
        """
        As known in memory; one that is not may have been made by another auth just now.

        @raise TeleportError: NOT_FOUND.
        """
        try:
            resource = self.known.get("user", name)
        except TeleportError:
            resource = await self.resources.get("user", name)
        kept = self._users.get(name)
        if kept is None or kept[0] is not resource:
            if len(self._users) >= MAX_CHECKERS:
                self._users.clear()
            kept = self._users[name] = (resource, User.parse(resource))
        return kept

    def checker(self, identity: Identity) -> Checker:
        """
        @return: for the roles and traits of the identity's certificate, by the roles' present content.
        """
        traits = tuple(sorted((name, tuple(values)) for name, values in identity.traits.items()))
        key = (identity.username, identity.roles, traits)
        checker = self._checkers.get(key)
        if checker is None:
            if len(self._checkers) >= MAX_CHECKERS:
                self._checkers.clear()
            roles = [role for name in identity.roles if (role := self.role(name)) is not None]
            checker = Checker.for_identity(roles, username=identity.username, traits=identity.traits)
            self._checkers[key] = checker
        return checker

    def locks(self) -> tuple[Lock, ...]:
        """
        @return: all there are, in force or not.
        @raise TeleportError: BAD_PARAMETER, one cannot be read: whom it was meant for is not known.
        """
        if self._locks is None:
            self._locks = tuple(map(Lock.parse, self.known.list("lock")))
        return self._locks

    def _forget(self, news: Watched) -> None:
        kind = news.resource.kind if news.resource is not None else ""
        if kind in ("", "role"):
            self._checkers.clear()
        if kind in ("", "lock"):
            self._locks = None
