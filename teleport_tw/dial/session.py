"""
A session at a server, the user's side: a shell, a command or a subsystem, and how it ended.

@see: RFC 4254 section 6
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.channel import STDERR, WINDOW_BYTES, Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_string, put_text, put_uint32

LOST_STATUS = 255
"""What C{ssh} exits with when it does not know how the command ended."""


@define(eq=False)
class Refusing:
    """
    A L{teleport_tw.conch.connection.Responder} for a user who offers the server nothing.

    @ivar over: fires when the connection is lost.
    """

    over: Deferred[None] = field(factory=Deferred, init=False)

    def connected(self, connection: Connection) -> None:
        """See L{teleport_tw.conch.connection.Responder}."""

    def connection_lost(self) -> None:
        """See L{teleport_tw.conch.connection.Responder}."""
        self.over.callback(None)

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """See L{teleport_tw.conch.connection.Responder}."""
        return None

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """See L{teleport_tw.conch.connection.Responder}."""
        raise TeleportError(Kind.ACCESS_DENIED, f"channels of type {request.kind} were not asked for")


@frozen(kw_only=True)
class Terminal:
    """
    What the user's terminal is.

    @ivar modes: encoded terminal modes; see L{encode_modes}.
    """

    kind: str
    columns: int
    rows: int
    modes: bytes = b"\0"

    def request(self) -> bytes:
        """
        @return: fields of C{pty-req}.
        """
        return put_text(self.kind) + self.size() + put_string(self.modes)

    def size(self) -> bytes:
        """
        @return: fields of C{window-change}.
        """
        return b"".join(map(put_uint32, (self.columns, self.rows, 0, 0)))


class ClientSession(Channel):
    """
    One session.

    @ivar ended: fires with the exit status once all that the server sent was delivered and the channel is closed.
    @ivar signal: the signal that ended the command; empty when none did.
    """

    name = b"session"

    def __init__(
        self,
        output: Callable[[bytes], object],
        errors: Callable[[bytes], object],
        *,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        """
        @param output: takes what the command writes.
        @param errors: takes what it writes to standard error.
        """
        super().__init__(window_bytes=window_bytes)
        self._output = output
        self._errors = errors
        self._status: int | None = None
        self._over = False
        self.signal = ""
        self.ended: Deferred[int] = Deferred(lambda _: self.loseConnection())

    @property
    def lost(self) -> bool:
        """
        Whether it ended and nobody said how.
        """
        return self._over and self._status is None and not self.signal

    def dataReceived(self, data: bytes) -> None:
        """
        What the command wrote.
        """
        self._output(data)

    def extReceived(self, dataType: int, data: bytes) -> None:
        """
        What it wrote to standard error.
        """
        if dataType == STDERR:
            self._errors(data)

    def request_exit_status(self, payload: bytes) -> None:
        """
        C{uint32} status.
        """
        self._status = Reader(payload).uint32()

    def request_exit_signal(self, payload: bytes) -> None:
        """
        C{string} name, without C{SIG}; then what is of no use here.
        """
        self.signal = Reader(payload).text()

    def closed(self) -> None:
        """
        It is over.
        """
        if not self._over:
            self._over = True
            status = self._status
            if not self.ended.called:  # whoever waited may have given up
                self.ended.callback(LOST_STATUS if status is None else status & 0xFF)

    # Asking.

    async def begin(
        self,
        *,
        command: str = "",
        subsystem: str = "",
        terminal: Terminal | None = None,
        variables: Mapping[str, str] | None = None,
        agent: bool = False,
    ) -> None:
        """
        @param command: for the login's shell; empty for a login shell.
        @param agent: let the server use the user's ssh-agent.
        @raise TeleportError: ACCESS_DENIED, the server does not want to.
        """
        for name, value in (variables or {}).items():
            self.conn.notify(self, "env", put_text(name) + put_text(value))
        if agent:
            self.conn.notify(self, "auth-agent-req@openssh.com")
        if terminal is not None and not await self.conn.request(self, "pty-req", terminal.request()):
            raise TeleportError(Kind.ACCESS_DENIED, "the server allows no terminal")
        if subsystem:
            granted = await self.conn.request(self, "subsystem", put_text(subsystem))
        elif command:
            granted = await self.conn.request(self, "exec", put_string(command.encode("utf-8", "surrogateescape")))
        else:
            granted = await self.conn.request(self, "shell")
        if not granted and not self._over:
            self.loseConnection()
            raise TeleportError(Kind.ACCESS_DENIED, "the server refused to start it")

    def resized(self, terminal: Terminal) -> None:
        """
        Tell of another size.
        """
        self.conn.notify(self, "window-change", terminal.size())

    def send_signal(self, name: str) -> None:
        """
        @param name: without C{SIG}.
        """
        self.conn.notify(self, "signal", put_text(name))


def x11_request(screen: int, protocol: str, cookie: str, *, single: bool = False) -> bytes:
    """
    @param cookie: hexadecimal; not the display's own.
    @return: fields of C{x11-req}.
    """
    return put_boolean(single) + put_text(protocol) + put_text(cookie) + put_uint32(screen)


async def open_session(
    connection: Connection, output: Callable[[bytes], object], errors: Callable[[bytes], object]
) -> ClientSession:
    """
    @raise TeleportError: the server opens none.
    """
    session = ClientSession(output, errors)
    await connection.open(session)
    return session
