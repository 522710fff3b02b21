"""
What a page is told of the session its terminal leads to, and told again when it comes back after a loss.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from teleport_tw.events.files import FileTransferApprove, FileTransferDeny, FileTransferRequest
from teleport_tw.events.kinds import SessionJoin, SessionLeave
from teleport_tw.resources.metadata import Json

_ASKED = {"event": FileTransferRequest.NAME}


@define(eq=False)
class Standing:
    """
    One session, as the server has told of it.

    @ivar shown: of C{session} in the envelope C{s}; see C{docs/protocols/terminal.rst}.
    @ivar asked: the server's word of a file that somebody wants to copy, until it was answered.
    """

    shown: Json
    asked: Json | None = field(default=None, init=False)

    def heard(self, event: dict[str, Any]) -> None:
        """
        @param event: of C{x-teleport-event}.
        """
        match event.get("event"):
            case SessionJoin.NAME:
                self._present([*self._participants, _participant(event)])
            case SessionLeave.NAME:
                left = self._participants
                if (gone := _participant(event)) in left:
                    left.remove(gone)
                self._present(left)
            case FileTransferRequest.NAME:
                self.asked = event
            case FileTransferApprove.NAME | FileTransferDeny.NAME if self._asked_about(event):
                over = event["event"] == FileTransferDeny.NAME or event.get("granted")
                self.asked = None if over else {**(self.asked or {}), **event, **_ASKED}

    def _asked_about(self, event: dict[str, Any]) -> bool:
        return self.asked is not None and self.asked.get("requestID") == event.get("requestID")

    @property
    def _participants(self) -> list[Any]:
        return list(self.shown.get("participants", ()))

    def _present(self, participants: list[Any]) -> None:
        self.shown = {**self.shown, "participants": participants}


def _participant(event: dict[str, Any]) -> Json:
    return {"user": event.get("user", ""), "mode": event.get("mode", "")}
