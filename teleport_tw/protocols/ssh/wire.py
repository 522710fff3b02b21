"""
The field types of SSH: what every packet, key and certificate is put together from.

L{Reader} cannot read past the end of what it was given; the C{put_*} functions are its mirror image and return bytes
to be joined by the caller.

@see: RFC 4251, section 5
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError

_UINT32 = Struct(">I")
_UINT64 = Struct(">Q")

MAX_UINT32 = 2**32 - 1
MAX_UINT64 = 2**64 - 1


class Reader:
    """
    Takes fields off the front of some bytes, one after the other.
    """

    __slots__ = ("_data", "_end", "_offset")

    def __init__(self, data: bytes) -> None:
        """
        @param data: the whole structure; never waits for more.
        """
        self._data = data
        self._offset = 0
        self._end = len(data)

    @property
    def offset(self) -> int:
        """
        How many bytes were read so far.
        """
        return self._offset

    @property
    def remaining(self) -> int:
        """
        How many bytes are left.
        """
        return self._end - self._offset

    def raw(self, count: int) -> bytes:
        """
        @param count: how many bytes.
        @raise RemoteProtocolError: there are fewer left.
        """
        start = self._offset
        stop = start + count
        if stop > self._end:
            raise RemoteProtocolError(f"SSH field of {count} bytes, but {self._end - start} are left")
        self._offset = stop
        return self._data[start:stop]

    def byte(self) -> int:
        """
        @raise RemoteProtocolError: nothing is left.
        """
        return self.raw(1)[0]

    def boolean(self) -> bool:
        """
        @return: False for zero, True for anything else.
        @raise RemoteProtocolError: nothing is left.
        """
        return self.raw(1) != b"\0"

    def uint32(self) -> int:
        """
        @raise RemoteProtocolError: fewer than four bytes are left.
        """
        (value,) = _UINT32.unpack(self.raw(4))
        return int(value)

    def uint64(self) -> int:
        """
        @raise RemoteProtocolError: fewer than eight bytes are left.
        """
        (value,) = _UINT64.unpack(self.raw(8))
        return int(value)

    def string(self) -> bytes:
        """
        One C{string}: C{uint32} length, not counting itself; then that many bytes.

        @raise RemoteProtocolError: it ends after the data does.
        """
        return self.raw(self.uint32())

    def text(self) -> str:
        """
        @return: a C{string} that must be UTF-8.
        @raise RemoteProtocolError: it ends after the data does, or is not UTF-8.
        """
        try:
            return self.string().decode("utf-8")
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("SSH text field is not UTF-8") from error

    def mpint(self) -> int:
        """
        One C{mpint}: a C{string} holding a two's complement integer, big-endian, in as few bytes as possible.

        @raise RemoteProtocolError: it ends after the data does, or has a needless leading byte.
        """
        octets = self.string()
        if octets[:1] == b"\0" and (len(octets) == 1 or octets[1] < 0x80):
            raise RemoteProtocolError("SSH mpint has a needless leading zero byte")
        if octets[:1] == b"\xff" and len(octets) > 1 and octets[1] >= 0x80:
            raise RemoteProtocolError("SSH mpint has a needless leading sign byte")
        return int.from_bytes(octets, "big", signed=True)

    def namelist(self) -> tuple[str, ...]:
        """
        One C{name-list}: a C{string} of ASCII names separated by commas.

        @return: the names; none for an empty string.
        @raise RemoteProtocolError: it ends after the data does, is not ASCII, or holds an empty name.
        """
        octets = self.string()
        if not octets:
            return ()
        try:
            names = tuple(octets.decode("ascii").split(","))
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("SSH name-list is not ASCII") from error
        if "" in names:
            raise RemoteProtocolError("SSH name-list holds an empty name")
        return names

    def rest(self) -> bytes:
        """
        @return: everything that is left.
        """
        return self.raw(self._end - self._offset)

    def end(self) -> None:
        """
        @raise RemoteProtocolError: something is left.
        """
        if self._offset != self._end:
            raise RemoteProtocolError(f"SSH structure is followed by {self._end - self._offset} more bytes")


def put_byte(value: int) -> bytes:
    """
    @param value: 0 to 255.
    @raise LocalProtocolError: it does not fit.
    """
    if not 0 <= value <= 255:
        raise LocalProtocolError(f"{value} does not fit an SSH byte")
    return bytes((value,))


def put_boolean(value: bool) -> bytes:
    """
    @return: one byte, 1 or 0.
    """
    return b"\1" if value else b"\0"


def put_uint32(value: int) -> bytes:
    """
    @raise LocalProtocolError: it does not fit.
    """
    if not 0 <= value <= MAX_UINT32:
        raise LocalProtocolError(f"{value} does not fit an SSH uint32")
    return _UINT32.pack(value)


def put_uint64(value: int) -> bytes:
    """
    @raise LocalProtocolError: it does not fit.
    """
    if not 0 <= value <= MAX_UINT64:
        raise LocalProtocolError(f"{value} does not fit an SSH uint64")
    return _UINT64.pack(value)


def put_string(value: bytes) -> bytes:
    """
    @return: C{uint32} length and the bytes.
    """
    return _UINT32.pack(len(value)) + value


def put_text(value: str) -> bytes:
    """
    @return: a C{string} in UTF-8.
    """
    return put_string(value.encode("utf-8"))


def put_mpint(value: int) -> bytes:
    """
    @return: a C{string} with the shortest two's complement form; empty for zero.
    """
    if value == 0:
        return put_string(b"")
    bits = value.bit_length() if value > 0 else (value + 1).bit_length()
    return put_string(value.to_bytes(bits // 8 + 1, "big", signed=True))


def put_namelist(names: Iterable[str]) -> bytes:
    """
    @param names: ASCII, not empty, without commas.
    @raise LocalProtocolError: one is not.
    """
    listed = tuple(names)
    for name in listed:
        if not name or "," in name or not name.isascii():
            raise LocalProtocolError(f"{name!r} cannot stand in an SSH name-list")
    return put_string(",".join(listed).encode("ascii"))
