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

import hmac
import os
from collections.abc import Callable, Mapping
from struct import Struct
from typing import Protocol

from attrs import frozen
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.poly1305 import Poly1305

from teleport_tw.base.errors import RemoteProtocolError

Octets = bytes | bytearray | memoryview

DISCONNECT_PROTOCOL_ERROR = 2
DISCONNECT_MAC_ERROR = 5

MAX_PACKET_BYTES = 256 * 1024
"""The longest C{packet_length} taken or sent: what OpenSSH allows (C{PACKET_MAX_SIZE})."""

_MIN_PADDING = 4
_UINT32 = Struct(">L")
_HEAD = Struct(">LB")
_EMPTY = bytearray()
_TAG_ROOM = bytes(16)


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


def _checked(length: int, block: int, covered: int) -> int:
    if length > MAX_PACKET_BYTES:
        raise RemoteProtocolError(f"packet of {length} bytes is too long", code=DISCONNECT_PROTOCOL_ERROR)
    if length < 1 + 1 + _MIN_PADDING or (length + covered) % block:
        raise RemoteProtocolError(f"packet of {length} bytes is not whole", code=DISCONNECT_PROTOCOL_ERROR)
    return length


def _forged() -> RemoteProtocolError:
    return RemoteProtocolError("packet is corrupt", code=DISCONNECT_MAC_ERROR)


class _Padding:
    """
    Random bytes, drawn many at a time.
    """

    __slots__ = ("_pool", "_used")

    _POOL_BYTES = 4096

    def __init__(self) -> None:
        self._pool = b""
        self._used = self._POOL_BYTES

    def take(self, count: int) -> bytes:
        start = self._used
        end = start + count
        if end > self._POOL_BYTES:
            self._pool = os.urandom(self._POOL_BYTES)
            start, end = 0, count
        self._used = end
        return self._pool[start:end]


def _padding_bytes(length: int, block: int) -> int:
    """
    @param length: how many bytes of what must fill whole blocks are there already.
    """
    padding = block - length % block
    return padding if padding >= _MIN_PADDING else padding + block


class PlainSealer:
    """
    No protection: what is sent before the first keys are agreed on.
    """

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = _padding_bytes(size + 4, 8)
        return b"".join((_HEAD.pack(size + padding, padding), head, body, bytes(padding)))


class PlainOpener:
    """
    No protection.
    """

    head_bytes = 4

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        (length,) = _UINT32.unpack(head)
        return _checked(length, 8, 4) + 4

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        return bytes(packet[4:])


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
        self._padding = _Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytearray:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = 16 - size % 16
        if padding < 4:
            padding += 16
        size += padding
        clear = _UINT32.pack(size)
        # Joined with room for the tag, then enciphered where it stands: one buffer, and the body is copied once.
        packet = _EMPTY.join((_HEAD.pack(size, padding), head, body, self._padding.take(padding), _TAG_ROOM))
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
        (length,) = _UINT32.unpack(head)
        return _checked(length, 16, 0) + 20

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        try:
            return self._decrypt(self._nonce.take(), packet[4:], packet[:4])
        except InvalidTag as error:
            raise _forged() from error


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
        self._padding = _Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = _padding_bytes(size, 8)
        plain = b"".join((bytes((padding,)), head, body, self._padding.take(padding)))
        keys = self._keys
        sealed = keys.length_field(sequence, _UINT32.pack(len(plain))) + keys.body(sequence, plain)
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
        (length,) = _UINT32.unpack(self._keys.length_field(sequence, head))
        return _checked(length, 8, 0) + 20

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        try:
            Poly1305.verify_tag(self._keys.tag_key(sequence), packet[:-16], bytes(packet[-16:]))
        except InvalidSignature as error:
            raise _forged() from error
        return self._keys.body(sequence, packet[4:-16])


class _Mac:
    """
    HMAC over the sequence number and the packet.
    """

    __slots__ = ("_hash", "_key", "size")

    def __init__(self, key: bytes, hash_name: str, size: int) -> None:
        self._key = key
        self._hash = hash_name
        self.size = size

    def tag(self, sequence: int, packet: Octets) -> bytes:
        return hmac.digest(self._key, b"".join((_UINT32.pack(sequence), packet)), self._hash)


def _counter_mode(key: bytes, iv: bytes) -> CipherContext:
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor()


