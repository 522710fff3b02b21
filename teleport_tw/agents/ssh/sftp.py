"""
The C{sftp} subsystem: events of L{teleport_tw.agents.ssh.sftp_server}'s work.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from teleport_tw.agents.ssh.transfer import DISALLOWED, Transfer, number, text
from teleport_tw.events.files import SFTP, SFTPAction, SFTPSummary

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel

MAX_SUMMED_FILES = 1000
"""One event lists as many; then the next begins."""

_ACTIONS = {
    "open": SFTPAction.OPEN,
    "setstat": SFTPAction.SETSTAT,
    "opendir": SFTPAction.OPENDIR,
    "readdir": SFTPAction.READDIR,
    "remove": SFTPAction.REMOVE,
    "mkdir": SFTPAction.MKDIR,
    "rmdir": SFTPAction.RMDIR,
    "rename": SFTPAction.RENAME,
    "symlink": SFTPAction.SYMLINK,
    "link": SFTPAction.LINK,
}


class SFTPTransfer(Transfer):
    """
    One SFTP session.
    """

    def __init__(self, channel: SessionChannel) -> None:
        super().__init__(channel, ("sftp",))
        self._files: list[dict[str, Any]] = []

    def disallowed(self) -> None:
        """
        TS020E.
        """
        self.sink.emit(
            SFTP(
                **self.facts.common,
                action=SFTPAction.OPEN,
                path="",
                success=False,
                error=DISALLOWED,
                disallowed=True,
            )
        )

    def reported(self, facts: Mapping[str, Any]) -> None:
        """
        One event an operation; what was read and written is kept for the summary.
        """
        if facts["op"] == "done":
            read, written = number(facts, "read"), number(facts, "written")
            self._files.append({"path": text(facts, "path"), "bytes_read": read, "bytes_written": written})
            if len(self._files) >= MAX_SUMMED_FILES:
                self.finished()
            return
        action = _ACTIONS.get(facts["op"])
        if action is None:
            return
        error, attributes = text(facts, "error"), facts.get("attributes")
        self.sink.emit(
            SFTP(
                **self.facts.common,
                action=action,
                path=text(facts, "path"),
                target_path=text(facts, "target"),
                working_directory=self.folder,
                flags=number(facts, "flags") if action is SFTPAction.OPEN else None,
                attributes=attributes if isinstance(attributes, dict) else {},
                success=not error,
                error=error,
            )
        )

    def finished(self) -> None:
        """
        The summary, where any file was open.
        """
        files, self._files = self._files, []
        if files:
            self.sink.emit(SFTPSummary(**self.facts.common, file_transfer_stats=tuple(files)))
