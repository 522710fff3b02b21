"""
Starting programs as their user, by way of L{teleport_tw.agents.ssh.launcher}.

The agent keeps one launcher running. Asking it is one datagram; the answer to how a program ended comes by the same
way, so the agent has no children of its own to wait for.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_tw.agents.ssh.launcher import MAX_ASK_BYTES
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.files import FileSource

_SOURCE = Path(__file__).with_name("launcher.py")


@frozen(kw_only=True)
class Launch:
    """
    A program and who it is to be.

    @ivar program: its path; empty for what L{teleport_tw.agents.ssh.fileserver} serves by the words of C{argv}.
    @ivar argv: C{argv[0]} first.
    @ivar folder: where it begins; C{/} if that cannot be entered.
    @ivar groups: supplementary ones.
    @ivar terminal: the one descriptor handed over becomes its controlling terminal.
    """

    program: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: str
    uid: int
    gid: int
    groups: Sequence[int] = ()
    terminal: bool = False


@frozen
class Ended:
    """
    How a program ended.

    @ivar code: its exit status; C{None} when a signal ended it.
    @ivar signal: which, without C{SIG}; empty otherwise.
    @ivar problem: why it never ran; empty when it did.
    """

    code: int | None
    signal: str = ""
    core_dumped: bool = False
    problem: str = ""

    @classmethod
    def of(cls, status: int) -> Ended:
        """
        @param status: as waitpid(2) has it.
        """
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            try:
                name = signal.Signals(number).name.removeprefix("SIG")
            except ValueError:
                name = f"RT{number}"
            return cls(None, name, os.WCOREDUMP(status))
        return cls(os.WEXITSTATUS(status))


@define(eq=False)
class Process:
    """
    A program that was asked for.

    @ivar pid: zero until it runs.
    """

    spawner: Spawner
    number: int
    on_ended: Callable[[Ended], object]
    pid: int = 0
    ended: Ended | None = None

    def signal(self, number: int) -> None:
        """
        Send a signal to it and its process group; one that has ended gets none.
        """
        if self.ended is None:
            self.spawner.signal(self.number, number)


@define(eq=False)
class Spawner(Service):
    """
    Keeps a launcher; starts another should it die.
    """

    reactor: IReactorTime
    _sock: socket.socket | None = field(default=None, init=False)
    _answers: FileSource | None = field(default=None, init=False)
    _launcher: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _running: dict[int, Process] = field(factory=dict, init=False)
    _last: int = field(default=0, init=False)
    _log = Logger()

    def startService(self) -> None:
        """
        Have a launcher ready.
        """
        super().startService()  # type: ignore[no-untyped-call]
        if self._sock is None:
            self._launch()

    def stopService(self) -> None:
        """
        Programs still running are hung up on.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._close("the agent stopped")

    def spawn(self, launch: Launch, descriptors: Sequence[int], on_ended: Callable[[Ended], object]) -> Process:
        """
        Start a program; returns at once.

        @param descriptors: stdin, stdout and stderr, or the terminal; they stay the caller's to close.
        @param on_ended: called once, later.
        @raise TeleportError: LIMIT_EXCEEDED, the arguments are too long or too much is being started.
        """
        self._last += 1
        number = self._last
        asked = (
            "run",
            number,
            [os.fsencode(each) for each in launch.argv],
            os.fsencode(launch.program),
            {os.fsencode(name): os.fsencode(value) for name, value in launch.environment.items()},
            os.fsencode(launch.folder),
            launch.uid,
            launch.gid,
            list(launch.groups),
            launch.terminal,
        )
        data = marshal.dumps(asked)
        if len(data) > MAX_ASK_BYTES:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "the command and its environment are too long")
        process = Process(self, number, on_ended)
        self._running[number] = process
        try:
            self._send(data, descriptors)
        except BaseException:
            self._running.pop(number, None)
            raise
        return process

    def signal(self, number: int, what: int) -> None:
        """
        @param number: of the L{Process}.
        """
        if self._sock is not None:
            self._send(marshal.dumps(("signal", number, int(what))), ())

    def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        for _ in range(2):
            if self._sock is None:
                self._launch()
            assert self._sock is not None
            try:
                socket.send_fds(self._sock, [data], list(descriptors))
            except BlockingIOError as error:
                raise TeleportError(
                    Kind.LIMIT_EXCEEDED, "too many sessions are being started at once; try again"
                ) from error
            except (BrokenPipeError, ConnectionResetError):
                self._lost()
            else:
                return
        raise TeleportError(Kind.INTERNAL, "programs cannot be started on this host")

    def _launch(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            # A path, not a module: with -S nothing but the standard library is there to be imported.
            command = [sys.executable, "-I", "-S", str(_SOURCE), str(theirs.fileno())]
            self._launcher = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True, env={}
            )
        finally:
            theirs.close()
        ours.setblocking(False)
        self._sock = ours
        # One read gives one datagram: they keep their bounds on such a socket.
        self._answers = FileSource(self.reactor, os.dup(ours.fileno()), self._answered, self._lost)
        self._answers.resumeProducing()

    def _answered(self, data: bytes) -> None:
        number, pid, rest = marshal.loads(data)  # noqa: S302 a private socket to our own child
        self._told(number, pid, rest)

    def _told(self, number: int, pid: int, rest: int | str | None) -> None:
        process = self._running.get(number)
        if process is None:
            return
        if rest is None:
            process.pid = pid
            return
        del self._running[number]
        self._end(process, Ended.of(rest) if isinstance(rest, int) else Ended(None, problem=rest))

    def _end(self, process: Process, ended: Ended) -> None:
        process.ended = ended
        try:
            process.on_ended(ended)
        except Exception:
            self._log.failure("the end of a program could not be handled")

    def _lost(self) -> None:
        self._log.error("the launcher of programs died; its programs were hung up on")
        self._close("the launcher of programs died")

    def _close(self, reason: str) -> None:
        sock, self._sock = self._sock, None
        answers, self._answers = self._answers, None
        if answers is not None:
            answers.stopProducing()
        if sock is not None:
            sock.close()
        if self._launcher is not None:
            try:
                self._launcher.wait(1.0)
            except subprocess.TimeoutExpired:
                self._launcher.kill()
                self._launcher.wait()
            self._launcher = None
        running, self._running = self._running, {}
        for process in running.values():
            self._end(process, Ended(None, problem=reason))
