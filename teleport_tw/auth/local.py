"""
The contract in the same process, bound to one identity: every call is first asked whether it may.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from attrs import define, evolve
from twisted.internet.task import deferLater

from teleport_tw.api.contract import (
    Certificates,
    ClusterInfo,
    DatabaseCertificate,
    DatabaseCertRequest,
    EventPage,
    EventQuery,
    Hit,
    HostIssueRequest,
    IssueRequest,
    Joined,
    JoinRequest,
    LoginRequest,
    MfaAnswer,
    OpenSSHIssueRequest,
    Page,
    PublicKeys,
    Query,
    SemaphoreRequest,
    SetupPurpose,
    SetupTicket,
    Verification,
    Watched,
)
from teleport_tw.audit.actor import actor_of
from teleport_tw.auth import builtin, delivery, filtering, issuance, vouching
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.joining import hosts
from teleport_tw.auth.joining.names import CertifiedNames
from teleport_tw.auth.local_web import LocalFactors
from teleport_tw.auth.watch import Watching
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration
from teleport_tw.events.kinds import CertCreate, Session, SessionRecordingAccess
from teleport_tw.pki import x509
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources import clusters, kinds
from teleport_tw.resources.metadata import Json, Resource
from teleport_tw.resources.nodes import Node, SubKind
from teleport_tw.resources.sessions import KIND as TRACKER
from teleport_tw.stores.authorities import Authorities

_ALL = Query()
_SECRET_KINDS = frozenset({"token", "cert_authority"})
"""Kinds with anything to show to who may read secrets."""
_TAKING_PART = ("session.start", "session.join", "session.end", "db.session.start", "db.session.end")
"""Events that say whose session it is."""
FOLLOW_SECONDS = 1.0
"""Between two looks at a recording that somebody follows."""
LOOKS = 20
"""For a recording whose session has only just begun, or whose host has still to send it."""
LOOKS_UNKNOWN = 3
"""The same where nothing is known of the session: what is told of its beginning may be on its way."""
MAX_WATCHED = 32
"""Kinds in one watch."""


@define(eq=False)
class LocalApi(LocalFactors):
    """
    Implements L{teleport_tw.api.contract.Api}.
    """

    def with_mfa(self, answer: MfaAnswer) -> LocalApi:
        """See the contract."""
        return LocalApi(self._parts, self.identity, self.address, self.certificate, answer)

    async def _changing(self) -> Gate:
        """
        Asked before the cluster is changed.
        """
        gate = self._admit()
        await self._parts.taps.check_admin(gate, self.answer)
        return gate

    # --- resources

    async def get(self, kind: str, name: str, *, sub_kind: str = "", with_secrets: bool = False) -> Resource:
        """See the contract."""
        gate = self._admit()
        own = kind == "user" and name == self.identity.username and not self.identity.is_host
        own = own or (kind == "role" and name in self.identity.roles)
        verb = builtin.READ if with_secrets and kind in _SECRET_KINDS else builtin.READ_NO_SECRETS
        shown = not self.identity.is_host and (kind in builtin.REACHABLE or kind == TRACKER)
        if not own and not shown and not gate.may_some(kind, verb):
            gate.require(kind, verb)
        if kind == "cert_authority" and with_secrets:
            self._require_keys(gate)
            return await Authorities(self._core.backend).get(sub_kind, name, with_secrets=True)
        try:
            resource = await self._core.resources.get(kind, name, sub_kind=sub_kind)
        except TeleportError as error:
            if shown and error.kind is Kind.NOT_FOUND:
                raise self._hidden(kind, name) from error
            raise
        own = own or (kind == TRACKER and gate.sees(resource))
        if not own and not (kind in builtin.REACHABLE and gate.reaches(resource)):
            if shown and not gate.may(kind, verb, resource):
                gate.refuse(f"{kind} {name!r} is there, and not for the caller to see")
                raise self._hidden(kind, name)
            gate.require(kind, verb, resource)
        return resource if with_secrets or kind not in _SECRET_KINDS else kinds.without_secrets(resource)

    @staticmethod
    def _hidden(kind: str, name: str) -> TeleportError:
        """
        Of what a caller sees a part of: whether there is more, the answer does not tell.
        """
        return not_found(f"{kind} {name!r} is not found")

    async def list(self, kind: str, query: Query = _ALL) -> Page:
        """See the contract."""
        gate = self._admit()
        fits = filtering.wanted(query)
        secrets = query.with_secrets and kind in _SECRET_KINDS
        verbs = (builtin.LIST, builtin.READ if secrets else builtin.READ_NO_SECRETS)
        ruled = all(gate.may_some(kind, verb) for verb in verbs)
        if not ruled and kind not in builtin.REACHABLE and kind != TRACKER:
            for verb in verbs:
                gate.require(kind, verb)
        only_reachable = not ruled or query.accessible

        def wanted(resource: Resource) -> bool:
            if kind == TRACKER and gate.sees(resource):
                return fits(resource)
            if kind == TRACKER and not ruled:
                return False
            if only_reachable and kind in builtin.REACHABLE and not gate.reaches(resource):
                return False
            if ruled and not all(gate.may(kind, verb, resource) for verb in verbs):
                return False
            return fits(resource)

        page = await self._core.resources.list(
            kind, sub_kind=query.sub_kind, wanted=wanted, sort=query.sort, limit=query.limit, start=query.start
        )
        if secrets and kind == "cert_authority":
            self._require_keys(gate)
            store = Authorities(self._core.backend)
            found = [await store.get(item.sub_kind, item.name, with_secrets=True) for item in page.items]
            return evolve(page, items=tuple(found))
        if kind in _SECRET_KINDS and not secrets:
            return evolve(page, items=tuple(map(kinds.without_secrets, page.items)))
        return page

    def _require_keys(self, gate: Gate) -> None:
        """
        The private halves of authorities leave auth by the administrator on its host alone: who has them is the
        cluster for as long as they last, whatever becomes of roles and locks.
        """
        if not gate.is_a():
            raise gate.refuse("private keys of authorities are for the administrator on auth's own host")

    async def create(self, resource: Resource) -> Resource:
        """See the contract."""
        return await self._parts.changes.create(await self._changing(), resource)

    async def upsert(self, resource: Resource) -> Resource:
        """See the contract."""
        gate = self._admit()
        if builtin.may_register(self.identity.system_roles, resource.kind, resource.sub_kind) and not gate.is_a():
            return await self._parts.changes.register(gate, resource)
        return await self._parts.changes.upsert(await self._changing(), resource)

    async def update(self, resource: Resource) -> Resource:
        """See the contract."""
        return await self._parts.changes.update(await self._changing(), resource)

    async def delete(self, kind: str, name: str, *, sub_kind: str = "") -> None:
        """See the contract."""
        await self._parts.changes.delete(await self._changing(), kind, name, sub_kind)

    def watch(self, kinds: Sequence[str], *, with_initial: bool = True) -> AsyncIterator[Watched]:
        """See the contract."""
        gate = self._admit()
        if not 0 < len(kinds) <= MAX_WATCHED:
            raise bad_parameter(f"a watch has 1 to {MAX_WATCHED} kinds")
        for kind in kinds:
            if kind not in builtin.REACHABLE and not gate.may_some(kind, builtin.READ_NO_SECRETS):
                gate.require(kind, builtin.READ_NO_SECRETS)
        return Watching(gate, self._visible, self._core.resources.watch(kinds, with_initial=with_initial))

    def _visible(self, resource: Resource) -> Resource | None:
        gate, kind = self._gate, resource.kind
        if not gate.may(kind, builtin.READ_NO_SECRETS, resource) and not gate.reaches(resource):
            return None
        return kinds.without_secrets(resource) if kind in _SECRET_KINDS else resource

    # --- ceremonies

    async def ping(self) -> ClusterInfo:
        """See the contract."""
        core = self._core
        return ClusterInfo(
            cluster=core.cluster,
            version=core.version,
            ca_pins=core.signing.pins(),
            auth_preference=core.singleton("cluster_auth_preference").spec,
        )

    async def join(self, request: JoinRequest) -> Certificates:
        """See the contract."""
        if self.identity.username and not self._gate.is_a(SystemRole.PROXY):
            request = evolve(request, remote_address="")  # only a proxy, and auth's own port, know where it came from
        identity = self.identity
        own = (
            identity.is_host
            and identity.host_id == request.host_id
            and request.role in identity.system_roles
            and not request.remote_address
        )
        return await self._parts.joining.join(request, own=own)

    async def who_joined(self, handle: str) -> tuple[Joined, ...]:
        """See the contract."""
        gate = self._admit()
        if not any(gate.may("token", verb) for verb in (builtin.CREATE, builtin.READ)):
            raise gate.refuse("neither creates nor reads tokens", "who joined is told to those who may create tokens")
        return await hosts.joined_by(self._core.backend, handle)

    async def renew_host(self, keys: PublicKeys, addresses: Sequence[str] = ()) -> Certificates:
        """See the contract."""
        gate, core, identity = self._admit(), self._core, self.identity
        if not identity.is_host or not identity.host_id:
            raise gate.refuse("only hosts renew themselves")
        own = (identity.username, identity.host_id, x509.API_DOMAIN, x509.encoded_cluster(core.cluster))
        kept = [name for name in identity.principals if name not in own]
        asked = issuance.host_names((*kept, *addresses), identity.host_id, core.cluster)
        names = await CertifiedNames(core.backend, core.resources, core.cluster).owned(
            identity.host_id, identity.system_roles, asked, core.now()
        )
        issued = issuance.issue_member(
            core.signing,
            cluster=core.cluster,
            host_id=identity.host_id,
            roles=identity.system_roles,
            names=names,
            keys=keys,
            now=core.now(),
        )
        self._certified(identity.username, names)
        return issued

    def _certified(self, holder: str, names: Sequence[str]) -> None:
        """
        Tell of a host's certificate as of a user's; the reference has no event of its own for it.
        """
        said = {"user": holder, "logins": list(names)}
        self._gate.tell(CertCreate(actor=actor_of(self.identity), cert_type="host", identity=said))

    async def login(self, request: LoginRequest) -> Certificates:
        """See the contract."""
        return await self._parts.users.login(self._admit(), request)

    async def issue(self, request: IssueRequest) -> Certificates:
        """See the contract."""
        return await self._parts.users.issue(self._admit(), request, self.answer)

    async def issue_host(self, request: HostIssueRequest) -> Certificates:
        """See the contract."""
        gate = self._admit()
        if not gate.may("host_cert", builtin.CREATE) and gate.is_a(SystemRole.PROXY):
            return await self._stand_in(gate, request)
        gate.require("host_cert", builtin.CREATE)
        await self._parts.taps.check_admin(gate, self.answer)
        core = self._core
        issued = issuance.issue_outsider(core.signing, request, cluster=core.cluster, now=core.now())
        self._certified(request.principals[0], request.principals)
        return issued

    async def _stand_in(self, gate: Gate, request: HostIssueRequest) -> Certificates:
        """
        A proxy's: for one registered server, whose id is the first name, where the proxy ends its sessions.
        """
        core = self._core
        try:
            node = Node.parse(await core.resources.get("node", request.principals[0] if request.principals else ""))
        except TeleportError as error:
            raise gate.refuse(f"a proxy gets host certificates of registered servers only: {error}") from error
        mode = str(core.singleton(clusters.RECORDING).spec.get("mode") or "node")
        if node.sub_kind is SubKind.TELEPORT and not mode.startswith("proxy"):
            raise gate.refuse(f"sessions are recorded at the {mode}, so nobody stands in for node {node.name!r}")
        issued = issuance.issue_stand_in(core.signing, request, node, cluster=core.cluster, now=core.now())
        self._certified(node.name, request.principals)
        return issued

    async def issue_openssh(self, request: OpenSSHIssueRequest) -> bytes:
        """See the contract."""
        return await self._parts.users.issue_openssh(self._admit(), request)

    async def issue_database(self, request: DatabaseCertRequest) -> DatabaseCertificate:
        """See the contract."""
        gate = self._admit()
        if SystemRole.DB not in self.identity.system_roles:
            raise gate.refuse("database certificates are for agents that serve databases")
        core, now = self._core, self._core.now()
        issued = issuance.issue_database(core.signing, request, now=now)
        said = {"user": request.username, "usage": ["usage:db"]}
        core.events.emit(CertCreate(actor=actor_of(self.identity), cert_type="db_client", identity=said))
        return issued

    async def create_setup(self, username: str, purpose: SetupPurpose, ttl: Duration) -> SetupTicket:
        """See the contract."""
        gate = await self._changing()
        gate.require("user", builtin.UPDATE)
        core = self._core
        return await core.setups.create(
            actor_of(self.identity), username, purpose, ttl, core.preference(), core.now(), self.address
        )

    async def get_setup(self, token: Secret[str]) -> SetupTicket:
        """See the contract."""
        self._require_proxy()
        return await self._core.setups.get(token)

    # --- presence

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        """See the contract."""
        await self._parts.presence.heartbeat(self._admit(), resource, ttl)

    async def goodbye(self, kind: str, name: str) -> None:
        """See the contract."""
        await self._parts.presence.goodbye(self._admit(), kind, name)

    async def acquire(self, request: SemaphoreRequest) -> str:
        """See the contract."""
        return await self._parts.presence.acquire(self._admit(), request)

    async def keep(self, request: SemaphoreRequest, lease: str) -> None:
        """See the contract."""
        await self._parts.presence.keep(self._admit(), request, lease)

    async def release(self, request: SemaphoreRequest, lease: str) -> None:
        """See the contract."""
        await self._parts.presence.release(self._admit(), request, lease)

    # --- audit

    async def emit(self, events: Sequence[Json]) -> None:
        """See the contract."""
        gate = self._admit()
        stored = delivery.accepted(gate, events)
        if not gate.is_a():
            await self._parts.ownership.started(gate, stored)
        await self._core.trail.emit(stored)

    async def search(self, query: EventQuery) -> EventPage:
        """See the contract."""
        self._admit().require("event", builtin.LIST)
        return await self._core.trail.search(query)

    async def verify(self) -> Verification:
        """See the contract."""
        self._admit().require("event", builtin.LIST)
        return await vouching.verify(self._core, self._parts.ownership)

    async def check_recording(self, session: str) -> None:
        """
        Asked before a part is taken in, so that only who may deliver it fills memory.

        @raise TeleportError: ACCESS_DENIED, it is not the caller's; BAD_PARAMETER, not a session's id.
        """
        await self._parts.ownership.check(self._admit(), session)

    async def put_recording(self, session: str, part: int, data: bytes) -> None:
        """See the contract."""
        await self.check_recording(session)
        await self._core.recordings.put(session, part, data)

    async def complete_recording(self, session: str, parts: int) -> None:
        """See the contract."""
        await self.check_recording(session)
        await self._core.recordings.complete(session, parts)

    async def get_recording(self, session: str, follow: bool = False) -> AsyncIterator[bytes]:
        """See the contract."""
        gate = self._admit()
        if not await self._may_play(gate, session):
            gate.require("session", builtin.READ)
        gate.tell(SessionRecordingAccess(actor=actor_of(self.identity), session=Session(id=session)))
        if not follow:
            async for chunk in self._core.recordings.stream(session):
                yield chunk
            return
        async for chunk in self._core.recordings.follow(session, self._pause, lambda: self._patience(session)):
            yield chunk

    async def _patience(self, session: str) -> int:
        """
        @return: how often to look for a recording of which nothing is there.
        @raise TeleportError: NOT_FOUND, none will come.
        """
        page = await self._core.trail.search(EventQuery(session=session, types=_TAKING_PART, limit=100))
        if any(event.get("session_recording") == "off" for event in page.events):
            raise not_found(f"session {session} was not recorded")
        return LOOKS if page.events else LOOKS_UNKNOWN

    async def _pause(self) -> None:
        """
        Between two looks at a recording that grows: whoever is locked out meanwhile sees no more of it.
        """
        await deferLater(self._core.clock, FOLLOW_SECONDS)
        self._admit()

    async def search_recordings(self, text: str, query: EventQuery) -> tuple[Hit, ...]:
        """See the contract."""
        gate = self._admit()
        if not gate.may_some("session", builtin.LIST):
            gate.require("session", builtin.LIST)
        found = await self._core.recordings.search(text, limit=query.limit or 500)
        allowed: dict[str, bool] = {}
        hits = []
        for each in found:
            if each.session not in allowed:
                allowed[each.session] = await self._may_play(gate, each.session)
            if allowed[each.session]:
                hits.append(each)
        return tuple(Hit(each.session, timedelta(milliseconds=each.ms), each.line) for each in hits)

    async def _may_play(self, gate: Gate, session: str) -> bool:
        """
        By a rule on C{session}, whose C{where} may ask who took part; the audit log knows, as far as the session's own
        host told it.
        """
        if not gate.may_some("session", builtin.READ):
            return False
        if gate.may("session", builtin.READ):
            return True
        page = await self._core.trail.search(EventQuery(session=session, types=_TAKING_PART, limit=100))
        owner = await self._parts.ownership.owner(session)
        told = [event for event in page.events if not owner or event.get(delivery.DELIVERED_BY, owner) == owner]
        people = {str(name) for event in told for name in (event.get("user"), *(event.get("participants") or ()))}
        facts: dict[str, object] = {"participants": tuple(sorted(people - {"None"})), "sid": session}
        return gate.checker.rule("session", builtin.READ, {"session": facts}).allowed
