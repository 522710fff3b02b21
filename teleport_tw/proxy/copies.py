"""
Copies of files that pass through: events of what was done to each file on a server that reports nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from attrs import define, field

from teleport_tw.events.files import SCP, SFTP, SCPAction, SFTPAction, SFTPSummary
from teleport_tw.events.kinds import Event
from teleport_tw.protocols.scp import observer as scp
from teleport_tw.protocols.scp import records
from teleport_tw.protocols.scp.records import Wanted
from teleport_tw.protocols.sftp import observer as sftp
from teleport_tw.recordings.capture import Facts

MAX_SUMMED_FILES = 1000
"""One event lists as many; then the next begins."""

Emit = Callable[[Event], object]


class Copies(Protocol):
    """
    Is shown what passes; L{RemoteProtocolError} from it ends the session.
    """

    def client(self, data: bytes) -> None:
        """
        On its way to the server.
        """
        ...

    def server(self, data: bytes) -> None:
        """
        On its way to the user.
        """
        ...

    def ended(self) -> None:
        """
        Nothing more passes.
        """
        ...


def copies(name: str, program: str, facts: Facts, emit: Emit) -> Copies | None:
    """
    @param name: C{exec} or C{subsystem}.
    @param program: the command, or the subsystem's name.
    @return: who is to be shown the bytes; C{None} for programs that copy nothing.
    """
    if name == "subsystem":
        return SFTPCopies(facts, emit) if program == "sftp" else None
    wanted = records.command(program) if name == "exec" else None
    return None if wanted is None else SCPCopies(facts, emit, wanted)


@define(eq=False)
class SFTPCopies:
    """
    One SFTP session.
    """

    facts: Facts
    emit: Emit
    _observer: sftp.Observer = field(factory=sftp.Observer, init=False)
    _files: list[sftp.Transferred] = field(factory=list, init=False)

    def client(self, data: bytes) -> None:
        """
        See L{Copies.client}.
        """
        self._observer.asked(data)

    def server(self, data: bytes) -> None:
        """
        See L{Copies.server}.
        """
        self._tell(self._observer.answered(data))

    def ended(self) -> None:
        """
        The summary, where any file was open.
        """
        self._tell(self._observer.ended())
        self._summarize()

    def _tell(self, seen: Sequence[sftp.Seen]) -> None:
        for each in seen:
            if isinstance(each, sftp.Transferred):
                self._files.append(each)
                if len(self._files) >= MAX_SUMMED_FILES:
                    self._summarize()
                continue
            self.emit(
                SFTP(
                    **self.facts.common,
                    action=SFTPAction[each.name.upper()],
                    path=each.path,
                    target_path=each.target,
                    flags=each.flags,
                    attributes=each.attributes,
                    success=not each.error,
                    error=each.error,
                )
            )

    def _summarize(self) -> None:
        files, self._files = self._files, []
        if files:
            stats = tuple(
                {"path": each.path, "bytes_read": each.bytes_read, "bytes_written": each.bytes_written}
                for each in files
            )
            self.emit(SFTPSummary(**self.facts.common, file_transfer_stats=stats))


@define(eq=False)
class SCPCopies:
    """
    One run of scp.
    """

    facts: Facts
    emit: Emit
    wanted: Wanted
    _observer: scp.Observer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._observer = scp.Observer(self.wanted)

    def client(self, data: bytes) -> None:
        """
        See L{Copies.client}.
        """
        self._tell(self._observer.client(data))

    def server(self, data: bytes) -> None:
        """
        See L{Copies.server}.
        """
        self._tell(self._observer.server(data))

    def ended(self) -> None:
        """
        Each file was told as it came.
        """

    def _tell(self, seen: Sequence[scp.Copied]) -> None:
        for each in seen:
            self.emit(
                SCP(
                    **self.facts.common,
                    action=SCPAction.UPLOAD if self.wanted.upload else SCPAction.DOWNLOAD,
                    path=each.path,
                    length=each.length,
                    exit_code="1" if each.error else "0",
                    exit_error=each.error,
                    success=not each.error,
                    error=each.error,
                )
            )
