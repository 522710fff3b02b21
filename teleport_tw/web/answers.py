"""
Second factors as pages speak of them: challenges out, answers in.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import segno

from teleport_tw.api.contract import Challenge, MfaAnswer
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.resources.metadata import Json
from teleport_tw.web.shapes import Flag, Shape, Table, Text

ANSWER: Mapping[str, Shape] = {
    "challenge_id": Text(most=128),
    "webauthn_assertion_response": Table(free=True, about="PublicKeyCredential as its toJSON makes it"),
    "second_factor_token": Text(most=16, secret=True, about="the code of an authenticator app"),
    "recovery_code": Text(most=128, secret=True),
}
"""Members of a body that hold an answer; one proof."""

NEW_DEVICE: Mapping[str, Shape] = {
    "webauthn_creation_response": Table(free=True, about="PublicKeyCredential of a new key, as its toJSON makes it"),
    "second_factor_token": Text(most=16, secret=True, about="the first code of a new authenticator app"),
}
"""Members of a body that show that a new device works; one of them."""

CHALLENGE = Table(
    members={
        "challenge_id": Text(),
        "totp_challenge": Flag(about="a code of an authenticator app is accepted"),
        "webauthn_challenge": Table(free=True, about="has publicKey, the options for navigator.credentials.get"),
        "expires": Text(form="date-time"),
    },
    needs=("challenge_id", "totp_challenge", "expires"),
)


def answer_of(told: Mapping[str, Any]) -> MfaAnswer | None:
    """
    @param told: a body, checked by L{ANSWER}.
    @return: none where it holds no proof.
    @raise TeleportError: BAD_PARAMETER, it holds several.
    """
    webauthn = told.get("webauthn_assertion_response") or {}
    otp, recovery = told.get("second_factor_token", "").replace(" ", ""), told.get("recovery_code", "").strip()
    proofs = sum(map(bool, (webauthn, otp, recovery)))
    if proofs > 1:
        raise bad_parameter("an answer holds one proof")
    if not proofs:
        return None
    return MfaAnswer(
        otp=Secret(otp), webauthn=webauthn, recovery=Secret(recovery), challenge=told.get("challenge_id", "")
    )


def needed(told: Mapping[str, Any]) -> MfaAnswer:
    """
    As L{answer_of}.

    @raise TeleportError: BAD_PARAMETER, also where there is none.
    """
    answer = answer_of(told)
    if answer is None:
        raise bad_parameter("an answer to a challenge is missing")
    return answer


def registered(told: Mapping[str, Any]) -> MfaAnswer:
    """
    @param told: a body, checked by L{NEW_DEVICE}.
    @return: what a new device showed.
    @raise TeleportError: BAD_PARAMETER, nothing, or two things.
    """
    webauthn = told.get("webauthn_creation_response") or {}
    otp = told.get("second_factor_token", "").replace(" ", "")
    if bool(webauthn) == bool(otp):
        raise bad_parameter("say what the new device showed: webauthn_creation_response or second_factor_token")
    return MfaAnswer(otp=Secret(otp), webauthn=webauthn)


def qr(text: str) -> str:
    """
    @return: a QR code of C{text} as a C{data:} address of an SVG picture.
    """
    return str(segno.make(text, error="m", micro=False).svg_data_uri(scale=4, border=2))


def challenge_json(challenge: Challenge) -> Json:
    """
    @return: as L{CHALLENGE} describes.
    """
    said: dict[str, Any] = {
        "challenge_id": challenge.id,
        "totp_challenge": challenge.otp,
        "expires": when(challenge.expires),
    }
    if challenge.webauthn is not None:
        said["webauthn_challenge"] = {"publicKey": dict(challenge.webauthn)}
    return said


def when(at: datetime | None) -> str:
    """
    @return: RFC 3339; empty for never.
    """
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else ""
