"""
The way from a proxy to auth for a connection that is somebody else's.

@see: L{teleport_tw.api.relaying}
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from zope.interface import implementer

from teleport_tw.base.net.endpoints import TLSClient
from teleport_tw.protocols.proxyheader.header import Source, encode

DIAL_SECONDS = 10.0


@implementer(IStreamClientEndpoint)
@define(eq=False)
class RelayEndpoint:
    """
    Connects to auth's own port and tells whose connection it is; the Protocol speaks as the client from then on.

    @ivar context: shows the proxy's certificate, believes the host authority, offers
        L{teleport_tw.api.relaying.ALPN}.
    @ivar server_name: of auth.
    @ivar client: the client's address.
    """

    reactor: IReactorTime
    host: str
    port: int
    context: Callable[[], ssl.SSLContext]
    server_name: str
    client: IAddress

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See C{IStreamClientEndpoint.connect}.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        client: Any = self.client
        header = encode(Source(host=str(client.host).partition("%")[0], port=int(client.port)))
        dial = TLSClient(
            self.reactor,
            self.host,
            self.port,
            self.context(),
            server_hostname=self.server_name,
            timeout=DIAL_SECONDS,
        )
        protocol: Any = await dial.connect(factory)
        protocol.transport.write(header)
        return protocol  # type: ignore[no-any-return]  # a factory's
