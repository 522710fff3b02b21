"""
The header of the PROXY protocol, versions 1 and 2, which stands before anything else a connection carries.

Version 1 is a line of text::

    PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\\r\\n       TCP6 likewise
    PROXY UNKNOWN <whatever>\\r\\n

Version 2 is binary, big-endian::

    12 bytes   the signature \\r\\n\\r\\n\\0\\r\\nQUIT\\n
    uint8      version in the upper half (2), command in the lower (0 LOCAL, 1 PROXY)
    uint8      address family in the upper half (1 IPv4, 2 IPv6, 3 UNIX), transport in the lower (1 stream)
    uint16     length of what follows, not counting these 16 bytes
    ...        source address, destination address, uint16 source port, uint16 destination port
    ...        extensions: uint8 type, uint16 length not counting the three bytes, value

L{parse} looks at a copy of a stream's beginning and consumes nothing. Whether a header is believed is not decided here.

@see: I{The PROXY protocol}, HAProxy Technologies, versions 1 and 2, revision of 2020-03-05
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins: no other protocol does."""

WORD = b"PROXY "
"""How version 1 begins."""

MAX_LINE_BYTES = 107
"""Of version 1, with its line end; the specification's own bound."""

MAX_V2_BYTES = 4096
"""Of all of version 2; the extensions of common load balancers take some hundred bytes."""

_FIXED = 16
_LOCAL, _PROXY = 0, 1
_STREAM = 1
_ADDRESSES = {1: 4, 2: 16}
"""Family to bytes of one address."""


@frozen(kw_only=True)
class Source:
    """
    The client's end of the connection.

    @ivar host: an address in its usual form; one of IPv4 that was written as IPv6 is IPv4.
    """

    host: str
    port: int


@frozen(kw_only=True)
class Header:
    """
    @ivar size: bytes that the header takes.
    @ivar source: the client; C{None} where the balancer speaks for itself, or does not know.
    """

    size: int
    source: Source | None = None


def begins(data: bytes) -> bool | None:
    """
    @param data: the first bytes of a connection.
    @return: whether they begin a header; C{None} while more bytes are needed to tell.
    """
    if data.startswith((WORD, SIGNATURE)):
        return True
    return None if WORD.startswith(data) or SIGNATURE.startswith(data) else False


def parse(data: bytes) -> Header | None:
    """
    @param data: everything that came so far, from the connection's first byte.
    @return: C{None} while more is needed.
    @raise RemoteProtocolError: there is no header, or it is malformed or too long.
    """
    match begins(data):
        case None:
            return None
        case False:
            raise RemoteProtocolError("the connection does not begin with a PROXY header")
    return _binary(data) if data.startswith(SIGNATURE) else _line(data)


def encode(source: Source) -> bytes:
    """
    @return: a header of version 2; where the connection goes to is not told.
    """
    address = ip_address(source.host)
    family, nowhere = (1, b"\0" * 4) if isinstance(address, IPv4Address) else (2, b"\0" * 16)
    body = address.packed + nowhere + struct.pack(">HH", source.port, 0)
    return SIGNATURE + struct.pack(">BBH", 2 << 4 | _PROXY, family << 4 | _STREAM, len(body)) + body


def _line(data: bytes) -> Header | None:
    end = data.find(b"\r\n", 0, MAX_LINE_BYTES)
    if end < 0:
        if len(data) >= MAX_LINE_BYTES:
            raise RemoteProtocolError(f"a PROXY line is longer than {MAX_LINE_BYTES} bytes")
        return None
    words = data[:end].split(b" ")
    if words[1] == b"UNKNOWN":
        return Header(size=end + 2)
    kinds: dict[bytes, type[IPv4Address] | type[IPv6Address]] = {b"TCP4": IPv4Address, b"TCP6": IPv6Address}
    kind = kinds.get(words[1])
    if kind is None or len(words) != 6 or b"%" in data[:end]:  # no scope: interfaces' names are of the other machine
        raise RemoteProtocolError("a PROXY line is neither UNKNOWN nor TCP4 or TCP6 with two addresses and two ports")
    try:
        source, _ = (kind(word.decode("ascii")) for word in words[2:4])
    except ValueError as error:
        raise RemoteProtocolError("a PROXY line has an address that is none") from error
    port, _ = (_port(word) for word in words[4:])
    return Header(size=end + 2, source=Source(host=_plain(source), port=port))


def _port(word: bytes) -> int:
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0") or int(word) > 65535:
        raise RemoteProtocolError("a PROXY line has a port that is none")
    return int(word)


def _binary(data: bytes) -> Header | None:
    if len(data) < _FIXED:
        return None
    version, kind, length = data[12], data[13], int.from_bytes(data[14:16], "big")
    if version >> 4 != 2 or version & 15 not in (_LOCAL, _PROXY):
        raise RemoteProtocolError(f"a PROXY header has version and command {version:#04x}, which are not known")
    size = _FIXED + length
    if size > MAX_V2_BYTES:
        raise RemoteProtocolError(f"a PROXY header is longer than {MAX_V2_BYTES} bytes")
    if len(data) < size:
        return None
    if version & 15 == _LOCAL:
        return Header(size=size)
    width = _ADDRESSES.get(kind >> 4)
    if width is None or kind & 15 != _STREAM:
        return Header(size=size)
    body = data[_FIXED:size]
    if len(body) < 2 * width + 4:
        raise RemoteProtocolError("a PROXY header is too short for its addresses")
    _check_extensions(body[2 * width + 4 :])
    source = IPv4Address(body[:width]) if width == 4 else IPv6Address(body[:width])
    (port,) = struct.unpack_from(">H", body, 2 * width)
    return Header(size=size, source=Source(host=_plain(source), port=port))


def _check_extensions(rest: bytes) -> None:
    position = 0
    while position < len(rest):
        position += 3 + int.from_bytes(rest[position + 1 : position + 3], "big")
    if position != len(rest):
        raise RemoteProtocolError("a PROXY header has an extension that does not fit")


def _plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
