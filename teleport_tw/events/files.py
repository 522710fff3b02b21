"""
Events of file transfers: scp, and SFTP operation by operation.

@see: reference 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, ClassVar

from attrs import field, frozen

from teleport_tw.events.groups import Actor, Connection, Server, Session
from teleport_tw.events.rating import Fact, Judged, Name, Public, Rating, Sensitive, filled


class SCPAction(Enum):
    """
    Direction of a copy, as the user sees it.
    """

    DOWNLOAD = "download"
    UPLOAD = "upload"


@frozen(kw_only=True)
class SCP(Judged):
    """
    A file was copied by the scp protocol.

    @ivar disallowed: copying files is not permitted at all.
    @ivar length: bytes of the file.
    """

    NAME: ClassVar[str] = "scp"
    CODE: ClassVar[str] = "T3004I"
    FAILED: ClassVar[str] = "T3004E"
    SAYS: ClassVar[str] = "User [{user}] copied [{path}] on [{server_hostname|server_id}] ({action})"
    SAYS_FAILED: ClassVar[str] = "User [{user}] could not copy [{path}] ({action}): {exitError|error}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    action: Public[SCPAction]
    path: Sensitive[str]
    length: Annotated[int | None, Rating.PUBLIC, Name("len")] = None
    exit_code: Annotated[str, Rating.PUBLIC, Name("exitCode")] = ""
    exit_error: Annotated[str, Rating.SENSITIVE, Name("exitError")] = ""
    disallowed: Public[bool] = False

    @property
    def code(self) -> str:
        """
        T3004 for downloads, T3005 for uploads, T3010E where copying is not permitted.
        """
        if self.disallowed:
            return "T3010E"
        number = "T3004" if self.action is SCPAction.DOWNLOAD else "T3005"
        return number + ("I" if self.success else "E")

    def rated(self) -> list[tuple[str, Any, Rating]]:
        """
        @return: without what the code tells.
        """
        return [item for item in super().rated() if item[0] != "disallowed"]

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: both directions, and the refusal.
        """
        return ("T3004I", "T3004E", "T3005I", "T3005E", "T3010E")


@frozen(kw_only=True)
class _FileTransferAsked(Fact):
    """
    @ivar actor: who asks; of an answer, who gives it.
    @ivar location: the file on the server, with symbolic links followed.
    @ivar download: from the server; else to it.
    @ivar requester: who asked.
    @ivar approvers: who said yes so far.
    @ivar reason: why it was denied, where nobody said no.
    """

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session]
    request_id: Annotated[str, Rating.PUBLIC, Name("requestID")]
    location: Sensitive[str]
    download: Public[bool]
    requester: Public[str]
    approvers: Public[tuple[str, ...]] = ()
    reason: Public[str] = ""


@frozen(kw_only=True)
class FileTransferRequest(_FileTransferAsked):
    """
    The owner of a session that others must watch asks to copy a file. The names of these three are those that the
    reference tells people's clients; its audit log is not known to have them, so that the codes are ours.
    """

    NAME: ClassVar[str] = "file_transfer_request"
    CODE: ClassVar[str] = "TFT00I"
    SAYS: ClassVar[str] = "User [{requester}] asked in session [{sid}] to copy [{location}]"


@frozen(kw_only=True)
class FileTransferApprove(_FileTransferAsked):
    """
    Somebody present approves of it.
    """

    NAME: ClassVar[str] = "file_transfer_request_approve"
    CODE: ClassVar[str] = "TFT01I"
    SAYS: ClassVar[str] = "User [{user}] approved in session [{sid}] of copying [{location}]"


@frozen(kw_only=True)
class FileTransferDeny(_FileTransferAsked):
    """
    Somebody present denied it, or nobody answered in time.
    """

    NAME: ClassVar[str] = "file_transfer_request_deny"
    CODE: ClassVar[str] = "TFT02I"
    SAYS: ClassVar[str] = "Copying [{location}] was denied in session [{sid}]"


class SFTPAction(Enum):
    """
    The reference's numbers, which JSON shows and codes are made of.
    """

    OPEN = 1
    CLOSE = 2
    READ = 3
    WRITE = 4
    LSTAT = 5
    FSTAT = 6
    SETSTAT = 7
    FSETSTAT = 8
    OPENDIR = 9
    READDIR = 10
    REMOVE = 11
    MKDIR = 12
    RMDIR = 13
    REALPATH = 14
    STAT = 15
    RENAME = 16
    READLINK = 17
    SYMLINK = 18
    LINK = 19


@frozen(kw_only=True)
class SFTP(Judged):
    """
    One SFTP operation.

    @ivar target_path: the new name of rename, symlink and link.
    @ivar flags: of open, as the protocol has them.
    @ivar disallowed: copying files is not permitted at all.
    """

    NAME: ClassVar[str] = "sftp"
    CODE: ClassVar[str] = "TS001I"
    FAILED: ClassVar[str] = "TS001E"
    SAYS: ClassVar[str] = "User [{user}] did {operation} on [{path}] of [{server_hostname|server_id}]"
    SAYS_FAILED: ClassVar[str] = "User [{user}] could not {operation} [{path}]: {error}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    action: Public[SFTPAction]
    path: Sensitive[str]
    target_path: Sensitive[str] = ""
    working_directory: Sensitive[str] = ""
    flags: Public[int | None] = None
    attributes: Public[Mapping[str, Any]] = field(factory=dict)
    disallowed: Public[bool] = False

    @property
    def code(self) -> str:
        """
        TS and the action's number; TS020E where copying is not permitted.
        """
        if self.disallowed:
            return "TS020E"
        return f"TS{self.action.value:03d}" + ("I" if self.success else "E")

    def rated(self) -> list[tuple[str, Any, Rating]]:
        """
        @return: without what the code tells.
        """
        return [item for item in super().rated() if item[0] not in ("disallowed", "success")]

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: every action's, and the refusal.
        """
        return (*(f"TS{action.value:03d}{end}" for action in SFTPAction for end in "IE"), "TS020E")

    @classmethod
    def sentence(cls, stored: Mapping[str, Any]) -> str:
        """
        @return: with the action's name in place of its number.
        """
        try:
            operation = SFTPAction(stored.get("action")).name.lower()
        except ValueError:
            operation = "operation"
        failed = str(stored.get("code", "")).endswith("E")
        return filled(cls.SAYS_FAILED if failed else cls.SAYS, {**stored, "operation": operation})


@frozen(kw_only=True)
class SFTPSummary(Fact):
    """
    What an SFTP session read and wrote.

    @ivar file_transfer_stats: one mapping a file: C{path}, C{bytes_read}, C{bytes_written}.
    """

    NAME: ClassVar[str] = "sftp_summary"
    CODE: ClassVar[str] = "TS021I"
    SAYS: ClassVar[str] = "User [{user}] finished transferring files on [{server_hostname|server_id}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    file_transfer_stats: Sensitive[tuple[Mapping[str, Any], ...]] = ()
