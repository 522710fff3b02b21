"""
The way to a node that dials no tunnel and listens on a port: an address that the node itself announced.

Whoever holds a node's certificate may announce any address, and the proxy stands where they do not. So it connects to
no address that means the proxy's own host or link, and hands over no byte, either way, before the other end has begun
as SSH servers begin. Which server that is, the user's client finds out from its host certificate.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, ClassVar

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.errors import Kind, TeleportError

GREETING = b"SSH-"
"""How a server's version line begins; RFC 4253 section 4.2 lets lines stand before it, which our nodes do not send."""

GREETING_SECONDS = 10.0
"""A server greets without being asked."""


def is_nobodys(host: str) -> bool:
    """
    @param host: an IP address; a name is none.
    @return: whether no server at all is meant by it, not even one beside the proxy: link-local (where clouds tell their
        machines' secrets), unspecified, multicast.
    """
    return is_internal(host) and not _address(host).is_loopback  # type: ignore[union-attr]  # it is one


def is_internal(host: str) -> bool:
    """
    @param host: an IP address; a name is none.
    @return: whether it is an address that a node on another host cannot have: loopback, link-local (where clouds tell
        their machines' secrets), unspecified, multicast.
    """
    address = _address(host)
    if address is None:
        return False
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def unreachable(name: str) -> TeleportError:
    """
    @param name: the node, for people.
    """
    return TeleportError(Kind.CONNECTION_PROBLEM, f"{name} cannot be reached")


@implementer(IStreamClientEndpoint)
@define(eq=False)
class AgentlessEndpoint:
    """
    Connects to a stock sshd, at an address that an administrator wrote down, or the host when it registered itself.

    It may be on the proxy's own host, as sshd often is. The proxy speaks SSH with it and hands over nothing before it
    has proved which server it is, so all that is kept from is what answers where no server can be.

    @ivar inner: to its address.
    """

    inner: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See C{IStreamClientEndpoint.connect}; fails for an address that no server has, before a byte is said.
        """
        return self.inner.connect(_Somebody(protocolFactory))


class _Somebody(Factory):
    noisy = False

    def __init__(self, inner: IProtocolFactory) -> None:
        self._inner = inner

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """
        None for what a name should not have led to.
        """
        return None if is_nobodys(str(getattr(addr, "host", ""))) else self._inner.buildProtocol(addr)  # type: ignore[arg-type]

    def doStart(self) -> None:
        """
        The inner one's.
        """
        self._inner.doStart()

    def doStop(self) -> None:
        """
        The inner one's.
        """
        self._inner.doStop()


@implementer(IStreamClientEndpoint)
@define(eq=False)
class DirectEndpoint:
    """
    Connects to such a node.

    @ivar inner: to its address.
    @ivar name: the node, for people.
    @ivar own_host: it runs on the proxy's host, so that any address is good.
    """

    inner: IStreamClientEndpoint
    clock: IReactorTime
    name: str
    own_host: bool = False
    _log: ClassVar[Logger] = Logger()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See C{IStreamClientEndpoint.connect}; fails with L{TeleportError}, CONNECTION_PROBLEM, for what is no node.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        ear: Any = await self.inner.connect(_Ears())
        transport = ear.transport
        try:
            peer = str(getattr(transport.getPeer(), "host", ""))
            if is_internal(peer) and not self.own_host:
                raise self.refusal(f"its address is {peer}")
            early = await ear.heard.addTimeout(GREETING_SECONDS, self.clock)
            if not early.startswith(GREETING):
                raise self.refusal("what answers there is no SSH server")
            protocol: Any = factory.buildProtocol(transport.getPeer())
            if protocol is None:
                raise ConnectionDone
        except BaseException as error:
            transport.abortConnection()
            if isinstance(error, Exception) and not isinstance(error, TeleportError):
                raise self.refusal(f"it did not greet: {error!r}") from error
            raise
        transport.resumeProducing()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        protocol.dataReceived(early)
        return protocol  # type: ignore[no-any-return]  # a factory's

    def refusal(self, why: str) -> TeleportError:
        """
        @return: the same for every reason, so that nobody looks around by what they are told.
        """
        self._log.warn("node {name} is not where it says: {why}", name=self.name, why=why)
        return TeleportError(Kind.CONNECTION_PROBLEM, f"{self.name} cannot be reached", details=why)


class _Ear(Protocol):
    """
    Hears the first bytes, then no more.
    """

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()
        self._early = b""

    def dataReceived(self, data: bytes) -> None:
        """
        Enough is enough to tell.
        """
        self._early += data
        if len(self._early) >= len(GREETING) or not GREETING.startswith(self._early):
            transport: Any = self.transport
            transport.pauseProducing()
            if not self.heard.called:
                self.heard.callback(self._early)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It left without a word.
        """
        if not self.heard.called:
            self.heard.errback(reason)


class _Ears(Factory):
    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> _Ear:
        """
        One a connection.
        """
        return _Ear()
