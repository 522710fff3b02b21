"""
What the planes agree on: everything a proxy, agent or client may ask of auth.

Two implementations keep these promises: L{teleport_tw.auth.local}, in the same process, bound to one identity, and
L{teleport_tw.api.client}, over gRPC, where the identity is the caller's certificate. One suite in C{tests/contracts}
runs on both. Every call may raise L{teleport_tw.base.errors.TeleportError}: ACCESS_DENIED when the identity may not,
CONNECTION_PROBLEM when auth cannot be reached, LIMIT_EXCEEDED when it says slow down.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Protocol

from attrs import evolve, field, frozen

from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.pki.identity import RouteToDatabase, SystemRole
from teleport_tw.resources.metadata import Json, Resource

# --- resources -------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Query:
    """
    Which resources of a kind are wanted; all conditions must hold.

    @ivar labels: exact or glob matches, as C{tsh ls env=prod} has them.
    @ivar search: keywords; each must occur in name, host name, address, description or a label.
    @ivar expression: the search language of C{--query}; empty means all.
    @ivar sub_kind: empty means any.
    @ivar limit: most items of a page; zero means the server's own (500), which also is the most.
    @ivar start: C{next_start} of the page before; empty for the first.
    @ivar sort: C{name} or a top-level field of the kind's list, with a leading C{-} for descending.
    @ivar with_secrets: private keys, hashes and tokens as well, for who may read them.
    @ivar accessible: only nodes (databases, …) that the caller's roles let it reach.
    """

    labels: Mapping[str, str] = field(factory=dict)
    search: tuple[str, ...] = ()
    expression: str = ""
    sub_kind: str = ""
    limit: int = 0
    start: str = ""
    sort: str = "name"
    with_secrets: bool = False
    accessible: bool = False


@frozen
class Page:
    """
    @ivar next_start: empty on the last page.
    """

    items: tuple[Resource, ...]
    next_start: str = ""


class Change(Enum):
    """
    What a watch tells of.
    """

    INIT = "init"
    """Everything that was there at the start has been sent as PUT; what follows is news."""
    PUT = "put"
    DELETE = "delete"


@frozen
class Watched:
    """
    One piece of news; for DELETE the resource carries kind, sub_kind and name only. INIT has none.
    """

    change: Change
    resource: Resource | None = None


class Resources(Protocol):
    """
    The one resource interface, for every kind.
    """

    async def get(self, kind: str, name: str, *, sub_kind: str = "", with_secrets: bool = False) -> Resource:
        """
        @raise TeleportError: NOT_FOUND.
        """
        ...

    async def list(self, kind: str, query: Query = Query()) -> Page:
        """
        One page; see L{every} for all of them.
        """
        ...

    async def create(self, resource: Resource) -> Resource:
        """
        @return: as stored, with its revision.
        @raise TeleportError: ALREADY_EXISTS; BAD_PARAMETER naming the wrong keys.
        """
        ...

    async def upsert(self, resource: Resource) -> Resource:
        """
        Create or overwrite, whatever the revision.
        """
        ...

    async def update(self, resource: Resource) -> Resource:
        """
        Overwrite what has exactly the revision that C{resource} carries.

        @raise TeleportError: NOT_FOUND; COMPARE_FAILED when somebody changed it since.
        """
        ...

    async def delete(self, kind: str, name: str, *, sub_kind: str = "") -> None:
        """
        @raise TeleportError: NOT_FOUND.
        """
        ...

    def watch(self, kinds: Sequence[str], *, with_initial: bool = True) -> AsyncIterator[Watched]:
        """
        What is there, then INIT, then news until the iterator is closed or fails with CONNECTION_PROBLEM.
        Each kind must be readable by the caller.
        """
        ...


# --- certificates ----------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class PublicKeys:
    """
    What a certificate is asked for; an absent key yields no certificate of that sort.

    @ivar ssh: one authorized_keys line without options, bytes.
    @ivar tls: SubjectPublicKeyInfo as PEM.
    """

    ssh: bytes = b""
    tls: bytes = b""


@frozen(kw_only=True)
class Certificates:
    """
    @ivar ssh: an OpenSSH certificate line (C{…-cert-v01@openssh.com AAAA…}); empty when no SSH key was given.
    @ivar tls: PEM; empty when no TLS key was given.
    @ivar authorities: the C{cert_authority} resources (public halves) the holder trusts.
    @ivar host_id: for hosts, the UUID in the certificates.
    @ivar cluster: the cluster's name.
    """

    ssh: bytes = b""
    tls: bytes = b""
    authorities: tuple[Resource, ...] = ()
    host_id: str = ""
    cluster: str = ""


@frozen(kw_only=True)
class JoinRequest:
    """
    @ivar token: the secret of method C{token}.
    @ivar role: what the host wants to be, one certificate each.
    @ivar host_id: a UUID; made by the host on its first start and kept in C{host_uuid}.
    @ivar addresses: further names and IPs the host is reached by.
    """

    token: Secret[str]
    role: SystemRole
    host_id: str
    node_name: str
    keys: PublicKeys
    addresses: tuple[str, ...] = ()
    remote_address: str = ""


@frozen(kw_only=True)
class LoginRequest:
    """
    @ivar ttl: zero means the longest allowed.
    @ivar remote_address: the client's address without port; set by the proxy, not by the client.
    """

    username: str
    password: Secret[str]
    otp: Secret[str]
    keys: PublicKeys
    ttl: Duration = NEVER
    route_to_cluster: str = ""
    remote_address: str = ""
    user_agent: str = ""


@frozen(kw_only=True)
class IssueRequest:
    """
    Certificates for a user without a password: C{tctl auth sign --user}, or one's own narrowed further.

    @ivar username: empty for the caller itself.
    @ivar database: narrows the X.509 certificate to one database.
    """

    keys: PublicKeys
    username: str = ""
    ttl: Duration = NEVER
    route_to_cluster: str = ""
    database: RouteToDatabase | None = None
    remote_address: str = ""


@frozen(kw_only=True)
class HostIssueRequest:
    """
    Certificates for a host by an administrator: C{tctl auth sign --host}, C{teleport join openssh}.

    @ivar principals: names and addresses; the first is the key id and the X.509 common name.
    @ivar authority: C{host} or C{db}, whose key signs the X.509 certificate.
    """

    principals: tuple[str, ...]
    keys: PublicKeys
    ttl: Duration = NEVER
    authority: str = "host"


@frozen(kw_only=True)
class OpenSSHIssueRequest:
    """
    A certificate of the C{openssh} authority for a user on the way to an agentless node; asked by a proxy.

    @ivar user_certificate: the user's own SSH certificate line, which auth verifies again.
    @ivar ssh_key: the proxy's ephemeral public key, an authorized_keys line.
    """

    user_certificate: bytes
    login: str
    node: str
    ssh_key: bytes


@frozen(kw_only=True)
class DatabaseCertRequest:
    """
    A certificate of the C{db_client} authority, with which an agent proves itself to a database as one of its users.

    @ivar key: SubjectPublicKeyInfo as PEM: RSA or EC, which every database understands.
    @ivar username: the database user, which becomes the common name.
    @ivar ttl: zero means the longest there is, a day.
    """

    key: bytes
    username: str
    ttl: Duration = NEVER


@frozen(kw_only=True)
class DatabaseCertificate:
    """
    @ivar certificate: PEM.
    @ivar roots: of the C{db} authority, PEM one after the other: whose servers are believed where a database names no
        authority of its own.
    """

    certificate: bytes
    roots: bytes


class SetupPurpose(Enum):
    """
    What a link sent to a user lets them do.
    """

    INVITE = "invite"
    RESET = "reset"


@frozen(kw_only=True)
class SetupTicket:
    """
    @ivar token: the secret in the link.
    @ivar otp_secret: base32, for the authenticator; empty where the cluster wants no TOTP.
    @ivar otp_uri: C{otpauth://…} for the QR code.
    """

    token: Secret[str]
    username: str
    purpose: SetupPurpose
    expires: datetime
    otp_secret: Secret[str]
    otp_uri: Secret[str]


class Ceremonies(Protocol):
    """
    Everything that hands out certificates or proves who somebody is.
    """

    async def ping(self) -> ClusterInfo:
        """
        Anybody may ask.
        """
        ...

    async def join(self, request: JoinRequest) -> Certificates:
        """
        Anybody with a good token.

        @raise TeleportError: ACCESS_DENIED, the same text for every reason.
        """
        ...

    async def renew_host(self, keys: PublicKeys, addresses: Sequence[str] = ()) -> Certificates:
        """
        The calling host's own certificates again, same host id and roles, its node name kept.
        """
        ...

    async def login(self, request: LoginRequest) -> Certificates:
        """
        Asked by a proxy on behalf of a user.

        @raise TeleportError: ACCESS_DENIED (C{invalid username, password or second factor}); LIMIT_EXCEEDED when the
            account is locked after repeated failures.
        """
        ...

    async def issue(self, request: IssueRequest) -> Certificates:
        """
        For the caller, or for another user where the caller may impersonate or is the local administrator.
        """
        ...

    async def issue_host(self, request: HostIssueRequest) -> Certificates:
        """
        For an administrator (verb C{create} on C{host_cert}).
        """
        ...

    async def issue_openssh(self, request: OpenSSHIssueRequest) -> bytes:
        """
        @return: the certificate line.
        """
        ...

    async def issue_database(self, request: DatabaseCertRequest) -> DatabaseCertificate:
        """
        Asked by agents that serve databases, and by nobody else.
        """
        ...

    async def create_setup(self, username: str, purpose: SetupPurpose, ttl: Duration) -> SetupTicket:
        """
        For an administrator; a reset also takes away the old password and devices.

        @return: with the token, which is not to be had again.
        """
        ...

    async def get_setup(self, token: Secret[str]) -> SetupTicket:
        """
        Asked by a proxy for whoever has the link.

        @raise TeleportError: NOT_FOUND, unknown, used or expired.
        """
        ...

    async def complete_setup(self, token: Secret[str], password: Secret[str], otp: Secret[str]) -> None:
        """
        @raise TeleportError: BAD_PARAMETER, the password is too short or the code is wrong; the token stays good.
        """
        ...


@frozen(kw_only=True)
class ClusterInfo:
    """
    @ivar ca_pins: C{sha256:<hex>} of the host authority's TLS keys.
    @ivar auth_preference: the spec of C{cluster_auth_preference}.
    """

    cluster: str
    version: str
    ca_pins: tuple[str, ...] = ()
    auth_preference: Json = field(factory=dict)


# --- presence ----------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class SemaphoreRequest:
    """
    @ivar kind: C{connection} and the like.
    @ivar name: what is counted, mostly the user's name.
    @ivar limit: most leases at once.
    @ivar holder: says who holds it, for C{tctl get semaphore}.
    """

    kind: str
    name: str
    limit: int
    ttl: Duration
    holder: str


class Presence(Protocol):
    """
    Who is alive, and counted leases.
    """

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        """
        A host's own node (database, …) resource; it leaves the list C{ttl} after the last call. Its name must be the
        caller's host id.
        """
        ...

    async def goodbye(self, kind: str, name: str) -> None:
        """
        Take the caller's own resource from the list at once.
        """
        ...

    async def acquire(self, request: SemaphoreRequest) -> str:
        """
        @return: the lease's id.
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        ...

    async def keep(self, request: SemaphoreRequest, lease: str) -> None:
        """
        Renew for another C{ttl}.

        @raise TeleportError: NOT_FOUND, the lease ended.
        """
        ...

    async def release(self, request: SemaphoreRequest, lease: str) -> None:
        """
        Give a lease back; giving it twice is harmless.
        """
        ...


# --- audit -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class EventQuery:
    """
    @ivar since: inclusive, aware UTC.
    @ivar until: exclusive.
    @ivar types: event names; empty means all.
    @ivar text: words that must all occur in the event's JSON, any case.
    @ivar session: only events of this session id.
    """

    since: datetime | None = None
    until: datetime | None = None
    types: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    text: str = ""
    session: str = ""
    limit: int = 0
    start: str = ""
    descending: bool = False


@frozen
class EventPage:
    """
    @ivar events: JSON objects as stored, field names of the reference.
    @ivar next_start: empty on the last page.
    """

    events: tuple[Json, ...]
    next_start: str = ""


@frozen
class Verification:
    """
    What C{tctl audit verify} found.

    @ivar problems: one sentence for each break of the chain; empty when all is whole.
    """

    checked: int
    problems: tuple[str, ...] = ()


@frozen
class Hit:
    """
    One place in a recording where the text stands.
    """

    session: str
    at: Duration
    line: str


class Audit(Protocol):
    """
    Events and recordings.
    """

    async def emit(self, events: Sequence[Json]) -> None:
        """
        Store events in this order; an event whose C{uid} is stored already is left out. Returns once they are on disk.
        """
        ...

    async def search(self, query: EventQuery) -> EventPage:
        """
        Needs C{list} on C{event}.
        """
        ...

    async def verify(self) -> Verification:
        """
        Walk the whole log's hash chain and checkpoints.
        """
        ...

    async def put_recording(self, session: str, part: int, data: bytes) -> None:
        """
        Store one part of a recording, numbered from 1; the same part again overwrites. Sent by the recording host.
        """
        ...

    async def complete_recording(self, session: str, parts: int) -> None:
        """
        The recording is whole; harmless when said twice.
        """
        ...

    def get_recording(self, session: str) -> AsyncIterator[bytes]:
        """
        The recording's bytes in chunks, also while it is still being written. Emits C{session.recording.access}.

        @raise TeleportError: NOT_FOUND; ACCESS_DENIED by rule C{session}.
        """
        ...

    async def search_recordings(self, text: str, query: EventQuery) -> tuple[Hit, ...]:
        """
        Sessions whose terminal output holds C{text}, any case.
        """
        ...


class Api(Resources, Ceremonies, Presence, Audit, Protocol):
    """
    All of it, bound to one identity.
    """


async def every(resources: Resources, kind: str, query: Query = Query()) -> AsyncIterator[Resource]:
    """
    All pages of a list, one resource after the other.
    """
    while True:
        page = await resources.list(kind, query)
        for item in page.items:
            yield item
        if not page.next_start:
            return
        query = evolve(query, start=page.next_start)
