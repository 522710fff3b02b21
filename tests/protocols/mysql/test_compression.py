"""
Compressed packets, of both kinds.
"""

from __future__ import annotations

import zlib

import zstandard
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql.compression import CHUNK, READ_BYTES, Unwrapper, Wrapper
from teleport_tw.protocols.mysql.errors import Errno

KINDS = ("zlib", "zstd")


def drained(unwrapper: Unwrapper) -> bytes:
    """
    All that can be had now.
    """
    return b"".join(iter(unwrapper.read, b""))


def packet(wrapped: bytes, size: int) -> bytes:
    """
    With a header that may lie.
    """
    return len(wrapped).to_bytes(3, "little") + b"\0" + size.to_bytes(3, "little") + wrapped


class CompressionTests(SynchronousTestCase):
    """
    Both ways, and lies.
    """

    def test_layout(self) -> None:
        """
        A packet that is worth it, and one that is not.
        """
        query = b"\x2e\0\0\0\x03select '" + b"012345678901234567890123456789012345'"
        for kind in KINDS:
            self.assertEqual(drained(Unwrapper(kind, packet(b"\x05\0\0\0\x03do 1", 0))), b"\x05\0\0\0\x03do 1")
        self.assertEqual(drained(Unwrapper("zlib", packet(zlib.compress(query), len(query)))), query)

    @given(
        st.sampled_from(KINDS),
        st.lists(st.one_of(st.binary(max_size=200), st.integers(0, 300_000).map(bytes)), max_size=5),
        st.lists(st.integers(1, 500), max_size=20),
    )
    def test_round_trip(self, kind: str, sent: list[bytes], cuts: list[int]) -> None:
        """
        Whatever the cuts.
        """
        wrapper, unwrapper = Wrapper(kind), Unwrapper(kind)
        stream = b"".join(map(wrapper.wrap, sent))
        got, position = b"", 0
        for cut in (*cuts, len(stream)):
            unwrapper.feed(stream[position : position + cut])
            got += drained(unwrapper)
            position += cut
        self.assertEqual((got, unwrapper.waiting), (b"".join(sent), 0))

    def test_numbers(self) -> None:
        """
        Each packet has the next one.
        """
        wrapper, unwrapper = Wrapper("zlib"), Unwrapper("zlib")
        wrapper.sequence = 254
        unwrapper.feed(wrapper.wrap(bytes(3 * CHUNK)))
        self.assertEqual(wrapper.sequence, 1)
        self.assertEqual(len(drained(unwrapper)), 3 * CHUNK)
        self.assertEqual(unwrapper.sequence, 0)

    def test_what_does_not_shrink(self) -> None:
        """
        Goes as it is.
        """
        short, noise = b"x" * 49, zlib.compress(bytes(range(256)) * 3)
        for kind in KINDS:
            self.assertEqual(Wrapper(kind, 99).wrap(short), packet(short, 0))
        self.assertEqual(Wrapper("zlib").wrap(noise[:60])[4:7], b"\0\0\0")

    def test_a_few_bytes_for_many(self) -> None:
        """
        Come out in pieces, and never more than was said.
        """
        size = 0xFFFFFF
        unwrapper = Unwrapper("zlib", packet(zlib.compress(bytes(size)), size))
        pieces = list(iter(unwrapper.read, b""))
        self.assertEqual(sum(map(len, pieces)), size)
        self.assertEqual(max(map(len, pieces)), READ_BYTES)
        for kind, wrapped in (("zlib", zlib.compress(bytes(1 << 24))), ("zstd", zstandard.compress(bytes(1 << 24)))):
            self.assertRaises(RemoteProtocolError, drained, Unwrapper(kind, packet(wrapped, 100)))

    def test_lies(self) -> None:
        """
        Too long, too short, cut off, something behind, no compression at all.
        """
        for kind, wrapped in (("zlib", zlib.compress(bytes(500))), ("zstd", zstandard.compress(bytes(500)))):
            for wrong in (
                packet(wrapped, 499),
                packet(wrapped, 501),
                packet(wrapped[:-3], 500),
                packet(wrapped + b"x", 500),
                packet(b"", 500),
                packet(b"garbage" * 10, 500),
            ):
                with self.assertRaises(RemoteProtocolError) as caught:
                    drained(Unwrapper(kind, wrong))
                self.assertEqual(caught.exception.code, Errno.UNCOMPRESS_ERROR)

    @given(st.sampled_from(KINDS), st.lists(st.binary(max_size=60), max_size=5))
    def test_garbage(self, kind: str, octets: list[bytes]) -> None:
        """
        Ends in one kind of error only.
        """
        unwrapper = Unwrapper(kind)
        try:
            for data in octets:
                unwrapper.feed(data)
                drained(unwrapper)
        except RemoteProtocolError:
            pass
