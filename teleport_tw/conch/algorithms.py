"""
Which algorithms we speak, and how two lists become one choice.

@see: RFC 4253 section 7.1; RFC 8308 section 2.1 (ext-info); OpenSSH's C{PROTOCOL} section 1.10 (strict key exchange).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.conch.ciphers import CIPHERS, MACS
from teleport_tw.conch.kex import DISCONNECT_KEY_EXCHANGE_FAILED, KEX_METHODS, encode_string
from teleport_tw.protocols.ssh.wire import Reader

MSG_KEXINIT = 20

EXT_INFO_CLIENT = b"ext-info-c"
EXT_INFO_SERVER = b"ext-info-s"
STRICT_CLIENT = b"kex-strict-c-v00@openssh.com"
STRICT_SERVER = b"kex-strict-s-v00@openssh.com"

DEFAULT_KEX: tuple[bytes, ...] = tuple(name for name in KEX_METHODS if name != b"diffie-hellman-group16-sha512")
"""Post-quantum first; group 16 costs too much to be asked of a server unasked."""

DEFAULT_CIPHERS: tuple[bytes, ...] = tuple(CIPHERS)
DEFAULT_MACS: tuple[bytes, ...] = tuple(MACS)

SIGNATURES: tuple[bytes, ...] = (
    b"ssh-ed25519",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ssh-ed25519@openssh.com",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
)
"""Signature algorithms taken from a peer: neither DSA nor SHA-1."""

CERTIFICATE_SIGNATURES: tuple[bytes, ...] = (
    b"ssh-ed25519-cert-v01@openssh.com",
    b"ecdsa-sha2-nistp256-cert-v01@openssh.com",
    b"ecdsa-sha2-nistp384-cert-v01@openssh.com",
    b"ecdsa-sha2-nistp521-cert-v01@openssh.com",
    b"sk-ssh-ed25519-cert-v01@openssh.com",
    b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    b"rsa-sha2-512-cert-v01@openssh.com",
    b"rsa-sha2-256-cert-v01@openssh.com",
)
"""The same, made with the key inside a certificate."""

HOST_KEYS: tuple[bytes, ...] = tuple(
    name for name in CERTIFICATE_SIGNATURES + SIGNATURES if not name.startswith(b"sk-")
)
"""What a client takes from a server: certificates before bare keys."""


@frozen(kw_only=True)
class Algorithms:
    """
    What one side offers, most wanted first.

    @ivar kex: key exchange methods.
    @ivar ciphers: both directions.
    @ivar macs: both directions, for ciphers that need one.
    """

    kex: tuple[bytes, ...] = DEFAULT_KEX
    ciphers: tuple[bytes, ...] = DEFAULT_CIPHERS
    macs: tuple[bytes, ...] = DEFAULT_MACS

    @classmethod
    def of(cls, *, kex: Sequence[str] = (), ciphers: Sequence[str] = (), macs: Sequence[str] = ()) -> Algorithms:
        """
        Take C{kex_algos}, C{ciphers} and C{mac_algos} of the configuration; an empty list means the defaults.

        @raise TeleportError: BAD_PARAMETER, a name is not spoken here.
        """
        return cls(
            kex=_known("kex_algos", kex, tuple(KEX_METHODS)) or DEFAULT_KEX,
            ciphers=_known("ciphers", ciphers, tuple(CIPHERS)) or DEFAULT_CIPHERS,
            macs=_known("mac_algos", macs, tuple(MACS)) or DEFAULT_MACS,
        )


def _known(setting: str, names: Sequence[str], known: tuple[bytes, ...]) -> tuple[bytes, ...]:
    encoded = tuple(name.encode("ascii", "replace") for name in names)
    for name in encoded:
        if name not in known:
            choice = ", ".join(each.decode("ascii") for each in known)
            raise bad_parameter(f"{setting}: {name.decode('ascii')!r} is not supported; choose among {choice}")
    return encoded


@frozen(kw_only=True)
class KexInit:
    """
    One side's lists::

        byte      SSH_MSG_KEXINIT
        byte[16]  cookie
        name-list kex, host keys, ciphers c2s, s2c, MACs c2s, s2c, compression c2s, s2c, languages c2s, s2c
        boolean   first packet follows
        uint32    0

    @ivar payload: what was sent, as the exchange hash takes it.
    @ivar guesses: a first message of the key exchange follows unasked.
    """

    payload: bytes
    kex: tuple[bytes, ...]
    host_keys: tuple[bytes, ...]
    ciphers: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    macs: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    compressions: tuple[tuple[bytes, ...], tuple[bytes, ...]]
    guesses: bool = False

    @classmethod
    def build(cls, algorithms: Algorithms, host_keys: tuple[bytes, ...], markers: tuple[bytes, ...]) -> KexInit:
        """
        @param markers: names beside the methods that say what we can do: ext-info, strict key exchange.
        """
        kex = algorithms.kex + markers
        lists = (kex, host_keys, *(algorithms.ciphers,) * 2, *(algorithms.macs,) * 2, *((b"none",),) * 2, (), ())
        payload = b"".join(
            [
                bytes((MSG_KEXINIT,)),
                os.urandom(16),
                *(encode_string(b",".join(names)) for names in lists),
                b"\0" * 5,
            ]
        )
        return cls(
            payload=payload,
            kex=kex,
            host_keys=host_keys,
            ciphers=(algorithms.ciphers,) * 2,
            macs=(algorithms.macs,) * 2,
            compressions=((b"none",),) * 2,
        )

    @classmethod
    def parse(cls, payload: bytes) -> KexInit:
        """
        @param payload: with its type byte.
        @raise RemoteProtocolError: it is cut short.
        """
        reader = Reader(payload)
        reader.raw(17)
        lists = [tuple(reader.string().split(b",")) for _ in range(10)]
        return cls(
            payload=payload,
            kex=lists[0],
            host_keys=lists[1],
            ciphers=(lists[2], lists[3]),
            macs=(lists[4], lists[5]),
            compressions=(lists[6], lists[7]),
            guesses=reader.boolean(),
        )


@frozen
class Protection:
    """
    @ivar cipher: name.
    @ivar mac: name; empty where the cipher brings its own.
    """

    cipher: bytes
    mac: bytes


@frozen(kw_only=True)
class Choice:
    """
    What both sides agreed on.

    @ivar guess_right: a first message that a side sent unasked is for the method chosen.
    """

    kex: bytes
    host_key: bytes
    to_server: Protection
    to_client: Protection
    guess_right: bool


def negotiate(client: KexInit, server: KexInit) -> Choice:
    """
    @return: for each list the client's first name that the server has as well.
    @raise RemoteProtocolError: a list has no name in common.
    """
    kex = _first("key exchange method", _methods(client.kex), _methods(server.kex))
    host_key = _first("host key type", client.host_keys, server.host_keys)
    protections = []
    for direction in (0, 1):
        cipher = _first("cipher", client.ciphers[direction], server.ciphers[direction])
        mac = b""
        if not CIPHERS[cipher].authenticates:
            mac = _first("MAC", client.macs[direction], server.macs[direction])
        _first("compression", client.compressions[direction], server.compressions[direction])
        protections.append(Protection(cipher, mac))
    return Choice(
        kex=kex,
        host_key=host_key,
        to_server=protections[0],
        to_client=protections[1],
        guess_right=client.kex[:1] == server.kex[:1] and client.host_keys[:1] == server.host_keys[:1],
    )


def _methods(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(name for name in names if name in KEX_METHODS)


def _first(what: str, client: tuple[bytes, ...], server: tuple[bytes, ...]) -> bytes:
    for name in client:
        if name in server:
            return name
    offered = b",".join(client).decode("ascii", "replace")
    raise RemoteProtocolError(f"no {what} in common; offered {offered}", code=DISCONNECT_KEY_EXCHANGE_FAILED)
