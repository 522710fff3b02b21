"""
yamux frames: layouts, splits, and what is not taken.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mux.messages import Data, Flag, GoAway, GoAwayCode, Message, Ping, WindowUpdate
from teleport_tw.protocols.mux.wire import HEADER_BYTES, Decoder, encode, header

# Written by hand from the layout in spec.md: version, type, flags, stream id, length, all big-endian.
VECTORS: list[tuple[Message, str]] = [
    (Data(1, b"hi", 0), "00 00 0000 00000001 00000002 6869"),
    (Data(1, b"", Flag.SYN), "00 00 0001 00000001 00000000"),
    (Data(0xFFFFFFFF, b"x", Flag.ACK | Flag.FIN), "00 00 0006 ffffffff 00000001 78"),
    (WindowUpdate(2, 0x40000, 0), "00 01 0000 00000002 00040000"),
    (WindowUpdate(3, 0, Flag.SYN), "00 01 0001 00000003 00000000"),
    (WindowUpdate(3, 0, Flag.RST), "00 01 0008 00000003 00000000"),
    (Ping(7), "00 02 0001 00000000 00000007"),
    (Ping(0xDEADBEEF, is_answer=True), "00 02 0002 00000000 deadbeef"),
    (GoAway(GoAwayCode.NORMAL), "00 03 0000 00000000 00000000"),
    (GoAway(GoAwayCode.INTERNAL_ERROR), "00 03 0000 00000000 00000002"),
]

ids = st.integers(1, 2**32 - 1)
words = st.integers(0, 2**32 - 1)
flags = st.integers(0, 15)
messages = st.one_of(
    st.builds(Data, ids, st.binary(max_size=200), flags),
    st.builds(WindowUpdate, ids, words, flags),
    st.builds(Ping, words, st.booleans()),
    st.builds(GoAway, words),
)


def joined(pieces: list[Message]) -> list[Message]:
    """
    Put the pieces of data frames together again; a piece goes on where the one before did not end its frame.
    """
    whole: list[Message] = []
    for piece in pieces:
        last = whole[-1] if whole else None
        if isinstance(piece, Data) and isinstance(last, Data) and last.stream_id == piece.stream_id:
            whole[-1] = Data(piece.stream_id, last.payload + piece.payload, last.flags | piece.flags)
        else:
            whole.append(piece)
    return whole


class FrameTests(SynchronousTestCase):
    """
    Whole frames, both ways.
    """

    def test_vectors(self) -> None:
        for message, text in VECTORS:
            octets = bytes.fromhex(text)
            self.assertEqual(encode(message), octets)
            self.assertEqual(Decoder().feed(octets), [message])

    @given(st.lists(messages, max_size=8))
    def test_round_trip(self, sent: list[Message]) -> None:
        self.assertEqual(Decoder().feed(b"".join(map(encode, sent))), sent)

    def test_unknown_flags_are_left_alone(self) -> None:
        self.assertEqual(Decoder().feed(header(1, 0xFFF1, 5, 9)), [WindowUpdate(5, 9, Flag.SYN)])

    def test_a_payload_that_is_the_whole_read_is_not_copied(self) -> None:
        decoder = Decoder()
        self.assertEqual(decoder.feed(header(0, 0, 1, 1000)), [])
        payload = bytes(1000)
        [piece] = decoder.feed(payload)
        assert isinstance(piece, Data)
        self.assertIs(piece.payload, payload)


class SplitTests(SynchronousTestCase):
    """
    The transport cuts where it likes.
    """

    whole = b"".join(bytes.fromhex(text) for _, text in VECTORS)

    def test_every_split_in_two(self) -> None:
        for cut in range(len(self.whole) + 1):
            decoder = Decoder()
            got = decoder.feed(self.whole[:cut]) + decoder.feed(self.whole[cut:])
            self.assertEqual(joined(got), joined([message for message, _ in VECTORS]), cut)

    def test_byte_by_byte(self) -> None:
        decoder = Decoder()
        got = [message for octet in self.whole for message in decoder.feed(bytes([octet]))]
        self.assertEqual(joined(got), joined([message for message, _ in VECTORS]))

    @given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.lists(st.integers(1, 60), max_size=40))
    def test_any_splits(self, payloads: list[bytes], cuts: list[int]) -> None:
        stream = b"".join(encode(Data(number, payload, 15)) for number, payload in enumerate(payloads, 1))
        decoder, got, position = Decoder(), [], 0
        for cut in cuts:
            got += decoder.feed(stream[position : position + cut])
            position += cut
        got += decoder.feed(stream[position:])
        self.assertEqual(joined(got), [Data(number, payload, 15) for number, payload in enumerate(payloads, 1)])

    def test_the_first_piece_opens_and_the_last_one_ends(self) -> None:
        decoder = Decoder()
        frame = encode(Data(1, b"abcdef", 15))
        self.assertEqual(decoder.feed(frame[:-4]), [Data(1, b"ab", Flag.SYN | Flag.ACK)])
        self.assertEqual(decoder.feed(frame[-4:-1]), [Data(1, b"cde", 0)])
        self.assertEqual(decoder.feed(frame[-1:]), [Data(1, b"f", Flag.FIN | Flag.RST)])

    def test_what_is_kept_is_less_than_a_header(self) -> None:
        decoder = Decoder()
        decoder.feed(header(0, 0, 1, 2**20))
        decoder.feed(bytes(2**20 - 1))
        decoder.feed(bytes(12))
        self.assertEqual(len(decoder._header), HEADER_BYTES - 1)


class RefusalTests(SynchronousTestCase):
    """
    What is no yamux ends in L{RemoteProtocolError}.
    """

    def test_wrong_headers(self) -> None:
        for octets in (
            bytes([1]) + header(0, 0, 1, 0)[1:],
            header(4, 0, 1, 0),
            header(255, 0, 0, 0),
            header(0, 0, 0, 1),
            header(1, 1, 0, 1),
            header(2, 1, 1, 1),
            header(3, 0, 1, 0),
            header(0, 0, 1, 2**32 - 1),
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
        ):
            with self.assertRaises(RemoteProtocolError) as caught:
                Decoder().feed(octets)
            self.assertEqual(caught.exception.code, GoAwayCode.PROTOCOL_ERROR)

    def test_the_longest_payload(self) -> None:
        Decoder(100).feed(header(0, 0, 1, 100))
        with self.assertRaises(RemoteProtocolError):
            Decoder(100).feed(header(0, 0, 1, 101))

    @given(st.lists(st.binary(max_size=100), max_size=10))
    def test_garbage(self, pieces: list[bytes]) -> None:
        decoder = Decoder()
        try:
            for piece in pieces:
                decoder.feed(piece)
        except RemoteProtocolError:
            pass
