"""
PROXY headers of the specification's examples, by hand and at random, however they are cut.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.proxyheader.header import (
    MAX_LINE_BYTES,
    MAX_V2_BYTES,
    SIGNATURE,
    Header,
    Source,
    begins,
    encode,
    parse,
)

# The worst case that section 2.1 of the specification gives for TCP over IPv6, and its example for IPv4.
LINES = (
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Source(host="255.255.255.255", port=65535)),
    (
        b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".replace(
            b"f...f", b"ffff:ffff:ffff:ffff:ffff:ffff"
        ),
        Source(host="ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", port=65535),
    ),
    (b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n", Source(host="192.168.0.1", port=56324)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", Source(host="192.0.2.7", port=1)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 ::1 65535 65535\r\n", None),
)


def binary(body: bytes, *, version: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    """A header of version 2."""
    size = len(body) if length is None else length
    return SIGNATURE + bytes((version, kind)) + size.to_bytes(2, "big") + body


def body(source: str, port: int, extensions: bytes = b"") -> bytes:
    """Addresses of one family, ports, and what follows."""
    kind = IPv6Address if ":" in source else IPv4Address
    ports = port.to_bytes(2, "big") + b"\x01\xbb"
    return kind(source).packed + kind("::1" if ":" in source else "127.0.0.1").packed + ports + extensions


class ReadingTests(SynchronousTestCase):
    """
    What proper headers say.
    """

    def test_lines(self) -> None:
        """Version 1; what follows the line is left alone."""
        for line, source in LINES:
            self.assertEqual(parse(line), Header(size=len(line), source=source))
            self.assertEqual(parse(line + b"PROXY TCP4 "), Header(size=len(line), source=source))

    def test_binary(self) -> None:
        """Version 2, with and without extensions."""
        extension = b"\x04\0\3abc"
        for kind, host in ((0x11, "192.0.2.7"), (0x21, "2001:db8::7")):
            for rest in (b"", extension, extension * 2, b"\4\0\0"):
                data = binary(body(host, 5000, rest), kind=kind)
                self.assertEqual(parse(data + b"\x16\3\1"), Header(size=len(data), source=Source(host=host, port=5000)))
        data = binary(body("::ffff:192.0.2.7", 9), kind=0x21)
        self.assertEqual(parse(data), Header(size=28 + 24, source=Source(host="192.0.2.7", port=9)))

    def test_nobody_is_named(self) -> None:
        """A balancer's own connection, and families that are no TCP: the header goes, and nobody is told."""
        for data in (
            binary(b"", version=0x20, kind=0),
            binary(body("192.0.2.7", 1), version=0x20),
            binary(b"", kind=0x00),
            binary(bytes(216), kind=0x31),
            binary(body("192.0.2.7", 1), kind=0x12),
        ):
            self.assertEqual(parse(data), Header(size=len(data)))

    def test_every_split(self) -> None:
        """However little has come: more is needed, until all is there."""
        for data in (*(line for line, _ in LINES), binary(body("2001:db8::7", 5, b"\4\0\1x"), kind=0x21)):
            for cut in range(len(data)):
                self.assertIsNone(parse(data[:cut]))
            self.assertIsNotNone(parse(data))

    def test_beginnings(self) -> None:
        """Both versions are known by their first bytes."""
        for data in (b"PROXY ", SIGNATURE, b"PROXY TCP4 "):
            self.assertIs(begins(data), True)
        for data in (b"", b"P", b"\r\n\r\n", SIGNATURE[:-1]):
            self.assertIsNone(begins(data))
        for data in (b"\x16\3\1", b"SSH-2.0-x", b"PUT / ", b"proxy ", b"\r\n\r\nX"):
            self.assertIs(begins(data), False)


class RefusalsTests(SynchronousTestCase):
    """
    What is no header.
    """

    def test_lines(self) -> None:
        """Wrong words, addresses of the other family, ports that are none, and lines without end."""
        for line in (
            b"PROXY \r\n",
            b"PROXY TCP5 192.0.2.7 192.0.2.8 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2 3\r\n",
            b"PROXY TCP4  192.0.2.7 192.0.2.8 1 2\r\n",
            b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
            b"PROXY TCP6 192.0.2.7 192.0.2.8 1 2\r\n",
            b"PROXY TCP4 192.0.2.300 192.0.2.8 1 2\r\n",
            b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
            b"PROXY TCP4 \xff\xff 192.0.2.8 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 65536 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 -2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 01 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 1 \n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 \xb2 2\r\n",
            b"PROXY UNKNOWN " + b"x" * MAX_LINE_BYTES + b"\r\n",
        ):
            if line.endswith(b"\r\n"):
                self.assertRaises(RemoteProtocolError, parse, line)
            else:
                self.assertIsNone(parse(line))
                self.assertRaises(RemoteProtocolError, parse, line + bytes(MAX_LINE_BYTES))

    def test_binary(self) -> None:
        """Other versions and commands, addresses and extensions that do not fit, and headers over the bound."""
        whole = body("192.0.2.7", 1)
        for data in (
            binary(whole, version=0x11),
            binary(whole, version=0x31),
            binary(whole, version=0x22),
            binary(whole[:-1]),
            binary(whole, kind=0x21),
            binary(whole + b"\4"),
            binary(whole + b"\4\0"),
            binary(whole + b"\4\0\2x"),
            binary(b"", length=MAX_V2_BYTES - 15),
        ):
            self.assertRaises(RemoteProtocolError, parse, data)
        self.assertIsNone(parse(binary(b"", length=MAX_V2_BYTES - 16)))

    def test_other_protocols(self) -> None:
        """Whoever speaks without a header is told so."""
        for data in (b"\x16\3\1\2\0", b"SSH-2.0-OpenSSH_9.2\r\n", b"GET / HTTP/1.1\r\n"):
            with self.assertRaisesRegex(RemoteProtocolError, "does not begin"):
                parse(data)


class RandomTests(SynchronousTestCase):
    """
    At random.
    """

    @given(st.ip_addresses(), st.integers(0, 65535), st.binary(max_size=40), st.booleans())
    def test_round_trips(self, address: IPv4Address | IPv6Address, port: int, rest: bytes, text: bool) -> None:
        """Any address is read back, whatever follows the header."""
        host = str(address)
        if text:
            other = "::1" if ":" in host else "127.0.0.1"
            data = f"PROXY TCP{address.version} {host} {other} {port} 443\r\n".encode()
        else:
            data = binary(body(host, port), kind=0x21 if ":" in host else 0x11)
        read = parse(data + rest)
        assert read is not None
        assert read.source is not None
        self.assertEqual((read.size, read.source.port), (len(data), port))
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        self.assertEqual(read.source.host, str(mapped or address))

    @given(st.sampled_from((b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 ", SIGNATURE, SIGNATURE + b"\x21\x11")), st.binary())
    def test_garbage(self, start: bytes, rest: bytes) -> None:
        """Garbage asks for more within the bound, or ends in one kind of error."""
        data = start + rest
        try:
            read = parse(data)
        except RemoteProtocolError:
            return
        if read is None:
            self.assertLess(len(data), MAX_V2_BYTES)
        else:
            self.assertLessEqual(read.size, len(data))


class Encoding(SynchronousTestCase):
    """
    What we write ourselves.
    """

    def test_round_trip(self) -> None:
        """A reader gets the address and port, and the header's size."""
        for host in ("192.0.2.9", "2001:db8::1"):
            written = encode(Source(host=host, port=4000))
            self.assertEqual(parse(written + b"more"), Header(size=len(written), source=Source(host=host, port=4000)))
