"""
The recording format: round trips, every split, torn tails, and what was tampered with.
"""

from __future__ import annotations

import io
import tracemalloc

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.recordings import container
from teleport_tw.recordings.container import (
    HEADER_BYTES,
    Encoder,
    End,
    Fact,
    Note,
    Output,
    Reader,
    Resized,
    Start,
    Timed,
    index,
    read_from,
)

_JSON = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3)
_FACTS: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Start, _JSON),
    st.builds(Output, st.binary(max_size=50)),
    st.builds(Resized, st.integers(0, 65535), st.integers(0, 65535)),
    st.builds(Note, _JSON),
    st.builds(End, _JSON),
)
_FRAMES = st.lists(st.lists(st.tuples(st.integers(0, 100_000), _FACTS), min_size=1, max_size=5), min_size=1, max_size=4)


def recording(frames: int = 3) -> tuple[list[bytes], list[Timed]]:
    encoder = Encoder()
    made, records = [], []
    for number in range(frames):
        chunk = [Timed(number * 1000 + step, Output(b"frame %d step %d\r\n" % (number, step))) for step in range(3)]
        made.append(encoder.frame(chunk, last=number == frames - 1))
        records += chunk
    return made, records


class ContainerTests(SynchronousTestCase):
    """
    Bytes to records and back.
    """

    @settings(max_examples=50, deadline=None)
    @given(_FRAMES, st.integers(1, 97))
    def test_round_trip_in_any_slices(self, frames: list[list[tuple[int, Fact]]], step: int) -> None:
        """
        What was encoded is read, however the bytes arrive.
        """
        encoder, ms, wanted, data = Encoder(), 0, list[Timed](), b""
        for number, frame in enumerate(frames):
            records = []
            for wait, fact in frame:
                ms += wait
                records.append(Timed(ms, fact))
            wanted += records
            data += encoder.frame(records, last=number == len(frames) - 1)
        reader, found = Reader(), list[Timed]()
        for offset in range(0, len(data), step):
            found += reader.feed(data[offset : offset + step])
        self.assertEqual(found, wanted)
        self.assertTrue(reader.complete)
        self.assertEqual(reader.digest, encoder.digest)

    def test_a_torn_tail_is_left_out_and_told(self) -> None:
        """
        At every byte a crash may have stopped at.
        """
        made, records = recording(2)
        data = b"".join(made)
        for end in range(len(data)):
            reader = Reader()
            found = reader.feed(data[:end])
            self.assertEqual(found, records[:3] if end >= len(made[0]) else [])
            self.assertFalse(reader.complete)
            self.assertEqual(reader.torn_bytes, end - (len(made[0]) if end >= len(made[0]) else 0))

    def test_every_changed_byte_is_noticed(self) -> None:
        """
        Or at least nothing wrong is read: a length that grew waits for more bytes.
        """
        data = bytearray(recording(1)[0][0])
        for position in range(len(data)):
            data[position] ^= 1
            reader = Reader()
            try:
                self.assertEqual(reader.feed(bytes(data)), [])
                self.assertFalse(reader.complete)
            except RemoteProtocolError:
                pass
            data[position] ^= 1

    def test_frames_cut_out_swapped_or_of_another_recording(self) -> None:
        """
        Whole, valid frames in the wrong place.
        """
        first, second, third = recording()[0]
        other = Encoder(number=1).frame([Timed(1000, Output(b"forged"))])
        for attack in (first + third, second + third, first + other, first + second + second, first + first):
            self.assertRaises(RemoteProtocolError, Reader().feed, attack)

    def test_nothing_follows_the_end(self) -> None:
        """
        Not even a frame that is chained well.
        """
        encoder = Encoder()
        data = encoder.frame([Timed(0, End({}))], last=True) + encoder.frame([Timed(1, Output(b"more"))])
        self.assertRaises(RemoteProtocolError, Reader().feed, data)

    @settings(max_examples=100, deadline=None)
    @given(st.binary(min_size=HEADER_BYTES, max_size=300))
    def test_garbage_ends_in_one_error(self, data: bytes) -> None:
        """
        Whatever the bytes are.
        """
        self.assertRaises(RemoteProtocolError, Reader().feed, data)

    def test_a_bomb_is_not_unpacked(self) -> None:
        """
        A frame that promises little and holds much.
        """
        import struct

        import zstandard

        from teleport_tw.recordings.container import Header, unpack

        body = zstandard.compress(bytes(64 << 20))
        self.assertRaises(RemoteProtocolError, unpack, Header(0, 0, len(body), 10, 0, 0, b""), body)
        huge = struct.pack(">4sBBHIIIQQ", b"TWRC", 1, 0, 0, 0, 1 << 30, 1, 0, 0) + bytes(32)
        self.assertRaises(RemoteProtocolError, Reader().feed, huge)

    def test_seeking_unpacks_only_what_follows(self) -> None:
        """
        Headers say where a time is.
        """
        made, records = recording(5)
        file = io.BytesIO(b"".join(made) + b"TWRC torn")
        frames = index(file)
        self.assertEqual(len(frames), 5)
        self.assertEqual(read_from(file, frames, 3001), [record for record in records if record.ms >= 3001])

    def test_misuse(self) -> None:
        """
        A frame has records.
        """
        self.assertRaises(LocalProtocolError, Encoder().frame, [])

    def test_a_bomb(self) -> None:
        """
        A frame that unpacks to more than its header says is refused before anything is unpacked; one that does not
        say how much is refused too.
        """
        for packed in (
            zstandard.ZstdCompressor().compress(bytes(64 << 20)),
            zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 << 20)),
        ):
            self.assertLess(len(packed), 10_000)
            head = container._HEADER.pack(container.MAGIC, container.VERSION, 0, 0, 0, len(packed), 100, 0, 0)
            frame = head + container._digest(container.FIRST_DIGEST, head, packed) + packed
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            self.assertRaises(RemoteProtocolError, Reader().feed, frame)
            self.assertLess(tracemalloc.get_traced_memory()[1], 8 << 20)

    def test_deep_json(self) -> None:
        """
        A note that is nested a hundred thousand times is no note, and no reason to fall over.
        """
        body = container._RECORD.pack(4, 0, 100_000) + b"[" * 100_000
        packed = zstandard.ZstdCompressor().compress(body)
        head = container._HEADER.pack(container.MAGIC, container.VERSION, 0, 0, 0, len(packed), len(body), 0, 0)
        frame = head + container._digest(container.FIRST_DIGEST, head, packed) + packed
        self.assertRaises(RemoteProtocolError, Reader().feed, frame)

    def test_frame_by_frame(self) -> None:
        """
        Many frames fed at once are unpacked one after the other, as they are asked for.
        """
        made, records = recording(3)
        reader = Reader()
        reading = reader.read(b"".join(made))
        self.assertEqual(next(reading), records[0])
        self.assertEqual(reader.frames, 1)
        self.assertEqual([records[0], *reading], records)

    def test_verified_without_unpacking(self) -> None:
        """
        What is not looked at is not made: megabytes of nothing cost their few packed bytes. A change is noticed still.
        """
        encoder = Encoder()
        made = [encoder.frame([Timed(0, Output(bytes(4 << 20)))], last=number == 9) for number in range(10)]
        reader = Reader()
        tracemalloc.start()
        try:
            reader.verify(b"".join(made))
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        self.assertLess(most, 1 << 20)
        self.assertEqual((reader.complete, reader.frames, reader.digest), (True, 10, encoder.digest))
        self.assertRaises(RemoteProtocolError, Reader().verify, b"".join(made[1:]))
        reader = Reader()
        reader.verify(made[0][:-1])
        self.assertEqual((reader.frames, reader.torn_bytes), (0, len(made[0]) - 1))
