"""
Packet protection of SSH's transport, one small object per direction and set of keys.

A L{Sealer} turns a payload into the bytes of one packet; an L{Opener} first says how long the next packet is and then
opens it. Neither keeps a buffer or a sequence number: L{teleport_tw.conch.packets} does, so a cipher here is keys and
arithmetic only. Every form of the binary packet is the same inside::

    uint32  packet_length   of what follows up to the tag, not counting itself or the tag
    byte    padding_length
    byte[]  payload
    byte[]  padding         four bytes at least

What differs is which part is enciphered, and what the tag covers.

@see: RFC 4253 section 6; RFC 5647 and OpenSSH's C{PROTOCOL} section 1.6 for AES-GCM; OpenSSH's
    C{PROTOCOL.chacha20poly1305}; OpenSSH's C{PROTOCOL} section 1.5 for encrypt-then-MAC.
"""

from __future__ import annotations

import os
from struct import Struct
from typing import Protocol

from teleport_tw.base.errors import RemoteProtocolError

Octets = bytes | bytearray | memoryview

DISCONNECT_PROTOCOL_ERROR = 2
DISCONNECT_MAC_ERROR = 5

MAX_PACKET_BYTES = 256 * 1024
"""The longest C{packet_length} taken or sent: what OpenSSH allows (C{PACKET_MAX_SIZE})."""

MIN_PADDING = 4
UINT32 = Struct(">L")
HEAD = Struct(">LB")
EMPTY = bytearray()
TAG_ROOM = bytes(16)


class Sealer(Protocol):
    """
    The sending half of a set of keys.
    """

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes | bytearray:
        """
        @param sequence: the packet's number, below 2**32.
        @param head: the payload's first bytes.
        @param body: the rest of the payload, which is copied once.
        @return: one packet as it goes on the wire.
        """


class Opener(Protocol):
    """
    The receiving half of a set of keys.

    @ivar head_bytes: how much of a packet must be there before its length can be told.
    """

    head_bytes: int

    def length(self, sequence: int, head: Octets) -> int:
        """
        Called once for each packet.

        @param head: its first L{head_bytes} bytes.
        @return: how many bytes the whole packet has on the wire, tag and length field included.
        @raise RemoteProtocolError: no packet has such a length.
        """

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        @param packet: all of it.
        @return: padding length, payload and padding, which is not checked.
        @raise RemoteProtocolError: the tag is wrong.
        """


def checked(length: int, block: int, covered: int) -> int:
    """
    @param length: C{packet_length} as it came.
    @param block: bytes that the enciphered part is a multiple of.
    @param covered: how much before the length counts into the blocks.
    @return: C{length}.
    @raise RemoteProtocolError: no packet has such a length.
    """
    if length > MAX_PACKET_BYTES:
        raise RemoteProtocolError(f"packet of {length} bytes is too long", code=DISCONNECT_PROTOCOL_ERROR)
    if length < 1 + 1 + MIN_PADDING or (length + covered) % block:
        raise RemoteProtocolError(f"packet of {length} bytes is not whole", code=DISCONNECT_PROTOCOL_ERROR)
    return length


def forged() -> RemoteProtocolError:
    """
    @return: for a packet whose tag is wrong.
    """
    return RemoteProtocolError("packet is corrupt", code=DISCONNECT_MAC_ERROR)


class Padding:
    """
    Random bytes, drawn many at a time.
    """

    __slots__ = ("_pool", "_used")

    _POOL_BYTES = 4096

    def __init__(self) -> None:
        self._pool = b""
        self._used = self._POOL_BYTES

    def take(self, count: int) -> bytes:
        """
        @param count: 255 at most, as a packet's padding is.
        """
        start = self._used
        end = start + count
        if end > self._POOL_BYTES:
            self._pool = os.urandom(self._POOL_BYTES)
            start, end = 0, count
        self._used = end
        return self._pool[start:end]


def padding_bytes(length: int, block: int) -> int:
    """
    @param length: how many bytes of what must fill whole blocks are there already.
    """
    padding = block - length % block
    return padding if padding >= MIN_PADDING else padding + block


class PlainSealer:
    """
    No protection: what is sent before the first keys are agreed on.
    """

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = padding_bytes(size + 4, 8)
        return b"".join((HEAD.pack(size + padding, padding), head, body, bytes(padding)))


class PlainOpener:
    """
    No protection.
    """

    head_bytes = 4

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        (length,) = UINT32.unpack(head)
        return checked(length, 8, 4) + 4

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        return bytes(packet[4:])
