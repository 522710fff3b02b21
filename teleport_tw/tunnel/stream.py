"""
One stream of a link, as a Twisted transport.

What a Protocol writes waits here until the link has a turn for it and the peer has granted credit; a registered
producer is paused meanwhile, so what waits is bounded by what one producer writes at once. What arrives while the
reader has paused waits here too, and no credit is granted for it, so that is at most one window.

Ends are those of TCP. C{loseConnection} sends what is waiting and then FIN; C{abortConnection} sends RST; the peer's
FIN is C{readConnectionLost} for a Protocol that knows of half-closed connections and the end for one that does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, ClassVar, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    IProducer,
    IProtocol,
    IPullProducer,
    IPushProducer,
    ITCPTransport,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.protocols.mux.messages import Buffer

if TYPE_CHECKING:
    from teleport_tw.tunnel.link import Link

Address = IPv4Address | IPv6Address

HIGH_WATER_BYTES = 256 * 1024
"""Unsent bytes above which a stream's producer is paused: one batch of the link."""

LOW_WATER_BYTES = 32 * 1024
"""Unsent bytes at which it goes on: one frame, so that the stream's next turn finds something."""


class Writing(Enum):
    """
    What our side of the stream is at.
    """

    OPEN = "may write"
    FINISHING = "sends what is waiting, then FIN; still reads"
    CLOSING = "sends what is waiting, then FIN; reads no more"
    FINISHED = "has sent FIN; still reads"
    LOST = "nothing more, either way"


class Reading(Enum):
    """
    What the peer's side of the stream is at.
    """

    OPEN = "may send"
    ENDED = "has sent FIN, and our Protocol has not heard of it yet"
    TOLD = "has sent FIN, and our Protocol knows"


