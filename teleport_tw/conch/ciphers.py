"""
Every cipher and MAC of SSH's transport by its name on the wire; how each protects a packet is in modules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from teleport_tw.conch.chacha import ChaChaOpener, ChaChaSealer
from teleport_tw.conch.ctr import CtrAndMacOpener, CtrAndMacSealer, CtrThenMacOpener, CtrThenMacSealer, Mac
from teleport_tw.conch.gcm import GcmOpener, GcmSealer
from teleport_tw.conch.sealing import Opener, Sealer


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

    def build(self, key: bytes) -> Mac:
        return Mac(key, self.hash_name, self.key_bytes)


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
    built = mac.build(mac_key)
    return CtrThenMacSealer(key, iv, built) if mac.then else CtrAndMacSealer(key, iv, built)


def _ctr_opener(key: bytes, iv: bytes, mac: MacAlgorithm | None, mac_key: bytes) -> Opener:
    assert mac is not None, "negotiation gives a counter-mode cipher its MAC"
    built = mac.build(mac_key)
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
