"""
Requests that are too large or too slow, and what is behind them on the same connection.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource

from teleport_tw.web.channel import MAX_BODY_BYTES, REQUEST_SECONDS, BoundedSite

AFTER = b"GET /after HTTP/1.1\r\nHost: x\r\n\r\n"


class Counting(Resource):
    """
    Remembers who asked.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[bytes, bytes]] = []

    def render(self, request: Any) -> bytes:
        self.asked.append((request.method, request.uri))
        return b"ok"


class Transport(StringTransport):
    """
    As forgiving as the real ones when a producer is taken off twice.
    """

    def unregisterProducer(self) -> None:
        self.producer = None


class ChannelTests(SynchronousTestCase):
    """
    One connection in hand.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.root = Counting()
        site: Any = BoundedSite(self.root, self.clock)
        site.startFactory()
        self.addCleanup(site.stopFactory)
        self.channel = site.buildProtocol(None)
        self.transport = Transport()
        self.channel.makeConnection(self.transport)

    def feed(self, *pieces: bytes) -> bytes:
        """
        What is answered.
        """
        for piece in pieces:
            self.channel.dataReceived(piece)
        return self.transport.value()

    def test_served(self) -> None:
        """A request of the largest size is served."""
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % MAX_BODY_BYTES
        self.assertIn(b"200 OK", self.feed(head, bytes(MAX_BODY_BYTES)))
        self.assertEqual(self.root.asked, [(b"POST", b"/a")])

    def test_too_large_in_advance(self) -> None:
        """The answer comes before the body, once; neither it nor what is smuggled behind it is served."""
        length = MAX_BODY_BYTES + 1
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % length
        answer = self.feed(head)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.feed(AFTER, bytes(length - len(AFTER)), AFTER), answer)
        self.assertEqual(self.root.asked, [])

    def test_too_large_in_chunks(self) -> None:
        """A chunked body is refused where it passes the bound, and is not served as far as it came."""
        chunk = b"%x\r\n%s\r\n" % (MAX_BODY_BYTES, bytes(MAX_BODY_BYTES))
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = self.feed(head, chunk, b"1\r\nx\r\n", b"0\r\n\r\n", AFTER)
        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertTrue(answer.startswith(b"HTTP/1.1 413"))
        self.assertEqual(self.root.asked, [])

    def test_two_lengths(self) -> None:
        """Where length and chunks both are told, nobody guesses which counts."""
        head = b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        self.assertIn(b"400", self.feed(head, AFTER))
        self.assertEqual(self.root.asked, [])

    def test_slow(self) -> None:
        """A byte a second does not hold a connection for ever."""
        for _ in range(int(REQUEST_SECONDS) - 1):
            self.channel.dataReceived(b"G")
            self.clock.advance(1)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(1)
        self.assertTrue(self.transport.disconnecting)


class ForwardedTests(SynchronousTestCase):
    """
    C{X-Forwarded-For}, where it is believed and where it is not.
    """

    def ask(self, trust: bool, *lines: bytes) -> tuple[list[str], bytes]:
        """
        @return: whose requests they were taken for, and what was answered.
        """
        seen: list[str] = []

        class Asked(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                seen.append(str(request.getClientAddress().host))
                return b"ok"

        clock = Clock()
        site: Any = BoundedSite(Asked(), clock, trust_forwarded=trust)
        site.startFactory()
        self.addCleanup(site.stopFactory)
        channel, transport = site.buildProtocol(None), Transport()
        channel.makeConnection(transport)
        heads = b"".join(b"X-Forwarded-For: " + line + b"\r\n" for line in lines)
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n" + heads + b"\r\n")
        channel.connectionLost(Failure(ConnectionDone()))
        return seen, transport.value()

    def test_believed(self) -> None:
        """One address, of either kind; without the header, the peer's."""
        for line, host in ((b"203.0.113.9", "203.0.113.9"), (b" 2001:DB8::9 ", "2001:db8::9")):
            self.assertEqual(self.ask(True, line)[0], [host])
        self.assertEqual(self.ask(True)[0], ["192.168.1.1"])

    def test_spoofed(self) -> None:
        """A client that brings one of its own, which the proxy added to, is refused; so is what is no address."""
        for lines in (
            (b"1.2.3.4, 203.0.113.9",),
            (b"1.2.3.4", b"203.0.113.9"),
            (b"unknown",),
            (b"1.2.3.4:80",),
            (b"",),
        ):
            seen, answer = self.ask(True, *lines)
            self.assertEqual(seen, [], lines)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer)

    def test_not_believed(self) -> None:
        """Where nobody said that it is to be believed, it says nothing."""
        self.assertEqual(self.ask(False, b"203.0.113.9")[0], ["192.168.1.1"])
