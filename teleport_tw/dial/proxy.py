"""
Streams to servers by way of the proxy's one port: TLS with the user's certificate, one header, one answer, and from
then on bytes to the server and back.

A L{ProxyEndpoint} is an ordinary endpoint, so SSH, or any Protocol, runs on it.

@see: L{teleport_tw.api.streams} for the header
"""

from __future__ import annotations

import ssl
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.api.streams import Prefixed, StreamHeader, decode_answer, encode_header
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.net.endpoints import TLSClient
from teleport_tw.dial.identity import DIAL, ClientIdentity, require_proxy

ANSWER_SECONDS = 30.0
"""The proxy asks an agent, which may have to reach a server."""

_LOST = (ConnectionLost, ConnectionDone, ConnectionAborted)


class _Opening(Protocol):
    """
    Waits for the proxy's answer.
    """

    def __init__(self) -> None:
        self._prefixed = Prefixed()
        self.answer: Deferred[bytes] = Deferred(lambda _: self._abort())

    def _abort(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Part of the answer, or what the server said behind it.
        """
        try:
            body = self._prefixed.feed(data)
        except RemoteProtocolError:
            self._fail(Failure())
            return
        if body is not None and not self.answer.called:
            transport: Any = self.transport
            transport.pauseProducing()
            self.answer.callback(body)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        No answer will come.
        """
        self._fail(reason)

    def _fail(self, reason: Failure) -> None:
        if not self.answer.called:
            self.answer.errback(reason)

    def hand_over(self, protocol: IProtocol) -> None:
        """
        Give the connection to the Protocol it is for.
        """
        transport: Any = self.transport
        transport.protocol = protocol
        protocol.makeConnection(transport)
        if self._prefixed.rest:
            protocol.dataReceived(self._prefixed.rest)
        transport.resumeProducing()


class _OpeningFactory(Factory):
    noisy = False
    protocol = _Opening


@implementer(IStreamClientEndpoint)
@define(eq=False)
class ProxyEndpoint:
    """
    One server behind a proxy.

    @ivar host: of the proxy.
    @ivar target: C{host[:port][@cluster]}: name, UUID or C{host.cluster}.
    @ivar login: at the server, a hint.
    @ivar timeout: seconds for the proxy's answer.
    """

    _reactor: IReactorTime
    host: str
    port: int
    identity: ClientIdentity
    target: str
    login: str = field(default="", kw_only=True)
    timeout: float = field(default=ANSWER_SECONDS, kw_only=True)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: the Protocol, once the server's side has accepted. Fails with L{TeleportError}: what the other side
            said; CONNECTION_PROBLEM, the proxy is not reached; ACCESS_DENIED, it is no proxy of the cluster.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        opening = await self._open()
        transport: Any = opening.transport
        try:
            require_proxy(transport.peer_names(), f"{self.host}:{self.port}")
            header = StreamHeader(target_kind="node", target_name=self.target, login=self.login)
            transport.write(encode_header(header))
            refusal = decode_answer(await opening.answer.addTimeout(self.timeout, self._reactor))
        except _LOST as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                "the proxy closed the connection; tsh login again if your certificates are old",
                details=repr(error),
            ) from error
        except (TimeoutError, RemoteProtocolError) as error:
            transport.abortConnection()
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"the proxy gave no sensible answer for {self.target}", details=repr(error)
            ) from error
        except (TeleportError, CancelledError):
            opening.answer.addErrback(lambda _: None)  # nobody waits for it any more
            transport.abortConnection()
            raise
        if refusal is not None:
            transport.loseConnection()
            raise refusal
        protocol = factory.buildProtocol(transport.getPeer())
        if protocol is None:
            transport.abortConnection()
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection was not wanted any more")
        opening.hand_over(protocol)
        return protocol

    async def _open(self) -> _Opening:
        context = self.identity.tls_context(DIAL)
        client = TLSClient(self._reactor, self.host, self.port, context, server_hostname=self.host)
        try:
            opening = await client.connect(_OpeningFactory())
        except (ConnectError, DNSLookupError, ssl.SSLError, OSError) as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"cannot reach the proxy at {self.host}:{self.port}: {error}"
            ) from error
        assert isinstance(opening, _Opening)
        return opening
