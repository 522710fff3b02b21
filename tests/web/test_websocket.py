"""
A WebSocket's connection: silence, slowness and its end, without a network.
"""

from __future__ import annotations

import base64
import struct
from typing import Any

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from teleport_tw.base.errors import RemoteProtocolError, TeleportError
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.websocket import (
    BROKEN,
    CLOSING_SECONDS,
    OUR_FAULT,
    PING_SECONDS,
    SILENT_SECONDS,
    SLOW_SECONDS,
    Socket,
    Upgrade,
    check_upgrade,
)

HEAD = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Cookie: __Host-session=secret\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)


def frame(kind: int, data: bytes) -> bytes:
    """As a browser masks it."""
    size = len(data)
    length = bytes([128 | size]) if size < 126 else b"\xfe" + struct.pack(">H", size)
    return bytes([128 | kind]) + length + bytes(4) + data


class Transport(StringTransport):
    """
    Knows whether it was dropped, and whether it reads.
    """

    aborted = False
    reading = True

    def unregisterProducer(self) -> None:
        self.producer = None

    def abortConnection(self) -> None:
        self.aborted = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class Noted:
    """
    A conversation that notes what happens, and fails where it is told to.
    """

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.error: Exception | None = None

    def opened(self, socket: Socket) -> None:
        self.socket = socket
        self.events.append("opened")

    def text(self, text: str) -> None:
        self.events.append(text)

    def binary(self, data: bytes) -> None:
        self.events.append(data)
        if self.error is not None:
            raise self.error

    def flow(self) -> None:
        self.events.append("flow")

    def lost(self, code: int) -> None:
        self.events.append(code)


class Serving(Resource):
    """
    Upgrades whoever asks for it.
    """

    isLeaf = True

    def __init__(self, conversation: Noted, clock: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.conversation, self.clock = conversation, clock

    def render(self, request: Any) -> Any:
        try:
            check_upgrade(request)
        except TeleportError as error:
            return error.message.encode()
        return Upgrade(self.conversation, self.clock).render(request)


class SocketTests(SynchronousTestCase):
    """
    One peer.
    """

    def setUp(self) -> None:
        self.clock, self.noted = Clock(), Noted()
        site: Any = BoundedSite(Serving(self.noted, self.clock), self.clock)
        site.startFactory()
        self.addCleanup(site.stopFactory)
        channel = site.buildProtocol(None)
        self.transport: Any = Transport()
        self.transport.protocol = channel
        channel.makeConnection(self.transport)

    def feed(self, *data: bytes) -> bytes:
        """
        @return: what was answered to it.
        """
        self.transport.clear()
        for each in data:
            self.transport.protocol.dataReceived(each)
        return bytes(self.transport.value())

    def open(self) -> Socket:
        """
        @return: upgraded.
        """
        self.assertIn(b" 101 ", self.feed(HEAD))
        return self.noted.socket

    def test_upgraded(self) -> None:
        """And from then on HTTP has no say, nor a clock of its own."""
        self.open()
        self.feed(frame(2, b"abc"), frame(1, b"text"))
        self.assertEqual(self.noted.events, ["opened", b"abc", "text"])
        names = {str(call.func) for call in self.clock.getDelayedCalls() if "_updateLogDateTime" not in str(call.func)}
        self.assertEqual(len(names), 1, names)

    def test_not_a_websocket(self) -> None:
        """An ordinary request is told so."""
        answer = self.feed(b"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(b"this address is for WebSockets", answer)

    def test_no_proper_handshake(self) -> None:
        """Another version, or no key, is refused and closed."""
        self.assertIn(b" 400 ", self.feed(HEAD.replace(b"Version: 13", b"Version: 5")))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.noted.events, [1006][: len(self.noted.events)])

    def test_what_breaks(self) -> None:
        """What the peer did wrong, and what we did, are told apart."""
        for error, code in ((RemoteProtocolError("x"), BROKEN), (RuntimeError("x"), OUR_FAULT)):
            self.setUp()
            self.open()
            self.noted.error = error
            answer = self.feed(frame(2, b"abc"))
            self.assertIn(struct.pack(">H", code), answer)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_asked_now_and_then(self) -> None:
        """A peer that answers stays, and how long it takes is known."""
        socket = self.open()
        for _ in range(10):
            self.transport.clear()
            self.clock.advance(PING_SECONDS)
            self.assertTrue(self.transport.value().startswith(b"\x89"))
            self.clock.advance(0.25)
            self.feed(frame(10, self.transport.value()[2:]))
        self.assertAlmostEqual(socket.latency or 0, 0.25)
        self.assertFalse(self.transport.aborted)

    def test_silent(self) -> None:
        """One that does not is dropped."""
        self.open()
        self.clock.pump([PING_SECONDS] * int(SILENT_SECONDS / PING_SECONDS - 1))
        self.assertFalse(self.transport.aborted)
        self.clock.advance(PING_SECONDS)
        self.assertTrue(self.transport.aborted)

    def test_slow(self) -> None:
        """One that does not read is not read either, and has longer."""
        socket = self.open()
        socket.pauseProducing()
        self.assertTrue(socket.congested)
        self.assertFalse(self.transport.reading)
        self.clock.pump([PING_SECONDS] * int(SILENT_SECONDS / PING_SECONDS + 1))
        self.assertFalse(self.transport.aborted)
        socket.resumeProducing()
        self.assertTrue(self.transport.reading)
        self.assertEqual(self.noted.events, ["opened", "flow", "flow"])
        socket.pauseProducing()
        self.clock.pump([PING_SECONDS] * int(SLOW_SECONDS / PING_SECONDS))
        self.assertTrue(self.transport.aborted)

    def test_closed_by_us(self) -> None:
        """The peer has some time to answer."""
        socket = self.open()
        socket.close(4409, "reason " * 40)
        self.clock.advance(CLOSING_SECONDS)
        self.assertTrue(self.transport.aborted)
        socket.send(b"too late")
        self.transport.protocol.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.noted.events[-1], 1006)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if "Socket" in str(call.func)], [])

    def test_closed_by_the_peer(self) -> None:
        """With its code."""
        self.open()
        self.feed(frame(8, struct.pack(">H", 4000)))
        self.transport.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.noted.events[-1], 4000)

    def test_unmasked(self) -> None:
        """No browser sends such a frame."""
        self.open()
        self.feed(b"\x82\x01x")
        self.assertNotIn(b"x", self.noted.events)
