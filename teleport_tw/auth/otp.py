"""
Time-based one-time codes, pure.

A code is good for its own half minute and the one before and after it. Which step was used last is kept with the user;
codes of that step and older ones are refused, so that a code seen over a shoulder is worth nothing.

@see: RFC 6238 (SHA-1, 30 seconds, 6 digits, as every authenticator has them) and its section 5.2 on replay.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import quote, urlencode

import pyotp

from teleport_tw.base.secret import Secret

STEP = 30
"""Seconds."""
DIGITS = 6
SKEW = 1
"""Steps of clock difference that are forgiven either way."""
SECRET_BYTES = 20
"""The length of SHA-1's output, as RFC 4226 section 4 recommends."""


def new_secret() -> Secret[str]:
    """
    @return: base32 without padding.
    """
    return Secret(base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode("ascii").rstrip("="))


def uri(secret: Secret[str], username: str, cluster: str) -> Secret[str]:
    """
    @return: C{otpauth://} for the QR code.
    """
    label = f"{quote(cluster, safe='')}:{quote(username, safe='')}"
    parameters = {"secret": secret.reveal(), "issuer": cluster, "algorithm": "SHA1", "digits": DIGITS, "period": STEP}
    return Secret(f"otpauth://totp/{label}?{urlencode(parameters, quote_via=quote)}")


def matching_step(secret: Secret[str], code: Secret[str], now: float, last_step: int = -1) -> int | None:
    """
    @param secret: base32.
    @param now: seconds since the epoch.
    @param last_step: of the code used last; it and older ones are refused.
    @return: the step the code belongs to, to be kept as C{last_step}; None when it is wrong or was used.
    """
    given = code.reveal().strip().replace(" ", "")
    current = int(now // STEP)
    totp = pyotp.TOTP(secret.reveal(), digits=DIGITS, interval=STEP)
    found: int | None = None
    for step in range(current - SKEW, current + SKEW + 1):
        good = hmac.compare_digest(totp.generate_otp(max(step, 0)).encode(), given.encode("utf-8", "replace"))
        if good and step > last_step and found is None:
            found = step
    return found
