"""
A session channel: terminal, environment, then one program.

The channel knows SSH; what runs is a L{Program}: a shell or command (L{teleport_tw.agents.ssh.command}), or what a
subsystem or an intercepted command is served by.

@see: RFC 4254 section 6
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol
from uuid import uuid4

from twisted.internet.interfaces import IAddress

from teleport_tw.agents.ssh import join, pty
from teleport_tw.agents.ssh.accounts import Account
from teleport_tw.agents.ssh.command import REFUSED_STATUS, Command
from teleport_tw.agents.ssh.join import Joining
from teleport_tw.agents.ssh.pty import Size
from teleport_tw.agents.ssh.realm import SSHUser
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.conch.channel import STDERR, Answer, Channel
from teleport_tw.conch.connection import ChannelOpen
from teleport_tw.dial import joining
from teleport_tw.events.kinds import Session, Subsystem
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.recordings.capture import Facts

MAX_VARIABLES = 128
MAX_VARIABLE_BYTES = 32 * 1024
MAX_COMMAND_BYTES = 128 * 1024
"""Linux takes no longer argument."""

_ACCEPTED = frozenset({"LANG", "LANGUAGE", "TZ", "COLORTERM", "TERM", "NO_COLOR", "COLORFGBG"})
_ACCEPTED_PREFIXES = ("LC_", "TELEPORT_")

_FOR_JOINING = frozenset({"env", "pty-req", "window-change", "shell", joining.FORCE_TERMINATE, joining.FILE_DECISION})
"""All that somebody may ask who came to join."""


class Program(Protocol):
    """
    What runs in a session. Output goes to the channel; the program closes it when done.
    """

    async def start(self) -> None:
        """
        @raise TeleportError: it cannot; the message goes to the user.
        """
        ...

    def received(self, data: bytes) -> None:
        """
        The user sent bytes.
        """
        ...

    def input_ended(self) -> None:
        """
        The user sends no more.
        """
        ...

    def resized(self, size: Size) -> None:
        """
        The user's terminal has another size.
        """
        ...

    def signalled(self, name: str) -> bool:
        """
        @param name: without C{SIG}.
        @return: whether it is a signal.
        """
        ...

    def last_words(self, text: str) -> None:
        """
        The connection is about to be ended; tell the user why.
        """
        ...

    def closed(self) -> None:
        """
        The channel is gone; stop.
        """
        ...


class SessionChannel(Channel):
    """
    One session of one user.

    @ivar session_id: in events and recordings.
    @ivar variables: what the client set.
    @ivar terminal: what it asked for; C{None} for no terminal.
    @ivar session_variables: what features add for the program: C{SSH_AUTH_SOCK}, C{DISPLAY}.
    @ivar cleanups: called when the channel is gone.
    """

    name = b"session"

    def __init__(self, user: SSHUser) -> None:
        super().__init__()
        self.user = user
        self.session_id = str(uuid4())
        self.variables: dict[str, str] = {}
        self.session_variables: dict[str, str] = {}
        self.terminal: pty.Request | None = None
        self.program: Program | None = None
        self.program_started = False
        self.cleanups: list[Callable[[], object]] = []
        user.sessions.add(self)

    @property
    def facts(self) -> Facts:
        """
        For events of this session.
        """
        return Facts(
            actor=self.user.actor,
            connection=self.user.over,
            server=self.user.realm.server(),
            session=Session(id=self.session_id, with_mfa=self.user.target.identity.mfa_device),
        )

    # What conch calls.

    def requestReceived(self, name: str, payload: bytes) -> Awaitable[Answer] | Answer:
        """
        Features first, then the methods below.
        """
        self.user.touch()
        answer = self.user.realm.registry.session_requests.get(name)
        if self.user.target.joins_only and name not in _FOR_JOINING:
            return False
        try:
            return super().requestReceived(name, payload) if answer is None else answer(self, payload)
        except RemoteProtocolError as error:
            self._log.debug("session request {name} is malformed: {error}", name=name, error=error)
            return False

    def dataReceived(self, data: bytes) -> None:
        """
        To the program.
        """
        self.user.touch()
        if self.program is not None:
            self.program.received(data)

    def eofReceived(self) -> None:
        """
        To the program.
        """
        if self.program is not None:
            self.program.input_ended()

    def closed(self) -> None:
        """
        To the program.
        """
        self.user.sessions.discard(self)
        cleanups, self.cleanups = self.cleanups, []
        for cleanup in cleanups:
            cleanup()
        if self.program is not None:
            self.program.closed()

    def request_pty_req(self, payload: bytes) -> bool:
        """
        See L{pty.Request.parse}; once, and where the certificate has C{permit-pty}.
        """
        if self.terminal is not None or self.program is not None or not self.user.target.identity.permit_pty:
            return False
        self.terminal = pty.Request.parse(payload)
        return True

    def request_env(self, payload: bytes) -> bool:
        """
        C{string} name; C{string} value.
        """
        reader = Reader(payload)
        name, value = reader.text(), reader.text()
        if not (name in _ACCEPTED or name.startswith(_ACCEPTED_PREFIXES)) or "=" in name or "\0" in name + value:
            return False
        if len(self.variables) >= MAX_VARIABLES or len(name) + len(value) > MAX_VARIABLE_BYTES:
            return False
        self.variables[name] = value
        return True

    def request_window_change(self, payload: bytes) -> bool:
        """
        C{uint32} columns, rows, width, height.
        """
        size = Size.read(Reader(payload))
        if self.terminal is None:
            return False
        if self.program is not None:
            self.program.resized(size)
        return True

    def request_signal(self, payload: bytes) -> bool:
        """
        C{string} name, without C{SIG}.
        """
        return self.program is not None and self.program.signalled(Reader(payload).text())

    def request_shell(self, payload: bytes) -> Awaitable[bool]:
        """
        The login's own; or a session that goes on, which the environment names.
        """
        if join.wanted(self) or self.user.target.joins_only:
            return self._run(Joining(self))
        return self._run(Command(self, ""))

    def request_exec(self, payload: bytes) -> Awaitable[bool]:
        """
        C{string} command, for the login's shell.
        """
        raw = Reader(payload).string()
        command = raw.decode("utf-8", "surrogateescape")
        if not raw or b"\0" in raw or len(raw) > MAX_COMMAND_BYTES:
            raise RemoteProtocolError("no such command can be run")
        for intercept in self.user.realm.registry.commands:
            program = intercept(self, command)
            if program is not None:
                return self._run(program)
        return self._run(Command(self, command))

    def request_subsystem(self, payload: bytes) -> Awaitable[bool] | bool:
        """
        C{string} name.
        """
        name = Reader(payload).text()
        make = self.user.realm.registry.subsystems.get(name)
        common = self.facts.common
        if make is None:
            error = f"there is no subsystem {name[:64]!r}"
            self.user.realm.sink.emit(Subsystem(**common, name=name[:64], success=False, exit_error=error))
            return False
        self.user.realm.sink.emit(Subsystem(**common, name=name))
        return self._run(make(self))

    async def _run(self, program: Program) -> bool:
        if self.program_started:
            return False
        self.program_started = True
        try:
            if self.user.realm.draining:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "this host is going down")
            await program.start()
        except TeleportError as error:
            self._log.info(
                "{user} as {login}: {error} {details}",
                user=self.user.target.identity.username,
                login=self.user.target.login,
                error=error.message,
                details=error.details,
            )
            self.user.realm.reactor.callLater(0, self.refuse, error.message)
            return True
        if self.localClosed:
            program.closed()
        self.program = program
        return True

    # For programs.

    def refuse(self, text: str) -> None:
        """
        Tell the user why nothing runs, and close.
        """
        self.writeExtended(STDERR, (text.rstrip() + "\r\n").encode())
        self.exit_status(REFUSED_STATUS)
        self.loseConnection()

    def last_words(self, text: str) -> None:
        """
        The connection is about to be ended.
        """
        if self.program is not None:
            self.program.last_words(text)
        line = f"\r\n{text}\r\n".encode()
        if self.terminal is not None:
            self.write(line)
        else:
            self.writeExtended(STDERR, line)

    def environment(self, account: Account, permitted: Mapping[str, str], terminal: str = "") -> dict[str, str]:
        """
        What a program of this session starts with; a later line wins.

        @param permitted: the user's own file, where the agent reads it.
        @param terminal: name of the device.
        """
        user, host = self.user, self.user.realm.host
        variables = {**permitted, **{k: v for k, v in self.variables.items() if not k.startswith("TELEPORT_")}}
        variables |= account.environment
        variables |= _addresses(user.peer.address, self.conn.transport.transport.getHost())
        variables |= {
            "SSH_TELEPORT_USER": user.target.identity.username,
            "SSH_TELEPORT_CLUSTER_NAME": host.cluster,
            "SSH_TELEPORT_HOST_UUID": host.id,
            "SSH_SESSION_ID": self.session_id,
            "SSH_SESSION_WEBPROXY_ADDR": host.proxy_address,
        }
        if self.terminal is not None and terminal:
            variables |= {"TERM": self.terminal.term or "xterm", "SSH_TTY": terminal}
        return variables | self.session_variables


def _addresses(client: IAddress, server: IAddress) -> dict[str, str]:
    host, port = getattr(client, "host", ""), getattr(client, "port", 0)
    our_host, our_port = getattr(server, "host", "") or "127.0.0.1", getattr(server, "port", 0)
    if not host:
        return {}
    return {"SSH_CLIENT": f"{host} {port} {our_port}", "SSH_CONNECTION": f"{host} {port} {our_host} {our_port}"}


async def open_session(user: SSHUser, request: ChannelOpen) -> Channel:
    """
    For L{teleport_tw.agents.ssh.realm.Registry.channels}.
    """
    user.check_sessions()
    return SessionChannel(user)
