"""
Files to and from this host: the agent's half, a L{teleport_tw.agents.ssh.session.Program}.

The other half is L{teleport_tw.agents.ssh.fileserver}, which runs as the login. Bytes pass between channel and process
with back-pressure both ways and are not looked at; what happened to which file comes as reports on a pipe of its own
and becomes events here. The process is not the user's to trace or to write for, so its reports can be believed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from teleport_tw.agents.ssh.accounts import Account
from teleport_tw.agents.ssh.fileserver import ALLOWED, DENIED, MAX_REPORT_BYTES
from teleport_tw.agents.ssh.join import watched_session
from teleport_tw.agents.ssh.pty import Size
from teleport_tw.agents.ssh.spawn import Ended, Launch, Process
from teleport_tw.agents.ssh.words import escaped
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.net.files import FileSink, FileSource
from teleport_tw.conch.channel import STDERR

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.approvals import Request
    from teleport_tw.agents.ssh.party import Party
    from teleport_tw.agents.ssh.session import SessionChannel

PIPE_BYTES = 1024 * 1024
"""Room of a pipe each way: four of the longest SFTP messages."""

LEAVE_SECONDS = 5.0
"""What the process may take to report the last of it once the client is gone."""

DISALLOWED = "file copying is not permitted on this host: neither scp nor SFTP may be used"

_F_SETPIPE_SZ = 1031
_FAILED_STATUS = 1


class ReportReader:
    """
    Cuts reports into lines and reads them.
    """

    _log = Logger()

    def __init__(self, on_report: Callable[[Mapping[str, Any]], object]) -> None:
        """
        @param on_report: given each object that has an C{op}.
        """
        self._on_report = on_report
        self._kept = b""

    def feed(self, data: bytes) -> None:
        """
        Lines that are no reports are logged and dropped, as what is longer than any report.
        """
        *lines, self._kept = (self._kept + data).split(b"\n")
        if len(self._kept) > MAX_REPORT_BYTES:
            self._kept = b""
        for line in lines:
            try:
                found = json.loads(line)
                known = isinstance(found, dict) and isinstance(found.get("op"), str)
            except (ValueError, RecursionError):
                known = False
            if known:
                self._on_report(found)
            else:
                self._log.warn("a file process says {line}", line=line[:256].decode("utf-8", "backslashreplace"))


def allowed(channel: SessionChannel) -> bool:
    """
    Whether the user may copy files here.
    """
    return channel.user.realm.section.ssh_file_copy and channel.user.target.options.ssh_file_copy


def launch(account: Account, words: Sequence[str], environment: Mapping[str, str]) -> Launch:
    """
    @param words: for L{teleport_tw.agents.ssh.fileserver.serve}.
    """
    return Launch(
        program="",
        argv=list(words),
        environment=environment,
        folder=account.home,
        uid=account.uid,
        gid=account.gid,
        groups=account.groups,
    )


def open_pipe(size: int = 0) -> tuple[int, int]:
    """
    @return: for reading and for writing.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    if size:
        with suppress(OSError):  # the quota of pipe buffers is used up; a small pipe works as well
            fcntl.fcntl(writing, _F_SETPIPE_SZ, size)
    return reading, writing


