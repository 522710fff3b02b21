"""
Framing of protocol 3: the packets that open a connection, messages, and a walk over them that decodes only a few.

What a user sends is decoded, up to a bound; what a database sends is walked: each message's header is read, and only
the few bodies that tell how a statement ended. Neither keeps bytes that have been passed on already.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.postgres import bodies, messages
from teleport_tw.protocols.postgres.messages import Backend, BackendKeyData, Frontend
from teleport_tw.protocols.postgres.startup import (
    CancelRequest,
    Code,
    GSSENCRequest,
    Opening,
    SSLRequest,
    StartupMessage,
)

MAX_OPENING = 10_000
"""Of a startup packet, as the server's own C{MAX_STARTUP_PACKET_LENGTH}."""
MAX_SMALL = 30_000
"""Of a message that carries no data, as the server's C{PQ_SMALL_MESSAGE_LIMIT} of 10,000 with room."""
MAX_LARGE = 0x3FFFFFFF - 1
"""Of one that does, as the server's C{PQ_LARGE_MESSAGE_LIMIT}."""
KEPT_BYTES = 128 << 10
"""Of a message's body that is decoded; the rest is passed over."""
MAX_PASSWORD = 65_535
MAX_SECRET = 256
"""Of a cancel key in protocol 3.2."""

_header = struct.Struct(">BI")
_read_header = _header.unpack_from
_D = ord("d")
_LARGE = frozenset(b"QPBFd")


