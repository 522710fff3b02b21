"""
The tokens of the C{jwt} authority: signed claims that applications check against its published keys.

Only ES256 is made and accepted; the header says nothing about whom to believe.

@see: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 section 3.4 (ES256), RFC 7638 (thumbprints)
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from teleport_tw.base.errors import access_denied, bad_parameter
from teleport_tw.base.timing import Duration
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.keys import Keystore

MAX_TOKEN_BYTES = 65536

SKEW: Duration = timedelta(minutes=1)


def sign(authority: Authority, keystore: Keystore, claims: Mapping[str, Any]) -> str:
    """
    @param claims: C{exp}, C{nbf} and C{iat} in seconds since the epoch.
    @return: the token in compact form.
    @raise TeleportError: BAD_PARAMETER, the authority has no key for ES256 here.
    """
    if not authority.active.jwt:
        raise bad_parameter(f"the {authority.type.value} authority has no JWT key")
    key = authority.active.jwt[0]
    signer = keystore.signer(key.private)
    header = {"alg": "ES256", "kid": _jwk(_p256(signer.public))["kid"], "typ": "JWT"}
    body = f"{_encode(json.dumps(header).encode())}.{_encode(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(signer.sign(body.encode("ascii")))
    return f"{body}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def verify(
    token: str, authorities: Iterable[Authority], now: datetime, *, audience: str = "", skew: Duration = SKEW
) -> dict[str, Any]:
    """
    @param authorities: those whose tokens are believed, in both key sets.
    @param audience: must be in C{aud}; empty where none is asked for.
    @return: the claims.
    @raise TeleportError: ACCESS_DENIED; C{details} say which check failed.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise access_denied(details="malformed token: too long")
    try:
        first, second, third = token.split(".")
        header, claims, signature = json.loads(_decode(first)), json.loads(_decode(second)), _decode(third)
    except (ValueError, RecursionError) as error:
        raise access_denied(details="malformed token") from error
    if not isinstance(header, dict) or not isinstance(claims, dict) or len(signature) != 64:
        raise access_denied(details="malformed token")
    if header.get("alg") != "ES256" or "crit" in header:
        raise access_denied(details=f"wrong algorithm: {header.get('alg')!r}")
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    keys = [key for authority in authorities for key in authority.trusted_jwt]
    if not any(_matches(key, der, f"{first}.{second}".encode()) for key in keys):
        raise access_denied(details="tampered signature or wrong authority")
    moment, allowed = now.timestamp(), skew.total_seconds()
    expires, begins, audiences = claims.get("exp"), claims.get("nbf", 0), claims.get("aud", ())
    if not isinstance(expires, int | float) or moment - allowed >= expires:
        raise access_denied(details="expired")
    if not isinstance(begins, int | float) or moment + allowed < begins:
        raise access_denied(details="not yet valid")
    named = audiences if isinstance(audiences, list) else [audiences]
    if audience and audience not in named:
        raise access_denied(details="wrong audience")
    return claims


def jwks(authority: Authority) -> dict[str, list[dict[str, str]]]:
    """
    @return: what C{/.well-known/jwks.json} answers; every key that is trusted.
    """
    return {"keys": [_jwk(key) for key in authority.trusted_jwt if isinstance(key, ec.EllipticCurvePublicKey)]}


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise bad_parameter("ES256 needs an ECDSA key on P-256")
    return key


def _jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    needed = {
        "crv": "P-256",
        "kty": "EC",
        "x": _encode(numbers.x.to_bytes(32, "big")),
        "y": _encode(numbers.y.to_bytes(32, "big")),
    }
    thumbprint = sha256(json.dumps(needed, separators=(",", ":"), sort_keys=True).encode()).digest()
    return {**needed, "use": "sig", "alg": "ES256", "kid": _encode(thumbprint)}


def _matches(key: object, signature: bytes, data: bytes) -> bool:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    try:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
