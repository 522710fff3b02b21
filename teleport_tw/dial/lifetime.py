"""
What ends a connection that was rightly begun: idleness, its certificate's end, a lock, a lease that cannot be kept.

A proxy or agent has one L{Lifetimes}; each connection it serves is a L{Life} there. Locks are looked at when they
come; the rest once a second. An L{Ending} goes to the connection, which tells its user and closes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.access import locks
from teleport_tw.access.locks import Subject
from teleport_tw.api.contract import SemaphoreRequest, Watched
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import NEVER, Duration, format_duration, format_time, from_timestamp, steady, steady_of
from teleport_tw.dial.view import View
from teleport_tw.resources.roles_options import Strictness

SWEEP_SECONDS = 1.0
"""How often idleness and expiry are looked at; within two seconds is promised."""

LEASE_KIND = "connection"


class Leases(Protocol):
    """
    The part of L{teleport_tw.api.contract.Presence} that counts connections.
    """

    async def acquire(self, request: SemaphoreRequest) -> str:
        """
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        ...

    async def keep(self, request: SemaphoreRequest, lease: str) -> None:
        """
        @raise TeleportError: NOT_FOUND.
        """
        ...

    async def release(self, request: SemaphoreRequest, lease: str) -> None:
        """
        Give it back.
        """
        ...


@frozen
class Ending:
    """
    Why a connection ends.

    @ivar reason: for the audit event.
    @ivar message: for the user.
    """

    reason: str
    message: str


@frozen(kw_only=True)
class Terms:
    """
    On which a connection goes on.

    @ivar locking: C{strict} where the cluster or a role says so.
    @ivar expires: of the certificate, where its end is to end the connection; aware.
    @ivar idle_timeout: zero for never.
    @ivar idle_message: the cluster's own words; empty for ours.
    """

    subject: Subject
    locking: Strictness = Strictness.BEST_EFFORT
    expires: datetime | None = None
    idle_timeout: Duration = NEVER
    idle_message: str = ""


