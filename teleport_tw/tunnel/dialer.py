"""
The agent's side: one link to one proxy, dialled again for as long as we run.

Theory of operation. A L{Dialer} is I{idle}, I{connecting}, I{linked}, I{waiting} or I{stopped}. When dialling fails or
the link is lost it waits, for a time drawn with full jitter, so that a thousand agents whose proxy restarted do not
come back in the same second; a link that held for a while sets the bound back to the first. When the proxy says go-away
it dials anew after a wait and leaves the old link to its streams. When it is stopped, it says go-away itself and leaves
every link to its streams; whoever stopped it bounds the wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Protocol

from attrs import define
from automat import TypeMachineBuilder, pep614
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IReactorTime,
    IStreamClientEndpoint,
    ITransport,
)
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.protocols.mux.machine import Limits, Role
from teleport_tw.tunnel.endpoints import Receptionist
from teleport_tw.tunnel.heartbeat import DEFAULT_PACE, Pace
from teleport_tw.tunnel.link import DEFAULT_LIMITS, Link
from teleport_tw.tunnel.stream import Stream

DIAL_TIMEOUT = Duration(seconds=30)
"""TCP, TLS and all; a proxy that takes longer is as good as away."""

STEADY = Duration(seconds=30)
"""A link that held this long was a good one: after it, waits begin with the first again."""

DEFAULT_BACKOFF = Backoff()


class _Life(Protocol):
    """
    What moves a dialler.
    """

    def start(self) -> None:
        """
        Dial, and keep at it.
        """

    def linked(self) -> None:
        """
        The link stands.
        """

    def lost(self) -> None:
        """
        Dialling failed, or the link is gone or going.
        """

    def elapsed(self) -> None:
        """
        The wait is over.
        """

    def stop(self) -> None:
        """
        Dial no more.
        """


@define(eq=False)
class _Core:
    """
    What the states of a dialler act on.
    """

    dial: Callable[[], Deferred[IProtocol]]
    clock: IReactorTime
    backoff: Backoff
    waits: Iterator[float]
    attempt: Deferred[IProtocol] | None = None
    timer: IDelayedCall | None = None


_builder = TypeMachineBuilder(_Life, _Core)
_idle = _builder.state("idle")
_connecting = _builder.state("connecting")
_linked = _builder.state("linked")
_waiting = _builder.state("waiting")
_stopped = _builder.state("stopped")


@pep614(_idle.upon(_Life.start).to(_connecting))
@pep614(_stopped.upon(_Life.start).to(_connecting))
@pep614(_waiting.upon(_Life.elapsed).to(_connecting))
def _dial(life: _Life, core: _Core) -> None:
    core.timer = None
    core.attempt = core.dial()


@pep614(_connecting.upon(_Life.linked).to(_linked))
def _hold(life: _Life, core: _Core) -> None:
    core.attempt = None


@pep614(_connecting.upon(_Life.lost).to(_waiting))
@pep614(_linked.upon(_Life.lost).to(_waiting))
def _wait(life: _Life, core: _Core) -> None:
    core.attempt = None
    core.timer = core.clock.callLater(next(core.waits), life.elapsed)


@pep614(_connecting.upon(_Life.stop).to(_stopped))
@pep614(_linked.upon(_Life.stop).to(_stopped))
@pep614(_waiting.upon(_Life.stop).to(_stopped))
def _halt(life: _Life, core: _Core) -> None:
    attempt, core.attempt = core.attempt, None
    if attempt is not None:
        attempt.cancel()
    timer, core.timer = core.timer, None
    if timer is not None:
        timer.cancel()


for _state in (_idle, _stopped):
    _state.upon(_Life.stop).loop().returns(None)
for _state in (_connecting, _linked, _waiting):
    _state.upon(_Life.start).loop().returns(None)
for _state in (_waiting, _stopped):
    _state.upon(_Life.lost).loop().returns(None)
_stopped.upon(_Life.linked).loop().returns(None)

_machine = _builder.build()


class _LinkFactory(Factory):
    noisy = False

    def __init__(self, make: Callable[[], Link]) -> None:
        self._make = make

    def buildProtocol(self, addr: IAddress | None) -> Link:
        return self._make()


class Dialer:
    """
    Keeps one link to one proxy.

    @ivar link: the link that takes streams; None while there is none.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        name: str,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        receptionist: Receptionist,
        *,
        verify: Callable[[ITransport], object] = lambda transport: None,
        changed: Callable[[], object] = lambda: None,
        backoff: Backoff = DEFAULT_BACKOFF,
        limits: Limits = DEFAULT_LIMITS,
        pace: Pace = DEFAULT_PACE,
    ) -> None:
        """
        @param name: the proxy's address, for the log.
        @param endpoint: connects to the proxy; TLS with the proxy's certificate checked there.
        @param receptionist: takes the streams.
        @param verify: looks at the connection once more before it is used; L{TeleportError} ends it.
        @param changed: called when L{link} has changed.
        """
        self.name = name
        self.link: Link | None = None
        self._endpoint = endpoint
        self._clock = clock
        self._receptionist = receptionist
        self._verify = verify
        self._changed = changed
        self._limits = limits
        self._pace = pace
        self._links: set[Link] = set()
        self._linked_at = 0.0
        self._core = _Core(self._dial, clock, backoff, backoff.waits())
        self._life = _machine(self._core)

    def start(self) -> None:
        """
        Dial now, and again whenever the link is lost.
        """
        self._life.start()

    def stop(self) -> Deferred[None]:
        """
        Dial no more and say go-away.

        @return: fires when the last stream has ended and every connection is closed. Cancel it to end them at once.
        """
        self._life.stop()
        gone = DeferredList([link.drain() for link in tuple(self._links)])
        return gone.addCallback(lambda _: None)

    # --- what links call -------------------------------------------------------------------------------------------

    def link_up(self, link: Link) -> None:
        """
        The connection stands.
        """
        self._links.add(link)
        transport = link.transport
        assert transport is not None
        try:
            self._verify(transport)
        except TeleportError as error:
            self._log.warn("proxy {name} is not trusted: {error}", name=self.name, error=error.message)
            link.abort()
            return
        self._log.info("linked to proxy {name}", name=self.name)
        self._linked_at = self._clock.seconds()
        self._set(link)

    def stream_opened(self, link: Link, stream: Stream) -> None:
        """
        The proxy wants something.
        """
        self._receptionist.receive(link, stream)

    def link_away(self, link: Link) -> None:
        """
        The proxy is going.
        """
        self._log.info("proxy {name} is going away", name=self.name)
        self._lose(link)

    def link_down(self, link: Link) -> None:
        """
        The connection is gone.
        """
        self._links.discard(link)
        self._lose(link)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _lose(self, link: Link) -> None:
        if link is not self.link:
            return
        self._log.info("link to proxy {name} is gone", name=self.name)
        if self._clock.seconds() - self._linked_at >= STEADY.total_seconds():
            self._core.waits = self._core.backoff.waits()
        self._set(None)
        self._life.lost()

    def _set(self, link: Link | None) -> None:
        self.link = link
        self._changed()

    def _dial(self) -> Deferred[IProtocol]:
        factory = _LinkFactory(lambda: Link(Role.CLIENT, self._clock, self, limits=self._limits, pace=self._pace))
        attempt = self._endpoint.connect(factory)
        attempt.addTimeout(DIAL_TIMEOUT.total_seconds(), self._clock)
        attempt.addCallbacks(self._dialled, self._failed)
        return attempt

    def _dialled(self, link: IProtocol) -> None:
        if link is self.link:
            self._life.linked()
        else:  # gone again, or not trusted
            self._life.lost()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) is None:
            self._log.warn("proxy {name} cannot be reached: {error}", name=self.name, error=failure.getErrorMessage())
        self._life.lost()
