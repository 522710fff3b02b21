"""
Channels that carry somebody else's bytes: forwarded connections, and SSH inside SSH.

A L{StreamChannel} is a transport with a C{protocol}, so C{base.relay.join} relays between it and a TCP connection,
and any Twisted protocol runs on it::

    # a server that lets its users go on to other hosts (ssh -J, ssh -L)
    async def open_channel(self, request: ChannelOpen) -> Channel:
        target = Forward.parse(request.payload)
        link = await TCPClient(reactor, target.host, target.port, timeout=30).connect(Factory.forProtocol(Protocol))
        channel = StreamChannel()
        channel.when_open = lambda: join(channel, link.transport)
        return channel

    # a client that goes by way of a jump host
    jump = await connect(TCPClient(reactor, "proxy", 3023, timeout=30), settings)
    inside = await connect(ChannelEndpoint(jump, Forward("node-1", 0)), settings_for_node)

@see: RFC 4254 section 7.2
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import Connection
from teleport_tw.protocols.ssh.wire import Reader, put_text, put_uint32

DIRECT_TCPIP = b"direct-tcpip"


@frozen
class Forward:
    """
    Where a forwarded connection goes and where it came from.

    C{string} host to connect; C{uint32} port; C{string} originator's address; C{uint32} its port.

    @ivar host: name or address.
    @ivar port: 0 to 65,535.
    """

    host: str
    port: int
    origin_host: str = "127.0.0.1"
    origin_port: int = 0

    def encode(self) -> bytes:
        """
        @return: the fields of a CHANNEL_OPEN.
        """
        return put_text(self.host) + put_uint32(self.port) + put_text(self.origin_host) + put_uint32(self.origin_port)

    @classmethod
    def parse(cls, payload: bytes) -> Forward:
        """
        @raise TeleportError: BAD_PARAMETER, no such port.
        @raise RemoteProtocolError: it is cut short.
        """
        reader = Reader(payload)
        forward = cls(reader.text(), reader.uint32(), reader.text(), reader.uint32())
        reader.end()
        if forward.port > 65535 or forward.origin_port > 65535 or not forward.host:
            raise TeleportError(Kind.BAD_PARAMETER, "no such address")
        return forward


class StreamChannel(Channel):
    """
    A channel whose bytes belong to a Protocol. Nothing is delivered before it has one.

    @ivar connected: whether it is open.
    @ivar when_open: called once it is.
    """

    name = DIRECT_TCPIP

    def __init__(self) -> None:
        super().__init__()
        self.connected = False
        self.when_open: Callable[[], object] | None = None
        self._protocol: IProtocol | None = None
        self.pauseProducing()

    @property
    def protocol(self) -> IProtocol | None:
        """
        Who gets the bytes.
        """
        return self._protocol

    @protocol.setter
    def protocol(self, protocol: IProtocol) -> None:
        self._protocol = protocol
        # The shortest way there is: the connection calls the protocol itself.
        self.dataReceived = protocol.dataReceived  # type: ignore[method-assign]

    def attach(self, protocol: IProtocol) -> None:
        """
        Run a protocol here from now on.
        """
        self.protocol = protocol
        protocol.makeConnection(self)
        self.resumeProducing()

    def channelOpen(self, specificData: bytes) -> None:
        """
        See L{Channel.channelOpen}.
        """
        self.connected = True
        if self.when_open is not None:
            self.when_open()

    def eofReceived(self) -> None:
        """
        Half the connection is over, or all of it for a protocol that knows no halves.
        """
        half: Any = IHalfCloseableProtocol(self._protocol, None)  # zope's adaptation has no type
        if half is None:
            self.loseConnection()
        else:
            half.readConnectionLost()

    def closed(self) -> None:
        """
        Tell the protocol.
        """
        self.connected = False
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            orderly = not self.conn.stopped
            protocol.connectionLost(Failure(ConnectionDone() if orderly else ConnectionLost()))


@define(eq=False)
@implementer(IStreamClientEndpoint)
class ChannelEndpoint:
    """
    Connects by way of an SSH connection.

    @ivar connection: signed in.
    @ivar forward: where to.
    """

    connection: Connection
    forward: Forward

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See C{IStreamClientEndpoint.connect}.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        channel = StreamChannel()
        await self.connection.open(channel, self.forward.encode())
        protocol = factory.buildProtocol(channel.getPeer())  # type: ignore[no-untyped-call]
        if protocol is None:
            channel.abortConnection()
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection was not wanted any more")
        channel.attach(protocol)
        return protocol
