"""
A small cluster for tests of agents and proxies: authorities, a copy of auth's state, an API that notes what it is told.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import define, evolve, field

from teleport_tw.api.contract import Change, SemaphoreRequest, Watched
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.timing import Duration
from teleport_tw.dial.membership import HostIdentity
from teleport_tw.events.kinds import Event
from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import Authority, AuthorityType, create
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.resources.clusters import SINGLETONS
from teleport_tw.resources.metadata import Metadata, Resource

CLUSTER = "example.com"
HOST_ID = "6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0001"


@define(eq=False)
class MemoryCopy:
    """
    What a Mirror would hold.
    """

    items: dict[tuple[str, str, str], Resource] = field(factory=dict)
    old: Duration = timedelta(0)
    _listeners: list[Callable[[Watched], None]] = field(factory=list)

    def put(self, resource: Resource) -> Resource:
        """Store and tell."""
        stored = resource.with_revision(uuid.uuid4().hex)
        self.items[(stored.kind, stored.sub_kind, stored.name)] = stored
        for listener in tuple(self._listeners):
            listener(Watched(Change.PUT, stored))
        return stored

    def remove(self, kind: str, name: str, sub_kind: str = "") -> None:
        """Forget and tell."""
        gone = self.items.pop((kind, sub_kind, name))
        for listener in tuple(self._listeners):
            listener(Watched(Change.DELETE, gone))

    def get(self, kind: str, name: str, sub_kind: str = "") -> Resource:
        """As Mirror."""
        try:
            return self.items[(kind, sub_kind, name)]
        except KeyError:
            raise not_found(f"{kind} {name!r} is not found") from None

    def list(self, kind: str) -> Iterable[Resource]:
        """As Mirror."""
        return [item for item in self.items.values() if item.kind == kind]

    def age(self) -> Duration:
        """As Mirror."""
        return self.old

    def subscribe(self, listener: Callable[[Watched], None]) -> Callable[[], None]:
        """As Mirror."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)


@define(eq=False)
class RecordingSink:
    """
    Keeps events in their order.
    """

    events: list[Event] = field(factory=list)

    def emit(self, event: Event) -> None:
        """As EventSink."""
        self.events.append(event)

    def named(self, name: str) -> list[dict[str, Any]]:
        """The fields, with the code, of all events of this name."""
        return [{**event.fields(), "code": event.code} for event in self.events if name == event.NAME]

    def names(self) -> list[str]:
        """Of all events."""
        return [event.NAME for event in self.events]


@define(eq=False)
class FakeApi:
    """
    The parts of the contract that agents use, in memory.

    @ivar ages: seconds since users proved to be in a session.
    @ivar away: auth cannot be reached.
    """

    leases: dict[str, list[str]] = field(factory=dict)
    heartbeats: list[tuple[Resource, Duration]] = field(factory=list)
    gone: list[tuple[str, str]] = field(factory=list)
    stored: dict[tuple[str, str], Resource] = field(factory=dict)
    parts: dict[str, list[bytes]] = field(factory=dict)
    complete: list[str] = field(factory=list)
    ages: dict[str, float] = field(factory=dict)
    away: bool = False

    def _reach(self) -> None:
        if self.away:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "auth cannot be reached")

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        self._reach()
        self.heartbeats.append((resource, ttl))

    async def seen_present(self, session: str, users: Sequence[str]) -> Mapping[str, float]:
        self._reach()
        return {user: self.ages[user] for user in users if user in self.ages}

    async def goodbye(self, kind: str, name: str) -> None:
        self._reach()
        self.gone.append((kind, name))

    async def acquire(self, request: SemaphoreRequest) -> str:
        self._reach()
        held = self.leases.setdefault(request.name, [])
        if len(held) >= request.limit:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many")
        held.append(uuid.uuid4().hex)
        return held[-1]

    async def keep(self, request: SemaphoreRequest, lease: str) -> None:
        self._reach()
        if lease not in self.leases.get(request.name, []):
            raise not_found("this lease has ended")

    async def release(self, request: SemaphoreRequest, lease: str) -> None:
        self._reach()
        if lease in self.leases.get(request.name, []):
            self.leases[request.name].remove(lease)

    async def upsert(self, resource: Resource) -> Resource:
        self._reach()
        self.stored[(resource.kind, resource.name)] = resource
        return resource

    async def delete(self, kind: str, name: str, *, sub_kind: str = "") -> None:
        self._reach()
        self.stored.pop((kind, name), None)

    async def put_recording(self, session: str, part: int, data: bytes) -> None:
        self._reach()
        self.parts.setdefault(session, []).append(data)

    async def complete_recording(self, session: str, parts: int) -> None:
        self._reach()
        self.complete.append(session)


