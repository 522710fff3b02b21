"""
C{scp -t} and C{scp -f}, what C{scp -O} runs on the far side: served by L{teleport_tw.agents.ssh.scp_server}, no program
of the target's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from teleport_tw.agents.ssh.transfer import DISALLOWED, Transfer, number, text
from teleport_tw.events.files import SCP, SCPAction
from teleport_tw.protocols.scp import records
from teleport_tw.protocols.scp.records import Wanted

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel


class SCPTransfer(Transfer):
    """
    One run of scp.
    """

    def __init__(self, channel: SessionChannel, wanted: Wanted) -> None:
        flags = (("t", wanted.upload), ("f", not wanted.upload), ("r", wanted.recursive), ("p", wanted.times))
        letters = "".join(letter for letter, on in (*flags, ("d", wanted.directory)) if on)
        super().__init__(channel, ("scp", letters, *wanted.paths))
        self._wanted = wanted

    def disallowed(self) -> None:
        """
        T3010E.
        """
        self._emit(" ".join(self._wanted.paths), None, DISALLOWED, disallowed=True)

    def reported(self, facts: Mapping[str, Any]) -> None:
        """
        One event a file.
        """
        if facts["op"] == "scp":
            self._emit(text(facts, "path"), number(facts, "length"), text(facts, "error"))

    def _emit(self, path: str, length: int | None, error: str, *, disallowed: bool = False) -> None:
        self.sink.emit(
            SCP(
                **self.facts.common,
                action=SCPAction.UPLOAD if self._wanted.upload else SCPAction.DOWNLOAD,
                path=path,
                length=length,
                exit_code="1" if error else "0",
                exit_error=error,
                success=not error,
                error=error,
                disallowed=disallowed,
            )
        )


def intercept(channel: SessionChannel, command: str) -> SCPTransfer | None:
    """
    For L{teleport_tw.agents.ssh.realm.Registry.commands}.
    """
    wanted = records.command(command)
    return None if wanted is None else SCPTransfer(channel, wanted)
