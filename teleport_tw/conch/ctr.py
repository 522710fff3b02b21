"""
AES in counter mode with a MAC beside it, over what is sent or over what is meant.

@see: RFC 4344 section 4; OpenSSH's C{PROTOCOL} section 1.5 for encrypt-then-MAC.
"""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from teleport_tw.conch.sealing import HEAD, UINT32, Octets, Padding, checked, forged, padding_bytes


class Mac:
    """
    HMAC over the sequence number and the packet.
    """

    __slots__ = ("_hash", "_key", "size")

    def __init__(self, key: bytes, hash_name: str, size: int) -> None:
        self._key = key
        self._hash = hash_name
        self.size = size

    def tag(self, sequence: int, packet: Octets) -> bytes:
        """
        @return: of L{size} bytes.
        """
        return hmac.digest(self._key, b"".join((UINT32.pack(sequence), packet)), self._hash)


def _counter_mode(key: bytes, iv: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()


class CtrThenMacSealer:
    """
    AES in counter mode, then HMAC over what it made: the length goes in clear.
    """

    __slots__ = ("_cipher", "_mac", "_padding")

    def __init__(self, key: bytes, iv: bytes, mac: Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac
        self._padding = Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = padding_bytes(size, 16)
        plain = b"".join((bytes((padding,)), head, body, self._padding.take(padding)))
        sealed = UINT32.pack(len(plain)) + self._cipher.update(plain)
        return sealed + self._mac.tag(sequence, sealed)


class CtrThenMacOpener:
    """
    AES in counter mode, with the tag checked before anything is deciphered.
    """

    __slots__ = ("_cipher", "_mac")

    head_bytes = 4

    def __init__(self, key: bytes, iv: bytes, mac: Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        (length,) = UINT32.unpack(head)
        return checked(length, 16, 0) + 4 + self._mac.size

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        end = len(packet) - self._mac.size
        if not hmac.compare_digest(self._mac.tag(sequence, packet[:end]), packet[end:]):
            raise forged()
        return self._cipher.update(packet[4:end])


class CtrAndMacSealer:
    """
    AES in counter mode over the whole packet, HMAC over what was in it: RFC 4253's own way.
    """

    __slots__ = ("_cipher", "_mac", "_padding")

    def __init__(self, key: bytes, iv: bytes, mac: Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac
        self._padding = Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = padding_bytes(size + 4, 16)
        plain = b"".join((HEAD.pack(size + padding, padding), head, body, self._padding.take(padding)))
        return self._cipher.update(plain) + self._mac.tag(sequence, plain)


class CtrAndMacOpener:
    """
    AES in counter mode over the whole packet: the first block must be deciphered to know the length.
    """

    __slots__ = ("_cipher", "_first", "_mac")

    head_bytes = 16

    def __init__(self, key: bytes, iv: bytes, mac: Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac
        self._first = b""

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        self._first = self._cipher.update(head)
        (length,) = UINT32.unpack_from(self._first)
        return checked(length, 16, 4) + 4 + self._mac.size

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        end = len(packet) - self._mac.size
        plain = self._first + self._cipher.update(packet[16:end])
        if not hmac.compare_digest(self._mac.tag(sequence, plain), packet[end:]):
            raise forged()
        return plain[4:]