def role(name: str, *, allow: dict[str, Any] | None = None, options: dict[str, Any] | None = None) -> Resource:
    """
    A role over all nodes.
    """
    spec = {"allow": {"node_labels": {"*": "*"}, **(allow or {})}, "options": options or {}}
    return Resource("role", "v7", Metadata(name), spec=spec)


def lock(name: str, message: str = "", **target: str) -> Resource:
    """
    A lock in force.
    """
    return Resource("lock", "v2", Metadata(name), spec={"target": target, "message": message})


@define(eq=False)
class Cluster:
    """
    Authorities and their copy.

    @ivar now: of issuing.
    """

    now: datetime = field(factory=lambda: datetime.now(UTC))
    keystore: SoftwareKeystore = field(factory=SoftwareKeystore)
    copy: MemoryCopy = field(factory=MemoryCopy)
    api: FakeApi = field(factory=FakeApi)
    user_ca: Authority = field(init=False)
    host_ca: Authority = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.user_ca = create(AuthorityType.USER, CLUSTER, self.keystore, self.now)
        self.host_ca = create(AuthorityType.HOST, CLUSTER, self.keystore, self.now)
        for authority in (self.user_ca, self.host_ca):
            self.copy.put(authority.public().to_resource())

    def set(self, kind: str, **spec: Any) -> None:
        """
        Change one of the cluster's settings.
        """
        self.copy.put(Resource(kind, "v2", Metadata(SINGLETONS[kind]), spec=spec))

    def user(self, name: str = "alice", *, logins: tuple[str, ...], roles: tuple[str, ...], **more: Any) -> Identity:
        """
        An identity to be certified for an hour, from five minutes ago.
        """
        facts = {
            "valid_after": self.now - timedelta(minutes=5),
            "expires": self.now + timedelta(hours=1),
            "permit_pty": True,
            "permit_port_forwarding": True,
            "permit_agent_forwarding": True,
            "permit_x11_forwarding": True,
            **more,
        }
        return Identity(username=name, cluster=CLUSTER, roles=roles, principals=logins, **facts)

    def ssh(self, identity: Identity, key: PrivateKey, authority: Authority | None = None) -> bytes:
        """
        Its SSH certificate's blob.
        """
        issuer = sshcert.Issuer.of(authority or self.user_ca, self.keystore)
        now = identity.valid_after or self.now
        return sshcert.issue_user(issuer, identity, key.ssh_public, now=now)

    def tls(self, identity: Identity, key: PrivateKey) -> bytes:
        """
        Its X.509 certificate, DER.
        """
        issuer = x509.Issuer.of(self.user_ca, self.keystore)
        return x509.issue_user(issuer, identity, key.spki, now=self.now)

    def host(self, folder: Path, names: tuple[str, ...] = ("127.0.0.1", "localhost")) -> HostIdentity:
        """
        A node's own.
        """
        ssh_key, tls_key = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
        identity = Identity(
            username=f"{HOST_ID}.{CLUSTER}",
            cluster=CLUSTER,
            system_roles=(SystemRole.NODE,),
            valid_after=self.now - timedelta(minutes=5),
            expires=self.now + timedelta(days=1),
        )
        ssh = sshcert.issue_host(
            sshcert.Issuer.of(self.host_ca, self.keystore), identity, ssh_key.ssh_public, now=self.now, names=names
        )
        tls = x509.issue_host(
            x509.Issuer.of(self.host_ca, self.keystore), identity, tls_key.spki, now=self.now, names=names
        )
        return HostIdentity(
            role=SystemRole.NODE,
            host_id=HOST_ID,
            cluster=CLUSTER,
            folder=folder,
            ssh_key=ssh_key,
            ssh_certificate=sshcert.line(ssh).encode(),
            tls_key=tls_key,
            tls_certificate=x509.to_pem(tls),
            authorities=(self.host_ca.public(), self.user_ca.public()),
        )

    def stranger(self) -> Authority:
        """
        Another user authority of the same name, that nobody here trusts.
        """
        return create(AuthorityType.USER, CLUSTER, self.keystore, self.now)


__all__ = ["CLUSTER", "HOST_ID", "Cluster", "FakeApi", "MemoryCopy", "RecordingSink", "evolve", "lock", "role"]
