"""
A shell or a command, run as the login's Unix user, with a terminal or with three pipes.

What its program writes goes to the channel piece by piece as it was read; what the channel does not take in stays in
the pipe, and what the program does not read stays with the client. What runs at a terminal may have company: see
L{teleport_tw.agents.ssh.party}, which then says when it starts and who types.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
from typing import TYPE_CHECKING

from attrs import evolve
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from teleport_tw.agents.ssh import pty
from teleport_tw.agents.ssh.accounts import Account
from teleport_tw.agents.ssh.hooks import Hooks
from teleport_tw.agents.ssh.join import check_unmoderated, current_session
from teleport_tw.agents.ssh.party import Party
from teleport_tw.agents.ssh.pty import Size, Terminal
from teleport_tw.agents.ssh.spawn import Ended, Launch, Process
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.files import FileSink, FileSource
from teleport_tw.base.timing import from_timestamp
from teleport_tw.conch.channel import STDERR
from teleport_tw.dial import joining
from teleport_tw.events.kinds import Exec
from teleport_tw.recordings.capture import SessionCapture
from teleport_tw.resources.roles_options import Strictness
from teleport_tw.resources.sessions import Session, State

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel

_SIGNALS = ("ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2")
"""Those of RFC 4254 section 6.10."""

_SIGNAL_STATUS = 128

REFUSED_STATUS = 255
"""Exit status of what could not be started or was ended by others, as the reference has it."""

MAX_REASON = 1024
MAX_INVITED = 64

PIPE_BYTES = 256 * 1024
"""Room of the pipes a command reads from and writes to: what is read at a time."""

_F_SETPIPE_SZ = 1031


@implementer(IPushProducer)
class _Outputs:
    """
    Standard output and error, paused as one.
    """

    def __init__(self, sources: list[FileSource]) -> None:
        self._sources = sources

    def pauseProducing(self) -> None:
        """
        The client is slow.
        """
        for source in self._sources:
            source.pauseProducing()

    def resumeProducing(self) -> None:
        """
        The client has caught up.
        """
        for source in self._sources:
            source.resumeProducing()

    def stopProducing(self) -> None:
        """
        The client is gone.
        """
        for source in self._sources:
            source.stopProducing()


class Command:
    """
    See the module; a L{teleport_tw.agents.ssh.session.Program}.
    """

    _log = Logger()

    def __init__(self, channel: SessionChannel, command: str) -> None:
        """
        @param command: for the login's shell; empty for a login shell of its own.
        """
        self._channel = channel
        self._command = command
        self._realm = channel.user.realm
        self._interactive = channel.terminal is not None
        self._process: Process | None = None
        self._sources: list[FileSource] = []
        self._sink: FileSink | None = None
        self._ended: Ended | None = None
        self._over = False
        self._facts = channel.facts
        self._party: Party | None = None
        self._capture = self._make_capture()

    def _make_capture(self) -> SessionCapture:
        realm, options = self._realm, self._channel.user.target.options
        mode = realm.view.recording().mode
        return SessionCapture(
            facts=self._facts,
            sink=realm.sink,
            recordings=realm.recordings,
            mode=mode,
            recorded=self._interactive and mode.startswith("node"),
            told=not (mode.startswith("proxy") and self._channel.user.through_tunnel),
            strict=options.record_ssh is Strictness.STRICT,
            on_failure=self._not_recorded,
            initial_command=tuple(self._command.split()) if self._command else (),
            interactive=self._interactive,
            reason=self._reason,
            invited=self._invited,
        )

    @property
    def _reason(self) -> str:
        return self._channel.variables.get(joining.REASON, "")[:MAX_REASON]

    @property
    def _invited(self) -> tuple[str, ...]:
        return _names(self._channel.variables.get(joining.INVITED, ""))

    async def start(self) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program.start}.
        """
        channel, request = self._channel, self._channel.terminal
        try:
            if request is None:
                check_unmoderated(channel.user, "a command without a terminal")
            account = await channel.user.account()
            permitted = {}
            if self._realm.section.permit_user_env:
                permitted = await self._realm.threads.run(self._realm.accounts.user_environment, account)
            if request is not None:
                await self._capture.begin((request.size.columns, request.size.rows), request.term)
            else:
                await self._capture.begin()
            if channel.localClosed:
                self._capture.end()
                return
            if request is None:
                self._start(account, permitted)
                return
            self._party = Party(
                owner=channel,
                hooks=Hooks(
                    begin=lambda: self._begin(account, permitted),
                    typed=self._type,
                    resized=self._resize,
                    seen=self._capture.output,
                    joined=self._capture.joined,
                    terminate=self._hang_up,
                ),
                size=request.size,
            )
            self._track()
            channel.conn.notify(channel, *current_session(channel.session_id))
            self._party.open()
        except TeleportError as error:
            self._report(Ended(None, problem=error.message))
            self._capture.end()
            raise

    def _begin(self, account: Account, permitted: dict[str, str]) -> None:
        """
        Everybody required is there.
        """
        assert self._party is not None, "it calls"
        if self._party.moderated:  # the answer to the client's request was given long ago
            try:
                self._start(account, permitted)
            except TeleportError as error:
                self._report(Ended(None, problem=error.message))
                self._channel.refuse(error.message)
        else:
            self._start(account, permitted)

    def _start(self, account: Account, permitted: dict[str, str]) -> None:
        try:
            self._spawn(account, permitted)
        except OSError as error:
            raise TeleportError(Kind.INTERNAL, f"the session cannot be started: {error.strerror}") from error

    def _spawn(self, account: Account, permitted: dict[str, str]) -> None:
        channel, request = self._channel, self._channel.terminal
        if request is not None and self._party is not None:
            request = evolve(request, size=self._party.terminal_size)
        terminal = Terminal.open(request, account.uid, account.gid) if request is not None else None
        theirs = [terminal.slave] if terminal is not None else []
        ours = [terminal.master] if terminal is not None else []
        try:
            if terminal is None:
                self._open_pipes(ours, theirs)
            name = os.path.basename(account.shell)
            launch = Launch(
                program=account.shell,
                argv=[name, "-c", self._command] if self._command else ["-" + name],
                environment=channel.environment(account, permitted, terminal.name if terminal is not None else ""),
                folder=account.home,
                uid=account.uid,
                gid=account.gid,
                groups=account.groups,
                terminal=terminal is not None,
            )
            self._process = self._realm.spawner.spawn(launch, theirs, self._program_ended)
        except BaseException:
            for descriptor in ours:
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs:
                os.close(descriptor)
        self._connect(ours, terminal is not None)

    def _track(self) -> None:
        assert self._party is not None, "the session has a terminal"
        realm, target = self._realm, self._channel.user.target
        realm.trackers.begin(
            Session(
                name=self._channel.session_id,
                state=State.PENDING if self._party.moderated else State.RUNNING,
                hostname=realm.host.name,
                address=realm.host.id,
                cluster=realm.host.cluster,
                login=target.login,
                host_user=target.identity.username,
                reason=self._reason,
                invited=self._invited,
                command=tuple(self._command.split()),
                participants=self._party.participants(),
                created=from_timestamp(realm.reactor.seconds()),
            )
        )

    @staticmethod
    def _open_pipes(ours: list[int], theirs: list[int]) -> None:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        theirs.append(reading)
        ours.append(writing)
        for _ in range(2):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            ours.append(reading)
            theirs.append(writing)
        for pipe in ours[:2]:
            with contextlib.suppress(OSError):  # the quota of pipe buffers is used up; a small pipe works as well
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, PIPE_BYTES)

    def _connect(self, ours: list[int], terminal: bool) -> None:
        reactor, channel = self._realm.reactor, self._channel
        if terminal:
            self._sources = [FileSource(reactor, ours[0], self._output, self._source_ended, terminal=True)]
            writing = os.dup(ours[0])
        else:
            self._sources = [
                FileSource(reactor, ours[1], self._output, self._source_ended),
                FileSource(reactor, ours[2], self._error_output, self._source_ended),
            ]
            writing = ours[0]
        self._sink = FileSink(reactor, writing, on_full=self._full, on_room=self._room)
        outputs = _Outputs(self._sources)
        channel.registerProducer(outputs, True)
        for source in self._sources:
            source.resumeProducing()

    # From the user.

    def received(self, data: bytes) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program}.
        """
        if self._party is not None:
            self._party.typed(data)
        else:
            self._type(data)

    def _type(self, data: bytes) -> None:
        self._capture.input(len(data))
        if self._sink is not None:
            self._sink.write(data)

    def _typing(self) -> tuple[SessionChannel, ...]:
        joined = () if self._party is None else (each.channel for each in self._party.members.values() if each.types)
        return (self._channel, *joined)

    def _full(self) -> None:
        for channel in self._typing():
            channel.pauseProducing()

    def _room(self) -> None:
        for channel in self._typing():
            channel.resumeProducing()

    def input_ended(self) -> None:
        """
        A command reads the end of its input; a terminal has none.
        """
        if self._sink is not None and not self._interactive:
            self._sink.close()

    def resized(self, size: Size) -> None:
        """
        Tell everybody.
        """
        if self._party is not None:
            self._party.resized(size)

    def _resize(self, size: Size) -> None:
        """
        Tell the terminal, and the recording.
        """
        source = self._sources[0] if self._sources else None
        if source is not None and not source.ended and self._interactive:
            pty.resize(source.descriptor, size)
            self._capture.resize(size.columns, size.rows)

    def signalled(self, name: str) -> bool:
        """
        Send the signal to the program and its group.
        """
        if name not in _SIGNALS or self._process is None:
            return False
        self._process.signal(signal.Signals[f"SIG{name}"])
        return True

    def last_words(self, text: str) -> None:
        """
        The recording shows them as well.
        """
        if self._interactive:
            self._capture.output(f"\r\n{text}\r\n".encode())

    def closed(self) -> None:
        """
        The channel is gone: hang up.
        """
        self._stop()
        self._finish()

    def _hang_up(self) -> None:
        """
        The session was ended, or never began.
        """
        if not self._over and not self._channel.localClosed:
            self._over = True
            self._channel.unregisterProducer()
            self._channel.exit_status(REFUSED_STATUS)
            self._channel.loseConnection()
            self._stop()
            self._finish()

    def _stop(self) -> None:
        if self._process is not None and self._ended is None:
            self._process.signal(signal.SIGHUP)
            self._process.signal(signal.SIGCONT)
        for source in self._sources:
            source.stopProducing()
        if self._sink is not None:
            self._sink.abort()

    # From the program.

    def _output(self, data: bytes) -> None:
        self._channel.user.touch()
        self._capture.output(data)
        if self._party is not None:
            self._party.output(data)
        else:
            self._channel.write(data)

    def _error_output(self, data: bytes) -> None:
        self._channel.user.touch()
        self._capture.output(data)
        self._channel.writeExtended(STDERR, data)

    def _source_ended(self) -> None:
        self._perhaps_done()

    def _program_ended(self, ended: Ended) -> None:
        self._ended = ended
        self._report(ended)
        if self._sink is not None:
            self._sink.abort()
        if self._interactive:
            for source in self._sources:
                source.finish()
        self._perhaps_done()

    def _perhaps_done(self) -> None:
        if self._ended is None or self._over or not all(source.ended for source in self._sources):
            return
        self._over = True
        channel, ended = self._channel, self._ended
        channel.unregisterProducer()
        if ended.problem:
            channel.writeExtended(STDERR, (ended.problem + "\r\n").encode())
            channel.exit_status(_SIGNAL_STATUS + signal.SIGKILL)
        elif ended.code is not None:
            channel.exit_status(ended.code)
        elif ended.signal in _SIGNALS:
            channel.exit_signal(ended.signal, core_dumped=ended.core_dumped)
        else:
            channel.exit_signal(f"{ended.signal}@openssh.com", core_dumped=ended.core_dumped)
        channel.loseConnection()
        self._finish()

    def _finish(self) -> None:
        if self._party is not None:
            self._party.end()
        self._capture.end()
        self._realm.trackers.end(self._channel.session_id)

    def _report(self, ended: Ended) -> None:
        if not self._command:
            return
        code = "" if ended.code is None else str(ended.code)
        problem = ended.problem or (f"ended by signal {ended.signal}" if ended.signal else "")
        failed = bool(ended.code) or bool(problem)
        self._realm.sink.emit(
            Exec(
                **self._facts.common,
                command=self._command,
                exit_code=code,
                exit_error=problem or (f"exit status {code}" if failed else ""),
                success=not failed,
            )
        )

    def _not_recorded(self, reason: str) -> None:
        self._log.error("a session ends because it is not recorded: {reason}", reason=reason)
        self._channel.last_words("this session must be recorded, and the recording failed")
        if self._process is not None:
            self._process.signal(signal.SIGHUP)
        self._channel.loseConnection()


def _names(said: str) -> tuple[str, ...]:
    """
    @param said: a JSON array, or names with commas between them.
    """
    with contextlib.suppress(ValueError, RecursionError):
        listed = json.loads(said)
        if isinstance(listed, list):
            return tuple(str(each)[:256] for each in listed if isinstance(each, str))[:MAX_INVITED]
    return tuple(part.strip()[:256] for part in said.split(",") if part.strip())[:MAX_INVITED]
