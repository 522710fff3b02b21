"""
Commands, cut out of a user's bytes.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql.commands import CAPTURE_BYTES, FILE, Commands, Piece
from teleport_tw.protocols.mysql.wire import MAX_PACKET, packets


def pieces(commands: Commands) -> list[Piece]:
    """
    What can be had now.
    """
    return list(iter(commands.next, None))


class CommandTests(SynchronousTestCase):
    """
    Short and long.
    """

    def test_short(self) -> None:
        """
        Comes out whole, one at a time.
        """
        octets = packets(b"\x03select 1", 0)
        commands = Commands(octets)
        commands.feed(octets)
        self.assertEqual(commands.next(), Piece(octets, 3, True, 0, b"select 1", 8))
        self.assertEqual((commands.waiting, commands.between), (len(octets), True))
        piece = commands.next()
        assert piece is not None
        self.assertTrue(piece.whole)
        self.assertIsNone(commands.next())

    def test_every_split(self) -> None:
        """
        The transport cuts where it likes.
        """
        octets = packets(b"\x03select 1", 0) + packets(b"\x0e", 0)
        for cut in range(len(octets) + 1):
            commands = Commands()
            commands.feed(octets[:cut])
            found = pieces(commands)
            commands.feed(octets[cut:])
            found += pieces(commands)
            self.assertEqual([(piece.code, piece.body) for piece in found], [(3, b"select 1"), (14, b"")])

    def test_long(self) -> None:
        """
        Comes out as it arrives; of it is kept the beginning, and nothing else.
        """
        for size in (CAPTURE_BYTES, CAPTURE_BYTES + 1, MAX_PACKET - 2, MAX_PACKET - 1, MAX_PACKET, 3 * MAX_PACKET):
            body = bytes(range(256)) * (size // 256 + 1)
            octets = packets(b"\x03" + body[:size], 0)
            commands, found, kept = Commands(), [], 0
            for start in range(0, len(octets), 65_521):
                commands.feed(octets[start : start + 65_521])
                found += pieces(commands)
                kept = max(kept, commands.waiting)
            self.assertEqual(b"".join(piece.raw for piece in found), octets)
            self.assertEqual([piece.last for piece in found], [False] * (len(found) - 1) + [True])
            last = found[-1]
            self.assertEqual((last.size, last.body), (size, body[: min(size, CAPTURE_BYTES)]))
            self.assertEqual(last.whole, size <= CAPTURE_BYTES)
            self.assertEqual(last.sequence, (size + 1) // MAX_PACKET)
            self.assertLessEqual(kept, CAPTURE_BYTES + 65_521)

    def test_a_long_one_in_drops(self) -> None:
        """
        Its headers may be cut as well.
        """
        octets = packets(b"\x03" + b"x" * MAX_PACKET, 0)
        cut = 4 + MAX_PACKET
        commands = Commands()
        commands.feed(octets[:4])
        self.assertIsNone(commands.next())
        commands.feed(octets[4:cut])
        found = pieces(commands)
        self.assertFalse(commands.between)
        for position in range(cut, len(octets)):
            commands.feed(octets[position : position + 1])
            found += pieces(commands)
        self.assertEqual(b"".join(piece.raw for piece in found), octets)
        self.assertTrue(found[-1].last)

    def test_what_a_client_may_not_send(self) -> None:
        """
        An empty command; a number that is not its turn, in the first packet or in a later one.
        """
        for wrong in (packets(b"", 0), packets(b"\x03", 1), packets(b"\x03", 255)):
            self.assertRaises(RemoteProtocolError, Commands(wrong).next)
        commands = Commands(packets(b"\x03" + bytes(MAX_PACKET - 1), 0)[: 4 + MAX_PACKET] + b"\x01\0\0\x05x")
        self.assertRaises(RemoteProtocolError, pieces, commands)

    @given(st.lists(st.binary(max_size=50), max_size=6), st.booleans())
    def test_garbage(self, octets: list[bytes], file: bool) -> None:
        """
        Ends in one kind of error only.
        """
        commands = Commands()
        if file:
            commands.file(1)
        try:
            for data in octets:
                commands.feed(data)
                for _ in range(10):
                    commands.next()
        except RemoteProtocolError:
            pass


class FileTests(SynchronousTestCase):
    """
    Content that the server asked for.
    """

    def test_content(self) -> None:
        """
        Goes up to an empty packet; what looks like a command in it is none, and what comes behind is one.
        """
        content = [packets(b"1\trow\n", 2), packets(b"\x03drop table t", 3), packets(b"", 4)]
        after = packets(b"\x0e", 0)
        whole = b"".join(content) + after
        for cut in range(len(whole) + 1):
            commands = Commands()
            commands.file(1)
            commands.feed(whole[:cut])
            found = pieces(commands)
            commands.feed(whole[cut:])
            found += pieces(commands)
            self.assertEqual(b"".join(piece.raw for piece in found), whole)
            self.assertEqual({piece.code for piece in found if piece.raw != after}, {FILE})
            self.assertEqual((found[-1].code, found[-1].last), (14, True))
            ends = [piece for piece in found if piece.code == FILE and piece.last]
            self.assertEqual([piece.sequence for piece in ends], [4])

    def test_content_in_long_packets(self) -> None:
        """
        The empty packet that ends a long one does not end the file.
        """
        whole = packets(bytes(MAX_PACKET), 2) + packets(b"x", 4) + packets(b"", 5)
        commands = Commands()
        commands.file(1)
        commands.feed(whole)
        found = pieces(commands)
        self.assertEqual(b"".join(piece.raw for piece in found), whole)
        self.assertEqual([piece.last for piece in found], [False, False, True])

    def test_numbers_go_on(self) -> None:
        """
        A command in place of content is out of order, and content after the end as well.
        """
        commands = Commands()
        commands.file(255)
        commands.feed(packets(b"x", 0) + packets(b"\x0e", 0))
        self.assertIsNotNone(commands.next())
        self.assertRaises(RemoteProtocolError, commands.next)
