"""
Fields and packets.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.mysql import wire
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.wire import MAX_PACKET, Fields, Packets


class FieldTests(SynchronousTestCase):
    """
    Each kind of field, both ways where we write it.
    """

    def test_lengths(self) -> None:
        """
        From the specification: one, three, four or nine bytes.
        """
        for value, octets in [
            (0, "00"),
            (250, "fa"),
            (251, "fcfb00"),
            (0xFFFF, "fcffff"),
            (0x10000, "fd000001"),
            (0xFFFFFF, "fdffffff"),
            (0x1000000, "fe0000000100000000"),
        ]:
            self.assertEqual(wire.length(value).hex(), octets)
            self.assertEqual(Fields(bytes.fromhex(octets)).length(), value)

    @given(st.binary(max_size=300), st.binary(max_size=5))
    def test_strings(self, value: bytes, behind: bytes) -> None:
        """
        What is written is read, and no more.
        """
        fields = Fields(wire.string(value) + behind)
        self.assertEqual((fields.string(), fields.rest(), len(fields)), (value, behind, 0))

    def test_nul(self) -> None:
        """
        A string ends there, or, where that is allowed, at the end.
        """
        fields = Fields(b"ab\0cd\0ef")
        self.assertEqual((fields.until_nul(), fields.rest_until_nul()), (b"ab", b"cd"))
        self.assertEqual((fields.peek(), fields.rest_until_nul(), fields.peek()), (ord("e"), b"ef", -1))

    def test_never_past_the_end(self) -> None:
        """
        Nor is NULL or an error's mark a length.
        """
        for octets in (b"", b"\xfb", b"\xff", b"\xfc\0", b"\xfd\0\0", b"\xfe\0\0", b"\x05abcd"):
            with self.assertRaises(RemoteProtocolError) as caught:
                Fields(octets).string()
            self.assertEqual(caught.exception.code, Errno.MALFORMED_PACKET)
        self.assertRaises(RemoteProtocolError, Fields(b"abc").until_nul)


class PacketTests(SynchronousTestCase):
    """
    Headers, continuation, splits.
    """

    def test_long_payloads(self) -> None:
        """
        Go in several packets, the last of them shorter than the others.
        """
        self.assertEqual(wire.packets(b"ab", 3), b"\x02\0\0\x03ab")
        for size, sizes in [
            (MAX_PACKET - 1, [MAX_PACKET - 1]),
            (MAX_PACKET, [MAX_PACKET, 0]),
            (MAX_PACKET + 5, [MAX_PACKET, 5]),
        ]:
            octets = wire.packets(bytes(size), 255)
            position, found = 0, []
            while position < len(octets):
                found.append(int.from_bytes(octets[position : position + 3], "little"))
                self.assertEqual(octets[position + 3], (255 + len(found) - 1) & 0xFF)
                position += 4 + found[-1]
            self.assertEqual(found, sizes)

    @given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(1, 20), max_size=30), st.integers(0, 255))
    def test_any_splits(self, payloads: list[bytes], cuts: list[int], first: int) -> None:
        """
        The transport cuts where it likes.
        """
        writer, reader = Packets(first), Packets(first)
        stream = b"".join(map(writer.encode, payloads))
        got, position = [], 0
        for cut in (*cuts, len(stream)):
            got += list(reader.feed(stream[position : position + cut]))
            position += cut
        self.assertEqual((got, reader.rest), (payloads, b""))

    def test_out_of_order_or_too_long(self) -> None:
        """
        Neither belongs into a login.
        """
        with self.assertRaises(RemoteProtocolError) as caught:
            list(Packets().feed(b"\x01\0\0\x01a"))
        self.assertEqual(caught.exception.code, Errno.PACKETS_OUT_OF_ORDER)
        with self.assertRaises(RemoteProtocolError) as caught:
            list(Packets().feed(b"\xff\xff\xff\0"))
        self.assertEqual(caught.exception.code, Errno.PACKET_TOO_LARGE)
        self.assertRaises(LocalProtocolError, Packets(limit=3).encode, b"abcd")
