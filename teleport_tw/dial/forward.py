"""
Ports forwarded over an SSH connection: C{-L}, C{-D} and C{-R}, and the user's ssh-agent.

@see: RFC 4254 section 7; RFC 1928 for C{-D}
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import TCPClient, TCPServer, UnixClient
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.conch.streams import Forward, StreamChannel
from teleport_tw.protocols.ssh.wire import Reader, put_text, put_uint32

FORWARDED = "forwarded-tcpip"
AGENT = "auth-agent@openssh.com"
TCPIP_FORWARD = "tcpip-forward"

SOCKS_SECONDS = 15.0
"""For a program to say where it wants to go."""


@frozen
class PortForward:
    """
    C{[bind:]port:host:hostport}.

    @ivar bind: where to listen; loopback unless said.
    @ivar host: where connections go, seen from the far side; empty for C{-D}.
    """

    bind: str
    port: int
    host: str = ""
    host_port: int = 0

    @classmethod
    def parse(cls, text: str) -> PortForward:
        """
        @param text: as C{ssh -L} and C{-R} have it; IPv6 addresses in brackets.
        @raise TeleportError: BAD_PARAMETER.
        """
        parts = _colons(text)
        if len(parts) == 3:
            parts.insert(0, "127.0.0.1")
        if len(parts) != 4 or not parts[2]:
            raise bad_parameter(f"{text!r} is not a port to forward; write [bind:]port:host:hostport")
        return cls(_bind(parts[0]), _port(parts[1], text), parts[2], _port(parts[3], text))

    @classmethod
    def parse_dynamic(cls, text: str) -> PortForward:
        """
        @param text: C{[bind:]port}, as C{ssh -D} has it.
        """
        parts = _colons(text)
        if len(parts) == 1:
            parts.insert(0, "127.0.0.1")
        if len(parts) != 2:
            raise bad_parameter(f"{text!r} is not a port; write [bind:]port")
        return cls(_bind(parts[0]), _port(parts[1], text))


def _colons(text: str) -> list[str]:
    parts, current, inside = [], "", False
    for letter in text:
        if letter == "[":
            inside = True
        elif letter == "]":
            inside = False
        elif letter == ":" and not inside:
            parts.append(current)
            current = ""
        else:
            current += letter
    return [*parts, current]


def _bind(text: str) -> str:
    return {"*": "0.0.0.0", "": "0.0.0.0", "localhost": "127.0.0.1"}.get(text, text)  # noqa: S104  # as asked


def _port(text: str, whole: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise bad_parameter(f"{whole!r}: {text!r} is not a port")
    return int(text)


class _Socks(Held):
    """
    Reads a SOCKS5 request.

    @see: RFC 1928
    """

    def __init__(self, asked: Callable[[_Socks, str, int], None], clock: IReactorTime) -> None:
        super().__init__()
        self._asked = asked
        self._greeted = False
        self._buffer = b""
        self._done = False
        self._deadline = clock.callLater(SOCKS_SECONDS, self._late)

    def _late(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def connectionMade(self) -> None:
        """
        It speaks first.
        """

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It went away.
        """
        if self._deadline.active():
            self._deadline.cancel()

    def dataReceived(self, data: bytes) -> None:
        """
        Part of greeting or request.
        """
        if self._done:
            self.early += data
            return
        self._buffer += data
        transport: Any = self.transport
        try:
            self._step(transport)
        except RemoteProtocolError:
            if len(self._buffer) > 512:
                transport.abortConnection()

    def _step(self, transport: Any) -> None:
        reader = Reader(self._buffer)
        if not self._greeted:
            if reader.byte() != 5:
                transport.abortConnection()
                return
            methods = reader.raw(reader.byte())
            if 0 not in methods:
                transport.write(b"\x05\xff")
                transport.loseConnection()
                return
            transport.write(b"\x05\x00")
            self._greeted = True
            self._buffer = self._buffer[reader.offset :]
            reader = Reader(self._buffer)
        version, command, _, kind = reader.byte(), reader.byte(), reader.byte(), reader.byte()
        if version != 5 or command != 1:
            self.answer(7)
            return
        if kind == 1:
            host = str(ip_address(reader.raw(4)))
        elif kind == 4:
            host = str(IPv6Address(reader.raw(16)))
        elif kind == 3:
            host = reader.raw(reader.byte()).decode("ascii", "replace")
        else:
            self.answer(8)
            return
        port = int.from_bytes(reader.raw(2), "big")
        self._done = True
        self._deadline.cancel()
        self.early = self._buffer[reader.offset :]
        transport.pauseProducing()
        self._asked(self, host, port)

    def answer(self, code: int) -> None:
        """
        @param code: 0 for yes; after any other the connection is closed.
        """
        transport: Any = self.transport
        transport.write(bytes((5, code, 0, 1, 0, 0, 0, 0, 0, 0)))
        if code:
            transport.loseConnection()


