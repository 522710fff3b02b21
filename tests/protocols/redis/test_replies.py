"""
Where replies begin and end, and what becomes of them.
"""

from __future__ import annotations

import contextlib

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.redis.messages import Value
from teleport_tw.protocols.redis.replies import HEAD_BYTES, MAX_LINE_BYTES, Walker
from teleport_tw.protocols.redis.wire import MAX_DEPTH, encode
from tests.protocols.redis.test_wire import STREAMED, VECTORS, values

BAD = [
    b"\r\n" * 40,
    b"x\r\n" + b" " * 100,
    b"$-2\r\n" + b" " * 100,
    b"*x\r\n" + b" " * 100,
    b":1\n" + b" " * 100,
    b":x\r\n" + b" " * 100,
    b":" + b"1" * (MAX_LINE_BYTES + 1),
    b".\r\n" + b" " * 100,
    b"*?\r\n.x\r\n" + b" " * 100,
    b"$?\r\n+OK\r\n" + b" " * 100,
    b"$?\r\n$1\r\n" + b" " * 100,
    b";1\r\n" + b" " * 100,
    b"*1\r\n" * (MAX_DEPTH + 1),
]


@define
class _Judge:
    """
    Drops what begins with one of C{drops}; says C{says} behind it.
    """

    drops: tuple[bytes, ...] = ()
    says: bytes = b""
    copies: bool = False
    heads: list[bytes] = field(factory=list)
    ends: list[tuple[bytes, int]] = field(factory=list)

    def is_raw(self, first: int) -> bool:
        return self.copies

    def is_plain(self, first: int) -> bool:
        return False

    def begins(self, head: bytes) -> bool:
        self.heads.append(head[:HEAD_BYTES])
        return not head.startswith(self.drops)

    def ended(self, head: bytes, integer: int) -> bytes:
        self.ends.append((head, integer))
        return self.says if self.drops and head.startswith(self.drops) else b""


def walk(octets: bytes, size: int, judge: _Judge) -> bytes:
    """
    @return: what passes.
    """
    walker = Walker(judge)
    size = size or len(octets) or 1
    return b"".join(
        piece for start in range(0, len(octets), size) for piece in walker.feed(octets[start : start + size])
    )


class WalkerTests(SynchronousTestCase):
    """
    Whole and in pieces.
    """

    @given(st.lists(values, max_size=5), st.integers(0, 40))
    def test_any(self, sent: list[Value], size: int) -> None:
        """
        Everything passes as it came, and each reply is seen once.
        """
        judge = _Judge()
        octets = [encode(value) for value in sent]
        self.assertEqual(walk(b"".join(octets), size, judge), b"".join(octets))
        self.assertEqual(judge.heads, [each[:HEAD_BYTES] for each in octets])
        self.assertEqual(len(judge.ends), len(octets))

    @given(st.lists(values, min_size=1, max_size=5), st.integers(0, 40), st.data())
    def test_drop(self, sent: list[Value], size: int, data: st.DataObject) -> None:
        """
        One of them is dropped, or has other words in its place.
        """
        octets = [encode(value) for value in sent]
        chosen = data.draw(st.sampled_from(octets))[:HEAD_BYTES]
        for says in (b"", b"-ERR no\r\n"):
            judge = _Judge((chosen,), says)
            kept = b"".join(says if each.startswith(chosen) else each for each in octets)
            self.assertEqual(walk(b"".join(octets), size, judge), kept)

    def test_vectors(self) -> None:
        """
        All types, streamed ones among them, whole and in pieces of every size.
        """
        for _, octets in VECTORS + STREAMED:
            for size in range(len(octets) + 1):
                judge = _Judge()
                self.assertEqual(walk(octets * 2, size, judge), octets * 2, octets)
                self.assertEqual(len(judge.ends), 2, octets)

    def test_long(self) -> None:
        """
        A long string passes in the pieces that arrive; a long text too; only a head is held back.
        """
        for octets in (b"$100000\r\n" + b"x" * 100_000 + b"\r\n", b"+" + b"x" * 100_000 + b"\r\n"):
            for drops in ((), (octets[:3],)):
                judge = _Judge(drops)
                walker = Walker(judge)
                self.assertEqual(walker.feed(octets[:10]), [])
                self.assertTrue(walker.is_idle)
                first = b"".join(walker.feed(octets[10:500]))
                self.assertEqual(first, b"" if drops else octets[:500])
                self.assertFalse(walker.is_idle)
                rest = b"".join(walker.feed(octets[500:-1]) + walker.feed(octets[-1:] + b":7\r\n"))
                self.assertEqual(rest, b":7\r\n" if drops else octets[500:] + b":7\r\n")
                self.assertEqual([head[:HEAD_BYTES] for head, _ in judge.ends], [octets[:HEAD_BYTES], b":7\r\n"])

    def test_a_carriage_return_in_text(self) -> None:
        """
        It ends nothing alone, wherever the pieces are cut.
        """
        octets = b"+" + b"a\r" * 60 + b"\r\n:1\r\n"
        for size in range(1, len(octets)):
            judge = _Judge()
            self.assertEqual(walk(octets, size, judge), octets)
            self.assertEqual(len(judge.ends), 2)

    def test_whole_errors_are_told(self) -> None:
        """
        As much of them as is useful.
        """
        judge = _Judge()
        octets = b"-ERR " + b"x" * 200 + b"\r\n"
        walk(octets, 0, judge)
        self.assertEqual(judge.ends, [(octets, 0)])

    def test_the_last_number(self) -> None:
        """
        Of a confirmation: how many channels there are now.
        """
        judge = _Judge()
        walk(b"*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:42\r\n", 0, judge)
        self.assertEqual(judge.ends[0][1], 42)

    def test_raw(self) -> None:
        """
        What is no RESP passes unread.
        """
        self.assertEqual(walk(b"\n\n$5\r\nREDIS...", 3, _Judge(copies=True)), b"\n\n$5\r\nREDIS...")

    def test_bad(self) -> None:
        """
        What is no RESP otherwise.
        """
        for octets in BAD:
            for size in (0, 1):
                with self.assertRaises(RemoteProtocolError, msg=octets[:30]):
                    walk(octets, size, _Judge())

    @given(st.binary(max_size=200), st.integers(0, 10))
    def test_garbage(self, octets: bytes, size: int) -> None:
        """
        Anything passes, waits, or is refused.
        """
        with contextlib.suppress(RemoteProtocolError):
            walk(octets, size, _Judge())
