"""
Fields and packets.

A packet is C{uint24} length of the payload, little-endian; C{uint8} sequence number; the payload. A payload of 16 MiB
less one byte or more goes in several packets, the last of them shorter than that, if need be empty.

@see: MySQL 8.4 source documentation, I{MySQL Packets}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.mysql.errors import Errno

HEADER_BYTES = 4
MAX_PACKET = 0xFFFFFF
"""Bytes of payload at which a packet is continued in the next one."""
MAX_LOGIN_PACKET = 64 * 1024
"""No packet of a login is longer: connect attributes are the most of it, and servers take 64 KiB of these at most."""

_NULL = 0xFB
_U16, _U24, _U64 = 0xFC, 0xFD, 0xFE


def malformed(what: str) -> RemoteProtocolError:
    """
    @param what: is wrong, after C{the peer sent}.
    """
    return RemoteProtocolError(f"the peer sent {what}", code=Errno.MALFORMED_PACKET)


class Fields:
    """
    Reads a payload from left to right and never past its end.

    @ivar position: of the next byte.
    """

    __slots__ = ("_data", "_end", "position")

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self._end = len(data)
        self.position = position

    def __len__(self) -> int:
        """
        How many bytes are left.
        """
        return self._end - self.position

    def take(self, size: int) -> bytes:
        """
        @return: exactly so many bytes.
        @raise RemoteProtocolError: there are fewer.
        """
        stop = self.position + size
        if stop > self._end:
            raise malformed(f"{self._end - self.position} bytes where {size} are announced")
        data = self._data[self.position : stop]
        self.position = stop
        return data

    def number(self, size: int) -> int:
        """
        A little-endian number without sign.
        """
        return int.from_bytes(self.take(size), "little")

    def peek(self) -> int:
        """
        @return: the next byte, or -1 at the end.
        """
        return self._data[self.position] if self.position < self._end else -1

    def length(self) -> int:
        """
        A length-encoded integer: one byte below 251, or 0xFC, 0xFD, 0xFE and 2, 3, 8 bytes.

        @raise RemoteProtocolError: it is NULL or an error's mark.
        """
        first = self.number(1)
        if first < _NULL:
            return first
        if first == _U16:
            return self.number(2)
        if first == _U24:
            return self.number(3)
        if first == _U64:
            return self.number(8)
        raise malformed(f"{first:#x} where a length is to be")

    def string(self) -> bytes:
        """
        A length-encoded string.
        """
        return self.take(self.length())

    def until_nul(self) -> bytes:
        """
        A string that ends in NUL, which is read and left out.
        """
        end = self._data.find(b"\0", self.position)
        if end < 0:
            raise malformed("a string without its end")
        data = self._data[self.position : end]
        self.position = end + 1
        return data

    def rest_until_nul(self) -> bytes:
        """
        A string that ends in NUL, or with the payload.
        """
        end = self._data.find(b"\0", self.position)
        if end < 0:
            return self.rest()
        return self.until_nul()

    def rest(self) -> bytes:
        """
        All that is left.
        """
        return self.take(len(self))


def length(value: int) -> bytes:
    """
    @return: a length-encoded integer.
    """
    if value < _NULL:
        return bytes((value,))
    if value <= 0xFFFF:
        return b"\xfc" + value.to_bytes(2, "little")
    if value <= 0xFFFFFF:
        return b"\xfd" + value.to_bytes(3, "little")
    return b"\xfe" + value.to_bytes(8, "little")


def string(value: bytes) -> bytes:
    """
    @return: a length-encoded string.
    """
    return length(len(value)) + value


def attributes(pairs: Mapping[str, str]) -> bytes:
    """
    @return: connection attributes, as a handshake response ends with.
    """
    return string(b"".join(string(text.encode()) for pair in pairs.items() for text in pair))


def header(size: int, sequence: int) -> bytes:
    """
    @param size: bytes of payload, 16 MiB less one at most.
    """
    return size.to_bytes(3, "little") + bytes((sequence & 0xFF,))


def packets(payload: bytes, sequence: int) -> bytes:
    """
    @param sequence: of the first packet.
    @return: the payload in as many packets as it needs.
    """
    if len(payload) < MAX_PACKET:
        return header(len(payload), sequence) + payload
    parts = []
    for start in range(0, len(payload) + 1, MAX_PACKET):
        part = payload[start : start + MAX_PACKET]
        parts += [header(len(part), sequence), part]
        sequence += 1
    return b"".join(parts)


class Packets:
    """
    Cuts whole packets out of a login's bytes, where each is short and one follows the other.

    @ivar sequence: of the next packet, either side's.
    @ivar rest: bytes behind the last packet taken; whoever reads what follows the login begins with them.
    """

    __slots__ = ("_buffer", "_limit", "sequence")

    def __init__(self, sequence: int = 0, limit: int = MAX_LOGIN_PACKET) -> None:
        """
        @param limit: bytes of payload that a packet may have.
        """
        self._buffer = b""
        self._limit = limit
        self.sequence = sequence

    @property
    def rest(self) -> bytes:
        """
        What is not a whole packet yet.
        """
        return self._buffer

    def feed(self, data: bytes) -> Iterator[bytes]:
        """
        @return: the payloads that are whole now. Stop asking for the next one where the login ends.
        @raise RemoteProtocolError: a packet is too long, or its number is not the next one.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            size = int.from_bytes(self._buffer[:3], "little")
            if self._buffer[3] != self.sequence:
                raise RemoteProtocolError(
                    f"packet {self._buffer[3]} came where {self.sequence} was due", code=Errno.PACKETS_OUT_OF_ORDER
                )
            if size > self._limit:
                raise RemoteProtocolError(f"a packet of {size} bytes in a login", code=Errno.PACKET_TOO_LARGE)
            stop = HEADER_BYTES + size
            if len(self._buffer) < stop:
                return
            payload, self._buffer = self._buffer[HEADER_BYTES:stop], self._buffer[stop:]
            self.sequence = self.sequence + 1 & 0xFF
            yield payload

    def encode(self, payload: bytes) -> bytes:
        """
        @return: a packet of ours, with the next number.
        """
        if len(payload) > self._limit:
            raise LocalProtocolError(f"a packet of {len(payload)} bytes in a login")
        packet = header(len(payload), self.sequence) + payload
        self.sequence = self.sequence + 1 & 0xFF
        return packet
