"""
Two transports joined: what one receives the other sends.

A side that cannot send as fast as the other receives makes it stop reading, so a relay keeps no more than the
transports' own buffers. When one peer closes its half, so does the relay on the other side, and the way back stays
open; over TLS, which knows no half-close here, both ways end. Bytes go on as they come: one write a read, no copies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.timing import steady


@frozen
class Relayed:
    """
    How a relay went.

    @ivar forth: bytes that went from the first transport to the second.
    @ivar back: bytes that went from the second to the first.
    @ivar reason: why the side that was lost first was lost; C{ConnectionDone} if all went well.
    """

    forth: int
    back: int
    reason: BaseException


@implementer(IHalfCloseableProtocol)
class RelayProtocol(Protocol):
    """
    One side of a relay.

    @ivar received: bytes from this side's peer.
    @ivar opposite: the transport of the other side.
    """

    def __init__(self, relay: _Relay) -> None:
        self._relay = relay
        self.received = 0
        self.read_ended = False
        self.lost = False
        self.opposite: Any = None

    def dataReceived(self, data: bytes) -> None:
        """
        Pass it on.
        """
        self.received += len(data)
        self.opposite.write(data)

    def readConnectionLost(self) -> None:
        """
        This side's peer sends no more.
        """
        self._relay.read_ended(self)

    def writeConnectionLost(self) -> None:
        """
        We send no more to this side's peer; we said so ourselves.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        This side is gone.
        """
        self._relay.side_lost(self, reason.value or ConnectionDone())


@define(eq=False)
class _Relay:
    """
    Both sides and what ends them.
    """

    first: RelayProtocol = field(init=False)
    second: RelayProtocol = field(init=False)
    done: Deferred[Relayed] = field(init=False)
    reason: BaseException | None = field(default=None, init=False)
    idle: IDelayedCall | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.first, self.second = RelayProtocol(self), RelayProtocol(self)
        self.done = Deferred(lambda _: self.abort())

    def other(self, side: RelayProtocol) -> RelayProtocol:
        return self.second if side is self.first else self.first

    def read_ended(self, side: RelayProtocol) -> None:
        if side.read_ended:
            return
        side.read_ended = True
        other = self.other(side)
        if other.lost:
            return
        transport: Any = other.transport
        transport.unregisterProducer()
        if other.read_ended:
            self.close()
        else:
            getattr(transport, "loseWriteConnection", transport.loseConnection)()

    def side_lost(self, side: RelayProtocol, reason: BaseException) -> None:
        if side.lost:
            return
        side.lost = True
        if self.reason is None:
            self.reason = reason
        other = self.other(side)
        if other.lost:
            if self.idle is not None and self.idle.active():
                self.idle.cancel()
            if not self.done.called:
                self.done.callback(Relayed(self.first.received, self.second.received, self.reason))
            return
        transport: Any = other.transport
        transport.unregisterProducer()
        transport.loseConnection()

    def close(self) -> None:
        for side in (self.first, self.second):
            transport: Any = side.transport
            if not side.lost:
                transport.unregisterProducer()
                transport.loseConnection()

    def abort(self) -> None:
        for side in (self.first, self.second):
            transport: Any = side.transport
            if not side.lost:
                getattr(transport, "abortConnection", transport.loseConnection)()

    def watch(self, clock: IReactorTime, seconds: float, on_idle: Callable[[], object]) -> None:
        """
        Look at the byte counts from time to time rather than note the time of each read.
        """
        seen = (self.first.received, self.second.received)
        since = steady(clock)

        def look() -> None:
            nonlocal seen, since
            now = (self.first.received, self.second.received)
            if now != seen:
                seen, since = now, steady(clock)
            left = since + seconds - steady(clock)
            if left <= 0:
                on_idle()
            else:
                self.idle = clock.callLater(min(left, seconds / 4), look)

        self.idle = clock.callLater(seconds / 4, look)


def join(
    first: ITransport,
    second: ITransport,
    *,
    clock: IReactorTime | None = None,
    idle_seconds: float | None = None,
    on_idle: Callable[[], object] | None = None,
) -> Deferred[Relayed]:
    """
    Relay between two connected transports, whose Protocols hear no more of them.

    Transports are consumers and producers, and have a C{protocol} to set, as those of C{base.net}, of Twisted and of
    the tunnel do. They may be paused before; they are resumed.

    @param clock: for C{idle_seconds}.
    @param idle_seconds: how long both ways may be silent; exact to a quarter of it.
    @param on_idle: what to do then; closes both where it is not given.
    @return: fires when both are gone; cancelling it aborts both.
    """
    relay = _Relay()
    ends: tuple[Any, Any] = (first, second)  # they provide several interfaces of Twisted's at once
    for transport, opposite, side in zip(ends, ends[::-1], (relay.first, relay.second), strict=True):
        side.opposite = opposite
        _attach(transport, side)
    gone = [side for side in (relay.first, relay.second) if not getattr(side.transport, "connected", True)]
    for side in gone:
        relay.side_lost(side, ConnectionLost("it was lost before the relay began"))
    if not gone:
        for consumer, producer in (ends, ends[::-1]):
            producer.resumeProducing()
            consumer.registerProducer(producer, True)
        if clock is not None and idle_seconds:
            relay.watch(clock, idle_seconds, on_idle or relay.close)
    return relay.done


def _attach(transport: Any, side: RelayProtocol) -> None:
    """
    Make C{side} the Protocol of a transport: one of ours, Twisted's TCP, or Twisted's TLS, each a class of its own.
    """
    side.makeConnection(transport)  # type: ignore[no-untyped-call]
    if hasattr(transport, "wrappedProtocol"):
        transport.wrappedProtocol = side
    else:
        transport.protocol = side
