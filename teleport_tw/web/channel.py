"""
HTTP connections with bounds: how long a request may take to arrive, and how large it may be.

Twisted's channel starts its clock anew with every byte, so a client that sends one a minute would hold a connection
for ever, and it keeps a body of any size. Both end here.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

MAX_BODY_BYTES = 128 * 1024
"""Twice the largest body that any page takes: forms are taken apart before anybody is asked who sent them."""

REQUEST_SECONDS = 30.0
"""From a connection's first byte, or the end of the request before, until the next request is whole."""


class BoundedRequest(Request):
    """
    Refuses a body over L{MAX_BODY_BYTES} with 413, told in advance or not.
    """

    _taken = 0
    _refused = False
    _client: IPv4Address | IPv6Address | None = None
    trust_forwarded = False
    """Whether C{X-Forwarded-For} tells the client's address: where a proxy of the operator's sets it."""

    def gotLength(self, length: int | None) -> None:
        """
        Called when the headers are in; C{length} is C{None} for a chunked body.
        """
        if length is not None and length > MAX_BODY_BYTES:
            self._refuse()
            length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """
        Called for each piece of the body.
        """
        self._taken += len(data)
        if self._taken > MAX_BODY_BYTES:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def process(self) -> None:
        """
        Called when the body is in; one that was refused has had its answer.
        """
        if self.trust_forwarded and not self._refused:
            self._read_forwarded()
        if not self._refused:
            super().process()

    def _read_forwarded(self) -> None:
        """
        The one address that the operator's proxy has put in. Several mean that somebody else had a say, and nobody
        could tell which of them is true.
        """
        lines = self.requestHeaders.getRawHeaders("X-Forwarded-For", ())
        told = [word.strip() for line in lines for word in line.split(",")]
        if not told:
            return
        try:
            (host,) = map(ip_address, told)
        except ValueError:
            self._refuse(b"400 Bad Request")
            return
        kind = IPv4Address if host.version == 4 else IPv6Address
        self._client = kind("TCP", str(host), 0)

    def getClientAddress(self) -> Any:
        """
        @return: whose request it is: the peer, or whom a trusted proxy names.
        """
        return self._client or super().getClientAddress()

    def _refuse(self, status: bytes = b"413 Content Too Large") -> None:
        if self._refused:
            return
        self._refused = True
        channel = self.channel
        if channel is not None and channel.transport is not None:
            channel.transport.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            channel.loseConnection()


class ForwardedRequest(BoundedRequest):
    """
    Of somebody whose address a proxy in front of us tells.
    """

    trust_forwarded = True


class BoundedChannel(HTTPChannel):
    """
    Ends a connection whose request does not arrive in L{REQUEST_SECONDS}, however often a byte of it comes.
    """

    clock: IReactorTime | None = None
    _deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        The first request is awaited.
        """
        super().connectionMade()
        self._await_request()

    def _await_request(self) -> None:
        if self.clock is not None and self._deadline is None:
            self._deadline = self.clock.callLater(REQUEST_SECONDS, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        self.loseConnection()

    def allContentReceived(self) -> None:
        """
        The request is whole.
        """
        self._arrived()
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """
        It was answered; the next is awaited.
        """
        super().requestDone(request)
        if self.persistent:
            self._await_request()

    def connectionLost(self, reason: Any) -> None:
        """
        Nothing is awaited any more.
        """
        self._arrived()
        super().connectionLost(reason)

    def _arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedSite(Site):
    """
    Serves C{resource} over bounded connections.
    """

    def __init__(self, resource: IResource, clock: IReactorTime, *, trust_forwarded: bool = False) -> None:
        """
        @param trust_forwarded: believe C{X-Forwarded-For}.
        """
        kind = ForwardedRequest if trust_forwarded else BoundedRequest
        super().__init__(resource, requestFactory=kind, timeout=60, reactor=clock)
        self._clock = clock
        self.displayTracebacks = False

    def buildProtocol(self, addr: Any) -> Any:
        """
        One channel a connection; HTTP/1.1.
        """
        channel = BoundedChannel()
        channel.factory = self
        channel.site = self
        channel.timeOut = self.timeOut
        channel.callLater = self._clock.callLater
        channel.requestFactory = self.requestFactory
        channel.clock = self._clock
        return channel

    def log(self, request: Any) -> None:
        """
        No access log: links carry tokens, and the audit log says what matters.
        """
