"""
ChaCha20-Poly1305, the length enciphered with a key of its own.

@see: OpenSSH's C{PROTOCOL.chacha20poly1305}
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms
from cryptography.hazmat.primitives.poly1305 import Poly1305

from teleport_tw.conch.sealing import UINT32, Octets, Padding, checked, forged, padding_bytes


class _ChaChaKeys:
    """
    Two ChaCha20 keys: the first enciphers the length, the second the rest, and its first block is Poly1305's key.
    """

    __slots__ = ("_head", "_main")

    def __init__(self, key: bytes) -> None:
        self._main = key[:32]
        self._head = key[32:64]

    def length_field(self, sequence: int, field: Octets) -> bytes:
        return self._stream(self._head, sequence, 0).update(field)

    def tag_key(self, sequence: int) -> bytes:
        return self._stream(self._main, sequence, 0).update(bytes(32))

    def body(self, sequence: int, body: Octets) -> bytes:
        return self._stream(self._main, sequence, 1).update(body)

    @staticmethod
    def _stream(key: bytes, sequence: int, block: int) -> CipherContext:
        nonce = block.to_bytes(8, "little") + sequence.to_bytes(8, "big")
        return Cipher(algorithms.ChaCha20(key, nonce), None).encryptor()


class ChaChaSealer:
    """
    C{chacha20-poly1305@openssh.com}: even the length is hidden.
    """

    __slots__ = ("_keys", "_padding")

    def __init__(self, key: bytes) -> None:
        self._keys = _ChaChaKeys(key)
        self._padding = Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = padding_bytes(size, 8)
        plain = b"".join((bytes((padding,)), head, body, self._padding.take(padding)))
        keys = self._keys
        sealed = keys.length_field(sequence, UINT32.pack(len(plain))) + keys.body(sequence, plain)
        return sealed + Poly1305.generate_tag(keys.tag_key(sequence), sealed)


class ChaChaOpener:
    """
    C{chacha20-poly1305@openssh.com}.
    """

    __slots__ = ("_keys",)

    head_bytes = 4

    def __init__(self, key: bytes) -> None:
        self._keys = _ChaChaKeys(key)

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        (length,) = UINT32.unpack(self._keys.length_field(sequence, head))
        return checked(length, 8, 0) + 20

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        try:
            Poly1305.verify_tag(self._keys.tag_key(sequence), packet[:-16], bytes(packet[-16:]))
        except InvalidSignature as error:
            raise forged() from error
        return self._keys.body(sequence, packet[4:-16])
