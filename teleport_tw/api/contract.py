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

from teleport_tw.api.attendance import Attendance
from teleport_tw.api.certificates import (
    Ceremonies,
    Certificates,
    ClusterInfo,
    DatabaseCertificate,
    DatabaseCertRequest,
    HostIssueRequest,
    IssueRequest,
    Joined,
    JoinRequest,
    LoginRequest,
    OpenSSHIssueRequest,
    PublicKeys,
    SetupPurpose,
    SetupTicket,
)
from teleport_tw.api.factors import (
    AccountState,
    Challenge,
    Device,
    DeviceTicket,
    DeviceType,
    Factors,
    MfaAnswer,
    MfaNeed,
    MfaTarget,
    Scope,
)
from teleport_tw.api.taps import Tap, TapRequest, Taps
from teleport_tw.api.websessions import (
    BrowserLogin,
    BrowserLogins,
    Headless,
    HeadlessRequest,
    SignIn,
    WebSession,
    WebSessions,
)
from teleport_tw.base.timing import Duration
from teleport_tw.resources.metadata import Json, Resource

__all__ = (
    "AccountState",
    "Api",
    "Audit",
    "BrowserLogin",
    "BrowserLogins",
    "Ceremonies",
    "Certificates",
    "Challenge",
    "Change",
    "ClusterInfo",
    "DatabaseCertRequest",
    "DatabaseCertificate",
    "Device",
    "DeviceTicket",
    "DeviceType",
    "EventPage",
    "EventQuery",
    "Factors",
    "Headless",
    "HeadlessRequest",
    "Hit",
    "HostIssueRequest",
    "IssueRequest",
    "JoinRequest",
    "Joined",
    "LoginRequest",
    "MfaAnswer",
    "MfaNeed",
    "MfaTarget",
    "OpenSSHIssueRequest",
    "Page",
    "Presence",
    "PublicKeys",
    "Query",
    "Resources",
    "Scope",
    "SemaphoreRequest",
    "SetupPurpose",
    "SetupTicket",
    "SignIn",
    "Tap",
    "TapRequest",
    "Taps",
    "Verification",
    "Watched",
    "WebSession",
    "WebSessions",
    "every",
)

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

    def get_recording(self, session: str, follow: bool = False) -> AsyncIterator[bytes]:
        """
        The recording's bytes in chunks, also while it is still being written. Emits C{session.recording.access}.

        @param follow: go on until it is complete; one that has not arrived yet is waited for, a little.
        @raise TeleportError: NOT_FOUND; ACCESS_DENIED by rule C{session}.
        """
        ...

    async def search_recordings(self, text: str, query: EventQuery) -> tuple[Hit, ...]:
        """
        Sessions whose terminal output holds C{text}, any case.
        """
        ...


class Api(
    Resources, Ceremonies, Factors, WebSessions, Headless, BrowserLogins, Taps, Attendance, Presence, Audit, Protocol
):
    """
    All of it, bound to one identity.
    """

    def with_mfa(self, answer: MfaAnswer) -> Api:
        """
        The same, each call with proof of a second factor: changes by an administrator ask for one of scope
        C{admin_action} where keys are the cluster's only second factor. They are refused with the text
        L{teleport_tw.api.factors.ADMIN_MFA_NEEDED} without. One answer is good for a minute of calls.
        """
        ...


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