class OpeningDecoder:
    """
    Takes the packets before the first typed message.

    C{uint32} length in bytes, counting itself; C{uint32} version or code; then what that says.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Opening | None:
        """
        @return: the packet once it is complete, else C{None}; L{rest} is what came behind it.
        @raise RemoteProtocolError: it is none.
        """
        buffer = self._buffer
        buffer += data
        if len(buffer) < 4:
            return None
        size = int.from_bytes(buffer[:4], "big")
        if not 8 <= size <= MAX_OPENING:
            raise RemoteProtocolError(f"a startup packet of {size} bytes", code="08P01")
        if len(buffer) < size:
            return None
        packet = bytes(buffer[4:size])
        del buffer[:size]
        return _opening(packet)

    def rest(self) -> bytes:
        """
        @return: what came behind the packet, and forgets it.
        """
        rest = bytes(self._buffer)
        self._buffer.clear()
        return rest


def _opening(packet: bytes) -> Opening:
    code = int.from_bytes(packet[:4], "big")
    if code == Code.SSL_REQUEST and len(packet) == 4:
        return SSLRequest()
    if code == Code.GSSENC_REQUEST and len(packet) == 4:
        return GSSENCRequest()
    if code == Code.CANCEL_REQUEST:
        if not 4 + 4 + 4 <= len(packet) <= 4 + 4 + MAX_SECRET:
            raise RemoteProtocolError("a cancel request of a wrong length", code="08P01")
        return CancelRequest(int.from_bytes(packet[4:8], "big"), packet[8:])
    if code >> 16 != 3:
        raise RemoteProtocolError(f"frontend protocol {code >> 16}.{code & 0xFFFF} is not supported", code="0A000")
    if len(packet) < 5 or packet[-1] != 0:
        raise RemoteProtocolError("a startup packet without its end", code="08P01")
    parts = packet[4:-1].split(b"\0")
    # each name and value ends in a zero, so the last piece is empty, and so is the only one of no parameters
    if len(parts) % 2 == 0 or parts[-1]:
        raise RemoteProtocolError("a startup packet with a name and no value", code="08P01")
    names = parts[:-1:2]
    if not all(names):
        raise RemoteProtocolError("a startup packet that goes on behind its end", code="08P01")
    return StartupMessage(tuple(zip(names, parts[1::2], strict=True)), code)


def encode_opening(packet: Opening) -> bytes:
    """
    @raise LocalProtocolError: a parameter cannot be sent.
    """
    match packet:
        case SSLRequest():
            rest = Code.SSL_REQUEST.to_bytes(4, "big")
        case GSSENCRequest():
            rest = Code.GSSENC_REQUEST.to_bytes(4, "big")
        case CancelRequest(process, secret):
            rest = Code.CANCEL_REQUEST.to_bytes(4, "big") + process.to_bytes(4, "big") + secret
        case _:
            if not all(name and b"\0" not in name + value for name, value in packet.parameters):
                raise LocalProtocolError("a startup parameter that cannot be sent")
            pairs = b"".join(name + b"\0" + value + b"\0" for name, value in packet.parameters)
            rest = packet.version.to_bytes(4, "big") + pairs + b"\0"
    return (len(rest) + 4).to_bytes(4, "big") + rest


def encode(message: Frontend | Backend) -> bytes:
    """
    C{byte} type; C{uint32} length, counting itself and not the type; the body.
    """
    kind, body = bodies.body(message)
    return kind + (len(body) + 4).to_bytes(4, "big") + body


class Decoder:
    """
    Messages of one direction.

    @ivar skipped: bytes of COPY data that were passed over.
    """

    __slots__ = ("_copies", "_kept", "_need", "_partial", "_readers", "_skip", "skipped")

    def __init__(self, readers: Mapping[int, bodies.Read], *, copies: bool, kept: int) -> None:
        """
        @param copies: whether COPY data is decoded as well.
        @param kept: bytes of a body that are decoded; zero for all.
        """
        self._readers = readers
        self._copies = copies
        self._kept = kept
        self._partial = bytearray()
        self._need = 5
        self._skip = 0
        self.skipped = 0

    @classmethod
    def of_user(cls) -> Decoder:
        """
        @return: for what a user sends: long messages are cut, COPY data is left out.
        """
        return cls(bodies.FRONTEND, copies=False, kept=KEPT_BYTES)

    @classmethod
    def frontend(cls) -> Decoder:
        """
        @return: for all that a client sends.
        """
        return cls(bodies.FRONTEND, copies=True, kept=0)

    @classmethod
    def backend(cls) -> Decoder:
        """
        @return: for all that a server sends.
        """
        return cls(bodies.BACKEND, copies=True, kept=0)

    @property
    def waiting(self) -> int:
        """
        Bytes of a message that is not whole yet, as far as they are kept.
        """
        return len(self._partial)

    @property
    def between(self) -> bool:
        """
        Whether the next byte begins a message.
        """
        return not self._skip and not self._partial

    def rest(self) -> bytes:
        """
        @return: the beginning of a message that is not whole yet, and forgets it.
        """
        rest = bytes(self._partial)
        self._partial.clear()
        self._need = 5
        return rest

    def feed(self, data: bytes) -> list[Any]:
        """
        Take in bytes and return the messages they complete.

        @param data: any slice of the stream.
        @raise RemoteProtocolError: of a type or length that cannot be, or a body that is not what its type says.
        """
        at = 0
        if self._skip:
            if self._skip >= len(data):
                self._skip -= len(data)
                return []
            at, self._skip = self._skip, 0
        if self._partial:
            self._partial += data
            if len(self._partial) < self._need:
                return []
            data = bytes(self._partial)
            self._partial.clear()
        found: list[Any] = []
        end, readers, small = len(data), self._readers, min(self._kept or MAX_SMALL, MAX_SMALL)
        while end - at >= 5:
            kind, length = _read_header(data, at)
            stop = at + 1 + length
            reader = readers.get(kind)
            if reader is not None and 4 <= length <= small and stop <= end and (kind != _D or self._copies):
                found.append(_decoded(reader, kind, data[at + 5 : stop], 0))  # as nearly all are
                at = stop
                continue
            if kind == _D and not self._copies and 4 <= length <= MAX_LARGE:
                self.skipped += length - 4
                if stop > end:
                    self._skip = stop - end
                    at = end
                    break
                at = stop
                continue
            if reader is None or length < 4:
                raise RemoteProtocolError(_wrong(kind, length), code="08P01")
            cut = self._kept and length - 4 > self._kept
            if length > self._limit(kind):
                raise RemoteProtocolError(_wrong(kind, length), code="08P01")
            if stop <= end and not cut:
                found.append(_decoded(reader, kind, data[at + 5 : stop], 0))
            else:
                need = 5 + self._kept if cut else 1 + length
                if end - at < need:
                    self._need = need
                    break
                found.append(_decoded(reader, kind, data[at + 5 : at + 5 + self._kept], length - 4))
                if stop > end:
                    self._skip = stop - end
                    at = end
                    break
            at = stop
        else:
            self._need = 5
        if at < end:
            self._partial += data[at:] if at else data
        return found

    def _limit(self, kind: int) -> int:
        if not self._kept:
            return MAX_LARGE
        return MAX_LARGE if kind in _LARGE else MAX_PASSWORD if kind == ord("p") else MAX_SMALL


def _decoded(reader: bodies.Read, kind: int, body: bytes, size: int) -> Any:
    try:
        return reader(body, size)
    except bodies.Short:
        raise _ends_early(kind) from None


def _ends_early(kind: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"a message of type {chr(kind)!r} that ends too early", code="08P01")


def _wrong(kind: int, length: int) -> str:
    return f"a message of type {chr(kind)!r} and {length} bytes"


# --- what a database sends ---------------------------------------------------------------------------------------

_TOLD: Mapping[int, Callable[[bytes, int], Any]] = {
    ord(kind): bodies.BACKEND[ord(kind)] for kind in ("Z", "E", "C", "I", "s", "V", "t", "S")
}
"""Types whose bodies say something of a statement, or of the session."""

MAX_TOLD = 1 << 20
"""Of the bodies that are decoded; an error with a long context is long."""


class Walker:
    """
    Goes over what a database sends, from header to header.
    """

    __slots__ = ("_need", "_partial", "_skip")

    def __init__(self) -> None:
        self._partial = bytearray()
        self._skip = 0
        self._need = 5

    @property
    def ahead(self) -> int | None:
        """
        Bytes up to the end of the message that has begun; zero between messages, C{None} where it is not known yet.
        """
        if self._partial:
            return self._need - len(self._partial) if len(self._partial) >= 5 else None
        return self._skip

    def feed(self, data: bytes) -> list[Any]:
        """
        @return: the messages that say how statements end: ReadyForQuery, ErrorResponse, CommandComplete,
            EmptyQueryResponse, PortalSuspended, FunctionCallResponse, ParameterDescription and ParameterStatus.
        @raise RemoteProtocolError: it is no message.
        """
        at = self._skip
        end = len(data)
        if at >= end:
            self._skip = at - end
            return []
        if self._partial:
            self._partial += data
            if len(self._partial) < self._need:
                return []
            data = bytes(self._partial)
            self._partial.clear()
            end = len(data)
        told, read = _TOLD, _read_header
        found: list[Any] = []
        last = end - 5
        while at <= last:
            kind, length = read(data, at)
            if length < 4:
                raise RemoteProtocolError(_wrong(kind, length), code="08P01")
            stop = at + 1 + length
            reader = told.get(kind)
            if reader is not None:
                if stop > end:
                    if length > MAX_TOLD:
                        raise RemoteProtocolError(_wrong(kind, length), code="08P01")
                    self._need = 1 + length
                    break
                try:
                    found.append(reader(data[at + 5 : stop], 0))
                except bodies.Short:
                    raise _ends_early(kind) from None
            at = stop
        else:
            self._need = 5
        if at >= end:
            self._skip = at - end
        else:
            self._skip = 0
            self._partial += data[at:]
        return found


__all__ = [
    "BackendKeyData",
    "Decoder",
    "OpeningDecoder",
    "Walker",
    "encode",
    "encode_opening",
    "messages",
]
