"""
Proving a password: what each authentication plugin makes of it.

A password goes to the server in the clear only inside TLS; L{answer} is told whether there is any. C{client_ed25519}
of MariaDB takes a hash of the password for the expanded secret key, which libraries for Ed25519 do not offer; where
PyNaCl is installed, its curve arithmetic signs. C{parsec}, its successor, is plain Ed25519.

@see: MySQL 8.4 source documentation, I{Authentication Plugin}; MariaDB knowledge base, I{Authentication Plugin -
    ed25519} and I{- PARSEC}.
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.wire import malformed

NATIVE = "mysql_native_password"
CACHING_SHA2 = "caching_sha2_password"
SHA256 = "sha256_password"
CLEAR = "mysql_clear_password"
ED25519 = "client_ed25519"
PARSEC = "parsec"
PLUGINS = frozenset({NATIVE, CACHING_SHA2, SHA256, CLEAR, ED25519, PARSEC})

FAST_AUTH_OK = b"\x03"
FULL_AUTH = b"\x04"
"""What C{caching_sha2_password} of a server says to a scramble: known, or send the password itself."""

PARSEC_NONCE_BYTES = 32
PARSEC_MAX_FACTOR = 10
"""A million rounds; a server that asks for more wants our time and not a proof."""


def native(password: Secret[bytes], scramble: bytes) -> bytes:
    """
    C{SHA1(password) XOR SHA1(scramble + SHA1(SHA1(password)))}; nothing for no password.
    """
    if not password:
        return b""
    first = _sha1(password.reveal())
    second = _sha1(scramble[:20] + _sha1(first))
    return _xor(first, second)


def caching_sha2(password: Secret[bytes], scramble: bytes) -> bytes:
    """
    C{SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble)}; nothing for no password.
    """
    if not password:
        return b""
    first = hashlib.sha256(password.reveal()).digest()
    second = hashlib.sha256(hashlib.sha256(first).digest() + scramble[:20]).digest()
    return _xor(first, second)


def ed25519(password: Secret[bytes], scramble: bytes) -> bytes:
    """
    An Ed25519 signature of the scramble, whose key is made of SHA-512 of the password in place of that of a seed.

    @raise RemoteProtocolError: PyNaCl is not installed, so the server's wish cannot be met.
    """
    try:
        from nacl import bindings as nacl
    except ImportError as error:
        raise RemoteProtocolError(
            "the server wants client_ed25519, for which the agent needs PyNaCl: pip install teleport_tw[ed25519]",
            code=Errno.NOT_SUPPORTED_YET,
        ) from error
    expanded = bytearray(hashlib.sha512(password.reveal()).digest())
    prefix = bytes(expanded[32:])
    expanded[0] &= 248
    expanded[31] = expanded[31] & 63 | 64
    scalar = nacl.crypto_core_ed25519_scalar_reduce(bytes(expanded[:32]) + bytes(32))
    public = nacl.crypto_scalarmult_ed25519_base_noclamp(bytes(expanded[:32]))
    nonce = nacl.crypto_core_ed25519_scalar_reduce(hashlib.sha512(prefix + scramble).digest())
    commitment: bytes = nacl.crypto_scalarmult_ed25519_base_noclamp(nonce)
    challenge = nacl.crypto_core_ed25519_scalar_reduce(hashlib.sha512(commitment + public + scramble).digest())
    answer: bytes = nacl.crypto_core_ed25519_scalar_add(nacl.crypto_core_ed25519_scalar_mul(challenge, scalar), nonce)
    return commitment + answer


def parsec(password: Secret[bytes], server_nonce: bytes, client_nonce: bytes, salt: bytes) -> bytes:
    """
    @param salt: C{P}; C{uint8} factor, the rounds being 1024 shifted left by it; the salt itself.
    @return: the client's nonce and an Ed25519 signature of both nonces.
    @raise RemoteProtocolError: another derivation, or too many rounds.
    """
    if len(salt) < 3 or salt[:1] != b"P" or salt[1] > PARSEC_MAX_FACTOR:
        raise malformed("a salt for parsec that is not as it should be")
    seed = hashlib.pbkdf2_hmac("sha512", password.reveal(), salt[2:], 1024 << salt[1], 32)
    return client_nonce + Ed25519PrivateKey.from_private_bytes(seed).sign(server_nonce + client_nonce)


def first_answer(plugin: str, password: Secret[bytes], scramble: bytes) -> bytes:
    """
    What a client says before it has heard anything of the plugin; only inside TLS.

    @param scramble: of the greeting or the switch, its final NUL or not.
    @raise RemoteProtocolError: the plugin is one that we do not have, or that proves nothing.
    """
    match plugin:
        case "mysql_native_password":
            return native(password, scramble)
        case "caching_sha2_password":
            return caching_sha2(password, scramble)
        case "sha256_password" | "mysql_clear_password":
            return password.reveal() + b"\0"
        case "client_ed25519":
            return ed25519(password, scramble[:32])
        case "parsec":
            return b""
    raise RemoteProtocolError(
        f"the server wants authentication plugin {plugin!r}, which is not supported", code=Errno.NOT_SUPPORTED_YET
    )


def _xor(first: bytes, second: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(first, second, strict=True))


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data).digest()  # noqa: S324 - the plugin's own choice, and TLS is around it