def open_socket() -> tuple[int, int]:
    """
    @return: for reading reports and answering them, and for writing them and reading answers.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return ours.detach(), theirs.detach()


class Transfer:
    """
    See the module. Subclasses say what the words are and what reports mean.
    """

    _log = Logger()

    def __init__(self, channel: SessionChannel, words: Sequence[str]) -> None:
        self.channel = channel
        self.facts = channel.facts
        self.sink = channel.user.realm.sink
        self.folder = ""
        self._words = words
        self._process: Process | None = None
        self._ended: Ended | None = None
        self._input: FileSink | None = None
        self._output: FileSource | None = None
        self._reports: FileSource | None = None
        self._reader = ReportReader(self._report)
        self._over = False
        self._party: Party | None = None
        self._asking: Request | None = None
        self._detach: Callable[[], object] = lambda: None
        self._leaving: IDelayedCall | None = None

    # For subclasses.

    def disallowed(self) -> None:
        """
        Say in an event that copying is not permitted.
        """
        raise NotImplementedError

    def reported(self, facts: Mapping[str, Any]) -> None:
        """
        Turn a report into events.
        """
        raise NotImplementedError

    def finished(self) -> None:
        """
        Nothing more is reported.
        """

    # From the session.

    async def start(self) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program.start}.
        """
        self._party = watched_session(self.channel.user)
        if not allowed(self.channel):
            self.disallowed()
            raise access_denied(DISALLOWED)
        account = await self.channel.user.account()
        if self.channel.localClosed:
            return
        try:
            self._spawn(account)
        except OSError as error:
            raise TeleportError(Kind.INTERNAL, f"files cannot be served: {error.strerror}") from error

    def _spawn(self, account: Account) -> None:
        realm, channel = self.channel.user.realm, self.channel
        words = self._words if self._party is None else ("watched", *self._words)
        ours: list[int] = []
        theirs: list[int] = []
        try:
            for incoming, size in ((True, PIPE_BYTES), (False, PIPE_BYTES), (False, 0)):
                reading, writing = open_pipe(size) if size or self._party is None else open_socket()
                theirs.append(reading if incoming else writing)
                ours.append(writing if incoming else reading)
            wanted = launch(account, words, account.environment)
            self._process = realm.spawner.spawn(wanted, theirs, self._process_ended)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._input = FileSink(realm.reactor, ours[0], on_full=channel.pauseProducing, on_room=channel.resumeProducing)
        self._output = FileSource(realm.reactor, ours[1], self._produced, self._perhaps_done)
        self._reports = FileSource(realm.reactor, ours[2], self._reader.feed, self._perhaps_done)
        channel.registerProducer(self._output, True)
        self._output.resumeProducing()
        if self._party is not None:
            self._detach = self._party.files.attach(channel.loseConnection)
        self._reports.resumeProducing()

    def received(self, data: bytes) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program}.
        """
        if self._input is not None:
            self._input.write(data)

    def input_ended(self) -> None:
        """
        The process reads the end.
        """
        if self._input is not None:
            self._input.close()

    def resized(self, size: Size) -> None:
        """
        Files have no size of terminal.
        """

    def signalled(self, name: str) -> bool:
        """
        Signals are for programs.
        """
        return False

    def last_words(self, text: str) -> None:
        """
        There is no recording to put them in.
        """

    def _ask(self, facts: Mapping[str, Any]) -> None:
        """
        Those who watch, about one file.
        """
        if self._party is None or self._asking is not None:
            return
        path = text(facts, "path")
        self.channel.writeExtended(
            STDERR, f"Waiting for those who watch your session to approve of {escaped(path)}\r\n".encode()
        )
        self._asking = self._party.files.ask(self.facts, path, facts.get("upload") is True, self._decided)

    def _decided(self, problem: str) -> None:
        self._asking = None
        if problem:
            self.channel.writeExtended(STDERR, f"The transfer is denied: {problem}\r\n".encode())
        if self._reports is not None and not self._reports.ended:
            with suppress(OSError):  # the process has ended
                os.write(self._reports.descriptor, DENIED if problem else ALLOWED)

    def closed(self) -> None:
        """
        The process reads the end, reports the last of it, and is hung up on should it not end.
        """
        self._detach()
        if self._party is not None and self._asking is not None:
            self._party.files.withdraw(self._asking)
        if self._input is not None:
            self._input.abort()
        if self._output is not None:
            self._output.stopProducing()
        process = self._process
        if process is not None and self._ended is None:
            self._leaving = self.channel.user.realm.reactor.callLater(LEAVE_SECONDS, process.signal, signal.SIGKILL)
        self._perhaps_done()

    # From the process.

    def _produced(self, data: bytes) -> None:
        self.channel.user.touch()
        self.channel.write(data)

    def _report(self, facts: Mapping[str, Any]) -> None:
        match facts["op"]:
            case "begin":
                self.folder = str(facts.get("path", ""))
            case "ask":
                self._ask(facts)
            case "broken":
                self._log.info("file transfer ended: {error}", error=facts.get("error"))
            case _:
                self.reported(facts)

    def _process_ended(self, ended: Ended) -> None:
        self._ended = ended
        if self._leaving is not None and self._leaving.active():
            self._leaving.cancel()
        if self._input is not None:
            self._input.abort()
        self._perhaps_done()

    def _perhaps_done(self) -> None:
        sources = (self._output, self._reports)
        if self._over or self._ended is None or not all(each is None or each.ended for each in sources):
            return
        self._over = True
        self.finished()
        self.channel.unregisterProducer()
        self.channel.exit_status(_FAILED_STATUS if self._ended.code is None else self._ended.code)
        self.channel.loseConnection()


def text(facts: Mapping[str, Any], name: str) -> str:
    """
    @return: a fact of a report as text.
    """
    return str(facts.get(name, ""))


def number(facts: Mapping[str, Any], name: str) -> int:
    """
    @return: a fact of a report as a number.
    """
    found = facts.get(name)
    return found if isinstance(found, int) else 0