class CtrThenMacSealer:
    """
    AES in counter mode, then HMAC over what it made: the length goes in clear.
    """

    __slots__ = ("_cipher", "_mac", "_padding")

    def __init__(self, key: bytes, iv: bytes, mac: _Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac
        self._padding = _Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = _padding_bytes(size, 16)
        plain = b"".join((bytes((padding,)), head, body, self._padding.take(padding)))
        sealed = _UINT32.pack(len(plain)) + self._cipher.update(plain)
        return sealed + self._mac.tag(sequence, sealed)


class CtrThenMacOpener:
    """
    AES in counter mode, with the tag checked before anything is deciphered.
    """

    __slots__ = ("_cipher", "_mac")

    head_bytes = 4

    def __init__(self, key: bytes, iv: bytes, mac: _Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        (length,) = _UINT32.unpack(head)
        return _checked(length, 16, 0) + 4 + self._mac.size

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        end = len(packet) - self._mac.size
        if not hmac.compare_digest(self._mac.tag(sequence, packet[:end]), packet[end:]):
            raise _forged()
        return self._cipher.update(packet[4:end])


class CtrAndMacSealer:
    """
    AES in counter mode over the whole packet, HMAC over what was in it: RFC 4253's own way.
    """

    __slots__ = ("_cipher", "_mac", "_padding")

    def __init__(self, key: bytes, iv: bytes, mac: _Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac
        self._padding = _Padding()

    def seal(self, sequence: int, head: bytes, body: Octets) -> bytes:
        """
        See L{Sealer.seal}.
        """
        size = 1 + len(head) + len(body)
        padding = _padding_bytes(size + 4, 16)
        plain = b"".join((_HEAD.pack(size + padding, padding), head, body, self._padding.take(padding)))
        return self._cipher.update(plain) + self._mac.tag(sequence, plain)


class CtrAndMacOpener:
    """
    AES in counter mode over the whole packet: the first block must be deciphered to know the length.
    """

    __slots__ = ("_cipher", "_first", "_mac")

    head_bytes = 16

    def __init__(self, key: bytes, iv: bytes, mac: _Mac) -> None:
        self._cipher = _counter_mode(key, iv)
        self._mac = mac
        self._first = b""

    def length(self, sequence: int, head: Octets) -> int:
        """
        See L{Opener.length}.
        """
        self._first = self._cipher.update(head)
        (length,) = _UINT32.unpack_from(self._first)
        return _checked(length, 16, 4) + 4 + self._mac.size

    def open(self, sequence: int, packet: memoryview) -> bytes:
        """
        See L{Opener.open}.
        """
        end = len(packet) - self._mac.size
        plain = self._first + self._cipher.update(packet[16:end])
        if not hmac.compare_digest(self._mac.tag(sequence, plain), packet[end:]):
            raise _forged()
        return plain[4:]


@frozen(kw_only=True)
class MacAlgorithm:
    """
    @ivar hash_name: as C{hashlib} calls it.
    @ivar key_bytes: also the size of the tag.
    @ivar then: whether the tag covers the enciphered packet.
    """

    hash_name: str
    key_bytes: int
    then: bool

    def _build(self, key: bytes) -> _Mac:
        return _Mac(key, self.hash_name, self.key_bytes)


@frozen(kw_only=True)
class CipherAlgorithm:
    """
    @ivar key_bytes: how much key material it takes.
    @ivar iv_bytes: how long its initial vector is; zero where it has none.
    @ivar authenticates: whether it needs no MAC beside it.
    """

    key_bytes: int
    iv_bytes: int
    authenticates: bool
    make_sealer: Callable[[bytes, bytes, MacAlgorithm | None, bytes], Sealer]
    make_opener: Callable[[bytes, bytes, MacAlgorithm | None, bytes], Opener]


def _ctr_sealer(key: bytes, iv: bytes, mac: MacAlgorithm | None, mac_key: bytes) -> Sealer:
    assert mac is not None, "negotiation gives a counter-mode cipher its MAC"
    built = mac._build(mac_key)
    return CtrThenMacSealer(key, iv, built) if mac.then else CtrAndMacSealer(key, iv, built)


def _ctr_opener(key: bytes, iv: bytes, mac: MacAlgorithm | None, mac_key: bytes) -> Opener:
    assert mac is not None, "negotiation gives a counter-mode cipher its MAC"
    built = mac._build(mac_key)
    return CtrThenMacOpener(key, iv, built) if mac.then else CtrAndMacOpener(key, iv, built)


def _gcm(key_bytes: int) -> CipherAlgorithm:
    return CipherAlgorithm(
        key_bytes=key_bytes,
        iv_bytes=12,
        authenticates=True,
        make_sealer=lambda key, iv, mac, mac_key: GcmSealer(key, iv),
        make_opener=lambda key, iv, mac, mac_key: GcmOpener(key, iv),
    )


def _ctr(key_bytes: int) -> CipherAlgorithm:
    return CipherAlgorithm(
        key_bytes=key_bytes, iv_bytes=16, authenticates=False, make_sealer=_ctr_sealer, make_opener=_ctr_opener
    )


CIPHERS: Mapping[bytes, CipherAlgorithm] = {
    b"aes128-gcm@openssh.com": _gcm(16),
    b"aes256-gcm@openssh.com": _gcm(32),
    b"chacha20-poly1305@openssh.com": CipherAlgorithm(
        key_bytes=64,
        iv_bytes=0,
        authenticates=True,
        make_sealer=lambda key, iv, mac, mac_key: ChaChaSealer(key),
        make_opener=lambda key, iv, mac, mac_key: ChaChaOpener(key),
    ),
    b"aes128-ctr": _ctr(16),
    b"aes192-ctr": _ctr(24),
    b"aes256-ctr": _ctr(32),
}
"""Every cipher spoken here, by its name on the wire."""

MACS: Mapping[bytes, MacAlgorithm] = {
    b"hmac-sha2-256-etm@openssh.com": MacAlgorithm(hash_name="sha256", key_bytes=32, then=True),
    b"hmac-sha2-512-etm@openssh.com": MacAlgorithm(hash_name="sha512", key_bytes=64, then=True),
    b"hmac-sha2-256": MacAlgorithm(hash_name="sha256", key_bytes=32, then=False),
    b"hmac-sha2-512": MacAlgorithm(hash_name="sha512", key_bytes=64, then=False),
}
"""Every MAC spoken here; none of them is SHA-1."""
