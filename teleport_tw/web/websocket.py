"""
WebSockets on the web port: autobahn's protocol on the connection that a request came by.

A handler decides about the request as about any other, then returns an L{Upgrade}, which takes the connection from
HTTP. What is said then goes to a L{Conversation}, an ordinary object that knows no autobahn. Time limits run on the
clock that is handed in; a peer that falls silent is asked, and dropped when it does not answer.

@see: RFC 6455
"""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Protocol

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.wamp.types import TransportDetails
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.base.timing import steady
from teleport_tw.web.envelope import MAX_MESSAGE_BYTES

PING_SECONDS = 10.0
"""Between questions whether the peer is there."""

SILENT_SECONDS = 30.0
"""Without a sign of life, before a peer is given up."""

SLOW_SECONDS = 120.0
"""For a peer to take in what waits to be sent."""

CLOSING_SECONDS = 5.0
"""For a peer to answer that we close."""

NORMAL = 1000
GOING_AWAY = 1001
BROKEN = 1008
"""The peer did not keep to what was agreed."""
TOO_LONG = 1009
OUR_FAULT = 1011
NO_TOKEN = 4401
REFUSED = 4403
TAKEN_OVER = 4409
GONE = 4410


class Conversation(Protocol):
    """
    What happens on one WebSocket.
    """

    def opened(self, socket: Socket) -> None:
        """
        It stands.
        """
        ...

    def text(self, text: str) -> None:
        """
        @raise RemoteProtocolError: it is closed with L{BROKEN}.
        """
        ...

    def binary(self, data: bytes) -> None:
        """
        @raise RemoteProtocolError: it is closed with L{BROKEN}.
        """
        ...

    def flow(self) -> None:
        """
        What L{Socket.congested} says has changed.
        """
        ...

    def lost(self, code: int) -> None:
        """
        It is over; called once.

        @param code: what the peer closed it with; 1006 when it did not.
        """
        ...


_Base: Any = WebSocketServerProtocol
"""Which autobahn types in part, and its callers not at all."""


