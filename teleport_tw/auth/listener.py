"""
Auth's own port: gRPC with client certificates, and the joining of hosts that have none yet.

grpcio's server asks every client for a certificate or none at all, so the two live on different listeners behind one
port. A ClientHello that offers L{ALPN} ends TLS here; all others are handed on untouched to grpcio's UNIX socket.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.api.joining import ALPN
from teleport_tw.auth.joining.http import Join, JoinFactory, Tell
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.net.endpoints import UnixClient
from teleport_tw.base.net.peeking import Decision, NeedMore, PeekingPort, PeekingServer, RawRoute, Refuse, TLSRoute
from teleport_tw.base.relay import join as relay
from teleport_tw.base.tasks import Tasks
from teleport_tw.config.sections import ProxyProtocol
from teleport_tw.dial.balancer import behind
from teleport_tw.protocols.tls import hello

IDLE_SECONDS = 3600.0
"""Of a relayed connection; gRPC's own pings come every half minute, so only the dead are this silent."""


class _Held(Protocol):
    """
    Reads nothing until it is joined.
    """

    def connectionMade(self) -> None:
        transport: ITransport | None = self.transport
        if transport is not None:
            transport.pauseProducing()  # type: ignore[attr-defined]  # all of ours are producers


@define(eq=False)
class _Forward(_Held):
    reactor: IReactorTime
    path: str
    _log = Logger()

    def connectionMade(self) -> None:
        super().connectionMade()
        target = UnixClient(self.reactor, self.path).connect(Factory.forProtocol(_Held))
        target.addCallbacks(self._joined, self._failed)

    def _joined(self, target: _Held) -> None:
        if self.transport is None or target.transport is None:
            return
        done = relay(self.transport, target.transport, clock=self.reactor, idle_seconds=IDLE_SECONDS)
        done.addErrback(lambda failure: self._log.failure("a relay failed", failure=failure))

    def _failed(self, failure: Failure) -> None:
        self._log.warn("the gRPC server does not answer: {error}", error=failure.getErrorMessage())
        if self.transport is not None:
            self.transport.loseConnection()


@define(eq=False)
class _ForwardFactory(Factory):
    reactor: IReactorTime
    path: str

    def buildProtocol(self, addr: IAddress | None) -> _Forward:
        return _Forward(self.reactor, self.path)


@define(eq=False)
class AuthListener(Service):
    """
    @ivar grpc_path: of grpcio's UNIX socket.
    @ivar context: gives the TLS context of the joining side, made anew for each connection's sake when certificates
        change.
    @ivar join: the ceremony.
    @ivar tell: the facts that a host compares with its pin before.
    @ivar proxy_protocol: what to make of a load balancer's header.
    """

    reactor: IReactorTime
    host: str
    port: int
    grpc_path: str
    context: Callable[[], ssl.SSLContext]
    join: Join
    tell: Tell
    proxy_protocol: ProxyProtocol = ProxyProtocol.UNSPECIFIED
    _tasks: Tasks = field(factory=Tasks, init=False)
    _listening: PeekingPort | None = field(default=None, init=False)

    @property
    def bound_port(self) -> int:
        """
        The number the kernel chose; zero while not listening.
        """
        return self._listening.getHost().port if self._listening is not None else 0  # type: ignore[union-attr]

    def startService(self) -> None:
        """
        Listen.

        @raise CannotListenError: the address is taken, not ours or not allowed.
        """
        super().startService()  # type: ignore[no-untyped-call]
        decide = behind(self.proxy_protocol, self._decide)
        server = PeekingServer(self.reactor, self.host, self.port, decide=decide)
        self._listening = PeekingPort(self.reactor, server)
        self._listening.startListening()

    def stopService(self) -> Deferred[None]:
        """
        Take no more; connections end with the gRPC server.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        listening, self._listening = self._listening, None
        return listening.stopListening() if listening is not None else succeed(None)

    def _decide(self, data: bytes, peer: object) -> Decision:
        try:
            greeting = hello.parse(data)
        except RemoteProtocolError:
            return Refuse()
        if greeting is None:
            return NeedMore()
        if ALPN in greeting.alpn:
            return TLSRoute(
                self.context(), lambda connection: JoinFactory(self.join, self.tell, self.reactor, self._tasks)
            )
        return RawRoute(_ForwardFactory(self.reactor, self.grpc_path))
