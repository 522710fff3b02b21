"""
HTTP connections with bounds: how long a request may take to arrive, and how large it may be.

Twisted's channel starts its clock anew with every byte, so a client that sends one a minute would hold a connection
for ever, and it keeps a body of any size. Both end here. A few routes take a body of any size as it comes: who asks is
settled by the headers, before the first byte of it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site

from teleport_tw.web.body import Body

MAX_BODY_BYTES = 128 * 1024
"""Twice the largest body that any page takes: forms are taken apart before anybody is asked who sent them."""

LINGER_SECONDS = 5.0
"""For a client to read why its upload was refused, while it still sends."""

Streams = Callable[[bytes, bytes], bool]
"""Whether a request's body is taken as it comes, given method and URI."""

REQUEST_SECONDS = 30.0
"""From a connection's first byte, or the end of the request before, until the next request is whole."""


class BoundedRequest(Request):
    """
    Refuses a body over L{MAX_BODY_BYTES} with 413, told in advance or not.
    """

    _taken = 0
    _refused = False
    _client: IPv4Address | IPv6Address | None = None
    body: Body | None = None
    """Of a route that takes it as it comes."""
    trust_forwarded = False
    """Whether C{X-Forwarded-For} tells the client's address: where a proxy of the operator's sets it."""

    def gotLength(self, length: int | None) -> None:
        """
        Called when the headers are in; C{length} is C{None} for a chunked body.
        """
        channel = self.channel
        if channel is not None and channel.takes_stream():
            self.body = Body(channel.transport, length, channel.clock)
            length = 0
        elif length is not None and length > MAX_BODY_BYTES:
            self._refuse()
            length = 0
        super().gotLength(length)

    def handleContentChunk(self, data: bytes) -> None:
        """
        Called for each piece of the body.
        """
        if self.body is not None:
            self.body.feed(data)
            return
        self._taken += len(data)
        if self._taken > MAX_BODY_BYTES:
            self._refuse()
        if not self._refused:
            super().handleContentChunk(data)

    def connectionLost(self, reason: Any) -> None:
        """
        Called when the client is gone.
        """
        if self.body is not None:
            self.body.fail()
        super().connectionLost(reason)

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
    streams: Streams = staticmethod(lambda method, uri: False)
    _deadline: IDelayedCall | None = None
    _lingering = _refused_early = False

    def takes_stream(self) -> bool:
        """
        Whether the body of the request whose headers are being read is taken as it comes.
        """
        return self.streams(self._command, self._path)

    def allHeadersReceived(self) -> None:
        """
        A request whose body is taken as it comes is served from now on; no other follows on this connection.
        """
        super().allHeadersReceived()
        if self.requests and self.requests[-1].body is not None:
            self._arrived()
            self.setTimeout(None)  # the body knows when its client is too slow, and when the server is
            self.persistent = False
            self.requests[-1].requestReceived(self._command, self._path, self._version)

    def lineLengthExceeded(self, line: bytes) -> None:
        """
        An address or a header of more than C{MAX_LENGTH} bytes is refused with 431, and not in silence.
        """
        transport: Any = self.transport
        transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        self.loseConnection()

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
        if self._lingering:
            self._linger_over()
        elif self.requests[-1].body is not None:
            self.setTimeout(None)
            self._handlingRequest = True  # whatever follows is no request
            self.requests[-1].body.end()
        else:
            super().allContentReceived()

    def loseConnection(self) -> None:
        """
        Who is refused while it still sends may read why first: a closed connection would make it forget the answer.
        """
        if self._lingering or self.clock is None or not self._refused_early:
            super().loseConnection()
            return
        self._lingering = True
        self._deadline = self.clock.callLater(LINGER_SECONDS, self._linger_over)

    def _linger_over(self) -> None:
        self._arrived()
        super().loseConnection()

    def requestDone(self, request: Any) -> None:
        """
        It was answered; the next is awaited.
        """
        body = request.body
        if body is not None and not body.whole:
            self._refused_early = True
            body.drop()
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
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()


class BoundedSite(Site):
    """
    Serves C{resource} over bounded connections.
    """

    def __init__(
        self,
        resource: IResource,
        clock: IReactorTime,
        *,
        trust_forwarded: bool = False,
        streams: Streams = lambda method, uri: False,
    ) -> None:
        """
        @param trust_forwarded: believe C{X-Forwarded-For}.
        @param streams: which requests have a body of any size.
        """
        kind = ForwardedRequest if trust_forwarded else BoundedRequest
        super().__init__(resource, requestFactory=kind, timeout=60, reactor=clock)
        self._clock = clock
        self._streams = streams
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
        channel.streams = self._streams
        return channel

    def log(self, request: Any) -> None:
        """
        No access log: links carry tokens, and the audit log says what matters.
        """