@define(eq=False)
class Life:
    """
    One connection's; made by L{Lifetimes.begin}.

    @ivar end: called once with the reason.
    """

    lifetimes: Lifetimes
    terms: Terms
    end: Callable[[Ending], object]
    _active_at: float
    over: bool = field(default=False, init=False)
    _now: Callable[[], float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._now = steady_of(self.lifetimes.clock)

    def touch(self) -> None:
        """
        The user did something, or was sent something.
        """
        self._active_at = self._now()

    def close(self) -> None:
        """
        The connection is over by itself.
        """
        self.over = True
        self.lifetimes.forget(self)

    def finish(self, ending: Ending) -> None:
        """
        End it now.
        """
        if not self.over:
            self.close()
            self.end(ending)

    def due(self, now: float, steadily: float) -> Ending | None:
        """
        @param now: seconds of the clock, by which certificates end.
        @param steadily: seconds of the steady clock, by which silence is measured.
        @return: why it ends, if it does.
        """
        terms = self.terms
        if terms.expires is not None and from_timestamp(now) >= terms.expires:
            text = f"client certificate expired at {format_time(terms.expires)}"
            return Ending(text, text)
        idle = steadily - self._active_at
        if terms.idle_timeout > NEVER and idle >= terms.idle_timeout.total_seconds():
            text = f"client reported no activity for {format_duration(terms.idle_timeout)}"
            return Ending(text, terms.idle_message or f"disconnected: {text}")
        return None


@define(eq=False)
class Lease:
    """
    One of the connections a user may have at a time, cluster-wide.
    """

    _request: SemaphoreRequest
    _id: str
    _leases: Leases
    _clock: IReactorTime
    _tasks: Tasks
    on_lost: Callable[[Ending], object] = lambda ending: None
    _ended: bool = field(default=False, init=False)
    _log = Logger()

    def start(self) -> None:
        """
        Keep it from now on.
        """
        self._tasks.spawn("keeping a connection's lease", self._keep())

    async def _keep(self) -> None:
        ttl = self._request.ttl.total_seconds()
        good_until = self._clock.seconds() + ttl
        while not self._ended:
            await deferLater(self._clock, ttl / 4)
            if self._ended:
                return
            try:
                await self._leases.keep(self._request, self._id)
                good_until = self._clock.seconds() + ttl
            except TeleportError as error:
                if error.kind is not Kind.NOT_FOUND and self._clock.seconds() < good_until - ttl / 4:
                    self._log.warn("a connection's lease was not renewed: {error}", error=error.message)
                    continue
                self._ended = True
                text = "the connection's lease could not be renewed"
                self.on_lost(Ending(text, f"disconnected: {text}"))

    def release(self) -> None:
        """
        Give it back, once.
        """
        if not self._ended:
            self._ended = True
            self._tasks.spawn("giving back a connection's lease", self._leases.release(self._request, self._id))


@define(eq=False)
class Lifetimes(Service):
    """
    All connections of one service.

    @ivar leases: counts connections; auth.
    @ivar holder: whose leases these are: the host's id.
    """

    clock: IReactorTime
    view: View
    leases: Leases
    holder: str
    _lives: set[Life] = field(factory=set, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _leave: Callable[[], None] = field(default=lambda: None, init=False)
    _log = Logger()

    def startService(self) -> None:
        """
        Begin to watch.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._leave = self.view.copy.subscribe(self._changed)
        self._tasks.spawn("watching lifetimes", self._sweep())

    def stopService(self) -> None:
        """
        Stop; connections still there are left as they are.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._leave()
        self._tasks.cancel()

    def __len__(self) -> int:
        return len(self._lives)

    def begin(self, terms: Terms, end: Callable[[Ending], object]) -> Life:
        """
        Watch one more connection, whose terms hold right now.
        """
        life = Life(self, terms, end, steady(self.clock))
        self._lives.add(life)
        return life

    def forget(self, life: Life) -> None:
        """
        Called by a L{Life} that is over.
        """
        self._lives.discard(life)

    def end_all(self, ending: Ending) -> None:
        """
        End every connection.
        """
        for life in tuple(self._lives):
            life.finish(ending)

    async def lease(self, user: str, limit: int, ttl: Duration) -> Lease:
        """
        Count a connection of C{user}.

        @param limit: most at a time, cluster-wide.
        @param ttl: how long the lease holds unrenewed.
        @raise TeleportError: LIMIT_EXCEEDED; CONNECTION_PROBLEM, it cannot be counted now.
        """
        request = SemaphoreRequest(kind=LEASE_KIND, name=user, limit=limit, ttl=ttl, holder=self.holder)
        lease = Lease(request, await self.leases.acquire(request), self.leases, self.clock, self._tasks)
        lease.start()
        return lease

    async def count(self, user: str, limit: int, refused: Callable[[str], object]) -> Lease | None:
        """
        Take one of the connections that C{user} may have at a time.

        @param limit: C{max_connections} of the user's roles; zero for no limit.
        @param refused: told why when there are as many already, for the audit log.
        @return: no lease where there is no limit.
        @raise TeleportError: ACCESS_DENIED, as to be shown to the user.
        """
        if not limit:
            return None
        try:
            return await self.lease(user, limit, self.view.networking().session_control_timeout)
        except TeleportError as error:
            if error.kind is Kind.LIMIT_EXCEEDED:
                refused("max_connections limit reached")
                text = f"too many connections: {limit} allowed at a time"
            else:
                text = "your connections cannot be counted now; try again"
            raise access_denied(text, details=error.message) from error

    def refusal(self, terms: Terms) -> str:
        """
        @return: the lock that hits now; empty for none.
        """
        now = from_timestamp(self.clock.seconds())
        try:
            known = self.view.locks()
        except TeleportError as error:
            self._log.error("a lock cannot be read: {error}", error=error.message)
            return "a lock of the cluster cannot be read"
        return locks.refusal(known, terms.subject, now, mode=terms.locking, fresh_at=self.view.locks_fresh_at(now))

    def _changed(self, news: Watched) -> None:
        if news.resource is None or news.resource.kind == "lock":
            self._check_locks(tuple(self._lives))

    def _check_locks(self, lives: tuple[Life, ...]) -> None:
        for life in lives:
            text = self.refusal(life.terms)
            if text:
                life.finish(Ending(text, text))

    async def _sweep(self) -> None:
        while True:
            await deferLater(self.clock, SWEEP_SECONDS)
            try:
                self._look()
            except CancelledError:
                raise
            except Exception:
                self._log.failure("a connection could not be ended")

    def _look(self) -> None:
        now, steadily = self.clock.seconds(), steady(self.clock)
        for life in tuple(self._lives):
            ending = life.due(now, steadily)
            if ending is not None:
                life.finish(ending)
        if self.view.copy.age() > NEVER:
            self._check_locks(tuple(life for life in self._lives if life.terms.locking is Strictness.STRICT))
