"""
The field types of RFC 4251, both ways, and everything that is not one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.ssh import wire
from teleport_tw.protocols.ssh.wire import Reader

MPINTS = (
    # RFC 4251, section 5
    (0, "00000000"),
    (0x9A378F9B2E332A7, "0000000809a378f9b2e332a7"),
    (0x80, "000000020080"),
    (-0x1234, "00000002edcc"),
    (-0xDEADBEEF, "00000005ff21524111"),
)


class VectorsTests(SynchronousTestCase):
    """
    The examples of RFC 4251.
    """

    def test_mpint(self) -> None:
        """An mpint takes as few bytes as it can."""
        for value, octets in MPINTS:
            self.assertEqual(wire.put_mpint(value).hex(), octets)
            self.assertEqual(Reader(bytes.fromhex(octets)).mpint(), value)

    def test_mpint_needless_bytes(self) -> None:
        """An mpint with a leading byte that says nothing is refused: one value has one encoding."""
        for octets in ("0000000100", "000000020012", "00000002ff80", "00000002ffff"):
            self.assertRaises(RemoteProtocolError, Reader(bytes.fromhex(octets)).mpint)
        self.assertEqual(Reader(bytes.fromhex("00000001ff")).mpint(), -1)

    def test_namelist(self) -> None:
        """A name-list is one string; an empty one has no names."""
        self.assertEqual(wire.put_namelist(["zlib", "none"]).hex(), "000000097a6c69622c6e6f6e65")
        self.assertEqual(Reader(bytes.fromhex("000000097a6c69622c6e6f6e65")).namelist(), ("zlib", "none"))
        self.assertEqual(Reader(wire.put_namelist([])).namelist(), ())
        for octets in (b",", b"a,,b", b"\xff", b"a,"):
            self.assertRaises(RemoteProtocolError, Reader(wire.put_string(octets)).namelist)
        for name in ("", "a,b", "ä"):
            self.assertRaises(LocalProtocolError, wire.put_namelist, [name])

    def test_small_fields(self) -> None:
        """Bytes, booleans and integers."""
        reader = Reader(b"\x07\x00\x01\x02\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06rest")
        self.assertEqual((reader.byte(), reader.boolean(), reader.boolean(), reader.boolean()), (7, False, True, True))
        self.assertEqual((reader.uint32(), reader.uint64(), reader.offset, reader.remaining), (5, 6, 16, 4))
        self.assertRaises(RemoteProtocolError, reader.end)
        self.assertEqual(reader.rest(), b"rest")
        reader.end()

    def test_text(self) -> None:
        """Text is UTF-8 or an error."""
        self.assertEqual(Reader(wire.put_text("Käthe")).text(), "Käthe")
        self.assertRaises(RemoteProtocolError, Reader(wire.put_string(b"\xff")).text)

    def test_what_does_not_fit(self) -> None:
        """Our own numbers that are too large or negative are our own mistake."""
        for put, largest in ((wire.put_byte, 255), (wire.put_uint32, 2**32 - 1), (wire.put_uint64, 2**64 - 1)):
            put(largest)
            self.assertRaises(LocalProtocolError, put, largest + 1)
            self.assertRaises(LocalProtocolError, put, -1)


READS: dict[str, Callable[[Reader], Any]] = {
    name: getattr(Reader, name)
    for name in ("byte", "boolean", "uint32", "uint64", "string", "text", "mpint", "namelist")
}


class PropertiesTests(SynchronousTestCase):
    """
    What holds for any value.
    """

    @given(st.integers(min_value=-(2**300), max_value=2**300))
    def test_mpint_round_trip(self, value: int) -> None:
        """What was written is read."""
        self.assertEqual(Reader(wire.put_mpint(value)).mpint(), value)

    @given(st.binary(max_size=40), st.sampled_from(sorted(READS)))
    def test_garbage(self, data: bytes, name: str) -> None:
        """Any bytes are a field or a RemoteProtocolError, never past the end."""
        reader = Reader(data)
        with contextlib.suppress(RemoteProtocolError):
            READS[name](reader)
        self.assertLessEqual(reader.offset, len(data))

    def test_every_cut(self) -> None:
        """A field that lacks its last bytes is refused at every length."""
        for put, name in (
            (wire.put_byte(1), "byte"),
            (wire.put_boolean(False), "boolean"),
            (wire.put_uint32(1), "uint32"),
            (wire.put_uint64(1), "uint64"),
            (wire.put_string(b"abc"), "string"),
            (wire.put_mpint(2**64), "mpint"),
            (wire.put_namelist(["a", "b"]), "namelist"),
        ):
            for cut in range(len(put)):
                self.assertRaises(RemoteProtocolError, READS[name], Reader(put[:cut]))
