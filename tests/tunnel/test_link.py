"""
Links and streams, with no network: integrity, flow control, fairness, ends, and peers that mean harm.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.protocols.mux.machine import Limits, Role
from teleport_tw.protocols.mux.messages import INITIAL_WINDOW_BYTES, Data, Flag, GoAway, Message, Ping, WindowUpdate
from teleport_tw.protocols.mux.wire import HEADER_BYTES, Decoder, encode, header
from teleport_tw.tunnel.link import BATCH_BYTES, FRAME_BYTES, LINGER_SECONDS, MAX_UNSENT_CONTROL, Link
from teleport_tw.tunnel.stream import HIGH_WATER_BYTES, Stream
from tests.tunnel.wires import End, HalfNote, Note, Owner, Pair


@implementer(IPushProducer)
class Source:
    """
    A producer that writes as long as it may.
    """

    def __init__(self, stream: Stream, size: int, chunk: int = 16_384) -> None:
        self.stream, self.left, self.chunk = stream, size, chunk
        self.paused = self.stopped = False

    def run(self) -> None:
        while self.left and not self.paused and not self.stopped:
            piece = bytes(min(self.chunk, self.left))
            self.left -= len(piece)
            self.stream.write(piece)
        if not self.left:
            self.stream.unregisterProducer()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self.run()

    def stopProducing(self) -> None:
        self.stopped = True


class Pull:
    """
    A producer that is asked for each piece.
    """

    size = 50_000

    def __init__(self, stream: Stream, pieces: int) -> None:
        self.stream, self.pieces = stream, pieces

    def resumeProducing(self) -> None:
        self.pieces -= 1
        self.stream.write(bytes(self.size))
        if not self.pieces:
            self.stream.unregisterProducer()
            self.stream.loseConnection()

    def stopProducing(self) -> None:
        self.pieces = 0


class Echo(Protocol):
    """
    Sends back what it hears.
    """

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class TransportTests(SynchronousTestCase):
    """
    A stream is a Twisted transport.
    """

    def test_interfaces(self) -> None:
        stream, _ = Pair().open(Note())
        for interface in (ITCPTransport, IConsumer, IPushProducer):
            verifyObject(interface, stream)
        stream.setTcpNoDelay(True)
        stream.setTcpKeepAlive(True)
        self.assertTrue(stream.getTcpNoDelay() and stream.getTcpKeepAlive())

    def test_addresses_are_the_links_until_a_header_tells_better(self) -> None:
        pair = Pair()
        stream, _ = pair.open(Note())
        self.assertEqual((stream.getHost(), stream.getPeer()), (pair.client.host, pair.client.peer))
        address = IPv4Address("TCP", "192.0.2.1", 5)
        stream.set_peer(address)
        self.assertEqual(stream.getPeer(), address)

    def test_echo(self) -> None:
        pair = Pair(Echo)
        note = Note()
        stream, _ = pair.open(note)
        stream.write(b"")
        stream.write(b"one ")
        stream.writeSequence([b"two ", b"three"])
        pair.pipe.run()
        self.assertEqual(note.data, b"one two three")

    def test_only_bytes_are_written(self) -> None:
        stream, _ = Pair().open(Note())
        with self.assertRaises(TypeError):
            stream.write("text")  # type: ignore[arg-type]

    def test_answers_to_one_read_leave_in_one_write(self) -> None:
        pair = Pair(Echo)
        streams = [pair.open(Note())[0] for _ in range(20)]
        pair.client._corked = True
        for stream in streams:
            stream.write(b"x")
        pair.client._corked = False
        pair.client._pump()
        before = pair.pipe.ends[1].writes
        pair.pipe.carry(0)
        self.assertEqual(pair.pipe.ends[1].writes, before + 1)

    def test_fifty_streams_of_random_sizes_arrive_whole(self) -> None:
        pair = Pair(Echo)
        chance = random.Random(1)
        notes, sent = [], []
        for _ in range(50):
            note = Note()
            stream, _far = pair.open(note)
            notes.append(note)
            sent.append((stream, chance.randbytes(chance.randrange(700_000))))
        for stream, content in sent:
            position = 0
            while position < len(content):
                size = chance.randrange(1, 90_000)
                stream.write(content[position : position + size])
                position += size
        pair.pipe.run(10_007)
        for note, (_, content) in zip(notes, sent, strict=True):
            self.assertTrue(note.data == content)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=300)), max_size=40), st.integers(1, 500))
    def test_order_is_kept_on_every_stream(self, writes: list[tuple[int, bytes]], cut: int) -> None:
        pair = Pair(Echo)
        notes = [Note() for _ in range(4)]
        streams = [pair.open(note)[0] for note in notes]
        for number, data in writes:
            streams[number].write(data)
        pair.pipe.run(cut)
        for number, note in enumerate(notes):
            self.assertEqual(note.data, b"".join(data for which, data in writes if which == number))


class OrderTests(SynchronousTestCase):
    """
    What is written goes at once where it can, and never before what was written earlier.
    """

    def test_small_writes_leave_at_once(self) -> None:
        pair, near = Pair(Note), Note()
        stream, far = pair.open(near)
        for number in range(5):
            stream.write(b"%d" % number)
            far.write(b"%d!" % number)
            self.assertFalse(stream.has_pending or far.has_pending)
        stream.write(b"")
        pair.pipe.run()
        self.assertEqual((pair.heard(0), near.data), (b"01234", b"0!1!2!3!4!"))

    def test_behind_what_waits_for_credit_or_for_the_connection(self) -> None:
        pair = Pair()
        stream, far = pair.open(Note())
        other, _ = pair.open(Note())
        far.pauseProducing()
        stream.write(b"a" * (INITIAL_WINDOW_BYTES + 1))
        stream.write(b"b")
        other.write(b"1")
        pair.pipe.run()
        pair.client.pauseProducing()
        other.write(b"2")
        stream.write(b"c")
        pair.client.resumeProducing()
        other.write(b"3")
        far.resumeProducing()
        pair.pipe.run()
        self.assertEqual(pair.heard(0), b"a" * (INITIAL_WINDOW_BYTES + 1) + b"bc")
        self.assertEqual(pair.heard(1), b"123")

    def test_a_pull_producer_is_asked_again(self) -> None:
        pair = Pair()
        stream, _ = pair.open(Note())
        pair.pipe.run()
        source = Pull(stream, 3)
        source.size = 10
        stream.registerProducer(source, False)  # type: ignore[arg-type]
        pair.pipe.run()
        self.assertEqual(pair.heard(0), bytes(30))


class TurnTests(SynchronousTestCase):
    """
    Small messages of one turn of the loop leave together.
    """

    def setUp(self) -> None:
        self.turn: list[Callable[[], None]] = []
        self.pair = Pair(Note, at_turn=self.turn.append)
        self.first, self.far = self.pair.open(Note())
        self.second, _ = self.pair.open(Note())
        self.end_turn()

    def end_turn(self) -> None:
        while self.turn:
            self.turn.pop(0)()
        self.pair.pipe.run()

    @property
    def sent(self) -> int:
        return len(self.pair.pipe.ends[0].sent)

    def test_they_wait_for_the_end_of_the_turn(self) -> None:
        self.first.write(b"a")
        self.second.write(b"b")
        self.first.write(b"c")
        self.assertEqual((self.sent, len(self.turn)), (0, 1))
        self.end_turn()
        self.assertEqual((self.pair.heard(0), self.pair.heard(1)), (b"ac", b"b"))

    def test_not_longer_than_a_batch(self) -> None:
        for _ in range(BATCH_BYTES // FRAME_BYTES + 1):
            self.first.write(bytes(FRAME_BYTES // 2))
            self.second.write(bytes(FRAME_BYTES // 2))
        self.assertGreaterEqual(self.sent, BATCH_BYTES)
        self.end_turn()
        self.assertEqual(len(self.pair.heard(0)), len(self.pair.heard(1)))

    def test_nothing_overtakes_them(self) -> None:
        """
        Neither a long write, nor the end of a stream, nor a reset of another one.
        """
        self.first.write(b"a")
        self.first.write(bytes(100_000))
        self.second.write(b"b")
        self.second.loseConnection()
        self.first.write(b"c")
        self.end_turn()
        self.assertEqual((self.pair.heard(0), self.pair.heard(1)), (b"a" + bytes(100_000) + b"c", b"b"))

    def test_they_leave_before_the_link_ends(self) -> None:
        self.first.write(b"a")
        self.pair.client.drain()
        self.first.write(b"b")
        self.first.loseConnection()
        self.second.loseConnection()
        self.pair.pipe.run()
        self.assertEqual(self.pair.heard(0), b"ab")
        self.end_turn()

    def test_a_lost_connection_takes_them_along(self) -> None:
        self.first.write(b"a")
        self.pair.pipe.cut()
        self.end_turn()
        self.assertEqual(self.pair.heard(0), b"")


class FlowTests(SynchronousTestCase):
    """
    A slow reader costs one window and holds up nobody else.
    """

    def test_a_paused_reader_holds_one_window_and_pauses_the_writer(self) -> None:
        pair = Pair()
        stream, far = pair.open(Note())
        far.pauseProducing()
        source = Source(stream, 10_000_000)
        stream.registerProducer(source, True)
        source.run()
        pair.pipe.run()
        self.assertTrue(source.paused)
        self.assertEqual(sum(map(len, far._unread)), INITIAL_WINDOW_BYTES)
        self.assertLessEqual(stream._pending_bytes, HIGH_WATER_BYTES + source.chunk)
        self.assertEqual(pair.heard(0), b"")  # type: ignore[attr-defined]
        far.resumeProducing()
        pair.pipe.run()
        self.assertEqual(len(pair.heard(0)), 10_000_000)  # type: ignore[attr-defined]
        self.assertFalse(source.left)

    def test_other_streams_go_on_beside_a_paused_reader(self) -> None:
        pair = Pair()
        stuck, far = pair.open(Note())
        far.pauseProducing()
        stuck.write(bytes(5_000_000))
        stream, _ = pair.open(Note())
        stream.write(b"hello")
        pair.pipe.run()
        self.assertEqual(pair.heard(1), b"hello")  # type: ignore[attr-defined]

    def test_a_full_connection_pauses_the_writer(self) -> None:
        pair = Pair()
        stream, _ = pair.open(Note())
        source = Source(stream, 3_000_000)
        stream.registerProducer(source, True)
        source.run()
        self.assertTrue(source.paused)
        self.assertLess(len(pair.pipe.ends[0].sent), 3 * HIGH_WATER_BYTES)
        pair.pipe.run()
        self.assertEqual(source.left, 0)

    def test_a_keystroke_overtakes_bulk(self) -> None:
        """
        With megabytes waiting on five streams, a byte on a sixth is behind no more than what was under way and one
        frame of each.
        """
        pair = Pair()
        for _ in range(5):
            bulk, _far = pair.open(Note())
            bulk.write(bytes(200_000))
        typing, _far = pair.open(Note())
        under_way = len(pair.pipe.ends[0].sent)
        typing.write(b"k")
        carried = 0
        while pair.taken[-1].data != b"k":  # type: ignore[attr-defined]
            carried += pair.pipe.carry(0, 4096)
        self.assertLessEqual(carried, under_way + 6 * (FRAME_BYTES + 12) + 4096)

    def test_busy_streams_share_evenly(self) -> None:
        pair = Pair()
        streams = [pair.open(Note())[0] for _ in range(4)]
        pair.client.pauseProducing()
        for stream in streams:
            stream.write(bytes(250_000))
        pair.client.resumeProducing()
        for _ in range(30):
            pair.pipe.carry(0, 16_384)
        got = [len(note.data) for note in pair.taken]  # type: ignore[attr-defined]
        self.assertLessEqual(max(got) - min(got), 2 * FRAME_BYTES)

    def test_frames_are_short_where_others_wait(self) -> None:
        """
        A stream by itself sends a write's worth in one frame; beside another, two TLS records.
        """
        for streams, longest in ((1, BATCH_BYTES - HEADER_BYTES), (2, FRAME_BYTES)):
            pair = Pair()
            pair.client.pauseProducing()
            for stream in [pair.client.open() for _ in range(streams)]:
                stream.write(bytes(400_000))
            pair.client.resumeProducing()
            sizes = [len(message.payload) for message in Decoder().feed(bytes(pair.pipe.ends[0].sent))
                     if isinstance(message, Data)]  # fmt: skip
            self.assertEqual(max(sizes[:4]), longest)

    def test_what_comes_together_is_delivered_together(self) -> None:
        """
        One piece for each stream and read, however many frames it came in; and before what ends the stream.
        """
        pair = Pair()
        streams = [pair.open(Note())[0] for _ in range(2)]
        pair.client.pauseProducing()
        for word in (b"a", b"b"):
            for stream in streams:
                stream.write(word)
        streams[0].loseWriteConnection()
        pair.client.resumeProducing()
        pair.pipe.run()
        self.assertEqual([note.data for note in pair.taken], [b"ab", b"ab"])  # type: ignore[attr-defined]
        self.assertIn("read lost", pair.taken[0].heard)  # type: ignore[attr-defined]

    def test_a_pull_producer_is_asked_again_when_all_is_sent(self) -> None:
        pair = Pair()
        stream, _ = pair.open(Note())
        stream.registerProducer(Pull(stream, 20), False)
        pair.pipe.run()
        self.assertEqual(len(pair.heard(0)), 1_000_000)  # type: ignore[attr-defined]
        self.assertIn("read lost", pair.taken[0].heard)  # type: ignore[attr-defined]

    def test_a_second_producer_is_one_too_many(self) -> None:
        stream, _ = Pair().open(Note())
        stream.registerProducer(Source(stream, 1), True)
        with self.assertRaises(RuntimeError):
            stream.registerProducer(Source(stream, 1), True)

    def test_a_producer_that_comes_late_is_paused_or_stopped(self) -> None:
        pair = Pair()
        stream, far = pair.open(Note())
        far.pauseProducing()
        stream.write(bytes(1_000_000))
        pair.pipe.run()
        source = Source(stream, 1)
        stream.registerProducer(source, True)
        self.assertTrue(source.paused)
        stream.abortConnection()
        self.assertTrue(source.stopped)
        late = Source(stream, 1)
        stream.registerProducer(late, True)
        self.assertTrue(late.stopped)

    def test_a_reader_may_pause_inside_its_own_call(self) -> None:
        class Sips(Note):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()  # type: ignore[union-attr]

        pair = Pair(Sips)
        stream, far = pair.open(Note())
        for _ in range(3):
            stream.write(bytes(FRAME_BYTES))
            pair.pipe.run()
        sips = pair.taken[0]
        assert isinstance(sips, Sips)
        self.assertEqual(sips.pieces, 1)
        far.resumeProducing()
        self.assertEqual(sips.pieces, 2)


class EndTests(SynchronousTestCase):
    """
    Streams end as TCP connections do.
    """

    def test_half_close_both_ways(self) -> None:
        pair = Pair()
        near = HalfNote()
        stream, far = pair.open(near)
        stream.write(b"request")
        stream.loseWriteConnection()
        stream.write(b"too late")
        pair.pipe.run()
        answer = pair.taken[0]
        assert isinstance(answer, HalfNote)
        self.assertEqual((answer.data, answer.heard), (b"request", ["made", "read lost"]))
        self.assertEqual(near.heard, ["made", "write lost"])
        far.write(b"response")
        far.loseConnection()
        pair.pipe.run()
        self.assertEqual((near.data, near.heard), (b"response", ["made", "write lost", "read lost", "lost"]))
        stream.loseConnection()
        pair.pipe.run()
        self.assertIsInstance(near.lost, ConnectionDone)
        self.assertIsInstance(answer.lost, ConnectionDone)
        self.assertEqual((len(pair.client), len(pair.server)), (0, 0))
        self.assertEqual((len(pair.client._machine), len(pair.server._machine)), (0, 0))

    def test_the_end_for_a_protocol_that_knows_no_half_close(self) -> None:
        pair = Pair(Note)
        near = Note()
        stream, _ = pair.open(near)
        stream.write(b"bye")
        stream.loseConnection()
        stream.loseConnection()
        stream.loseWriteConnection()
        pair.pipe.run()
        answer = pair.taken[0]
        assert isinstance(answer, Note)
        self.assertEqual(answer.data, b"bye")
        self.assertIsInstance(answer.lost, ConnectionDone)
        self.assertIsInstance(near.lost, ConnectionDone)
        self.assertEqual((len(pair.client._machine), len(pair.client._lingering)), (0, 0))

    def test_all_that_was_written_arrives_before_the_end(self) -> None:
        pair = Pair(Note)
        stream, _ = pair.open(Note())
        stream.write(bytes(2_000_000))
        stream.loseConnection()
        pair.pipe.run()
        self.assertEqual(len(pair.heard(0)), 2_000_000)  # type: ignore[attr-defined]

    def test_the_end_is_told_after_what_a_paused_reader_has_not_read(self) -> None:
        pair = Pair()
        stream, far = pair.open(Note())
        far.pauseProducing()
        stream.write(b"last words")
        stream.loseConnection()
        pair.pipe.run()
        note = pair.taken[0]
        assert isinstance(note, HalfNote)
        self.assertEqual(note.heard, ["made"])
        far.resumeProducing()
        self.assertEqual((note.data, note.heard), (b"last words", ["made", "read lost"]))
        far.resumeProducing()
        self.assertEqual(note.heard, ["made", "read lost"])

    def test_losing_the_connection_with_a_producer_waits_for_it(self) -> None:
        pair = Pair(Note)
        stream, _ = pair.open(Note())
        source = Source(stream, 1_000_000)
        stream.registerProducer(source, True)
        stream.loseConnection()
        source.run()
        pair.pipe.run()
        self.assertEqual(len(pair.heard(0)), 1_000_000)  # type: ignore[attr-defined]
        self.assertFalse(stream.connected)

    def test_abort_resets(self) -> None:
        pair = Pair()
        near = Note()
        stream, _ = pair.open(near)
        pair.client.pauseProducing()
        stream.write(b"never sent")
        stream.abortConnection()
        stream.abortConnection()
        pair.client.resumeProducing()
        pair.pipe.run()
        answer = pair.taken[0]
        assert isinstance(answer, HalfNote)
        self.assertEqual(answer.data, b"")
        self.assertIsInstance(near.lost, ConnectionAborted)
        self.assertIsInstance(answer.lost, ConnectionLost)

    def test_the_end_is_not_told_from_inside_a_call(self) -> None:
        pair = Pair()
        near = Note()
        stream, _ = pair.open(near)
        stream.abortConnection()
        self.assertIsNone(near.lost)
        pair.clock.advance(0)
        self.assertIsNotNone(near.lost)

    def test_a_peer_that_talks_on_to_nobody_is_told(self) -> None:
        pair = Pair()
        stream, far = pair.open(Note())
        stream.loseConnection()
        pair.pipe.run()
        far.write(b"still there?")
        pair.pipe.run()
        answer = pair.taken[0]
        assert isinstance(answer, HalfNote)
        self.assertIsInstance(answer.lost, ConnectionLost)
        self.assertEqual(len(pair.client._lingering), 0)

    def test_a_peer_that_never_finishes_is_reset_in_time(self) -> None:
        pair = Pair()
        stream, _ = pair.open(Note())
        stream.loseConnection()
        pair.pipe.run()
        self.assertEqual(len(pair.client._machine), 1)
        for _ in range(10):
            pair.clock.advance(LINGER_SECONDS / 5)
            pair.pipe.run()
        self.assertEqual((len(pair.client._machine), len(pair.server._machine)), (0, 0))

    def test_a_peer_that_never_reads_is_reset_in_time(self) -> None:
        pair = Pair()
        near = Note()
        stream, far = pair.open(near)
        far.pauseProducing()
        stream.write(bytes(1_000_000))
        stream.loseConnection()
        for _ in range(10):
            pair.pipe.run()
            pair.clock.advance(LINGER_SECONDS / 5)
        self.assertIsInstance(near.lost, ConnectionAborted)

    def test_a_protocol_that_raises_ends_its_own_stream_alone(self) -> None:
        class Breaks(Protocol):
            def dataReceived(self, data: bytes) -> None:
                raise ValueError("a bug")

        pair = Pair(Breaks)
        near = Note()
        stream, _ = pair.open(near)
        other = Note()
        pair.answer = Echo
        fine, _ = pair.open(other)
        stream.write(b"x")
        fine.write(b"y")
        pair.pipe.run()
        self.assertIsInstance(near.lost, ConnectionLost)
        self.assertEqual(other.data, b"y")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_link_that_is_cut_ends_every_stream(self) -> None:
        pair = Pair()
        notes = [Note() for _ in range(3)]
        streams = [pair.open(note)[0] for note in notes]
        streams[0].write(bytes(1_000_000))
        pair.pipe.cut()
        for note in notes + pair.taken:  # type: ignore[operator]
            self.assertIsInstance(note.lost, ConnectionLost)
        streams[0].write(b"x")
        self.assertEqual(pair.near.heard, ["up", "down"])
        self.assertFalse(pair.client.is_open)
        with self.assertRaises(TeleportError) as caught:
            pair.client.open()
        self.assertIs(caught.exception.kind, Kind.CONNECTION_PROBLEM)


class LifeTests(SynchronousTestCase):
    """
    Go-away.
    """

    def test_drain_lets_streams_end_and_then_closes(self) -> None:
        pair = Pair(Echo)
        note = Note()
        stream, _ = pair.open(note)
        gone = pair.server.drain()
        pair.pipe.run()
        self.assertEqual(pair.near.heard, ["up", "away"])
        with self.assertRaises(TeleportError):
            pair.client.open()
        stream.write(b"still works")
        pair.pipe.run()
        self.assertEqual(note.data, b"still works")
        self.assertNoResult(gone)
        stream.loseConnection()
        pair.pipe.run()
        self.successResultOf(gone)
        self.assertIsInstance(note.lost, ConnectionDone)
        self.assertEqual(pair.near.heard, ["up", "away", "down"])

    def test_a_link_without_streams_drains_at_once(self) -> None:
        pair = Pair()
        gone = pair.client.drain()
        pair.pipe.run()
        self.successResultOf(gone)
        self.successResultOf(pair.client.drain())

    def test_both_sides_may_drain_at_once(self) -> None:
        pair = Pair(Echo)
        stream, _ = pair.open(Note())
        both = pair.client.drain(), pair.server.drain()
        pair.pipe.run()
        stream.loseConnection()
        pair.pipe.run()
        for gone in both:
            self.successResultOf(gone)

    def test_a_drained_peer_that_does_not_close_is_aborted(self) -> None:
        pair = Pair()
        pair.client.drain()
        pair.clock.advance(10)
        self.assertTrue(pair.pipe.ends[0].aborted)

    def test_too_many_streams_under_way(self) -> None:
        pair = Pair(limits=Limits(max_backlog=2))
        pair.client.open()
        pair.client.open()
        with self.assertRaises(TeleportError) as caught:
            pair.client.open()
        self.assertIs(caught.exception.kind, Kind.LIMIT_EXCEEDED)


class HostileTests(SynchronousTestCase):
    """
    A peer that breaks the protocol loses its link, and nothing else happens.
    """

    def link(self, **limits: int) -> tuple[Link, End, Owner]:
        """
        A server link whose peer is the test, and that accepts nothing by itself.
        """
        self.clock = Clock()
        owner = Owner()
        link, end = Link(Role.SERVER, self.clock, owner, limits=Limits(**limits)), End(1)
        link.makeConnection(end)  # type: ignore[arg-type]
        return link, end, owner

    def said(self, end: End) -> list[Message]:
        said = Decoder().feed(bytes(end.sent))
        end.sent.clear()
        return said

    def test_each_offence_is_answered_by_go_away(self) -> None:
        opened = encode(WindowUpdate(1, 0, Flag.SYN))
        for offence in (
            b"SSH-2.0-OpenSSH_9.2\r\n",
            header(0, 0, 1, 2**32 - 1),
            header(9, 0, 0, 0),
            opened + opened,
            encode(WindowUpdate(2, 0, Flag.SYN)),
            opened + encode(Data(1, bytes(INITIAL_WINDOW_BYTES + 1))),
            opened + encode(WindowUpdate(1, 2**32 - 1)),
            opened + encode(WindowUpdate(1, 0, Flag.FIN)) * 2,
        ):
            link, end, _ = self.link()
            link.dataReceived(offence)
            self.assertEqual(self.said(end)[-1], GoAway(1))
            self.assertTrue(end.closing and not link.is_open)
            link.dataReceived(offence)
            self.clock.advance(10)
            self.assertTrue(end.aborted)

    def test_a_flood_of_streams_is_reset_beyond_the_backlog(self) -> None:
        link, end, owner = self.link(max_backlog=10)
        link.dataReceived(b"".join(encode(WindowUpdate(number, 0, Flag.SYN)) for number in range(1, 2001, 2)))
        self.assertEqual(len(owner.streams), 10)
        resets = [said for said in self.said(end) if isinstance(said, WindowUpdate) and said.flags == Flag.RST]
        self.assertEqual(len(resets), 990)
        self.assertTrue(link.is_open)

    def test_a_flood_of_pings_that_reads_no_answers(self) -> None:
        link, end, _ = self.link()
        link.pauseProducing()
        for _ in range(100):
            link.dataReceived(encode(Ping(1)) * (MAX_UNSENT_CONTROL // 50))
        self.assertFalse(link.is_open)
        self.assertTrue(end.closing)

    def test_a_peers_error_closes_the_link(self) -> None:
        link, end, _ = self.link()
        link.dataReceived(encode(GoAway(2)))
        self.assertTrue(end.closing)
        self.assertFalse(link.is_open)

    def test_data_ahead_of_the_protocol_waits_for_it(self) -> None:
        link, _, owner = self.link()
        link.dataReceived(encode(Data(1, b"early", Flag.SYN)) + encode(Data(1, b" bird", Flag.FIN)))
        note = HalfNote()
        owner.streams[0].begin(note, b"an ")
        self.assertEqual((note.data, note.heard), (b"an early bird", ["made", "read lost"]))

    @settings(max_examples=200)
    @given(st.lists(st.binary(min_size=1, max_size=64), max_size=8))
    def test_garbage(self, pieces: list[bytes]) -> None:
        link, _, owner = self.link()
        owner.begin = lambda link, stream: stream.begin(Echo())
        for piece in pieces:
            link.dataReceived(piece)
        self.clock.advance(60)

    @settings(max_examples=200)
    @given(
        st.lists(
            st.one_of(
                st.builds(Data, st.integers(1, 5), st.binary(max_size=9), st.integers(0, 15)),
                st.builds(WindowUpdate, st.integers(1, 5), st.integers(0, 9), st.integers(0, 15)),
                st.builds(GoAway, st.integers(0, 3)),
            ),
            max_size=30,
        )
    )
    def test_any_frames_to_protocols_that_answer(self, messages: list[Message]) -> None:
        link, _, owner = self.link()
        owner.begin = lambda link, stream: (link.accept(stream), stream.begin(Echo()))
        for message in messages:
            link.dataReceived(encode(message))
            self.clock.advance(0)
        self.clock.advance(60)
