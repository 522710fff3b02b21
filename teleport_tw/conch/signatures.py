"""
The one door to signing and verifying: keys of the wire on this side, the crypto library behind it.

@see: RFC 4253 section 6.6, RFC 8332 (RSA with SHA-2), RFC 5656 section 3.1.2, RFC 8709; OpenSSH's C{PROTOCOL.u2f}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol

from attrs import define, field, frozen
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.conch.numbers import MSG_USERAUTH_REQUEST
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_mpint, put_string

_CERTIFICATE_SUFFIX = b"-cert-v01@openssh.com"

_CURVES: Mapping[str, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    "nistp256": (ec.SECP256R1(), hashes.SHA256()),
    "nistp384": (ec.SECP384R1(), hashes.SHA384()),
    "nistp521": (ec.SECP521R1(), hashes.SHA512()),
}
_RSA_HASHES: Mapping[bytes, hashes.HashAlgorithm] = {b"rsa-sha2-256": hashes.SHA256(), b"rsa-sha2-512": hashes.SHA512()}

PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

USER_PRESENT = 0x01
"""Flag of a security key's signature: somebody touched it."""

USER_VERIFIED = 0x04
"""Flag of a security key's signature: it asked for a PIN or a fingerprint."""


def is_certificate(algorithm: bytes) -> bool:
    """
    @param algorithm: of a key or a signature.
    """
    return algorithm.endswith(_CERTIFICATE_SUFFIX)


def plain_algorithm(algorithm: bytes) -> bytes:
    """
    @param algorithm: C{rsa-sha2-512-cert-v01@openssh.com}.
    @return: what the signature itself is labelled: C{rsa-sha2-512}.
    """
    if not is_certificate(algorithm):
        return algorithm
    stem = algorithm.removesuffix(_CERTIFICATE_SUFFIX)
    return stem + b"@openssh.com" if stem.startswith(b"sk-") else stem


def public_key_of(blob: bytes) -> keys.PublicKey:
    """
    @param blob: of a key or of a certificate.
    @return: the key, or the one certified.
    @raise RemoteProtocolError: it is neither.
    """
    if is_certificate(Reader(blob).string()):
        return certificates.parse(blob).key
    return keys.parse(blob)


def signature_algorithms(blob: bytes) -> tuple[bytes, ...]:
    """
    @param blob: of a key or of a certificate.
    @return: with which algorithms it may sign, best first.
    @raise RemoteProtocolError: it is neither.
    """
    name = Reader(blob).string()
    certified = is_certificate(name)
    plain = plain_algorithm(name)
    names = (b"rsa-sha2-512", b"rsa-sha2-256") if plain == b"ssh-rsa" else (plain,)
    return tuple(map(_certified, names)) if certified else names


def _certified(name: bytes) -> bytes:
    return name.removesuffix(b"@openssh.com") + _CERTIFICATE_SUFFIX


@frozen
class Touch:
    """
    What a security key says beside its signature.

    @ivar flags: L{USER_PRESENT}, L{USER_VERIFIED}.
    @ivar counter: goes up with each signature, where the key keeps one.
    """

    flags: int
    counter: int


def verify(blob: bytes, algorithm: bytes, signature: bytes, data: bytes) -> Touch | None:
    """
    @param blob: of the key or certificate that is said to have signed.
    @param algorithm: what was agreed on, with or without the certificate suffix; the signature must be of this one.
    @param signature: C{string} algorithm; C{string} octets; for a security key C{byte} flags; C{uint32} counter.
    @return: a security key's own words; C{None} for other keys.
    @raise RemoteProtocolError: it is not such a signature.
    """
    if algorithm not in signature_algorithms(blob):
        raise RemoteProtocolError("signature algorithm is not one of the key's")
    key = public_key_of(blob)
    reader = Reader(signature)
    plain = plain_algorithm(algorithm)
    if reader.string() != plain:
        raise RemoteProtocolError("signature is of another algorithm than agreed on")
    octets = reader.string()
    touch = None
    if isinstance(key, keys.SkEd25519Key | keys.SkEcdsaKey):
        touch = Touch(reader.byte(), reader.uint32())
        data = b"".join(
            (
                hashlib.sha256(key.application).digest(),
                bytes((touch.flags,)),
                touch.counter.to_bytes(4, "big"),
                hashlib.sha256(data).digest(),
            )
        )
    reader.end()
    try:
        _check(key, plain, octets, data)
    except (InvalidSignature, ValueError) as error:
        raise RemoteProtocolError("signature is wrong") from error
    return touch


def _check(key: keys.PublicKey, algorithm: bytes, octets: bytes, data: bytes) -> None:
    match key:
        case keys.Ed25519Key() | keys.SkEd25519Key():
            ed25519.Ed25519PublicKey.from_public_bytes(key.point).verify(octets, data)
        case keys.RsaKey():
            modulus_bytes = (key.modulus.bit_length() + 7) // 8
            rsa.RSAPublicNumbers(key.exponent, key.modulus).public_key().verify(
                octets.rjust(modulus_bytes, b"\0"), data, padding.PKCS1v15(), _RSA_HASHES[algorithm]
            )
        case keys.EcdsaKey() | keys.SkEcdsaKey():
            curve, digest = _CURVES[key.curve if isinstance(key, keys.EcdsaKey) else "nistp256"]
            reader = Reader(octets)
            r, s = reader.mpint(), reader.mpint()
            reader.end()
            if r <= 0 or s <= 0:
                raise InvalidSignature
            public = ec.EllipticCurvePublicKey.from_encoded_point(curve, key.point)
            public.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))