@define(eq=False)
class Forwarder:
    """
    Listens for C{-L} and C{-D}.

    @ivar connection: whereby.
    @ivar complain: tells the user of a connection that came to nothing.
    """

    reactor: Any
    connection: Connection
    complain: Callable[[str], object] = lambda text: None
    _ports: list[IListeningPort] = field(factory=list, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    async def listen(self, forward: PortForward) -> int:
        """
        @return: the port, for one that was given as zero.
        @raise TeleportError: CONNECTION_PROBLEM, it is taken.
        """
        factory = _Accepting(self._dynamic if not forward.host else lambda: self._static(forward))
        try:
            port = await TCPServer(self.reactor, forward.bind, forward.port).listen(factory)
        except Exception as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"cannot listen on {forward.bind}:{forward.port}: {error}"
            ) from error
        self._ports.append(port)
        address: Any = port.getHost()  # of TCP
        return int(address.port)

    async def close(self) -> None:
        """
        Listen no more; connections end with the SSH connection.
        """
        for port in self._ports:
            stopping = port.stopListening()
            if isinstance(stopping, Deferred):
                await stopping
        self._tasks.cancel()

    def _static(self, forward: PortForward) -> Held:
        return _Arrived(lambda held: self._go(held, forward.host, forward.host_port))

    def _dynamic(self) -> Held:
        def asked(held: _Socks, host: str, port: int) -> None:
            self._go(held, host, port)

        return _Socks(asked, self.reactor)

    def _go(self, held: Held, host: str, port: int) -> None:
        self._tasks.spawn("forwarding a port", self._relay(held, host, port))

    async def _relay(self, held: Held, host: str, port: int) -> None:
        local: Any = held.transport
        peer = local.getPeer()
        channel = StreamChannel()
        try:
            await self.connection.open(channel, Forward(host, port, peer.host, peer.port).encode())
        except TeleportError as error:
            self.complain(f"{host}:{port} cannot be reached: {error.message}")
            if isinstance(held, _Socks):
                held.answer(5)
            else:
                local.loseConnection()
            return
        if isinstance(held, _Socks):
            held.answer(0)
        if held.early:
            channel.write(held.early)
        await join(local, channel)


class _Arrived(Held):
    def __init__(self, go: Callable[[Held], None]) -> None:
        super().__init__()
        self._go = go

    def connectionMade(self) -> None:
        super().connectionMade()
        self._go(self)


@define(eq=False)
class _Accepting(Factory):
    make: Callable[[], Protocol]
    noisy: bool = field(default=False, init=False)

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self.make()


@define(eq=False)
class Answering:
    """
    What the server may ask of us: connections to ports forwarded by C{-R}, and the ssh-agent. Nothing else.

    @ivar agent_path: of the agent's socket; empty when it was not offered.
    @ivar others: further kinds of channels, by name.
    @ivar over: fires when the connection is lost.
    """

    reactor: Any
    agent_path: str = ""
    others: dict[str, Callable[[ChannelOpen], Awaitable[Channel]]] = field(factory=dict)
    over: Deferred[None] = field(factory=Deferred, init=False)
    _asked: dict[tuple[str, int], PortForward] = field(factory=dict, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)

    def connected(self, connection: Connection) -> None:
        """See L{teleport_tw.conch.connection.Responder}."""

    def connection_lost(self) -> None:
        """See L{teleport_tw.conch.connection.Responder}."""
        self._tasks.cancel()
        self.over.callback(None)

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """See L{teleport_tw.conch.connection.Responder}."""
        return None

    async def ask(self, connection: Connection, forward: PortForward) -> int:
        """
        Ask the server to listen: C{-R}.

        @return: the port it listens on.
        @raise TeleportError: it does not want to.
        """
        bind = "localhost" if forward.bind == "127.0.0.1" else forward.bind
        bind = "" if bind == "0.0.0.0" else bind  # noqa: S104  # as asked for
        answer = await connection.ask(TCPIP_FORWARD, put_text(bind) + put_uint32(forward.port))
        port = Reader(answer).uint32() if forward.port == 0 else forward.port
        self._asked[(bind, port)] = forward
        return port

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """See L{teleport_tw.conch.connection.Responder}."""
        if request.kind in self.others:
            return await self.others[request.kind](request)
        if request.kind == FORWARDED:
            came = Forward.parse(request.payload)
            forward = self._asked.get((came.host, came.port)) or self._by_port(came.port)
            if forward is None:
                raise TeleportError(Kind.ACCESS_DENIED, "that port was not asked for")
            return await self.onward(TCPClient(self.reactor, forward.host, forward.host_port))
        if request.kind == AGENT and self.agent_path:
            return await self.onward(UnixClient(self.reactor, self.agent_path))
        raise TeleportError(Kind.ACCESS_DENIED, f"channels of type {request.kind} were not asked for")

    def _by_port(self, port: int) -> PortForward | None:
        return next((forward for (_, number), forward in self._asked.items() if number == port), None)

    async def onward(self, endpoint: IStreamClientEndpoint) -> Channel:
        """
        @return: a channel joined to what C{endpoint} connects to.
        @raise TeleportError: CONNECTION_PROBLEM.
        """
        try:
            held = await endpoint.connect(HoldingFactory())
        except Exception as error:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"cannot be reached: {error}") from error
        assert isinstance(held, Held)
        channel = StreamChannel()

        async def relay() -> None:
            await join(held.transport, channel)  # type: ignore[arg-type]  # connected, so it has one

        def opened() -> None:
            if held.early:
                channel.write(held.early)
            self._tasks.spawn("forwarding to the user's side", relay())

        channel.when_open = opened
        return channel
