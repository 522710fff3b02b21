"""
What HTTP has a status of its own for.
"""

from __future__ import annotations

from teleport_tw.base.errors import Kind, TeleportError


class Refusal(TeleportError):
    """
    A refusal with a status that no kind stands for.

    @ivar status: of HTTP.
    """

    def __init__(self, status: int, message: str, *, details: str = "") -> None:
        super().__init__(Kind.BAD_PARAMETER, message, details=details)
        self.status = status
