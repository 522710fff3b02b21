"""
Connections for gRPC: a client's own, and those that a proxy brings; both go on to gRPC's UNIX socket.

gRPC would see every one of them come from that socket. So our end of it is named after the client's address
(L{teleport_tw.rpc.peer.name_for}), as seen here, or as the proxy said that it had seen it.

@see: L{teleport_tw.api.relaying}
"""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.endpoints import UnixClient
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.protocols.proxyheader import header
from teleport_tw.rpc.peer import name_for

IDLE_SECONDS = 3600.0
"""Of a relayed connection; gRPC's own pings come every half minute, so only the dead are this silent."""

HEADER_SECONDS = 10.0
"""A proxy has its header ready before it dials."""


@define(eq=False)
class Onward:
    """
    To gRPC.

    @ivar path: of its UNIX socket.
    """

    reactor: IReactorTime
    path: str
    tasks: Tasks
    _log: ClassVar[Logger] = Logger()

    async def take(self, transport: Any, early: bytes, host: str) -> None:
        """
        Relay until both ends are gone.

        @param transport: paused.
        @param early: what came from it already.
        @param host: the client's address.
        """
        try:
            held = await UnixClient(self.reactor, self.path, named=name_for(host)).connect(HoldingFactory())
        except Exception as error:
            self._log.warn("the gRPC server does not answer: {error}", error=str(error))
            transport.abortConnection()
            return
        assert isinstance(held, Held)
        there: Any = held.transport
        if early:
            there.write(early)
        if held.early:
            transport.write(held.early)
        await join(transport, there, clock=self.reactor, idle_seconds=IDLE_SECONDS)


class Direct(Held):
    """
    A client's own connection, its TLS untouched.
    """

    def __init__(self, onward: Onward) -> None:
        super().__init__()
        self._onward = onward

    def connectionMade(self) -> None:
        """
        Go on at once.
        """
        super().connectionMade()
        transport: Any = self.transport
        host = str(getattr(transport.getPeer(), "host", ""))
        self._onward.tasks.spawn("relaying to gRPC", self._onward.take(transport, self.early, host))


class Brought(Protocol):
    """
    A proxy's connection, within the TLS that showed it to be one.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, onward: Onward) -> None:
        self._onward = onward
        self._data = b""
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        The header is awaited.
        """
        self._deadline = self._onward.reactor.callLater(HEADER_SECONDS, self._refuse, "no header came in time")

    def dataReceived(self, data: bytes) -> None:
        """
        Part of the header, and what follows it.
        """
        self._data += data
        try:
            found = header.parse(self._data)
        except RemoteProtocolError as error:
            self._refuse(str(error))
            return
        if found is None or self._deadline is None:
            return
        if found.source is None:
            self._refuse("the header tells no address")
            return
        self._stop_waiting()
        transport: Any = self.transport
        transport.pauseProducing()
        early = self._data[found.size :]
        self._onward.tasks.spawn("relaying to gRPC", self._onward.take(transport, early, found.source.host))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The proxy gave up.
        """
        self._stop_waiting()

    def _stop_waiting(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _refuse(self, why: str) -> None:
        self._stop_waiting()
        transport: Any = self.transport
        self._log.warn("a proxy at {peer} brought a client in vain: {why}", peer=transport.getPeer(), why=why)
        transport.abortConnection()


@define(eq=False)
class OnwardFactory(Factory):
    """
    Builds L{Direct} or L{Brought}.
    """

    kind: type[Direct] | type[Brought]
    onward: Onward

    def buildProtocol(self, addr: IAddress | None) -> Direct | Brought:
        """
        One a connection.
        """
        return self.kind(self.onward)
