"""
yamux frames to bytes and back.

Bulk data passes here, so a payload is copied once at the most: what of a frame has arrived is handed out at once, as a
slice of the very bytes that came in, and nothing but an incomplete header is ever kept.
"""

from __future__ import annotations

from struct import Struct

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mux.messages import (
    SESSION,
    VERSION,
    Data,
    Flag,
    GoAway,
    GoAwayCode,
    Message,
    Ping,
    Type,
    WindowUpdate,
)

_HEADER = Struct(">BBHII")
_read_header = _HEADER.unpack_from
HEADER_BYTES = _HEADER.size

MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
"""Sixteen times the largest window we grant by default: no honest peer sends a longer frame; most stay below 64 KiB."""

_DATA, _WINDOW_UPDATE, _PING, _GO_AWAY = (int(kind) for kind in Type)
_KNOWN_FLAGS = int(Flag.SYN | Flag.ACK | Flag.FIN | Flag.RST)
_FIRST_FLAGS = int(Flag.SYN | Flag.ACK)
_LAST_FLAGS = int(Flag.FIN | Flag.RST)


def header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """
    The twelve bytes that head every frame, big-endian: C{uint8} version, always 0; C{uint8} type; C{uint16} flags;
    C{uint32} stream id; C{uint32} length.

    @param length: by type: bytes of payload that follow, credit, ping value, go-away code.
    """
    return _HEADER.pack(VERSION, kind, flags, stream_id, length)


def encode(message: Message) -> bytes:
    """
    @return: the whole frame.
    """
    match message:
        case Data(stream_id, payload, flags):
            return b"".join((header(_DATA, flags, stream_id, len(payload)), payload))
        case WindowUpdate(stream_id, credit, flags):
            return header(_WINDOW_UPDATE, flags, stream_id, credit)
        case Ping(value, is_answer):
            return header(_PING, Flag.ACK if is_answer else Flag.SYN, SESSION, value)
        case _:
            return header(_GO_AWAY, 0, SESSION, message.code)


class Decoder:
    """
    Bytes to frames. Keeps at most eleven bytes between calls, whatever the peer sends.
    """

    __slots__ = ("_first", "_flags", "_header", "_left", "_max_payload_bytes", "_stream_id")

    def __init__(self, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        """
        @param max_payload_bytes: the longest data frame to take.
        """
        self._max_payload_bytes = max_payload_bytes
        self._header = b""
        self._left = 0  # bytes of payload still to come of the frame that stream_id, flags and first tell of
        self._stream_id = 0
        self._flags = 0
        self._first = False

    def feed(self, data: bytes | memoryview) -> list[Message]:
        """
        Take in bytes from the peer and return what they complete.

        @param data: any slice of the stream; payloads are slices of it, which for a C{memoryview} are no copies.
        @return: frames, and pieces of data frames, oldest first.
        @raise RemoteProtocolError: unknown version or type, a data frame that is too long, stream id zero where a
            stream is meant or the other way round. The decoder is of no use after that.
        """
        messages: list[Message] = []
        position, end, most = 0, len(data), self._max_payload_bytes
        if self._header:
            missing = HEADER_BYTES - len(self._header)
            self._header += data[:missing]
            if len(self._header) < HEADER_BYTES:
                return messages
            position = missing
            self._begin(self._header, 0, messages)
            self._header = b""
        while True:
            if self._left:
                if position == end:
                    return messages
                position = self._piece(data, position, end, messages)
            elif end - position >= HEADER_BYTES:
                version, kind, flags, stream_id, length = _read_header(data, position)
                first = position + HEADER_BYTES
                if not (version or kind or flags) and stream_id and 0 < length <= min(end - first, most):
                    position = first + length  # a whole frame of data and no more, as nearly all are
                    messages.append(Data(stream_id, data[first:position], 0))
                else:
                    self._begin(data, position, messages)
                    position = first
            else:
                self._header = bytes(data[position:])
                return messages

    def _begin(self, data: bytes | memoryview, position: int, messages: list[Message]) -> None:
        """
        Read the header at C{position}; a frame without payload is complete with it.
        """
        version, kind, flags, stream_id, length = _HEADER.unpack_from(data, position)
        if version != VERSION:
            raise _refused(f"version {version}")
        if kind > _GO_AWAY:
            raise _refused(f"type {kind}")
        if (stream_id == SESSION) is not (kind >= _PING):
            raise _refused(f"stream id {stream_id} in a frame of type {kind}")
        flags &= _KNOWN_FLAGS
        if kind == _DATA:
            if length > self._max_payload_bytes:
                raise _refused(f"a frame of {length} bytes")
            if not length:
                messages.append(Data(stream_id, b"", flags))
            self._left, self._stream_id, self._flags, self._first = length, stream_id, flags, True
        elif kind == _WINDOW_UPDATE:
            messages.append(WindowUpdate(stream_id, length, flags))
        elif kind == _PING:
            messages.append(Ping(length, not flags & Flag.SYN))
        else:
            messages.append(GoAway(length))

    def _piece(self, data: bytes | memoryview, position: int, end: int, messages: list[Message]) -> int:
        """
        Hand out what is here of the payload, without a copy where it is all there is in C{data}.

        @return: the position behind it.
        """
        stop = position + self._left
        flags = self._flags & _FIRST_FLAGS if self._first else 0
        if stop <= end:
            self._left = 0
            flags |= self._flags & _LAST_FLAGS
        else:
            self._left = stop - end
            self._first = False
            stop = end
        messages.append(Data(self._stream_id, data[position:stop], flags))
        return stop


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the peer sent {what}", code=GoAwayCode.PROTOCOL_ERROR)
