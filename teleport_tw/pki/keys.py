"""
Key pairs, and signatures in the forms that SSH wants.

A L{PrivateKey} never shows what it holds; L{Signer} is all that issuing certificates asks of a key, so a key that stays
in hardware serves as well.

@see: RFC 4253 section 6.6, RFC 5656 section 3.1.2, RFC 8332 (rsa-sha2), RFC 8709, OpenSSH's C{PROTOCOL.u2f}
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from hashlib import sha256
from typing import Protocol

from attrs import field, frozen
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.protocols.ssh.certificate import SIGNATURE_ALGORITHMS
from teleport_tw.protocols.ssh.wire import Reader, put_mpint, put_string

NativePublic = ed25519.Ed25519PublicKey | ec.EllipticCurvePublicKey | rsa.RSAPublicKey
NativePrivate = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_CURVES: Mapping[str, type[ec.EllipticCurve]] = {
    "nistp256": ec.SECP256R1,
    "nistp384": ec.SECP384R1,
    "nistp521": ec.SECP521R1,
}
_CURVE_NAMES: Mapping[str, str] = {"secp256r1": "nistp256", "secp384r1": "nistp384", "secp521r1": "nistp521"}
_CURVE_HASHES: Mapping[str, hashes.HashAlgorithm] = {
    "nistp256": hashes.SHA256(),
    "nistp384": hashes.SHA384(),
    "nistp521": hashes.SHA512(),
}
_RSA_HASHES: Mapping[str, hashes.HashAlgorithm] = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}
_PKCS1 = padding.PKCS1v15()


class Signer(Protocol):
    """
    A key that signs, wherever it is kept.
    """

    @property
    def public(self) -> NativePublic:
        """
        The public half.
        """
        ...

    def sign(self, data: bytes, hash_name: str = "") -> bytes:
        """
        @param data: the message, not its digest.
        @param hash_name: C{sha256} or C{sha512} for RSA; elsewhere the key's own, and ignored.
        @return: the raw signature: 64 bytes of Ed25519, DER of ECDSA, PKCS#1 v1.5 of RSA.
        """
        ...


class Algorithm(Enum):
    """
    What sort of key to make.
    """

    ED25519 = "ed25519"
    ECDSA_P256 = "ecdsa-p256"
    RSA_2048 = "rsa-2048"


class Keystore(Protocol):
    """
    Makes and finds signing keys: L{teleport_tw.pki.keystore}, which auth alone opens, or a hardware module.
    """

    @property
    def key_type(self) -> str:
        """
        How references of this store are marked in a resource: C{RAW}, C{PKCS11}.
        """
        ...

    def generate(self, algorithm: Algorithm) -> Secret[str]:
        """
        @return: the reference of a new key.
        """
        ...

    def signer(self, reference: Secret[str] | None) -> Signer:
        """
        @raise TeleportError: BAD_PARAMETER, there is no such key here.
        """
        ...


@frozen
class PrivateKey:
    """
    A key pair in memory; a L{Signer}.

    @ivar public: the public half.
    """

    _native: NativePrivate = field(repr=False)
    public: NativePublic = field(init=False, repr=False, eq=False)

    @public.default
    def _derived(self) -> NativePublic:
        return self._native.public_key()

    @classmethod
    def generate_ssh(cls) -> PrivateKey:
        """
        @return: a new Ed25519 key.
        """
        return cls(ed25519.Ed25519PrivateKey.generate())

    @classmethod
    def generate_tls(cls) -> PrivateKey:
        """
        @return: a new ECDSA key on P-256.
        """
        return cls(ec.generate_private_key(ec.SECP256R1()))

    @classmethod
    def generate_rsa(cls, bits: int = 2048) -> PrivateKey:
        """
        @param bits: 2048 or more.
        """
        return cls(rsa.generate_private_key(65537, bits))

    @classmethod
    def load(cls, pem: Secret[bytes]) -> PrivateKey:
        """
        @param pem: PKCS#8, traditional, or OpenSSH's own; not encrypted.
        @raise TeleportError: BAD_PARAMETER, it is none of these or of a type that is not used here.
        """
        octets = pem.reveal()
        try:
            if b"OPENSSH PRIVATE KEY" in octets[:64]:
                native: object = serialization.load_ssh_private_key(octets, None)
            else:
                native = serialization.load_pem_private_key(octets, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise bad_parameter("the private key is not an unencrypted PEM key") from None
        if not isinstance(native, NativePrivate):
            raise bad_parameter("the private key must be Ed25519, ECDSA or RSA")
        return cls(native)

    def sign(self, data: bytes, hash_name: str = "") -> bytes:
        """
        @see: L{Signer.sign}
        """
        native = self._native
        if isinstance(native, ed25519.Ed25519PrivateKey):
            return native.sign(data)
        if isinstance(native, ec.EllipticCurvePrivateKey):
            return native.sign(data, ec.ECDSA(_CURVE_HASHES[_CURVE_NAMES[native.curve.name]]))
        return native.sign(data, _PKCS1, hashes.SHA512() if hash_name == "sha512" else hashes.SHA256())

    @property
    def native(self) -> NativePrivate:
        """
        The key as C{cryptography} has it, for Conch.
        """
        return self._native

    def pem(self) -> Secret[bytes]:
        """
        @return: PKCS#8 PEM, as TLS libraries read it.
        """
        return self._pem(serialization.PrivateFormat.PKCS8)

    def openssh_pem(self) -> Secret[bytes]:
        """
        @return: OpenSSH's own format.
        """
        return self._pem(serialization.PrivateFormat.OpenSSH)

    def _pem(self, form: serialization.PrivateFormat) -> Secret[bytes]:
        encoding, encryption = serialization.Encoding.PEM, serialization.NoEncryption()
        return Secret(self._native.private_bytes(encoding, form, encryption))

    @property
    def ssh_public(self) -> ssh_keys.PublicKey:
        """
        The public half as SSH has it.
        """
        return ssh_public(self.public)

    @property
    def spki(self) -> bytes:
        """
        The public half as SubjectPublicKeyInfo, DER.
        """
        return spki(self.public)


def spki(public: NativePublic) -> bytes:
    """
    @return: SubjectPublicKeyInfo, DER.
    """
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def spki_pem(public: NativePublic) -> bytes:
    """
    @return: SubjectPublicKeyInfo, PEM.
    """
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def load_public(data: bytes) -> NativePublic:
    """
    @param data: SubjectPublicKeyInfo, DER or PEM.
    @raise TeleportError: BAD_PARAMETER, it is not, or the key is weak or of a type that is not used here.
    """
    try:
        if data.lstrip().startswith(b"-----"):
            native: object = serialization.load_pem_public_key(data)
        else:
            native = serialization.load_der_public_key(data)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise bad_parameter("the public key is not a SubjectPublicKeyInfo") from error
    if isinstance(native, ec.EllipticCurvePublicKey) and native.curve.name not in _CURVE_NAMES:
        raise bad_parameter("an ECDSA key must be on P-256, P-384 or P-521")
    if isinstance(native, rsa.RSAPublicKey) and native.key_size < ssh_keys.MIN_RSA_BITS:
        raise bad_parameter(f"an RSA key must have {ssh_keys.MIN_RSA_BITS} bits or more")
    if not isinstance(native, NativePublic):
        raise bad_parameter("the public key must be Ed25519, ECDSA or RSA")
    return native


def ssh_public(native: NativePublic) -> ssh_keys.PublicKey:
    """
    @return: the key as SSH has it.
    """
    if isinstance(native, ed25519.Ed25519PublicKey):
        return ssh_keys.Ed25519Key(native.public_bytes_raw())
    if isinstance(native, ec.EllipticCurvePublicKey):
        encoding, form = serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        return ssh_keys.EcdsaKey(_CURVE_NAMES[native.curve.name], native.public_bytes(encoding, form))
    numbers = native.public_numbers()
    return ssh_keys.RsaKey(numbers.e, numbers.n)


def native_public(key: ssh_keys.PublicKey) -> NativePublic:
    """
    @param key: for a key in a security key, the key it signs with.
    @raise RemoteProtocolError: its numbers are no key; a point off its curve.
    """
    try:
        match key:
            case ssh_keys.Ed25519Key() | ssh_keys.SkEd25519Key():
                return ed25519.Ed25519PublicKey.from_public_bytes(key.point)
            case ssh_keys.EcdsaKey():
                return ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[key.curve](), key.point)
            case ssh_keys.SkEcdsaKey():
                return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), key.point)
            case ssh_keys.RsaKey():
                return rsa.RSAPublicNumbers(key.exponent, key.modulus).public_key()
    except ValueError as error:
        raise RemoteProtocolError(f"SSH key of type {key.algorithm} is no valid key") from error


def sign_ssh(signer: Signer, data: bytes, algorithm: str = "") -> bytes:
    """
    @param algorithm: for RSA C{rsa-sha2-256} or, the default, C{rsa-sha2-512}; elsewhere the key's own.
    @return: C{string} algorithm; C{string} signature, in ECDSA's case C{mpint} r and C{mpint} s.
    """
    public = signer.public
    if isinstance(public, rsa.RSAPublicKey):
        name = algorithm or "rsa-sha2-512"
        signature = signer.sign(data, "sha256" if name == "rsa-sha2-256" else "sha512")
    elif isinstance(public, ec.EllipticCurvePublicKey):
        name = f"ecdsa-sha2-{_CURVE_NAMES[public.curve.name]}"
        r, s = decode_dss_signature(signer.sign(data))
        signature = put_mpint(r) + put_mpint(s)
    else:
        name, signature = ssh_keys.ED25519, signer.sign(data)
    return put_string(name.encode("ascii")) + put_string(signature)


def verify_ssh(key: ssh_keys.PublicKey, signature: bytes, data: bytes) -> bool:
    """
    Check a signature of any key type that L{teleport_tw.protocols.ssh.keys} reads.

    A security key's signature goes on after the second string: C{byte} flags; C{uint32} counter. It covers SHA-256 of
    the application; flags; counter; SHA-256 of the message. The user must have touched it (flag 1).

    @param signature: C{string} algorithm; C{string} signature.
    @return: whether it is this key's over exactly this data, by an algorithm the key may use.
    """
    reader = Reader(signature)
    try:
        algorithm, blob = reader.text(), reader.string()
        if algorithm not in SIGNATURE_ALGORITHMS[key.algorithm]:
            return False
        if isinstance(key, ssh_keys.SkEd25519Key | ssh_keys.SkEcdsaKey):
            trailer = reader.raw(5)
            if not trailer[0] & 1:
                return False
            data = sha256(key.application).digest() + trailer + sha256(data).digest()
        reader.end()
        native = native_public(key)
        if isinstance(native, ed25519.Ed25519PublicKey):
            native.verify(blob, data)
        elif isinstance(native, ec.EllipticCurvePublicKey):
            numbers = Reader(blob)
            r, s = numbers.mpint(), numbers.mpint()
            numbers.end()
            if r <= 0 or s <= 0:
                return False
            native.verify(encode_dss_signature(r, s), data, ec.ECDSA(_CURVE_HASHES[_CURVE_NAMES[native.curve.name]]))
        else:
            native.verify(blob, data, _PKCS1, _RSA_HASHES[algorithm])
    except (RemoteProtocolError, InvalidSignature, ValueError):
        return False
    return True
