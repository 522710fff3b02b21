"""
ClientHello by OpenSSL and by hand, however it is cut.
"""

from __future__ import annotations

import contextlib
import ssl

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.tls import hello
from teleport_tw.protocols.tls.hello import Guess


def from_openssl(name: str | None = "node.Example.com", alpn: tuple[str, ...] = ("teleport-proxy-ssh", "h2")) -> bytes:
    """What the stdlib's ssl sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # some builds offer older ones as well
    if alpn:
        context.set_alpn_protocols(list(alpn))
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def vector(data: bytes, width: int = 2) -> bytes:
    """A length and the bytes."""
    return len(data).to_bytes(width, "big") + data


def extension(number: int, data: bytes) -> bytes:
    """One extension."""
    return number.to_bytes(2, "big") + vector(data)


def body(
    extensions: bytes | None = b"",
    *,
    session: bytes = b"",
    suites: bytes = b"\x13\x01",
    compression: bytes = b"\0",
    trailing: bytes = b"",
) -> bytes:
    """The inside of a ClientHello."""
    head = b"\3\3" + bytes(32) + vector(session, 1) + vector(suites) + vector(compression, 1)
    return head + (b"" if extensions is None else vector(extensions)) + trailing


def records(message: bytes, size: int = 16384) -> bytes:
    """A message cut into records of at most this size."""
    return b"".join(b"\x16\3\1" + vector(message[at : at + size]) for at in range(0, len(message), size))


def wire(inside: bytes, size: int = 16384) -> bytes:
    """The inside of a ClientHello as the stream has it."""
    return records(b"\1" + vector(inside, 3), size)


class ReadingTests(SynchronousTestCase):
    """
    What is read from a proper ClientHello.
    """

    def test_openssl(self) -> None:
        """Server name, protocols and versions of what OpenSSL says."""
        data = from_openssl()
        read = hello.parse(data)
        assert read is not None
        self.assertEqual((read.sni, read.alpn), ("node.example.com", ("teleport-proxy-ssh", "h2")))
        self.assertEqual((read.versions, read.size), ((0x0304, 0x0303), len(data)))
        self.assertEqual(hello.parse(data + b"more"), read)

    def test_nothing_offered(self) -> None:
        """Without extensions, or with none of ours, the answer is empty and the version the legacy one."""
        for inside in (body(None), body(b""), body(extension(10, b"x"))):
            read = hello.parse(wire(inside))
            assert read is not None
            self.assertEqual((read.sni, read.alpn, read.versions), ("", (), (0x0303,)))
        read = hello.parse(from_openssl(None, ()))
        assert read is not None
        self.assertEqual((read.sni, read.alpn), ("", ()))

    def test_names(self) -> None:
        """A final dot goes, a name of another type is passed over, protocols may be any octets."""
        entries = b"\7" + vector(b"??") + b"\0" + vector(b"A.example.")
        listed = extension(0, vector(entries)) + extension(16, vector(vector(b"\xfa\xfa", 1)))
        read = hello.parse(wire(body(listed)))
        assert read is not None
        self.assertEqual((read.sni, read.alpn), ("a.example", ("\xfa\xfa",)))

    def test_every_split(self) -> None:
        """However little has come: more is needed, until all is there."""
        data = wire(body(extension(0, vector(b"\0" + vector(b"a.example")))), 7)
        for cut in range(len(data)):
            self.assertIsNone(hello.parse(data[:cut]))
        whole = hello.parse(data)
        assert whole is not None
        self.assertEqual((whole.sni, whole.size), ("a.example", len(data)))

    def test_every_record_size(self) -> None:
        """The message may be spread over records of any size."""
        message = from_openssl()[5:]
        for size in range(1, 60):
            read = hello.parse(records(message, size))
            assert read is not None
            self.assertEqual(read.sni, "node.example.com")


class RefusalsTests(SynchronousTestCase):
    """
    What is not a ClientHello.
    """

    def test_other_protocols(self) -> None:
        """A peer that speaks something else is told what it speaks."""
        for data, guess in (
            (b"SSH-2.0-OpenSSH_9.2\r\n", Guess.SSH),
            (b"GET / HTTP/1.1\r\n", Guess.HTTP),
            (b"PRI * HTTP/2.0\r\n", Guess.HTTP),
            (b"PROXY TCP4 ", Guess.PROXY),
            (b"\r\n\r\n\0\r\nQUIT\n!", Guess.PROXY),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Guess.UNKNOWN),
        ):
            self.assertIs(hello.looks_like(data), guess)
            with self.assertRaisesRegex(RemoteProtocolError, guess.value):
                hello.parse(data)
        self.assertIs(hello.looks_like(b"\x16\3\1"), Guess.TLS)
        for data in (b"", b"\x16", b"SS", b"P", b"GET"):
            self.assertIsNone(hello.looks_like(data))
            self.assertIsNone(hello.parse(data))

    def test_records(self) -> None:
        """Records of another type or version, empty or too long, and messages that are not a ClientHello."""
        message = b"\1" + vector(body(), 3)
        first = b"\x16\3\1" + vector(message[:9])
        for data in (
            first + b"\x17\3\1\0\1x",
            first + b"\x16\2\1\0\1x",
            b"\x16\3\1\0\0",
            b"\x16\3\1\x40\1",
            records(b"\2" + vector(body(), 3)),
            records(message + b"\x0b\0\0\0"),
        ):
            self.assertRaises(RemoteProtocolError, hello.parse, data)

    def test_bound(self) -> None:
        """A ClientHello beyond the bound is refused as soon as it says so, or as so much has come."""
        self.assertRaises(RemoteProtocolError, hello.parse, b"\x16\3\1\0\4\1\xff\xff\xff")
        slow = records(b"\1\0\xff\0" + bytes(60000), 4)[: hello.MAX_HELLO_BYTES + 1]
        self.assertIsNone(hello.parse(slow[:-1]))
        self.assertRaises(RemoteProtocolError, hello.parse, slow)

    def test_fields(self) -> None:
        """Fields that are missing, of the wrong length or said twice."""
        name = b"\0" + vector(b"a.example")
        for inside in (
            b"\3",
            body(session=bytes(33)),
            body(suites=b""),
            body(suites=b"\x13"),
            body(compression=b""),
            body(trailing=b"x"),
            body(b"\0"),
            body(extension(10, b"") * 2),
            body(extension(0, b"")),
            body(extension(0, vector(b""))),
            body(extension(0, vector(name) + b"x")),
            body(extension(0, vector(name * 2))),
            body(extension(0, vector(b"\0" + vector(b"")))),
            body(extension(0, vector(b"\0" + vector(b"a b")))),
            body(extension(0, vector(b"\0" + vector(b"a" * 256)))),
            body(extension(16, vector(b"\0"))),
            body(extension(16, vector(b"\5h2"))),
            body(extension(43, vector(b"\3", 1))),
        ):
            self.assertRaises(RemoteProtocolError, hello.parse, wire(inside))

    @given(st.binary(max_size=100), st.integers(min_value=0, max_value=300))
    def test_garbage(self, data: bytes, position: int) -> None:
        """Bytes overwritten anywhere end in an answer or a RemoteProtocolError."""
        good = wire(body(extension(0, vector(b"\0" + vector(b"a.example"))) + extension(16, vector(b"\2h2"))))
        for spoiled in (b"\x16\3\1" + data, good[:position] + data + good[position + len(data) :]):
            with contextlib.suppress(RemoteProtocolError):
                hello.parse(spoiled)
