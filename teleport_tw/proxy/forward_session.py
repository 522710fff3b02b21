"""
A session through the proxy: the user's channel, the server's channel, and what is noted of both.

What a client asks for before its program (terminal, variables, agent, X11) is answered here by the user's roles and
kept; the server is asked when the program is, all at once. So a server that cannot be reached is told to the user in
words, and a forwarded agent is there before it is needed.

@see: RFC 4254 section 6
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from teleport_tw.base.errors import RemoteProtocolError, TeleportError, access_denied
from teleport_tw.conch.channel import STDERR, Answer, Channel
from teleport_tw.dial.lifetime import Ending
from teleport_tw.events.kinds import AgentForward, Exec, Session, Subsystem, X11Forward
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.proxy.copies import Copies, copies
from teleport_tw.recordings.capture import Facts, SessionCapture
from teleport_tw.resources.roles_options import Strictness

if TYPE_CHECKING:
    from teleport_tw.proxy.visit import Visit

MAX_VARIABLES = 128
MAX_VARIABLE_BYTES = 32 * 1024
MAX_COMMAND_BYTES = 128 * 1024

REFUSED_STATUS = 255
"""Exit status of what could not be started, as the agents have it."""

_PROGRAMS = frozenset({"shell", "exec", "subsystem"})
_UNANSWERED = frozenset({"signal", "eow@openssh.com", "xon-xoff"})
"""Passed on as what they are: news, no questions."""

_COPIERS = frozenset({"scp", "sftp-server", "rsync"})

_AGENT = "auth-agent-req@openssh.com"


class ForwardedSession(Channel):
    """
    The user's side.

    @ivar session_id: in events and recordings.
    @ivar size: of the terminal, in characters; C{None} without one.
    @ivar far: the server's side, once the program is asked for.
    """

    name = b"session"

    def __init__(self, visit: Visit) -> None:
        super().__init__()
        self.visit = visit
        self.session_id = str(uuid4())
        self.size: tuple[int, int] | None = None
        self.far: FarSession | None = None
        self.capture: SessionCapture | None = None
        self.copies: Copies | None = None
        self._term = ""
        self._started = self._ended = False
        self._kept: list[tuple[str, bytes]] = []
        self._variable_bytes = 0
        self._program: tuple[str, str] = ("", "")
        visit.sessions.add(self)

    @property
    def facts(self) -> Facts:
        """
        For events of this session.
        """
        visit = self.visit
        return Facts(
            actor=visit.actor,
            connection=visit.over,
            server=visit.server,
            session=Session(id=self.session_id, with_mfa=visit.target.identity.mfa_device),
        )

    # What conch calls.

    def requestReceived(self, name: str, payload: bytes) -> Awaitable[Answer] | Answer:
        """
        Before the program: kept. After it: passed on.
        """
        self.visit.touch()
        if name in _PROGRAMS:
            return self._start(name, payload)
        if name == "window-change":
            return self._resized(payload)
        if self.far is not None:
            return self._pass_on(name, payload)
        known = {"pty-req": self._terminal, "env": self._variable, "x11-req": self._x11, _AGENT: self._agent}
        keep = known.get(name)
        if keep is None or self._started or not keep(payload):
            return False
        self._kept.append((name, payload))
        return True

    def dataReceived(self, data: bytes) -> None:
        """
        To the server.
        """
        self.visit.touch()
        if self.far is not None:
            if self.capture is not None:
                self.capture.input(len(data))
            if self.copies is None or self.follow(self.copies.client, data):
                self.far.write(data)

    def follow(self, show: Callable[[bytes], None], data: bytes) -> bool:
        """
        Look at what passes of a copy.

        @return: whether it may pass; a session that cannot be followed is ended instead.
        """
        try:
            show(data)
        except RemoteProtocolError as error:
            self._log.warn("{user}: {error}", user=self.visit.target.identity.username, error=str(error))
            far, self.far = self.far, None
            if far is not None:
                far.loseConnection()
            self._failed(str(error))
            self.refuse(f"the copy was stopped: {error}")
            return False
        return True

    def extReceived(self, dataType: int, data: bytes) -> None:
        """
        To the server.
        """
        if self.far is not None:
            self.far.writeExtended(dataType, data)

    def eofReceived(self) -> None:
        """
        To the server.
        """
        if self.far is not None:
            self.far.loseWriteConnection()

    def closed(self) -> None:
        """
        The server's side closes as well.
        """
        self.visit.sessions.discard(self)
        if self.far is not None:
            self.far.loseConnection()
        self.finish()

    # Before the program.

    def _terminal(self, payload: bytes) -> bool:
        """
        C{string} TERM; C{uint32} columns, rows, width, height; C{string} modes.
        """
        reader = Reader(payload)
        term, columns, rows = reader.text(), reader.uint32(), reader.uint32()
        if self.size is not None or not self.visit.target.identity.permit_pty or len(term) > 64:
            return False
        self._term, self.size = term, (columns, rows)
        return True

    def _variable(self, payload: bytes) -> bool:
        self._variable_bytes += len(payload)
        return len(self._kept) < MAX_VARIABLES and self._variable_bytes <= MAX_VARIABLE_BYTES

    def _x11(self, payload: bytes) -> bool:
        target = self.visit.target
        allowed = target.options.permit_x11_forwarding and target.identity.permit_x11_forwarding
        error = "" if allowed else "permit_x11_forwarding is off"
        self.visit.emit(X11Forward(**self.facts.common, success=allowed, error=error))
        self.visit.x11_allowed = self.visit.x11_allowed or allowed
        return allowed

    def _agent(self, payload: bytes) -> bool:
        """
        The proxy may use the agent in any case where it signs in with it; the server only where roles allow it.
        """
        target = self.visit.target
        self.visit.agent_offered = True
        allowed = target.options.forward_agent and target.identity.permit_agent_forwarding
        error = "" if allowed else "forward_agent is off"
        self.visit.emit(AgentForward(**self.facts.common, success=allowed, error=error))
        self.visit.agent_allowed = self.visit.agent_allowed or allowed
        return allowed

    def _resized(self, payload: bytes) -> bool:
        reader = Reader(payload)
        size = (reader.uint32(), reader.uint32())
        if self.size is None:
            return False
        self.size = size
        if self.far is None:
            self._kept.append(("window-change", payload)) if len(self._kept) < MAX_VARIABLES else None
            return True
        if self.capture is not None:
            self.capture.resize(*size)
        self.far.conn.notify(self.far, "window-change", payload)
        return True

    # The program.

    async def _start(self, name: str, payload: bytes) -> bool:
        if self._started:
            return False
        self._started = True
        program = "" if name == "shell" else Reader(payload).string().decode("utf-8", "backslashreplace")
        if len(program) > MAX_COMMAND_BYTES:
            raise RemoteProtocolError("no such command can be run")
        self._program = (name, program)
        try:
            self._check_copy(name, program)
            granted = await self._run(name, payload)
        except TeleportError as error:
            self._log.info("{user}: {error} {details}", user=self.visit.target.identity.username, error=error.message,
                           details=error.details)  # fmt: skip
            self._failed(error.message)
            self.visit.shared.reactor.callLater(0, self.refuse, error.message)
            return True
        if not granted:
            self._failed("the server refused")
        return granted

    def _check_copy(self, name: str, program: str) -> None:
        """
        @raise TeleportError: roles allow no copying of files. A shell can still copy; this stops the usual programs.
        """
        if self.visit.target.options.ssh_file_copy:
            return
        if name == "subsystem" and program == "sftp":
            raise access_denied("file copying is not allowed", details="ssh_file_copy is off")
        try:
            words = shlex.split(program) if name == "exec" else []
        except ValueError:
            words = program.split()
        if words and PurePosixPath(words[0]).name in _COPIERS:
            raise access_denied("file copying is not allowed", details="ssh_file_copy is off")

    async def _run(self, name: str, payload: bytes) -> bool:
        connection = await self.visit.onward()
        far = FarSession(self)
        await connection.open(far)
        if self.localClosed:
            far.loseConnection()
            return False
        asked = [Deferred.fromCoroutine(connection.request(far, *each)) for each in self._kept]
        for each in asked:
            each.addErrback(lambda failure: None)  # the program's own answer fails with it
        self.far = far
        if name != "subsystem":
            await self._begin()
        self.copies = copies(name, self._program[1], self.facts, self.visit.emit)
        granted = await connection.request(far, name, payload)
        if not granted or self.localClosed:
            self.far = None
            far.loseConnection()
            return False
        if name == "subsystem":
            self.visit.emit(Subsystem(**self.facts.common, name=self._program[1]))
        self.registerProducer(far, True)
        far.registerProducer(self, True)
        return True

    async def _begin(self) -> None:
        """
        @raise TeleportError: it must be recorded and cannot be.
        """
        shared, recorded = self.visit.shared, self.size is not None
        mode = shared.recording_mode()
        strict = self.visit.target.options.record_ssh is Strictness.STRICT or mode.endswith("-sync")
        self.capture = SessionCapture(
            facts=self.facts,
            sink=shared.sink,
            recordings=shared.recordings,
            mode=mode,
            recorded=recorded and mode != "off",
            strict=strict,
            on_failure=self._not_recorded,
            initial_command=(self._program[1],) if self._program[1] else (),
            interactive=recorded,
        )
        await self.capture.begin(self.size, self._term)

    def _not_recorded(self, reason: str) -> None:
        text = "the session cannot be recorded any more and ends"
        self.visit.end(Ending(f"recording failed: {reason}", text))

    def _failed(self, error: str) -> None:
        name, program = self._program
        common = self.facts.common
        if name == "subsystem":
            self.visit.emit(Subsystem(**common, name=program, success=False, exit_error=error))
        elif name == "exec":
            self.visit.emit(Exec(**common, command=program, success=False, exit_error=error))
        self._ended = True
        if self.copies is not None:
            self.copies.ended()
        if self.capture is not None:
            self.capture.end()

    async def _pass_on(self, name: str, payload: bytes) -> bool:
        assert self.far is not None
        if name in _UNANSWERED:
            self.far.conn.notify(self.far, name, payload)
            return True
        if name in ("pty-req", "env", "x11-req", _AGENT):
            return False
        return await self.far.conn.request(self.far, name, payload)

    # The end.

    def finish(self) -> None:
        """
        The session is over, whichever side ended it: say so once.
        """
        if self._ended or self.far is None:
            return
        self._ended = True
        if self.copies is not None:
            self.copies.ended()
        name, program = self._program
        if name == "exec":
            status, signal = self.far.status, self.far.signal
            self.visit.emit(
                Exec(
                    **self.facts.common,
                    command=program,
                    success=not status and not signal,
                    exit_code="" if status is None else str(status),
                    exit_error=f"signal {signal}" if signal else "",
                )
            )
        if self.capture is not None:
            self.capture.end()

    def refuse(self, text: str) -> None:
        """
        Tell the user why nothing runs, and close.
        """
        self.writeExtended(STDERR, ("ERROR: " + text.rstrip() + "\r\n").encode())
        self.exit_status(REFUSED_STATUS)
        self.loseConnection()

    def last_words(self, text: str) -> None:
        """
        The connection is about to be ended.
        """
        line = f"\r\n{text}\r\n".encode()
        if self.size is not None:
            self.write(line)
        else:
            self.writeExtended(STDERR, line)


STATUS_SECONDS = 0.25
"""How long the end of output waits for the exit status, which a server sends right before or after it."""


class FarSession(Channel):
    """
    The server's side.

    @ivar status: exit status of the program; C{None} while it runs, or when a signal ended it.
    @ivar signal: that ended it, without C{SIG}.
    """

    name = b"session"

    def __init__(self, near: ForwardedSession) -> None:
        super().__init__()
        self._near = near
        self.status: int | None = None
        self.signal = ""
        self._eof: IDelayedCall | None = None

    def dataReceived(self, data: bytes) -> None:
        """
        To the user, and into the recording.
        """
        near = self._near
        if near.localClosed:
            return
        near.visit.touch()
        if near.capture is not None:
            near.capture.output(data)
        if near.copies is None or near.follow(near.copies.server, data):
            near.write(data)

    def extReceived(self, dataType: int, data: bytes) -> None:
        """
        To the user.
        """
        self._near.visit.touch()
        if self._near.capture is not None:
            self._near.capture.output(data)
        self._near.writeExtended(dataType, data)

    def eofReceived(self) -> None:
        """
        To the user, but behind the exit status where that is on its way: OpenSSH's client closes a session that has
        ended both ways at once, and takes no status after that.
        """
        self._eof = self._near.visit.shared.reactor.callLater(STATUS_SECONDS, self._pass_eof)

    def _pass_eof(self) -> None:
        self._eof = None
        self._near.loseWriteConnection()

    def request_exit_status(self, payload: bytes) -> None:
        """
        C{uint32} status.
        """
        self.status = Reader(payload).uint32()
        self._near.exit_status(self.status)

    def request_exit_signal(self, payload: bytes) -> None:
        """
        C{string} name; C{boolean} core dumped; C{string} message; C{string} language.
        """
        reader = Reader(payload)
        self.signal, core, message = reader.text(), reader.boolean(), reader.text()
        self._near.exit_signal(self.signal, core_dumped=core, message=message)

    def request_eow(self, payload: bytes) -> None:
        """
        The program reads no more.
        """
        if not self._near.localClosed:
            self._near.conn.notify(self._near, "eow@openssh.com", payload)

    def closed(self) -> None:
        """
        The user's side sends what is left, and closes.
        """
        near = self._near
        if self._eof is not None:
            self._eof.cancel()
            self._eof = None
        near.finish()
        if near.far is self:
            near.loseConnection()
