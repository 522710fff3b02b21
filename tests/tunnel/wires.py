"""
Two links joined by a pipe in memory that is as narrow as a test wants it, and Protocols that note what they hear.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.protocols.mux.machine import Limits, Role
from teleport_tw.tunnel.heartbeat import DEFAULT_PACE, Pace
from teleport_tw.tunnel.link import DEFAULT_LIMITS, AtTurn, Link
from teleport_tw.tunnel.stream import Stream

HIGH_WATER_BYTES = 64 * 1024


class End:
    """
    One end of a pipe: a transport whose producer is paused above 64 KiB.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.protocol: Protocol | None = None
        self.sent = bytearray()
        self.producer: IPushProducer | None = None
        self.paused = self.closing = self.aborted = False
        self.writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        self.sent += data
        if len(self.sent) > HIGH_WATER_BYTES and self.producer is not None and not self.paused:
            self.paused = True
            self.producer.pauseProducing()

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.closing = self.aborted = True
        self.sent.clear()

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", "10.0.0.1", self.number)

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "10.0.0.2", self.number)


class Pipe:
    """
    Carries bytes between two Protocols.
    """

    def __init__(self, client: Protocol, server: Protocol, clock: Clock) -> None:
        self.clock = clock
        self.ends = End(1), End(2)
        self.protocols = client, server
        self.broken = False
        for end, protocol in zip(self.ends, self.protocols, strict=True):
            end.protocol = protocol
            protocol.makeConnection(end)  # type: ignore[arg-type]

    def carry(self, number: int, size: int | None = None) -> int:
        """
        Carry up to C{size} bytes that the end with this number has sent.

        @return: how many.
        """
        end, receiver = self.ends[number], self.protocols[1 - number]
        data = bytes(end.sent[:size])
        del end.sent[: len(data)]
        if data and not self.broken:
            receiver.dataReceived(data)
        if end.paused and len(end.sent) < HIGH_WATER_BYTES // 4 and end.producer is not None:
            end.paused = False
            end.producer.resumeProducing()
        return len(data)

    def run(self, size: int | None = None) -> None:
        """
        Carry all there is, both ways, until nothing moves.
        """
        moved = True
        while moved:
            self.clock.advance(0)
            moved = bool(self.carry(0, size)) | bool(self.carry(1, size))
        if not self.broken and any(end.closing and not end.sent for end in self.ends):
            self.cut(ConnectionDone())
        self.clock.advance(0)

    def cut(self, reason: Exception | None = None) -> None:
        """
        Both ends lose the connection.
        """
        self.broken = True
        for protocol in self.protocols:
            protocol.connectionLost(Failure(reason or ConnectionLost()))
        self.clock.advance(0)


@define(eq=False)
class Owner:
    """
    Notes what becomes of a link, and takes streams.
    """

    begin: Callable[[Link, Stream], object] | None = None
    streams: list[Stream] = field(factory=list)
    heard: list[str] = field(factory=list)

    def link_up(self, link: Link) -> None:
        self.heard.append("up")

    def stream_opened(self, link: Link, stream: Stream) -> None:
        self.streams.append(stream)
        if self.begin is not None:
            self.begin(link, stream)

    def link_away(self, link: Link) -> None:
        self.heard.append("away")

    def link_down(self, link: Link) -> None:
        self.heard.append("down")


class Note(Protocol):
    """
    Notes what it hears.
    """

    def __init__(self) -> None:
        self.data = bytearray()
        self.pieces = 0
        self.heard: list[str] = []
        self.lost: Exception | None = None

    def connectionMade(self) -> None:
        self.heard.append("made")

    def dataReceived(self, data: bytes) -> None:
        assert type(data) is bytes
        self.pieces += 1
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.heard.append("lost")
        assert self.lost is None
        self.lost = reason.value  # type: ignore[assignment]


@implementer(IHalfCloseableProtocol)
class HalfNote(Note):
    """
    The same, knowing of half-closed connections.
    """

    def readConnectionLost(self) -> None:
        self.heard.append("read lost")

    def writeConnectionLost(self) -> None:
        self.heard.append("write lost")


class Pair:
    """
    A client link, a server link, and the pipe between them. The server gives each stream a protocol of C{answer}.
    """

    def __init__(
        self,
        answer: Callable[[], Protocol] = HalfNote,
        *,
        limits: Limits = DEFAULT_LIMITS,
        pace: Pace = DEFAULT_PACE,
        at_turn: AtTurn | None = None,
    ) -> None:
        self.clock = Clock()
        self.taken: list[Protocol] = []
        self.near, self.far = Owner(), Owner(self._begin)
        self.answer = answer
        self.client = Link(Role.CLIENT, self.clock, self.near, limits=limits, pace=pace, at_turn=at_turn)
        self.server = Link(Role.SERVER, self.clock, self.far, limits=limits, pace=pace, at_turn=at_turn)
        self.pipe = Pipe(self.client, self.server, self.clock)

    def _begin(self, link: Link, stream: Stream) -> None:
        protocol = self.answer()
        self.taken.append(protocol)
        link.accept(stream)
        stream.begin(protocol)

    def heard(self, number: int) -> bytes:
        """
        @return: what the server's end of a stream was sent.
        """
        protocol = self.taken[number]
        assert isinstance(protocol, Note)
        return bytes(protocol.data)

    def open(self, protocol: Protocol) -> tuple[Stream, Stream]:
        """
        @return: both ends of a new stream, whose near end has C{protocol}.
        """
        stream = self.client.open()
        stream.begin(protocol)
        self.pipe.run()
        return stream, self.far.streams[-1]
