"""
Moderators who prove, again and again, that they are there: a session that began with a second factor may go on only
under eyes that are open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from teleport_tw.api.factors import MfaAnswer

TARGET_KIND = "session"
"""Of the C{MfaTarget} of a challenge with which presence is proven; its name is the session's id."""


class Attendance(Protocol):
    """
    The first is for users, the second for the host where the session runs.
    """

    async def prove_presence(self, session: str, answer: MfaAnswer) -> None:
        """
        @param answer: to a challenge of scope C{session_presence} with this session as its target.
        @raise TeleportError: ACCESS_DENIED, the answer is wrong; BAD_PARAMETER, it is a recovery code.
        """
        ...

    async def seen_present(self, session: str, users: Sequence[str]) -> Mapping[str, float]:
        """
        @return: seconds since each of them has proven it for this session, within the last minutes.
        @raise TeleportError: ACCESS_DENIED, the session does not run on the caller.
        """
        ...
