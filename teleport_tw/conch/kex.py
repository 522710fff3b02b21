"""
Ways to agree on a secret, each as one object per exchange.

All of them are one message each way, so they share a shape: the client makes an I{offer}, the server takes it and
makes an I{answer} and the secret, the client takes the answer and has the secret as well. Offers and answers are what
the string or mpint field of the message holds; both forms have the same layout on the wire, a length and octets.

@see: RFC 4253 section 8 and RFC 8268 (Diffie-Hellman); RFC 5656 section 4 (ECDH); RFC 8731 (Curve25519);
    draft-ietf-sshm-mlkem-hybrid-kex; OpenSSH's C{kexsntrup761x25519.c}.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

from attrs import define, field, frozen
from cryptography.hazmat.primitives.asymmetric import dh, ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning

from teleport_tw.base.errors import RemoteProtocolError

HAVE_SNTRUP761 = find_spec("pqcrypto") is not None
"""It is an extra: without it the method is not offered. It is loaded when the method was agreed on."""

DISCONNECT_KEY_EXCHANGE_FAILED = 3


class Agreement(Protocol):
    """
    One run of a key exchange method, used for one side of one exchange.
    """

    def offer(self) -> bytes:
        """
        Client: @return: what the server must be sent.
        """

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """
        Server: @return: what the client must be sent, and the shared secret as the exchange hash takes it.
        @raise RemoteProtocolError: the offer is no public value of this method.
        """

    def finish(self, answer: bytes) -> bytes:
        """
        Client: @return: the shared secret as the exchange hash takes it.
        @raise RemoteProtocolError: the answer is no public value of this method.
        """


def encode_string(octets: bytes) -> bytes:
    """
    @return: RFC 4251's C{string}.
    """
    return len(octets).to_bytes(4, "big") + octets


def encode_mpint(octets: bytes) -> bytes:
    """
    @param octets: a number that is not negative, big-endian, of any length.
    @return: RFC 4251's C{mpint}.
    """
    return encode_string(_mpint_body(octets))


def _mpint_body(octets: bytes) -> bytes:
    stripped = octets.lstrip(b"\0")
    return b"\0" + stripped if stripped and stripped[0] & 0x80 else stripped


def _refused(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(why, code=DISCONNECT_KEY_EXCHANGE_FAILED)


@define
class X25519Agreement:
    """
    C{curve25519-sha256}.
    """

    _key: x25519.X25519PrivateKey = field(factory=x25519.X25519PrivateKey.generate, init=False)

    def public(self) -> bytes:
        """
        @return: our public value, 32 bytes.
        """
        return self._key.public_key().public_bytes_raw()

    def shared(self, public: bytes) -> bytes:
        """
        @param public: the peer's value.
        @return: 32 bytes.
        @raise RemoteProtocolError: it is not 32 bytes, or a point that gives every key the same secret.
        """
        try:
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(public))
        except ValueError as error:
            raise _refused("bad X25519 public value") from error

    def offer(self) -> bytes:
        """
        See L{Agreement.offer}.
        """
        return self.public()

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """
        See L{Agreement.answer}.
        """
        return self.public(), encode_mpint(self.shared(offer))

    def finish(self, answer: bytes) -> bytes:
        """
        See L{Agreement.finish}.
        """
        return encode_mpint(self.shared(answer))


@define
class EcdhAgreement:
    """
    C{ecdh-sha2-*} over a NIST curve; points are uncompressed.
    """

    _curve: ec.EllipticCurve
    _key: ec.EllipticCurvePrivateKey = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._key = ec.generate_private_key(self._curve)

    def offer(self) -> bytes:
        """
        See L{Agreement.offer}.
        """
        return self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """
        See L{Agreement.answer}.
        """
        return self.offer(), self.finish(offer)

    def finish(self, answer: bytes) -> bytes:
        """
        See L{Agreement.finish}.
        """
        try:
            public = ec.EllipticCurvePublicKey.from_encoded_point(self._curve, answer)
            return encode_mpint(self._key.exchange(ec.ECDH(), public))
        except ValueError as error:
            raise _refused("bad ECDH public value") from error


@contextmanager
def _still_there() -> Iterator[None]:
    """
    The crypto library warns that it will drop these groups one day; the configuration may ask for them until then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


