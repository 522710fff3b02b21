"""
Auth's own port: gRPC with client certificates, and the joining of hosts that have none yet.

grpcio's server asks every client for a certificate or none at all, so the two live on different listeners behind one
port. A ClientHello that offers L{teleport_tw.api.joining.ALPN} ends TLS here; so does one that offers
L{teleport_tw.api.relaying.ALPN}, by which a proxy brings a client's connection; all others are handed on untouched to
grpcio's UNIX socket.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import ClassVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from teleport_tw.api import relaying
from teleport_tw.api.joining import ALPN
from teleport_tw.auth.joining.http import Join, JoinFactory, Tell
from teleport_tw.auth.relayed import Brought, Direct, Onward, OnwardFactory
from teleport_tw.base.errors import RemoteProtocolError, TeleportError
from teleport_tw.base.net.peeking import Decision, NeedMore, PeekingPort, PeekingServer, RawRoute, Refuse, TLSRoute
from teleport_tw.base.net.tls import TLSConnection
from teleport_tw.base.tasks import Tasks
from teleport_tw.config.sections import ProxyProtocol
from teleport_tw.dial.balancer import behind
from teleport_tw.protocols.tls import hello


@define(eq=False)
class AuthListener(Service):
    """
    @ivar grpc_path: of grpcio's UNIX socket.
    @ivar context: gives the TLS context of the joining side, made anew for each connection's sake when certificates
        change.
    @ivar relay_context: likewise of what proxies dial, which asks for a certificate of the host authority.
    @ivar check_proxy: refuses, with L{TeleportError}, whoever is no proxy, by the certificate it showed (DER).
    @ivar join: the ceremony.
    @ivar tell: the facts that a host compares with its pin before.
    @ivar proxy_protocol: what to make of a load balancer's header.
    """

    reactor: IReactorTime
    host: str
    port: int
    grpc_path: str
    context: Callable[[], ssl.SSLContext]
    relay_context: Callable[[], ssl.SSLContext]
    check_proxy: Callable[[bytes], object]
    join: Join
    tell: Tell
    proxy_protocol: ProxyProtocol = ProxyProtocol.UNSPECIFIED
    _log: ClassVar[Logger] = Logger()
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
        onward = Onward(self.reactor, self.grpc_path, self._tasks)
        if relaying.ALPN in greeting.alpn:
            return TLSRoute(self.relay_context(), lambda connection: self._brought(connection, onward))
        return RawRoute(OnwardFactory(Direct, onward))

    def _brought(self, connection: TLSConnection, onward: Onward) -> OnwardFactory | None:
        try:
            self.check_proxy(connection.getPeerCertificate() or b"")
        except TeleportError as error:
            self._log.warn(
                "{peer} is no proxy: {reason}", peer=connection.getPeer(), reason=error.details or error.message
            )
            return None
        return OnwardFactory(Brought, onward)
