"""
Our errors as Redis words them: one line that begins with a code in capitals.
"""

from __future__ import annotations

from teleport_tw.base.errors import TeleportError

CODE = "ERR"
"""What clients make no more of than an error; the others have meanings of their own to them."""

SIGN_IN = "NOAUTH Authentication required."
"""As Redis has it: clients know what to do about it."""


def words(error: TeleportError | str) -> str:
    """
    @return: what stands in the error's line.
    """
    return f"{CODE} Teleport: {error}"
