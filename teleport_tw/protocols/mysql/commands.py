"""
What a user's client asks for, cut out of its bytes without keeping more than is needed to judge and tell of it.

A command is a packet with sequence number 0 whose first byte says what it is. One that is short comes out whole; of a
long one, which may be gigabytes in many packets, the bytes come out as they arrive, and its beginning once more at
the end. The client is not to go on before it has its answer; L{Commands} gives out one command at a time, and what a
client sends early waits until it is asked for: so the bytes that a server takes for a file's content
(C{LOAD DATA LOCAL}) are never taken for a command here, nor the other way round.
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.wire import HEADER_BYTES, MAX_PACKET, malformed

CAPTURE_BYTES = 64 * 1024
"""Of a command's payload: twice what an audit event keeps of a statement's characters."""


@frozen
class Piece:
    """
    Bytes for the target, some or all of one command, or of a file.

    @ivar raw: as they came, headers included.
    @ivar code: of the command; -1 for content of a file.
    @ivar last: the command or the file ends with this.
    @ivar sequence: of the last packet in it.
    @ivar body: the payload behind the code, only in the last piece and only the first L{CAPTURE_BYTES}.
    @ivar size: bytes of payload behind the code, so far.
    """

    raw: bytes
    code: int
    last: bool
    sequence: int
    body: bytes = b""
    size: int = 0

    @property
    def whole(self) -> bool:
        """
        Whether C{body} is all of it.
        """
        return len(self.body) == self.size


FILE = -1


class Commands:
    """
    Reads one user's bytes.
    """

    __slots__ = ("_body", "_buffer", "_code", "_continued", "_file", "_left", "_sequence", "_size")

    def __init__(self, data: bytes = b"") -> None:
        """
        @param data: that came behind the login.
        """
        self._buffer = data
        self._file = False
        self._sequence = 0  # of the next packet
        self._code: int | None = None  # of the command that is under way
        self._left = 0  # bytes of its current packet
        self._continued = False  # another packet belongs to the current one
        self._size = 0
        self._body = b""

    def feed(self, data: bytes) -> None:
        """
        Take in bytes; L{next} gives them out again.
        """
        self._buffer = self._buffer + data if self._buffer else data

    @property
    def waiting(self) -> int:
        """
        How many bytes were fed and not given out.
        """
        return len(self._buffer)

    @property
    def between(self) -> bool:
        """
        Whether the next piece begins a command.
        """
        return self._code is None

    def file(self, sequence: int) -> None:
        """
        The server wants a file: what comes next is its content, up to an empty packet.

        @param sequence: of the packet that said so.
        """
        self._file = True
        self._sequence = sequence + 1 & 0xFF

    def next(self) -> Piece | None:
        """
        @return: C{None} while more is needed. After a last piece ask again when the command has been answered.
        @raise RemoteProtocolError: an empty command, or a packet out of order.
        """
        if self._code is not None:
            return self._go_on(0)
        if len(self._buffer) < HEADER_BYTES:
            return None
        size = int.from_bytes(self._buffer[:3], "little")
        self._check(self._buffer[3])
        if self._file:
            self._begin(FILE, size)
            return self._go_on(HEADER_BYTES)
        if not size:
            raise malformed("an empty command")
        stop = HEADER_BYTES + size
        if size <= CAPTURE_BYTES:
            if len(self._buffer) < stop:
                return None
            raw, self._buffer = self._buffer[:stop], self._buffer[stop:]
            return Piece(raw, raw[HEADER_BYTES], True, 0, raw[HEADER_BYTES + 1 :], size - 1)
        if len(self._buffer) == HEADER_BYTES:
            return None
        self._begin(self._buffer[HEADER_BYTES], size)
        return self._go_on(HEADER_BYTES)

    def _check(self, number: int) -> None:
        due = self._sequence if self._file or self._code is not None else 0
        if number != due:
            raise RemoteProtocolError(f"packet {number} came where {due} was due", code=Errno.PACKETS_OUT_OF_ORDER)

    def _begin(self, code: int, size: int) -> None:
        self._code, self._left, self._continued = code, size, size == MAX_PACKET
        self._sequence = self._sequence + 1 & 0xFF if self._file else 1
        self._size, self._body = 0, b""

    def _go_on(self, position: int) -> Piece | None:
        """
        @param position: of the first byte of payload, behind a header at the beginning of the buffer.
        """
        buffer, end = self._buffer, len(self._buffer)
        while True:
            stop = min(position + self._left, end)
            self._size += stop - position
            if self._code != FILE and len(self._body) <= CAPTURE_BYTES:
                self._body += buffer[position : min(stop, position + CAPTURE_BYTES + 1 - len(self._body))]
            self._left -= stop - position
            position = stop
            if self._left:
                break
            if not self._continued:
                return self._ended(position)
            if end - position < HEADER_BYTES:
                break
            size = int.from_bytes(buffer[position : position + 3], "little")
            self._check(buffer[position + 3])
            position += HEADER_BYTES
            self._left, self._continued = size, size == MAX_PACKET
            self._sequence = self._sequence + 1 & 0xFF
        if not position:
            return None
        code = self._code if self._code is not None else FILE
        self._buffer = buffer[position:]
        return Piece(buffer[:position], code, False, self._sequence - 1 & 0xFF)

    def _ended(self, position: int) -> Piece:
        raw, self._buffer = self._buffer[:position], self._buffer[position:]
        sequence, code, size = self._sequence - 1 & 0xFF, self._code, self._size
        self._code = None
        if code is None or code == FILE:
            # content goes in as many packets as the client likes; an empty one ends it
            last = not size
            self._file = not last
            return Piece(raw, FILE, last, sequence)
        return Piece(raw, code, True, sequence, self._body[1:], size - 1)