@define
class DhAgreement:
    """
    Diffie-Hellman in a fixed group of RFC 3526.
    """

    _group: dh.DHParameterNumbers
    _key: dh.DHPrivateKey = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._key = self._group.parameters().generate_private_key()

    def offer(self) -> bytes:
        """
        See L{Agreement.offer}.
        """
        y = self._key.public_key().public_numbers().y
        return _mpint_body(y.to_bytes(y.bit_length() // 8 + 1, "big"))

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """
        See L{Agreement.answer}.
        """
        return self.offer(), self.finish(offer)

    def finish(self, answer: bytes) -> bytes:
        """
        See L{Agreement.finish}.
        """
        value = int.from_bytes(answer, "big")
        if len(answer) > 1025 or not 1 < value < self._group.p - 1 or _mpint_body(answer) != answer:
            raise _refused("bad Diffie-Hellman public value")
        try:
            with _still_there():
                theirs = dh.DHPublicNumbers(value, self._group).public_key()
            return encode_mpint(self._key.exchange(theirs))
        except ValueError as error:
            raise _refused("bad Diffie-Hellman public value") from error


class Kem(Protocol):
    """
    A key encapsulation method, the part of a hybrid exchange that a quantum computer does not break.

    @ivar public_bytes: size of its public key.
    @ivar sealed_bytes: size of what encapsulating gives.
    """

    public_bytes: int
    sealed_bytes: int

    def public(self) -> bytes:
        """
        @return: a fresh public key, whose private half stays here.
        """

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """
        @return: the sealed secret, and the secret.
        @raise ValueError: this is no public key.
        """

    def decapsulate(self, sealed: bytes) -> bytes:
        """
        @return: the secret.
        @raise ValueError: this was not sealed.
        """


@define
class MlKem768:
    """
    ML-KEM-768 of FIPS 203.
    """

    public_bytes = 1184
    sealed_bytes = 1088
    _key: mlkem.MLKEM768PrivateKey = field(init=False)

    def public(self) -> bytes:
        """
        See L{Kem.public}.
        """
        self._key = mlkem.MLKEM768PrivateKey.generate()
        return self._key.public_key().public_bytes_raw()

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """
        See L{Kem.encapsulate}.
        """
        secret, sealed = mlkem.MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        return sealed, secret

    def decapsulate(self, sealed: bytes) -> bytes:
        """
        See L{Kem.decapsulate}.
        """
        return self._key.decapsulate(sealed)


def _sntrup761() -> Any:  # the package has no types
    from pqcrypto.kem import sntrup_761  # type: ignore[import-not-found, import-untyped, unused-ignore]

    return sntrup_761


@define
class Sntrup761:
    """
    Streamlined NTRU Prime 761, which OpenSSH has offered since 8.5; needs the package C{pqcrypto}.
    """

    public_bytes = 1158
    sealed_bytes = 1039
    _key: bytes = field(default=b"", init=False)

    def public(self) -> bytes:
        """
        See L{Kem.public}.
        """
        public, self._key = _sntrup761().keygen()
        return bytes(public)

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """
        See L{Kem.encapsulate}.
        """
        sealed, secret = _sntrup761().encaps(public)
        return bytes(sealed), bytes(secret)

    def decapsulate(self, sealed: bytes) -> bytes:
        """
        See L{Kem.decapsulate}.
        """
        return bytes(_sntrup761().decaps(self._key, sealed))


@define
class HybridAgreement:
    """
    A key encapsulation method and X25519 side by side: the secret is safe while either of them stands.

    Offer and answer are the method's value, then X25519's 32 bytes; the secret is the hash of both secrets.
    """

    _kem: Kem
    _hash: Callable[[bytes], hashlib._Hash]
    _curve: X25519Agreement = field(factory=X25519Agreement, init=False)

    def offer(self) -> bytes:
        """
        See L{Agreement.offer}.
        """
        return self._kem.public() + self._curve.public()

    def answer(self, offer: bytes) -> tuple[bytes, bytes]:
        """
        See L{Agreement.answer}.
        """
        theirs, point = self._halves(offer, self._kem.public_bytes)
        try:
            sealed, secret = self._kem.encapsulate(theirs)
        except ValueError as error:
            raise _refused("bad hybrid public value") from error
        return sealed + self._curve.public(), self._secret(secret, point)

    def finish(self, answer: bytes) -> bytes:
        """
        See L{Agreement.finish}.
        """
        sealed, point = self._halves(answer, self._kem.sealed_bytes)
        try:
            secret = self._kem.decapsulate(sealed)
        except ValueError as error:
            raise _refused("bad hybrid public value") from error
        return self._secret(secret, point)

    def _secret(self, secret: bytes, point: bytes) -> bytes:
        return encode_string(self._hash(secret + self._curve.shared(point)).digest())

    @staticmethod
    def _halves(value: bytes, first: int) -> tuple[bytes, bytes]:
        if len(value) != first + 32:
            raise _refused("bad hybrid public value")
        return value[:first], value[first:]


# RFC 3526, sections 3 and 5: p = 2^n - 2^(n-64) - 1 + 2^64 * (floor(2^(n-130) * pi) + k), written out.
_PRIME_14 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
_PRIME_16 = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DD"
    "EF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7ED"
    "EE386BFB5A899FA5AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F"
    "83655D23DCA3AD961C62F356208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3B"
    "E39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA0510"
    "15728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7DB3970F85A6E1E4C7"
    "ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A92108011A723C12A787E6D7"
    "88719A10BDBA5B2699C327186AF4E23C1A946834B6150BDA2583E9CA2AD44CE8DBBBC2DB04DE8EF92E8EFC141FBECAA6"
    "287C59474E6BC05D99B2964FA090C3A2233BA186515BE7ED1F612970CEE2D7AFB81BDD762170481CD0069127D5B05AA9"
    "93B4EA988D8FDDC186FFB7DC90A6C08F4DF435C934063199FFFFFFFFFFFFFFFF",
    16,
)


@cache
def _group(prime: int) -> dh.DHParameterNumbers:
    """
    @return: the group with generator 2.
    """
    with _still_there():
        return dh.DHParameterNumbers(prime, 2)


@frozen
class KexMethod:
    """
    @ivar hash: of the exchange and of key derivation.
    @ivar begin: starts one run.
    """

    hash: Callable[[bytes], hashlib._Hash]
    begin: Callable[[], Agreement]


KEX_METHODS: Mapping[bytes, KexMethod] = {
    b"mlkem768x25519-sha256": KexMethod(hashlib.sha256, lambda: HybridAgreement(MlKem768(), hashlib.sha256)),
    **(
        {
            name: KexMethod(hashlib.sha512, lambda: HybridAgreement(Sntrup761(), hashlib.sha512))
            for name in (b"sntrup761x25519-sha512", b"sntrup761x25519-sha512@openssh.com")
        }
        if HAVE_SNTRUP761
        else {}
    ),
    b"curve25519-sha256": KexMethod(hashlib.sha256, X25519Agreement),
    b"curve25519-sha256@libssh.org": KexMethod(hashlib.sha256, X25519Agreement),
    b"ecdh-sha2-nistp256": KexMethod(hashlib.sha256, lambda: EcdhAgreement(ec.SECP256R1())),
    b"ecdh-sha2-nistp384": KexMethod(hashlib.sha384, lambda: EcdhAgreement(ec.SECP384R1())),
    b"ecdh-sha2-nistp521": KexMethod(hashlib.sha512, lambda: EcdhAgreement(ec.SECP521R1())),
    b"diffie-hellman-group14-sha256": KexMethod(hashlib.sha256, lambda: DhAgreement(_group(_PRIME_14))),
    b"diffie-hellman-group16-sha512": KexMethod(hashlib.sha512, lambda: DhAgreement(_group(_PRIME_16))),
}
"""Every method spoken here, by its name on the wire; none of them hashes with SHA-1."""


@frozen(kw_only=True)
class Transcript:
    """
    What both sides hash, so that neither can have been shown another conversation.

    @ivar client_version: without line end.
    @ivar server_version: without line end.
    @ivar client_kexinit: whole payload.
    @ivar server_kexinit: whole payload.
    """

    client_version: bytes
    server_version: bytes
    client_kexinit: bytes
    server_kexinit: bytes

    def digest(self, method: KexMethod, *, host_key: bytes, offer: bytes, answer: bytes, secret: bytes) -> bytes:
        """
        @param host_key: the blob the server presents, plain or certificate.
        @param secret: encoded, as L{Agreement} gives it.
        @return: the exchange hash C{H}.
        @see: RFC 4253 section 8, RFC 5656 section 4.
        """
        fields = (
            self.client_version,
            self.server_version,
            self.client_kexinit,
            self.server_kexinit,
            host_key,
            offer,
            answer,
        )
        return method.hash(b"".join([encode_string(part) for part in fields]) + secret).digest()


@frozen
class KeyMaterial:
    """
    Where keys are drawn from after an exchange.
    """

    _method: KexMethod
    _secret: bytes = field(repr=False)
    _digest: bytes
    session_id: bytes

    def derive(self, letter: bytes, size: int) -> bytes:
        """
        @param letter: C{A} to C{F}.
        @return: C{size} bytes.
        @see: RFC 4253 section 7.2
        """
        seed = self._secret + self._digest
        key = self._method.hash(seed + letter + self.session_id).digest()
        while len(key) < size:
            key += self._method.hash(seed + key).digest()
        return key[:size]
