"""
The wrapping of packets that are compressed: zlib or zstd, the framing is the same.

A compressed packet is C{uint24} length of what follows the header, little-endian; C{uint8} sequence number of its own;
C{uint24} length when unwrapped, or 0 where it is not compressed; the payload. What is unwrapped is a stream of packets,
cut anywhere.

@see: MySQL 8.4 source documentation, I{Compression}.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import zstandard

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql.errors import Errno

HEADER_BYTES = 7
MIN_COMPRESSED = 50
"""Below so many bytes it does not pay; servers have the same bound."""
CHUNK = 256 * 1024
"""Bytes wrapped together at the most, so that the other side can begin before all is there."""
READ_BYTES = 64 * 1024
_ZSTD_BYTES = 512
"""Bytes given to zstd at a time: four of them can stand for 128 KiB, so this is 16 MiB at the worst, which a packet may
have anyway, and then the count says that it is too long."""
_MAX_WINDOW = 16 << 20
"""Bytes of history that a peer's zstd may ask us to keep: a packet is no longer than that."""


class Unwrapper:
    """
    One direction's compressed packets, unwrapped on demand: a few bytes can stand for many, and the reader says how
    many it wants at a time.

    @ivar sequence: of the packet that came last.
    """

    __slots__ = ("_buffer", "_due", "_inflate", "_kind", "_left", "sequence")

    def __init__(self, kind: str, data: bytes = b"") -> None:
        """
        @param kind: C{zlib} or C{zstd}.
        @param data: that came behind the login.
        """
        self._kind = kind
        self._buffer = data
        self._left = 0  # bytes of the current packet that are still to come, as they are on the wire
        self._due = 0  # bytes that it has yet to give, unwrapped; meaningless while it is not compressed
        self._inflate: Any = None  # zlib and zstandard share the part that is used
        self.sequence = 255

    @property
    def waiting(self) -> int:
        """
        How many bytes were fed and not read, as they are on the wire.
        """
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """
        Take in bytes; L{read} gives them out.
        """
        self._buffer = self._buffer + data if self._buffer else data

    def read(self) -> bytes:
        """
        @return: some L{READ_BYTES} of what is there, unwrapped; nothing while more is needed.
        @raise RemoteProtocolError: it cannot be unwrapped, or is not as long as was said.
        """
        while True:
            if self._inflate is None and not self._left:
                if len(self._buffer) < HEADER_BYTES:
                    return b""
                self._begin()
            elif self._left and not self._buffer:
                return b""
            else:
                data = self._plain() if self._inflate is None else self._inflated()
                if data:
                    return data

    def _begin(self) -> None:
        header = self._buffer[:HEADER_BYTES]
        self._buffer = self._buffer[HEADER_BYTES:]
        self._left, self.sequence = int.from_bytes(header[:3], "little"), header[3]
        self._due = int.from_bytes(header[4:], "little")
        self._inflate = self._inflater() if self._due else None
        if self._due and not self._left:
            raise _wrong("an empty one that stands for more")

    def _inflater(self) -> Any:
        if self._kind == "zlib":
            return zlib.decompressobj()
        return _Zstd()

    def _plain(self) -> bytes:
        data = self._buffer[: min(self._left, READ_BYTES)]
        self._buffer = self._buffer[len(data) :]
        self._left -= len(data)
        return data

    def _inflated(self) -> bytes:
        wrapped = self._buffer[: min(self._left, READ_BYTES)]
        try:
            data: bytes = self._inflate.decompress(wrapped, READ_BYTES)
        except (zlib.error, zstandard.ZstdError) as error:
            raise _wrong(str(error)) from error
        used = len(wrapped) - len(self._inflate.unconsumed_tail)
        self._buffer = self._buffer[used:]
        self._left -= used
        self._due -= len(data)
        if self._due < 0 or self._inflate.unused_data:
            raise _wrong("it is longer than it says")
        if self._inflate.eof:
            if self._due or self._left:
                raise _wrong("it ends elsewhere than it says")
            self._inflate = None
        elif not self._left and not data:
            raise _wrong("it is shorter than it says")
        return data


class _Zstd:
    """
    zstandard's decompressor with the ways of zlib's: a bound on what comes out at a time.
    """

    __slots__ = ("_reader", "eof", "unconsumed_tail", "unused_data")

    def __init__(self) -> None:
        self._reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()
        self.eof = False
        self.unconsumed_tail = b""
        self.unused_data = b""

    def decompress(self, data: bytes, limit: int) -> bytes:
        """
        @param limit: is not kept to; L{_ZSTD_BYTES} sees to what can come of it.
        """
        self.unconsumed_tail = data[_ZSTD_BYTES:]
        found = self._reader.decompress(data[:_ZSTD_BYTES]) if data else b""
        self.eof = self._reader.eof
        self.unused_data = self._reader.unused_data
        return found


class Wrapper:
    """
    The other direction.

    @ivar sequence: of the next packet; a command begins with 0, and each side goes on where the other stopped.
    """

    __slots__ = ("_deflate", "sequence")

    def __init__(self, kind: str, level: int = 3) -> None:
        """
        @param level: of zstd, 1 to 22, as the client asks; beyond 9 it is our time that it asks for.
        """
        if kind == "zlib":
            self._deflate: Callable[[bytes], bytes] = _zlib
        else:
            self._deflate = zstandard.ZstdCompressor(level=min(max(level, 1), 9)).compress
        self.sequence = 0

    def wrap(self, data: bytes) -> bytes:
        """
        @param data: one packet, several, or parts of them.
        @return: the same in compressed packets, as many as needed.
        """
        parts = []
        for start in range(0, len(data), CHUNK):
            plain = data[start : start + CHUNK]
            due = 0
            wrapped = plain
            if len(plain) >= MIN_COMPRESSED:
                smaller = self._deflate(plain)
                if len(smaller) < len(plain):
                    wrapped, due = smaller, len(plain)
            parts += [
                len(wrapped).to_bytes(3, "little"),
                bytes((self.sequence,)),
                due.to_bytes(3, "little"),
                wrapped,
            ]
            self.sequence = self.sequence + 1 & 0xFF
        return b"".join(parts)


def _zlib(data: bytes) -> bytes:
    return zlib.compress(data, 6)


def _wrong(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"a compressed packet cannot be read: {what}", code=Errno.UNCOMPRESS_ERROR)
