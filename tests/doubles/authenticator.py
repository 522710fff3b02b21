"""
A security key in software, and the browser that speaks for it: ES256, a counter, resident credentials, user
verification, and every way to misbehave that a test wants.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from struct import pack
from typing import Any

from attrs import define, evolve, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from fido2 import cbor

_LONG_AGO, _LATER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2120, 1, 1, tzinfo=UTC)

UP, UV, AT = 0x01, 0x04, 0x40


def b64(data: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(data).decode("ascii").rstrip("=")


def unb64(text: str) -> bytes:
    """The other way."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@define
class Credential:
    """
    What a key keeps of one registration.
    """

    id: bytes
    key: ec.EllipticCurvePrivateKey
    rp_id: str
    user_handle: bytes
    resident: bool
    count: int = 0


@define
class Maker:
    """
    Who makes keys, and has an authority; it certifies the keys' kind, not each key.

    @ivar between: authorities between the maker's own and the keys.
    @ivar itself: keys of this maker say only that they are themselves.
    @ivar forged: they sign something else than was asked.
    """

    name: str
    between: int = 0
    itself: bool = False
    forged: bool = False
    expires: datetime = _LATER
    authority: x509.Certificate = field(init=False)
    chain: list[x509.Certificate] = field(init=False)
    key: ec.EllipticCurvePrivateKey = field(init=False)

    def __attrs_post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self.authority = certified(f"{self.name} Root", key, None, key, self.expires, authority=True)
        issuer, self.chain = self.authority, []
        for step in range(self.between):
            below = ec.generate_private_key(ec.SECP256R1())
            issuer = certified(f"{self.name} CA {step}", below, issuer, key, self.expires, authority=True)
            key, self.chain = below, [issuer, *self.chain]
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.chain = [certified(f"{self.name} key", self.key, issuer, key, self.expires), *self.chain]

    @property
    def pem(self) -> str:
        """The authority's, for lists."""
        return self.authority.public_bytes(Encoding.PEM).decode()

    def statement(self, credential: ec.EllipticCurvePrivateKey, signed: bytes) -> dict[str, Any]:
        """
        @param credential: the new one, which signs where the maker does not.
        @return: of the C{packed} format, WebAuthn section 8.2.
        """
        signer = credential if self.itself else self.key
        signature = signer.sign(signed + (b"!" if self.forged else b""), ec.ECDSA(hashes.SHA256()))
        shown = {} if self.itself else {"x5c": [each.public_bytes(Encoding.DER) for each in self.chain]}
        return {"fmt": "packed", "attStmt": {"alg": -7, "sig": signature, **shown}}


def certified(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    expires: datetime,
    *,
    authority: bool = False,
) -> x509.Certificate:
    oid = x509.NameOID
    subject = x509.Name(
        [
            x509.NameAttribute(oid.COUNTRY_NAME, "SE"),
            x509.NameAttribute(oid.ORGANIZATION_NAME, "Makers of test keys"),
            x509.NameAttribute(oid.ORGANIZATIONAL_UNIT_NAME, "Authenticator Attestation"),
            x509.NameAttribute(oid.COMMON_NAME, name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_LONG_AGO)
        .not_valid_after(expires)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    return builder.sign(issuer_key, hashes.SHA256())


@define
class Authenticator:
    """
    The key and its browser, at one origin.

    @ivar verifies: whether it has a PIN or a finger's print to check.
    @ivar step: added to the counter for each use; zero for passkeys that count nothing.
    @ivar maker: attests where it is asked to; None for a key that never does.
    """

    origin: str
    verifies: bool = True
    step: int = 1
    credentials: list[Credential] = field(factory=list)
    maker: Maker | None = None

    def register(self, options: Mapping[str, Any], **lies: Any) -> dict[str, Any]:
        """
        @param options: C{PublicKeyCredentialCreationOptions} as JSON.
        @param lies: see L{_answer}; C{algorithm} registers with another one than it has.
        @return: C{PublicKeyCredential} as JSON.
        """
        chosen = options.get("authenticatorSelection", {})
        key = ec.generate_private_key(ec.SECP256R1())
        resident = chosen.get("residentKey") == "required"
        credential = Credential(
            lies.pop("credential_id", None) or secrets.token_bytes(32),
            key,
            options["rp"]["id"],
            unb64(options["user"]["id"]),
            resident,
        )
        excluded = {unb64(each["id"]) for each in options.get("excludeCredentials") or ()}
        assert not excluded & {each.id for each in self.credentials}, "registered already"
        self.credentials.append(credential)
        numbers = key.public_key().public_numbers()
        cose = {
            1: 2,
            3: lies.pop("algorithm", -7),
            -1: 1,
            -2: numbers.x.to_bytes(32, "big"),
            -3: numbers.y.to_bytes(32, "big"),
        }
        attested = bytes(16) + pack(">H", len(credential.id)) + credential.id + cbor.encode(cose)
        client = self._client("webauthn.create", options["challenge"], lies)
        data = self._data(credential, AT, lies) + attested
        said = {"fmt": "none", "attStmt": {}, "authData": data}
        if self.maker is not None and options.get("attestation") == "direct":
            said |= self.maker.statement(key, data + sha256(client).digest())
        statement = cbor.encode(said)
        return self._answer(
            credential,
            {"clientDataJSON": b64(client), "attestationObject": b64(statement), "transports": ["usb"]},
        )

    def sign(self, options: Mapping[str, Any], **lies: Any) -> dict[str, Any]:
        """
        @param options: C{PublicKeyCredentialRequestOptions} as JSON.
        @param lies: C{origin}, C{rp_id}, C{challenge}, C{type}, C{flags}, C{count}, C{cross_origin}, C{user_handle},
            C{credential} (a L{Credential} that signs whatever was asked for).
        @return: C{PublicKeyCredential} as JSON.
        """
        allowed = {unb64(each["id"]) for each in options.get("allowCredentials") or ()}
        fitting = [
            each
            for each in self.credentials
            if each.rp_id == options["rpId"] and (each.id in allowed if allowed else each.resident)
        ]
        credential = lies.pop("credential", None) or fitting[0]
        client = self._client("webauthn.get", options["challenge"], lies)
        handle = lies.pop("user_handle", credential.user_handle if credential.resident else b"")
        data = self._data(credential, 0, lies)
        signature = credential.key.sign(data + sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)}
        return self._answer(credential, response | ({"userHandle": b64(handle)} if handle else {}))

    def copy(self) -> Authenticator:
        """
        A twin that knows the same keys and counts on its own.
        """
        return evolve(self, credentials=[evolve(each) for each in self.credentials])

    def _client(self, type: str, challenge: str, lies: dict[str, Any]) -> bytes:
        said = {
            "type": lies.pop("type", type),
            "challenge": lies.pop("challenge", challenge),
            "origin": lies.pop("origin", self.origin),
            "crossOrigin": lies.pop("cross_origin", False),
        }
        return json.dumps(said).encode()

    def _data(self, credential: Credential, flags: int, lies: dict[str, Any]) -> bytes:
        credential.count = lies.pop("count", credential.count + self.step)
        flags |= lies.pop("flags", UP | (UV if self.verifies else 0))
        rp_id = lies.pop("rp_id", credential.rp_id)
        assert not lies, f"unknown lies: {lies}"
        return sha256(rp_id.encode()).digest() + pack(">BI", flags, credential.count)

    def _answer(self, credential: Credential, response: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": b64(credential.id),
            "rawId": b64(credential.id),
            "type": "public-key",
            "authenticatorAttachment": "cross-platform",
            "clientExtensionResults": {},
            "response": response,
        }
