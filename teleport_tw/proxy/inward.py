"""
Servers reached from within the proxy, for users of its web pages: the same door, the same way and the same header as
for a connection that came from outside.
"""

from __future__ import annotations

import socket
from typing import Any

from attrs import define, field, frozen
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from zope.interface import implementer

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import GivenClient
from teleport_tw.proxy.dialin import DialIn, Relay, Spoken, Way
from teleport_tw.proxy.doorkeeper import Doorkeeper


@define(eq=False)
class Inward:
    """
    Makes endpoints for users whose certificate this process was given.
    """

    door: Doorkeeper
    dial: DialIn
    reactor: IReactorTime

    def to_node(self, target: str, login: str, certificate: bytes, address: str) -> IStreamClientEndpoint:
        """
        @param target: C{host[:port]} or an id.
        @param certificate: X.509 in DER.
        @param address: of the user, C{host:port}.
        """
        return InwardEndpoint(self, target, login, certificate, address)


@frozen
class _Shown:
    """
    A certificate and where its holder is, as the door asks a connection for them.
    """

    certificate: bytes
    peer: IAddress

    def getPeerCertificate(self) -> bytes:
        return self.certificate

    def getPeer(self) -> IAddress:
        return self.peer


@implementer(IStreamClientEndpoint)
@define(eq=False)
class InwardEndpoint:
    """
    One server, for one user.

    @ivar ends_here: the connection that was made ends in this process, which goes on to the server itself.
    """

    _inward: Inward
    target: str
    login: str
    certificate: bytes
    address: str
    ends_here: bool = field(default=False, init=False)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: fails with L{TeleportError}: what the door, the way or the agent said.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        inward = self._inward
        identity = inward.door.user(_Shown(self.certificate, _address(host_of(self.address))))
        header = StreamHeader(
            target_kind="node",
            target_name=self.target,
            login=self.login,
            client_address=self.address,
            user_certificates=(self.certificate,),
        )
        try:
            way = await inward.dial.open(header, identity, agent=True)
        except (TeleportError, CancelledError):
            raise
        except Exception as error:  # a connection lost between being made and being used
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, "the connection to the server was lost", details=repr(error)
            ) from error
        self.ends_here = isinstance(way, Spoken)
        protocol = factory.buildProtocol(_address(host_of(self.address)))
        if protocol is None:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection was not wanted any more")
        await _take(way, protocol, inward.reactor)
        return protocol


async def _take(way: Way, protocol: IProtocol, reactor: IReactorTime) -> None:
    match way:
        case Relay(held):
            transport: Any = held.transport
            transport.protocol = protocol
            protocol.makeConnection(transport)
            if held.early:
                protocol.dataReceived(held.early)
            transport.resumeProducing()
        case Spoken(theirs):
            # The kernel's buffers between the two make for back-pressure.
            ours, far = socket.socketpair()
            await GivenClient(reactor, far).connect(_Given(theirs))
            await GivenClient(reactor, ours).connect(_Given(protocol))
        case _:
            raise TeleportError(Kind.NOT_IMPLEMENTED, "there is no such way")


class _Given(Factory):
    noisy = False

    def __init__(self, protocol: IProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return self._protocol


def _address(host: str) -> IAddress:
    kind = IPv6Address if ":" in host else IPv4Address
    return kind("TCP", host, 0)
