"""
A security key in software, and the browser that speaks for it: ES256, a counter, resident credentials, user
verification, and every way to misbehave that a test wants.
"""

from __future__ import annotations

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from struct import pack
from typing import Any

from attrs import define, evolve, field
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2 import cbor

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
class Authenticator:
    """
    The key and its browser, at one origin.

    @ivar verifies: whether it has a PIN or a finger's print to check.
    @ivar step: added to the counter for each use; zero for passkeys that count nothing.
    """

    origin: str
    verifies: bool = True
    step: int = 1
    credentials: list[Credential] = field(factory=list)

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
        statement = cbor.encode({"fmt": "none", "attStmt": {}, "authData": data})
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