def blob_of(key: PrivateKey) -> bytes:
    """
    @return: the public half as it goes on the wire.
    @raise TeleportError: BAD_PARAMETER, a curve or size that is not used here.
    """
    match key:
        case ed25519.Ed25519PrivateKey():
            return keys.serialize(keys.Ed25519Key(key.public_key().public_bytes_raw()))
        case rsa.RSAPrivateKey():
            numbers = key.public_key().public_numbers()
            return keys.serialize(keys.RsaKey(numbers.e, numbers.n))
        case ec.EllipticCurvePrivateKey():
            for name, (curve, _) in _CURVES.items():
                if curve.name == key.curve.name:
                    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
                    return keys.serialize(keys.EcdsaKey(name, point))
    raise bad_parameter("the private key must be Ed25519, ECDSA on a NIST curve, or RSA")


def sign(key: PrivateKey, algorithm: bytes, data: bytes) -> bytes:
    """
    @param algorithm: with or without the certificate suffix.
    @return: C{string} algorithm; C{string} octets.
    """
    plain = plain_algorithm(algorithm)
    match key:
        case ed25519.Ed25519PrivateKey():
            octets = key.sign(data)
        case rsa.RSAPrivateKey():
            octets = key.sign(data, padding.PKCS1v15(), _RSA_HASHES[plain])
        case ec.EllipticCurvePrivateKey():
            _, digest = _CURVES[plain.removeprefix(b"ecdsa-sha2-").decode("ascii")]
            r, s = decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
            octets = put_mpint(r) + put_mpint(s)
    return put_string(plain) + put_string(octets)


class Signer(Protocol):
    """
    Whatever holds a private key for one public blob: memory, an agent, a hardware module.

    @ivar blob: key or certificate, as the peer is shown it.
    """

    blob: bytes

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        """
        @return: C{string} algorithm; C{string} octets.
        @raise TeleportError: the key does not sign now.
        """


@define
class MemorySigner:
    """
    A private key in this process.

    @ivar blob: the certificate to show; the bare public key if none is given.
    """

    _key: PrivateKey = field(repr=False)
    blob: bytes = b""

    def __attrs_post_init__(self) -> None:
        self.blob = self.blob or blob_of(self._key)

    async def sign(self, algorithm: bytes, data: bytes) -> bytes:
        """
        See L{Signer.sign}.
        """
        return sign(self._key, algorithm, data)


class HostKeys:
    """
    What a server proves itself with: keys, each with or without a certificate. Blobs are made once.

    @ivar algorithms: what is offered in KEXINIT: certificates first.
    """

    def __init__(self, keys_and_certificates: list[tuple[PrivateKey, bytes | None]]) -> None:
        """
        @param keys_and_certificates: private keys, each with its host certificate's blob if it has one. The bare key is
            offered as well, for clients that know no authority.
        @raise TeleportError: BAD_PARAMETER, a certificate is for another key.
        """
        certified: dict[bytes, tuple[PrivateKey, bytes]] = {}
        bare: dict[bytes, tuple[PrivateKey, bytes]] = {}
        for key, certificate in keys_and_certificates:
            blob = blob_of(key)
            for algorithm in signature_algorithms(blob):
                bare.setdefault(algorithm, (key, blob))
            if certificate is None:
                continue
            if keys.serialize(public_key_of(certificate)) != blob:
                raise bad_parameter("the host certificate is not for the host key it was given with")
            for algorithm in signature_algorithms(certificate):
                certified.setdefault(algorithm, (key, certificate))
        self._by_algorithm = {**certified, **bare}
        self.algorithms: tuple[bytes, ...] = tuple(self._by_algorithm)

    def blob(self, algorithm: bytes) -> bytes:
        """
        @param algorithm: one of L{algorithms}.
        @return: what the client is shown.
        """
        return self._by_algorithm[algorithm][1]

    def sign(self, algorithm: bytes, data: bytes) -> bytes:
        """
        @param algorithm: one of L{algorithms}.
        """
        return sign(self._by_algorithm[algorithm][0], algorithm, data)


def signed_data(session_id: bytes, user: bytes, algorithm: bytes, blob: bytes) -> bytes:
    """
    @return: what a client signs to prove that it holds a key, in this connection and for this login alone.
    @see: RFC 4252 section 7
    """
    return b"".join(
        (
            put_string(session_id),
            bytes((MSG_USERAUTH_REQUEST,)),
            put_string(user),
            put_string(b"ssh-connection"),
            put_string(b"publickey"),
            put_boolean(True),
            put_string(algorithm),
            put_string(blob),
        )
    )
