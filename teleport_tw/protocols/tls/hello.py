"""
The first thing a TLS client says, read without taking part in the handshake.

The proxy's one port decides by server name and application protocol before it ends TLS or hands the bytes on
untouched, so L{parse} looks at a copy of the stream's beginning and consumes nothing.

@see: RFC 8446 sections 4.1.2 and 5.1, RFC 6066 section 3 (server name), RFC 7301 (ALPN)
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError

MAX_HELLO_BYTES = 65536
"""With post-quantum key shares a ClientHello takes two to four KiB; this leaves room and still bounds a stranger."""

_RECORD_HEADER = 5
_MAX_RECORD = 16384
_HANDSHAKE = 22
_CLIENT_HELLO = 1

_SERVER_NAME = 0
_ALPN = 16
_SUPPORTED_VERSIONS = 43


class Guess(Enum):
    """
    What the first bytes of a connection look like.
    """

    TLS = "TLS"
    SSH = "SSH"
    HTTP = "HTTP without TLS"
    PROXY = "PROXY protocol header"
    UNKNOWN = "something else"


_METHODS = tuple(
    method.encode("ascii") + b" "
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI")
)
_PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


@frozen(kw_only=True)
class ClientHello:
    """
    @ivar sni: the server's name in lower case, without a final dot; empty when there was none.
    @ivar alpn: application protocols, the client's favourite first; octets above 127 as Latin-1.
    @ivar versions: of TLS, as on the wire (0x0304 is TLS 1.3); the legacy version when none were listed.
    @ivar size: bytes of the stream that the ClientHello's records take.
    """

    sni: str = ""
    alpn: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    size: int = 0


def looks_like(data: bytes) -> Guess | None:
    """
    @param data: the first bytes of a connection.
    @return: what they look like; C{None} while more bytes are needed to tell.
    """
    signs: tuple[tuple[bytes, Guess], ...] = (
        (b"\x16\x03", Guess.TLS),
        (b"SSH-", Guess.SSH),
        (b"PROXY ", Guess.PROXY),
        (_PROXY_V2, Guess.PROXY),
        *((method, Guess.HTTP) for method in _METHODS),
    )
    for sign, guess in signs:
        if data.startswith(sign):
            return guess
    return None if any(sign.startswith(data) for sign, _ in signs) else Guess.UNKNOWN


def parse(data: bytes) -> ClientHello | None:
    """
    Read a ClientHello at the beginning of a stream; what follows it is left alone.

    One record, big-endian: C{uint8} type, C{uint16} version, C{uint16} length, not counting the header. The handshake
    message may span records: C{uint8} type, C{uint24} length, then the body.

    @param data: everything that came so far.
    @return: C{None} while more is needed.
    @raise RemoteProtocolError: it is not a ClientHello, or does not fit L{MAX_HELLO_BYTES}.
    """
    guess = looks_like(data)
    if guess is None:
        return None
    if guess is not Guess.TLS:
        raise RemoteProtocolError(f"expected TLS, but the client speaks {guess.value}")
    message = bytearray()
    position, wanted = 0, 4
    while len(message) < wanted:
        header = data[position : position + _RECORD_HEADER]
        if len(header) < _RECORD_HEADER:
            _check_bound(data)
            return None
        if header[0] != _HANDSHAKE or header[1] != 3:
            raise RemoteProtocolError("TLS ClientHello is interrupted by another record")
        length = int.from_bytes(header[3:], "big")
        if not 0 < length <= _MAX_RECORD:
            raise RemoteProtocolError("TLS record is empty or too long")
        start = position + _RECORD_HEADER
        position = start + length
        message += data[start:position]
        if message and message[0] != _CLIENT_HELLO:
            raise RemoteProtocolError("TLS does not begin with a ClientHello")
        if len(message) >= 4:
            wanted = 4 + int.from_bytes(message[1:4], "big")
            if wanted > MAX_HELLO_BYTES:
                raise RemoteProtocolError(f"TLS ClientHello is longer than {MAX_HELLO_BYTES} bytes")
        if len(data) < position:
            _check_bound(data)
            return None
    if len(message) > wanted:
        raise RemoteProtocolError("TLS ClientHello is followed by another message in its record")
    return _hello(bytes(message[4:]), position)


def _check_bound(data: bytes) -> None:
    if len(data) > MAX_HELLO_BYTES:
        raise RemoteProtocolError(f"TLS ClientHello is longer than {MAX_HELLO_BYTES} bytes")


class _Vectors:
    """
    TLS vectors: a length in one or two bytes, then that many bytes.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        if count > len(self.data):
            raise RemoteProtocolError("TLS ClientHello has a field that ends after it")
        taken, self.data = self.data[:count], self.data[count:]
        return taken

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        return self.take(self.number(width))

    def only(self, width: int) -> _Vectors:
        """A vector that must be all there is, and not empty."""
        inner = self.vector(width)
        if self.data or not inner:
            raise RemoteProtocolError("TLS ClientHello has an extension of the wrong length")
        return _Vectors(inner)


def _hello(body: bytes, size: int) -> ClientHello:
    fields = _Vectors(body)
    legacy_version = fields.number(2)
    fields.take(32)
    if len(fields.vector(1)) > 32:
        raise RemoteProtocolError("TLS session id is longer than 32 bytes")
    suites = fields.vector(2)
    if not suites or len(suites) % 2:
        raise RemoteProtocolError("TLS ClientHello has no proper list of cipher suites")
    if not fields.vector(1):
        raise RemoteProtocolError("TLS ClientHello has no compression methods")
    extensions: dict[int, _Vectors] = {}
    if fields.data:
        listed = _Vectors(fields.vector(2))
        if fields.data:
            raise RemoteProtocolError("TLS ClientHello goes on after its extensions")
        while listed.data:
            number = listed.number(2)
            if number in extensions:
                raise RemoteProtocolError(f"TLS extension {number} stands twice")
            extensions[number] = _Vectors(listed.vector(2))
    names, protocols = extensions.get(_SERVER_NAME), extensions.get(_ALPN)
    versions = extensions.get(_SUPPORTED_VERSIONS)
    return ClientHello(
        sni=_server_name(names.only(2)) if names else "",
        alpn=_protocols(protocols.only(2)) if protocols else (),
        versions=_versions(versions.only(1)) if versions else (legacy_version,),
        size=size,
    )


def _server_name(entries: _Vectors) -> str:
    found = ""
    while entries.data:
        kind, name = entries.number(1), entries.vector(2)
        if kind != 0:
            continue
        if found or not name or len(name) > 255 or not all(0x21 <= octet <= 0x7E for octet in name):
            raise RemoteProtocolError("TLS server name is not one plain host name")
        found = name.decode("ascii").lower().rstrip(".")
    return found


def _protocols(entries: _Vectors) -> tuple[str, ...]:
    found: list[str] = []
    while entries.data:
        name = entries.vector(1)
        if not name:
            raise RemoteProtocolError("TLS application protocol has no name")
        found.append(name.decode("latin-1"))
    return tuple(found)


def _versions(entries: _Vectors) -> tuple[int, ...]:
    if len(entries.data) % 2:
        raise RemoteProtocolError("TLS versions are not pairs of bytes")
    return tuple(int.from_bytes(entries.data[at : at + 2], "big") for at in range(0, len(entries.data), 2))