@implementer(IPushProducer)
class Socket(_Base):  # type: ignore[misc]  # as above
    """
    One WebSocket.

    @ivar congested: more is waiting to be sent than the connection should hold.
    @ivar latency: seconds of a round trip to the peer; None while not known.
    @ivar conversation: may be replaced.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, conversation: Conversation, clock: IReactorTime) -> None:
        super().__init__()
        self.conversation = conversation
        self.congested = False
        self.latency: float | None = None
        self._clock = clock
        self._asked_at: float | None = None
        self._heard_at = steady(clock)
        self._timer: IDelayedCall | None = None
        self._over = False

    # What we say.

    def send(self, data: bytes) -> None:
        """
        @param data: one binary message.
        """
        if self.state == self.STATE_OPEN:
            self.sendMessage(data, isBinary=True)

    def send_text(self, text: str) -> None:
        """
        Send one text message.
        """
        if self.state == self.STATE_OPEN:
            self.sendMessage(text.encode(), isBinary=False)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """
        Close once everything was sent.

        @param reason: for programs: at most 123 bytes of it are sent.
        """
        if self.state == self.STATE_OPEN:
            text = reason.encode()[:123].decode("utf-8", "ignore").encode()
            self.sendCloseFrame(code=code, reasonUtf8=text or None)
            self._wait(CLOSING_SECONDS, self._abort)

    def _abort(self) -> None:
        self._timer = None
        if self.transport is not None:
            self.transport.abortConnection()

    # What Twisted and autobahn call.

    def connectionMade(self) -> None:
        """
        As autobahn's own, which would ask pyOpenSSL about the connection's TLS.
        """
        self._transport_details = TransportDetails(is_server=True, is_secure=False)
        self.peer = ""
        self._connectionMade()

    def onOpen(self) -> None:
        """
        The upgrade is through.
        """
        self.transport.registerProducer(self, True)
        self._wait(PING_SECONDS, self._ask)
        self.conversation.opened(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """
        One whole message.
        """
        self._heard_at = steady(self._clock)
        try:
            if isBinary:
                self.conversation.binary(payload)
            else:
                self.conversation.text(payload.decode())
        except RemoteProtocolError as error:
            self.close(BROKEN, str(error))
        except Exception:
            self._log.failure("a WebSocket's message was not handled")
            self.close(OUR_FAULT)

    def onPong(self, payload: bytes) -> None:
        """
        The peer is there.
        """
        self._heard_at = steady(self._clock)
        if self._asked_at is not None:
            self.latency, self._asked_at = self._heard_at - self._asked_at, None

    def onPing(self, payload: bytes) -> None:
        """
        The peer asks.
        """
        self._heard_at = steady(self._clock)
        super().onPing(payload)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        """
        It is over.
        """
        if self._over:
            return
        self._over = True
        self._stop()
        try:
            self.conversation.lost(code or (1005 if wasClean else 1006))
        except Exception:
            self._log.failure("a WebSocket's end was not handled")

    def _ask(self) -> None:
        self._timer = None
        if steady(self._clock) - self._heard_at >= (SLOW_SECONDS if self.congested else SILENT_SECONDS):
            self._abort()
            return
        if self._asked_at is None:
            self._asked_at = steady(self._clock)
            self.sendPing()
        self._wait(PING_SECONDS, self._ask)

    def _wait(self, seconds: float, then: Any) -> None:
        self._stop()
        self._timer = self._clock.callLater(seconds, then)

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # What the transport calls.

    def pauseProducing(self) -> None:
        """
        The peer reads slowly: what it says meanwhile would only make for more to send, so nothing is read either.
        """
        self.congested = True
        self.transport.pauseProducing()
        self.conversation.flow()

    def resumeProducing(self) -> None:
        """
        It has caught up.
        """
        self.congested = False
        self._heard_at = steady(self._clock)
        if not self._over:
            self.transport.resumeProducing()
            self.conversation.flow()

    def stopProducing(self) -> None:
        """
        The connection is gone; L{onClose} tells.
        """


@cache
def _factory() -> Any:
    """
    @return: autobahn's options, with all its own timers off: hence no reactor.
    """
    make: Any = WebSocketServerFactory  # as above
    found = make(reactor=object())
    found.setProtocolOptions(
        versions=[13],
        webStatus=False,
        utf8validateIncoming=True,
        maxMessagePayloadSize=MAX_MESSAGE_BYTES,
        maxFramePayloadSize=MAX_MESSAGE_BYTES,
        openHandshakeTimeout=0,
        closeHandshakeTimeout=0,
        failByDrop=False,
        tcpNoDelay=True,
        autoPingInterval=0,
    )
    found.server = ""
    return found


_KEPT = (b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol")
"""Of a request's headers, those that the handshake needs: cookies stay out of autobahn's sight and log."""


@implementer(IResource)
class Upgrade:
    """
    What a handler returns to have a WebSocket.
    """

    isLeaf = True

    def __init__(self, conversation: Conversation, clock: IReactorTime) -> None:
        self._conversation = conversation
        self._clock = clock

    def render(self, request: Any) -> Any:
        """
        Take the connection from HTTP.
        """
        channel = request.channel
        transport = getattr(channel, "transport", None)
        if transport is None:
            return NOT_DONE_YET  # the peer did not wait
        socket = Socket(self._conversation, self._clock)
        socket.factory = _factory()
        leave_http(channel)
        transport.protocol = socket
        socket.makeConnection(transport)
        transport.resumeProducing()
        socket.dataReceived(_head_of(request))
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Any) -> Any:
        """See C{IResource}."""
        return self

    def putChild(self, path: bytes, child: Any) -> None:
        """See C{IResource}."""


def leave_http(channel: Any) -> None:
    """
    HTTP has done with a connection that goes on.
    """
    transport, channel.transport = channel.transport, None
    channel.setTimeout(None)
    transport.unregisterProducer()
    channel.requests = []


def _head_of(request: Any) -> bytes:
    lines = [b"GET / HTTP/1.1"]  # who is asked for what was settled by the handler
    for name, values in request.requestHeaders.getAllRawHeaders():
        if name.lower() in _KEPT:
            lines += (name + b": " + value for value in values)
    return b"\r\n".join([*lines, b"", b""])


def check_upgrade(request: Any) -> None:
    """
    @raise TeleportError: BAD_PARAMETER, no WebSocket is asked for.
    """
    asked = request.requestHeaders.getRawHeaders(b"upgrade", [b""])
    if request.method != b"GET" or asked[0].strip().lower() != b"websocket":
        raise bad_parameter("this address is for WebSockets")