@implementer(ITCPTransport, IConsumer, IPushProducer)
class Stream:
    """
    A byte pipe inside a link.

    @ivar stream_id: its number on the link.
    @ivar protocol: who reads; may be set anew at any time, and is not told of C{connectionMade} then.
    @ivar queued: whether the link has this stream in its round of senders; the link's own note.
    """

    __slots__ = (
        "__weakref__",
        "_ahead",
        "_delivering",
        "_link",
        "_paused",
        "_peer",
        "_pending",
        "_pending_bytes",
        "_producer",
        "_producer_paused",
        "_reading",
        "_streaming",
        "_unread",
        "_writing",
        "protocol",
        "queued",
        "stream_id",
    )

    _log: ClassVar[Logger] = Logger()

    def __init__(self, link: Link, stream_id: int) -> None:
        self._link = link
        self.stream_id = stream_id
        self.protocol: IProtocol | None = None
        self.queued = False
        self._peer: Address | None = None
        self._pending: deque[Buffer] = deque()
        self._pending_bytes = 0
        self._unread: deque[bytes] = deque()
        self._paused = self._delivering = False
        self._ahead = 0  # bytes at the head of what is unread that the link has granted credit for already
        self._reading = Reading.OPEN
        self._producer: IPushProducer | IPullProducer | None = None
        self._streaming = self._producer_paused = False
        self._writing = Writing.OPEN

    # --- what a Protocol calls -----------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """
        Whether C{connectionLost} is still to come.
        """
        return self._writing is not Writing.LOST

    @property
    def disconnecting(self) -> bool:
        """
        Whether C{loseConnection} or C{abortConnection} was called, or the stream is gone.
        """
        return self._writing in (Writing.CLOSING, Writing.LOST)

    def write(self, data: Buffer) -> None:
        """
        Send bytes; after the end of our side this does nothing.

        @param data: must not change afterwards.
        """
        if (
            self._pending
            or self._writing is not Writing.OPEN
            or type(data) is not bytes
            or not data
            or (self._producer is not None and not self._streaming)  # is to be asked for more
            or not self._link.write(self, data)
        ):
            self._append((data,))

    def writeSequence(self, data: Iterable[Buffer]) -> None:
        """
        Send several pieces.

        @param data: must not change afterwards.
        """
        self._append(data)

    def _append(self, pieces: Iterable[Buffer]) -> None:
        takes = self._writing is Writing.OPEN or (self._producer is not None and self._writing in _FLUSHING)
        for piece in pieces:
            if not isinstance(piece, bytes | bytearray | memoryview):
                raise TypeError(f"a stream takes bytes, not {type(piece).__name__}")
            if piece and takes:
                self._pending.append(piece)
                self._pending_bytes += len(piece)
        if not takes or not self._pending:
            return
        self._link.ready(self)
        if self._pending_bytes > HIGH_WATER_BYTES:
            self._pause_producer()

    def loseConnection(self) -> None:
        """
        Send what was written, then end. With a producer registered that is when it has unregistered.
        """
        if self.disconnecting:
            return
        if self._writing is Writing.FINISHED:
            self._lose(ConnectionDone())
            return
        self._writing = Writing.CLOSING
        self._unread.clear()
        self._link.linger(self)
        self.drained()

    def loseWriteConnection(self) -> None:
        """
        Send what was written, then FIN; the peer may go on.
        """
        if self._writing is Writing.OPEN:
            self._writing = Writing.FINISHING
            self.drained()

    def abortConnection(self) -> None:
        """
        End at once, without sending what is waiting.
        """
        if self.connected:
            self._link.reset(self)
            self._lose(ConnectionAborted())

    def getPeer(self) -> Address:
        """
        Where the user's connection came from, as the header of the stream tells; without one, the other end of the
        link.
        """
        return self._peer or self._link.peer

    def set_peer(self, address: Address) -> None:
        """
        @param address: what L{getPeer} gives from now on.
        """
        self._peer = address

    def getHost(self) -> Address:
        """
        Our end of the link.
        """
        return self._link.host

    def getTcpNoDelay(self) -> bool:
        """
        Always: a stream has no delay of its own.
        """
        return True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """
        A stream has nothing to set; options belong to the link's connection.
        """

    def getTcpKeepAlive(self) -> bool:
        """
        Always: the link pings.
        """
        return True

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """
        A stream has nothing to set.
        """

    # --- who writes: IConsumer -------------------------------------------------------------------------------------

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """
        Pause and resume C{producer} as the peer and the link take what it writes.

        @raise RuntimeError: there is one already.
        """
        if self._producer is not None:
            raise RuntimeError(f"{self._producer!r} has not unregistered")
        if self.disconnecting:
            producer.stopProducing()
            return
        self._producer = cast("IPushProducer | IPullProducer", producer)
        self._streaming, self._producer_paused = streaming, False
        if not streaming:
            self._producer.resumeProducing()
        elif self._pending_bytes > HIGH_WATER_BYTES:
            self._pause_producer()

    def unregisterProducer(self) -> None:
        """
        The producer has nothing more to write.
        """
        self._producer = None
        if self.connected:
            self.drained()

    def _pause_producer(self) -> None:
        if self._producer is not None and self._streaming and not self._producer_paused:
            self._producer_paused = True
            cast(IPushProducer, self._producer).pauseProducing()

    # --- who reads: IPushProducer ----------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """
        Stop delivering; the peer may send until its window is used up.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        Deliver again, first what came meanwhile.
        """
        self._paused = False
        if not self._delivering:
            self._deliver()

    def stopProducing(self) -> None:
        """
        Nobody reads any more.
        """
        self.loseConnection()

    # --- what the link calls ---------------------------------------------------------------------------------------

    def take(self, limit: int) -> tuple[list[Buffer], int]:
        """
        @param limit: the most bytes wanted, at least one.
        @return: what is to be sent next, in one or more buffers, and how many bytes that is.
        """
        pending, size = self._pending, 0
        parts: list[Buffer] = []
        while pending and size < limit:
            chunk = pending[0]
            room = limit - size
            if len(chunk) > room:
                view = memoryview(chunk)
                parts.append(view[:room])
                pending[0] = view[room:]
                size = limit
            else:
                parts.append(chunk)
                size += len(chunk)
                pending.popleft()
        self._pending_bytes -= size
        return parts, size

    @property
    def has_pending(self) -> bool:
        """
        Whether L{take} would give something.
        """
        return bool(self._pending)

    def drained(self) -> None:
        """
        Some of what was written has been sent: let the producer go on, or say FIN when that was all there is.
        """
        if self._producer is not None:
            if self._pending_bytes <= (LOW_WATER_BYTES if self._streaming else 0) and self.connected:
                if not self._streaming:
                    self._producer.resumeProducing()
                elif self._producer_paused:
                    self._producer_paused = False
                    self._producer.resumeProducing()
        elif not self._pending and self._writing in _FLUSHING:
            self._finish()

    def _finish(self) -> None:
        self._link.finish(self)
        if self._writing is Writing.CLOSING or self._read_is_over():
            self._lose(ConnectionDone())
            return
        self._writing = Writing.FINISHED
        half = IHalfCloseableProtocol(self.protocol, None)
        if half is not None:
            self._guarded("writeConnectionLost", half.writeConnectionLost)

    def _read_is_over(self) -> bool:
        return self._reading is not Reading.OPEN and not self._unread

    def received(self, payload: bytes) -> None:
        """
        Bytes from the peer.
        """
        if self._paused or self._unread or self._delivering or self.protocol is None:
            self._unread.append(payload)
            return
        self._delivering = True
        try:
            self.protocol.dataReceived(payload)
        except Exception:
            self._broken("dataReceived")
        self._delivering = False
        self._link.consumed(self, len(payload))
        if self._unread or self._reading is Reading.ENDED:
            self._deliver()

    def finished(self) -> None:
        """
        The peer said FIN.
        """
        self._reading = Reading.ENDED
        if not self._delivering:
            self._deliver()

    def lost(self, reason: Exception) -> None:
        """
        The peer reset the stream, or the link is gone.
        """
        if self.connected:
            self._lose(reason)

    def begin(self, protocol: IProtocol, first: bytes = b"") -> None:
        """
        Give the stream to a Protocol, which finds it reading.

        @param first: bytes that were read already and are for it.
        """
        self.protocol = protocol
        self._delivering = True  # nothing comes before connectionMade is over
        self._paused = False
        if first:
            self._unread.appendleft(first)
            self._ahead = len(first)
        try:
            protocol.makeConnection(self)
        except Exception:
            self._broken("connectionMade")
        self._delivering = False
        self._deliver()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _deliver(self) -> None:
        self._delivering = True
        taken = 0
        while self._unread and not self._paused and self.protocol is not None and not self.disconnecting:
            payload = self._unread.popleft()
            taken += len(payload) - self._ahead
            self._ahead = 0
            try:
                self.protocol.dataReceived(payload)
            except Exception:
                self._broken("dataReceived")
        self._delivering = False
        if taken:
            self._link.consumed(self, taken)
        if self._reading is not Reading.ENDED or self._unread or self._paused or self.disconnecting:
            return
        if self.protocol is not None:
            self._reading = Reading.TOLD
            self._end_of_reading(self.protocol)

    def _end_of_reading(self, protocol: IProtocol) -> None:
        half = IHalfCloseableProtocol(protocol, None)
        if half is not None:
            self._guarded("readConnectionLost", half.readConnectionLost)
        else:
            self._stop_producer()
            self.loseConnection()
        if self._writing is Writing.FINISHED:  # nothing is left to happen
            self._lose(ConnectionDone())

    def _lose(self, reason: Exception) -> None:
        """
        The end; the Protocol hears of it from the loop and not from inside its own call.
        """
        self._writing = Writing.LOST
        self._unread.clear()
        self._pending.clear()
        self._pending_bytes = 0
        self._link.forget(self)
        self._stop_producer()
        self._link.soon(self._tell, reason)

    def _tell(self, reason: Exception) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            self._guarded("connectionLost", protocol.connectionLost, Failure(reason))

    def _stop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            self._guarded("stopProducing", producer.stopProducing)

    def _guarded(self, name: str, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            self._broken(name)

    def _broken(self, name: str) -> None:
        """
        The Protocol raised: that ends this stream and no other.
        """
        self._log.failure("{protocol} failed on {name}", protocol=self.protocol, name=name)
        self.abortConnection()


_FLUSHING = (Writing.FINISHING, Writing.CLOSING)
