"""
A shell or a command, run as the login's Unix user, with a terminal or with three pipes.

What its program writes goes to the channel piece by piece as it was read; what the channel does not take in stays in
the pipe, and what the program does not read stays with the client.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from teleport_tw.agents.ssh import pty
from teleport_tw.agents.ssh.accounts import Account
from teleport_tw.agents.ssh.pty import Size, Terminal
from teleport_tw.agents.ssh.spawn import Ended, Launch, Process
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.files import FileSink, FileSource
from teleport_tw.base.timing import from_timestamp
from teleport_tw.conch.channel import STDERR
from teleport_tw.events.kinds import Exec
from teleport_tw.recordings.capture import SessionCapture
from teleport_tw.resources.roles_options import Strictness
from teleport_tw.resources.sessions import Participant, Session

if TYPE_CHECKING:
    from teleport_tw.agents.ssh.session import SessionChannel

_SIGNALS = ("ABRT", "ALRM", "FPE", "HUP", "ILL", "INT", "KILL", "PIPE", "QUIT", "SEGV", "TERM", "USR1", "USR2")
"""Those of RFC 4254 section 6.10."""

_SIGNAL_STATUS = 128

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
        )

    async def start(self) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program.start}.
        """
        channel, request = self._channel, self._channel.terminal
        try:
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
            try:
                self._spawn(account, permitted)
            except OSError as error:
                raise TeleportError(Kind.INTERNAL, f"the session cannot be started: {error.strerror}") from error
        except TeleportError as error:
            self._report(Ended(None, problem=error.message))
            self._capture.end()
            raise

    def _spawn(self, account: Account, permitted: dict[str, str]) -> None:
        channel, request = self._channel, self._channel.terminal
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
        if terminal is not None:
            self._track()

    def _track(self) -> None:
        realm, target = self._realm, self._channel.user.target
        user = target.identity.username
        now = from_timestamp(realm.reactor.seconds())
        session_id = self._channel.session_id
        realm.trackers.begin(
            Session(
                name=session_id,
                hostname=realm.host.name,
                address=realm.host.id,
                cluster=realm.host.cluster,
                login=target.login,
                host_user=user,
                reason=self._channel.variables.get("TELEPORT_SESSION_REASON", ""),
                command=tuple(self._command.split()),
                participants=(Participant(id=session_id, user=user, last_active=now),),
                created=now,
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
        self._sink = FileSink(reactor, writing, on_full=channel.pauseProducing, on_room=channel.resumeProducing)
        outputs = _Outputs(self._sources)
        channel.registerProducer(outputs, True)
        for source in self._sources:
            source.resumeProducing()

    # From the user.

    def received(self, data: bytes) -> None:
        """
        See L{teleport_tw.agents.ssh.session.Program}.
        """
        self._capture.input(len(data))
        if self._sink is not None:
            self._sink.write(data)

    def input_ended(self) -> None:
        """
        A command reads the end of its input; a terminal has none.
        """
        if self._sink is not None and not self._interactive:
            self._sink.close()

    def resized(self, size: Size) -> None:
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
        if self._process is not None and self._ended is None:
            self._process.signal(signal.SIGHUP)
            self._process.signal(signal.SIGCONT)
        for source in self._sources:
            source.stopProducing()
        if self._sink is not None:
            self._sink.abort()
        self._finish()

    # From the program.

    def _output(self, data: bytes) -> None:
        self._channel.user.touch()
        self._capture.output(data)
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
