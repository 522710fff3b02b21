"""
Streams are asked for, accepted or refused, in time or not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost, NoProtocol
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from teleport_tw.api.streams import MAX_BYTES, StreamHeader, encode_answer, encode_header
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.protocols.mux.states import State
from teleport_tw.tunnel.endpoints import Receptionist, StreamEndpoint
from teleport_tw.tunnel.link import Link
from teleport_tw.tunnel.stream import Stream
from tests.tunnel.wires import Note, Pair

HEADER = StreamHeader(target_kind="node", target_name="web-1", client_address="192.0.2.1:1234", login="root")


class Asked(Pair):
    """
    A pair whose far side answers streams by an acceptor.
    """

    def __init__(self, acceptor: Callable[[StreamHeader, Stream], Awaitable[IProtocol]]) -> None:
        super().__init__()
        self.receptionist = Receptionist(acceptor, self.clock)
        self.far.begin = self.receptionist.receive

    def connect(self, note: Protocol | None, header: StreamHeader = HEADER) -> Deferred[IProtocol]:
        factory = Factory()
        factory.buildProtocol = lambda addr: note  # type: ignore[method-assign]
        return StreamEndpoint(lambda: [self.client], header, self.clock).connect(factory)


class EndpointTests(SynchronousTestCase):
    """
    An endpoint at one link.
    """

    def setUp(self) -> None:
        self.asked: list[tuple[StreamHeader, Stream]] = []
        self.target = Note()

    async def accept(self, header: StreamHeader, stream: Stream) -> IProtocol:
        self.asked.append((header, stream))
        return self.target

    def test_accepted(self) -> None:
        pair, note = Asked(self.accept), Note()
        verifyObject(IStreamClientEndpoint, StreamEndpoint(list, HEADER, pair.clock))
        connecting = pair.connect(note)
        self.assertNoResult(connecting)
        pair.pipe.run(1)
        self.assertIs(self.successResultOf(connecting), note)
        self.assertEqual(self.asked[0][0], HEADER)
        self.assertEqual(self.asked[0][1].getPeer(), IPv4Address("TCP", "192.0.2.1", 1234))
        self.target.transport.write(b"banner")  # type: ignore[union-attr]
        note.transport.write(b"hello")  # type: ignore[union-attr]
        pair.pipe.run()
        self.assertEqual((note.data, self.target.data), (b"banner", b"hello"))
        self.assertIs(pair.server._machine.state_of(1), State.ESTABLISHED)

    def test_what_comes_with_the_answer_is_for_the_protocol(self) -> None:
        class Greets(Note):
            def connectionMade(self) -> None:
                self.transport.write(b"SSH-2.0-x\r\n")  # type: ignore[union-attr]

        self.target = Greets()
        pair, note = Asked(self.accept), Note()
        pair.connect(note)
        pair.pipe.run()
        self.assertEqual(note.data, b"SSH-2.0-x\r\n")

    def test_what_comes_with_the_header_is_for_the_protocol(self) -> None:
        pair = Asked(self.accept)
        stream = pair.client.open()
        stream.begin(Note())
        stream.write(encode_header(HEADER) + b"eager")
        stream.write(b" beaver")
        pair.pipe.run()
        self.assertEqual(self.target.data, b"eager beaver")

    def test_refused(self) -> None:
        async def refuse(header: StreamHeader, stream: Stream) -> IProtocol:
            raise access_denied("not you", details="role x")

        pair = Asked(refuse)
        connecting = pair.connect(Note())
        pair.pipe.run()
        error = self.failureResultOf(connecting, TeleportError).value
        self.assertEqual((error.kind, error.message, error.details), (Kind.ACCESS_DENIED, "not you", ""))
        self.assertEqual((len(pair.client._machine), len(pair.server._machine)), (0, 0))

    def test_a_bug_of_the_acceptor_is_an_internal_error(self) -> None:
        async def broken(header: StreamHeader, stream: Stream) -> IProtocol:
            raise ZeroDivisionError

        pair = Asked(broken)
        connecting = pair.connect(Note())
        pair.pipe.run()
        error = self.failureResultOf(connecting, TeleportError).value
        self.assertEqual((error.kind, error.message), (Kind.INTERNAL, "internal error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def waiting(self) -> tuple[Asked, Deferred[IProtocol], Deferred[IProtocol]]:
        """
        A stream whose acceptor has not decided yet.
        """
        self.cancelled: list[object] = []
        deciding: Deferred[IProtocol] = Deferred(self.cancelled.append)

        async def wait(header: StreamHeader, stream: Stream) -> IProtocol:
            return await deciding

        pair = Asked(wait)
        connecting = pair.connect(Note())
        pair.pipe.run()
        return pair, connecting, deciding

    def test_an_answer_that_does_not_come(self) -> None:
        pair, connecting, deciding = self.waiting()
        pair.clock.advance(29)
        self.assertNoResult(connecting)
        pair.clock.advance(1)
        self.assertIs(self.failureResultOf(connecting, TeleportError).value.kind, Kind.CONNECTION_PROBLEM)
        pair.pipe.run()
        self.assertEqual(self.cancelled, [deciding])

    def test_cancelling_resets_the_stream_and_cancels_the_acceptor(self) -> None:
        pair, connecting, deciding = self.waiting()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        pair.pipe.run()
        self.assertEqual(self.cancelled, [deciding])
        self.assertEqual(len(pair.server._machine), 0)

    def test_stopping_resets_what_is_not_answered(self) -> None:
        pair, connecting, _ = self.waiting()
        pair.receptionist.stop()
        pair.pipe.run()
        self.assertIs(self.failureResultOf(connecting, TeleportError).value.kind, Kind.CONNECTION_PROBLEM)

    def test_an_acceptor_that_will_not_be_cancelled(self) -> None:
        deciding: Deferred[IProtocol] = Deferred(lambda waiting: waiting.callback(self.target))

        async def wait(header: StreamHeader, stream: Stream) -> IProtocol:
            return await deciding

        pair = Asked(wait)
        connecting = pair.connect(Note())
        pair.pipe.run()
        connecting.cancel()
        self.failureResultOf(connecting, CancelledError)
        pair.pipe.run()
        self.assertIsInstance(self.target.lost, ConnectionLost)

    def test_a_link_lost_meanwhile(self) -> None:
        pair, connecting, _ = self.waiting()
        pair.pipe.cut()
        self.assertIs(self.failureResultOf(connecting, TeleportError).value.kind, Kind.CONNECTION_PROBLEM)

    def test_no_link(self) -> None:
        pair = Asked(self.accept)
        connecting = StreamEndpoint(list, HEADER, pair.clock).connect(Factory())
        error = self.failureResultOf(connecting, TeleportError).value
        self.assertEqual(str(error), "web-1 is offline")

    def test_the_next_link_when_the_first_takes_nothing(self) -> None:
        pair, gone = Asked(self.accept), Pair()
        gone.pipe.cut()
        factory = Factory()
        factory.buildProtocol = lambda addr: Note()  # type: ignore[method-assign]
        connecting = StreamEndpoint(lambda: [gone.client, pair.client], HEADER, pair.clock).connect(factory)
        pair.pipe.run()
        self.successResultOf(connecting)

    def test_the_next_link_when_the_first_is_lost_before_the_answer(self) -> None:
        pair, dying = Asked(self.accept), Pair()
        factory = Factory()
        factory.buildProtocol = lambda addr: Note()  # type: ignore[method-assign]
        connecting = StreamEndpoint(lambda: [dying.client, pair.client], HEADER, pair.clock).connect(factory)
        dying.pipe.cut()
        pair.pipe.run()
        self.successResultOf(connecting)

    def test_a_header_that_is_too_long(self) -> None:
        pair = Asked(self.accept)
        connecting = pair.connect(Note(), StreamHeader(target_kind="node", user_certificates=(bytes(MAX_BYTES),)))
        self.assertIs(self.failureResultOf(connecting, TeleportError).value.kind, Kind.LIMIT_EXCEEDED)
        pair.pipe.run()
        self.assertEqual(len(pair.server._machine), 0)

    def test_a_factory_that_wants_no_protocol(self) -> None:
        pair = Asked(self.accept)
        connecting = pair.connect(None)
        pair.pipe.run()
        self.failureResultOf(connecting, NoProtocol)
        pair.pipe.run()
        self.assertIsNotNone(self.target.lost)

    def test_an_answer_that_makes_no_sense(self) -> None:
        for nonsense in (b"\xff\xff\xff\xff", b"\0\0\0\1\xff", b"\0\0\0\0"):
            pair = Asked(self.accept)
            pair.far.begin = lambda link, stream, said=nonsense: stream.begin(Note()) or stream.write(said)  # type: ignore[misc]
            connecting = pair.connect(Note())
            pair.pipe.run()
            error = self.failureResultOf(connecting, TeleportError).value
            self.assertIs(error.kind, Kind.CONNECTION_PROBLEM)


class ReceptionistTests(SynchronousTestCase):
    """
    Openers that say nothing, or nonsense.
    """

    def setUp(self) -> None:
        async def never(header: StreamHeader, stream: Stream) -> IProtocol:
            raise AssertionError("asked")

        self.pair = Asked(never)
        self.note = Note()

    def open(self, said: bytes) -> None:
        stream = self.pair.client.open()
        stream.begin(self.note)
        stream.write(said)
        self.pair.pipe.run()

    def test_a_header_that_does_not_come(self) -> None:
        self.open(b"\0\0")
        self.pair.clock.advance(9.9)
        self.pair.pipe.run()
        self.assertIsNone(self.note.lost)
        self.pair.clock.advance(0.1)
        self.pair.pipe.run()
        self.assertIsInstance(self.note.lost, ConnectionLost)

    def test_nonsense(self) -> None:
        for said in (b"SSH-2.0-x\r\n", b"\0\0\0\1\xff"):
            self.note = Note()
            self.open(said)
            self.assertIsInstance(self.note.lost, ConnectionLost)

    def test_an_opener_that_leaves(self) -> None:
        self.open(b"\0")
        self.note.transport.loseConnection()  # type: ignore[union-attr]
        self.pair.pipe.run()
        self.assertEqual(len(self.pair.server._machine), 0)

    def test_streams_without_a_header_count_as_waiting(self) -> None:
        links: list[Link] = [self.pair.client]
        for _ in range(256):
            links[0].open()
        with self.assertRaises(TeleportError) as caught:
            links[0].open()
        self.assertIs(caught.exception.kind, Kind.LIMIT_EXCEEDED)

    def test_an_answer_is_never_too_long(self) -> None:
        self.assertLess(len(encode_answer(TeleportError(Kind.INTERNAL, "x" * MAX_BYTES))), MAX_BYTES)
