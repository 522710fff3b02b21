"""
AES-GCM: the length in the clear and covered by the tag.

@see: RFC 5647, and OpenSSH's C{PROTOCOL} section 1.6 for how its names are negotiated.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from teleport_tw.conch.sealing import EMPTY, HEAD, TAG_ROOM, UINT32, Octets, Padding, checked, forged


class _GcmNonce:
    """
    The fixed four bytes and the counter that goes up by one with each packet, whatever the sequence number does.
    """

    __slots__ = ("_counter", "_fixed")

    def __init__(self, initial: bytes) -> None:
        self._fixed = initial[:4]
        self._counter = int.from_bytes(initial[4:12], "big")

    def take(self) -> bytes:
        counter = self._counter
        self._counter = (counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
        return self._fixed + counter.to_bytes(8, "big")


class GcmSealer:
    """
    AES in Galois/counter mode: the length goes in clear and is covered by the tag.
    """

    __slots__ = ("_encrypt_into", "_nonce", "_padding")

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._encrypt_into = AESGCM(key).encrypt_into
        self._nonce = _GcmNonce(iv)
        self._padding = Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytearray:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = 16 - size % 16
        if padding < 4:
            padding += 16
        size += padding
        clear = UINT32.pack(size)
        # Joined with room for the tag, then enciphered where it stands: one buffer, and the body is copied once.
        packet = EMPTY.join((HEAD.pack(size, padding), head, body, self._padding.take(padding), TAG_ROOM))
        view = memoryview(packet)
        self._encrypt_into(self._nonce.take(), view[4:-16], clear, view[4:])
        return packet


class GcmOpener:
    """
    AES in Galois/counter mode.
    """

    __slots__ = ("_decrypt", "_nonce")

    head_bytes = 4

    def __init__(self, key: bytes, iv: bytes) -> None:
        self._decrypt = AESGCM(key).decrypt
        self._nonce = _GcmNonce(iv)

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        (length,) = UINT32.unpack(head)
        return checked(length, 16, 0) + 20

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        try:
            return self._decrypt(self._nonce.take(), packet[4:], packet[:4])
        except InvalidTag as error:
            raise forged() from error
