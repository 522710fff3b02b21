"""
A database on a local port: each connection to it goes on to the proxy in TLS with the user's certificate, so that
native clients need none.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import CannotListenError, ConnectError, DNSLookupError
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import TCPClient, TCPServer, TLSClient
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.dial.identity import require_proxy


@define(eq=False)
class Tunnel:
    """
    One local listener.

    @ivar host: of the proxy; C{port} likewise.
    @ivar context: gives the TLS context of each connection, as certificates are renewed meanwhile; C{None} passes bytes
        on as they are, for clients that do TLS themselves.
    @ivar complain: told what goes wrong, for people.
    """

    reactor: IReactorTime
    host: str
    port: int
    context: Callable[[], ssl.SSLContext | Awaitable[ssl.SSLContext]] | None
    complain: Callable[[str], object]
    tasks: Tasks = field(factory=Tasks, init=False)
    _port: IListeningPort | None = field(default=None, init=False)
    _log: ClassVar[Logger] = Logger()

    async def listen(self, bind: str = "127.0.0.1", port: int = 0) -> int:
        """
        @return: the port.
        @raise TeleportError: BAD_PARAMETER, it cannot be had.
        """
        try:
            self._port = await TCPServer(self.reactor, bind, port).listen(_Local(self))
        except CannotListenError as error:
            raise TeleportError(Kind.BAD_PARAMETER, f"cannot listen on {bind}:{port}: {error}") from error
        address: Any = self._port.getHost()
        return int(address.port)

    async def close(self) -> None:
        """
        End the listener and what goes through it.
        """
        self.tasks.cancel()
        if self._port is not None:
            stopping, self._port = self._port.stopListening(), None
            if stopping is not None:
                await stopping

    async def dial(self) -> Held:
        """
        @return: a connection to the proxy, held.
        @raise TeleportError: CONNECTION_PROBLEM; ACCESS_DENIED, it is no proxy.
        """
        endpoint: IStreamClientEndpoint = TCPClient(self.reactor, self.host, self.port)
        if self.context is not None:
            made = self.context()
            context = made if isinstance(made, ssl.SSLContext) else await made
            endpoint = TLSClient(self.reactor, self.host, self.port, context, server_hostname=self.host)
        try:
            held = await endpoint.connect(HoldingFactory())
        except (ConnectError, DNSLookupError, ssl.SSLError, OSError) as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"cannot reach the proxy at {self.host}:{self.port}: {error}"
            ) from error
        assert isinstance(held, Held)
        transport: Any = held.transport
        if self.context is not None:
            try:
                require_proxy(transport.peer_names(), f"{self.host}:{self.port}")
            except TeleportError:
                transport.abortConnection()
                raise
        return held


class _Local(Factory):
    noisy = False

    def __init__(self, tunnel: Tunnel) -> None:
        self._tunnel = tunnel

    def buildProtocol(self, addr: Any) -> Held:
        """
        Held until the proxy is reached.
        """
        return _Connection(self._tunnel)


class _Connection(Held):
    def __init__(self, tunnel: Tunnel) -> None:
        super().__init__()
        self._tunnel = tunnel
        self._work: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """
        Reach the proxy.
        """
        super().connectionMade()
        self._work = self._tunnel.tasks.spawn("a connection to a database", self._serve())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client went away before the proxy was reached.
        """
        if self._work is not None:
            self._work.cancel()

    async def _serve(self) -> None:
        here: Any = self.transport
        try:
            there = await self._tunnel.dial()
        except TeleportError as error:
            self._tunnel.complain(error.message)
            here.abortConnection()
            return
        except CancelledError:
            return
        away: Any = there.transport
        if there.early:
            here.write(there.early)
        if self.early:
            away.write(self.early)
        await join(here, away)
