"""
Bytes counted, kept and sent again: whatever the network does, each comes once and in order.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.web.window import PIECE_BYTES, Incoming, Outgoing

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.binary(min_size=1, max_size=40)),
        st.tuples(st.just("take"), st.integers(1, 3)),
        st.tuples(st.just("ack"), st.integers(0, 40)),
        st.tuples(st.just("lose"), st.booleans()),
    ),
    max_size=60,
)


class OutgoingTests(SynchronousTestCase):
    """
    To the page.
    """

    @given(STEPS)
    def test_everything_once(self, steps: list[tuple[str, object]]) -> None:
        """The page has every byte, once, in order; never more than the window is on its way."""
        out, written, shown = Outgoing(window=64), b"", b""
        for what, how in steps:
            if what == "push" and isinstance(how, bytes):
                out.push(how)
                written += how
            elif what == "take" and isinstance(how, int):
                for _ in range(how):
                    if (piece := out.take()) is not None:
                        self.assertEqual(piece[0], len(shown))
                        shown += piece[1]
            elif what == "ack" and isinstance(how, int):
                out.acknowledged(min(out.told + how, out.sent))
            elif how:  # what was on its way is lost
                shown = shown[: out.told]
                out.again()
            else:  # it had arrived, and nobody could tell
                out.acknowledged(len(shown))
                out.again()
            self.assertLessEqual(out.sent - out.told, 64)
            self.assertEqual(out.sent, len(shown))
            self.assertEqual(out.full, len(written) - out.told >= 64)
            self.assertEqual(out.empty, len(shown) == len(written))
        while not out.empty:
            piece = out.take()
            if piece is None:
                out.acknowledged(out.sent)
            else:
                shown += piece[1]
        self.assertEqual(shown, written)

    def test_pieces(self) -> None:
        """However much is written at once, a message holds a bounded piece."""
        out = Outgoing()
        out.push(bytes(3 * PIECE_BYTES))
        first = out.take()
        self.assertEqual(first and len(first[1]), PIECE_BYTES)

    def test_more_than_was_sent(self) -> None:
        """A page that has seen what was never sent is no page of ours."""
        out = Outgoing()
        out.push(b"abc")
        self.assertRaises(RemoteProtocolError, out.acknowledged, 1)

    def test_less_than_before(self) -> None:
        """What was told once stays told."""
        out = Outgoing()
        out.push(b"abc")
        out.take()
        out.acknowledged(3)
        out.acknowledged(1)
        self.assertEqual(out.told, 3)


class IncomingTests(SynchronousTestCase):
    """
    From the page.
    """

    @given(st.binary(max_size=80), st.lists(st.tuples(st.integers(0, 80), st.integers(0, 40)), max_size=30))
    def test_once(self, typed: bytes, sent: list[tuple[int, int]]) -> None:
        """Sent again, overlapping, in any cuts: each byte is taken once."""
        into, taken = Incoming(), b""
        for start, size in sent:
            piece = typed[start : start + size]
            if start > len(taken):
                if piece:
                    self.assertRaises(RemoteProtocolError, into.take, start, piece)
            else:
                taken += into.take(start, piece)
            self.assertEqual(taken, typed[: len(taken)])

    def test_too_much(self) -> None:
        """What the server has not taken is bounded."""
        into = Incoming(window=4)
        self.assertEqual(into.take(0, b"abcd"), b"abcd")
        self.assertRaises(RemoteProtocolError, into.take, 4, b"e")
