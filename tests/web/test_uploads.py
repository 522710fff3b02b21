"""
Bodies that are taken as they come: who may send one, how much is held, and what a slow server does to a client.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from teleport_tw.base.errors import TeleportError
from teleport_tw.web.body import GRACE_SECONDS, SILENT_SECONDS, SLOWEST_RATE, WAITING_BYTES, Body
from teleport_tw.web.channel import LINGER_SECONDS, MAX_BODY_BYTES, BoundedSite
from tests.web.test_channel import AFTER, Transport

HEAD = b"POST /up?x=1 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"


class Taking(Resource):
    """
    Keeps the requests it gets.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.requests: list[Any] = []

    def render(self, request: Any) -> Any:
        self.requests.append(request)
        return NOT_DONE_YET


class Pausing(Transport):
    """
    Knows whether it reads.
    """

    reading = True

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True


class UploadTests(SynchronousTestCase):
    """
    One connection.
    """

    def setUp(self) -> None:
        self.clock, self.root = Clock(), Taking()
        site: Any = BoundedSite(self.root, self.clock, streams=lambda method, uri: uri.startswith(b"/up"))
        site.startFactory()
        self.addCleanup(site.stopFactory)
        self.channel = site.buildProtocol(None)
        self.transport = Pausing()
        self.channel.makeConnection(self.transport)

    def request(self, length: int = 10) -> Any:
        """
        @return: with its headers read, and nothing of its body.
        """
        self.channel.dataReceived(HEAD % length)
        (request,) = self.root.requests
        return request

    def test_served_before_the_body(self) -> None:
        """The handler runs when the headers are in."""
        request = self.request(10**12)
        self.assertEqual((request.method, request.args, request.body.length), (b"POST", {b"x": [b"1"]}, 10**12))

    def test_no_faster_than_it_is_used(self) -> None:
        """More than the bound stays with the client."""
        request = self.request(10 * WAITING_BYTES)
        self.channel.dataReceived(bytes(WAITING_BYTES))
        self.assertTrue(self.transport.reading)
        self.channel.dataReceived(bytes(1000))
        self.assertFalse(self.transport.reading)
        first = self.successResultOf(Deferred.fromCoroutine(request.body.__anext__()))
        self.assertTrue(self.transport.reading)
        self.assertEqual(len(first), WAITING_BYTES)

    def test_whole(self) -> None:
        """All of it, then the end; nothing that follows on the connection is a request."""
        request = self.request(5)
        self.channel.dataReceived(b"ab")
        self.channel.dataReceived(b"cde" + AFTER)
        self.channel.dataReceived(AFTER)
        pieces = self.successResultOf(Deferred.fromCoroutine(_all(request.body)))
        self.assertEqual(pieces, b"abcde")
        request.write(b"done")
        request.finish()
        self.assertIn(b"done", self.transport.value())
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(len(self.root.requests), 1)

    def test_empty(self) -> None:
        """A body of no bytes is one."""
        request = self.request(0)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(_all(request.body))), b"")

    def test_in_chunks(self) -> None:
        """Of a length that nobody told."""
        self.channel.dataReceived(b"POST /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        (request,) = self.root.requests
        self.channel.dataReceived(b"2\r\nde\r\n0\r\n\r\n")
        self.assertEqual(request.body.length, None)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(_all(request.body))), b"abcde")

    def test_broken_off(self) -> None:
        """Who waits for more is told, and does not take it for the end."""
        request = self.request(10)
        self.channel.dataReceived(b"abc")
        waiting = Deferred.fromCoroutine(_all(request.body))
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(waiting, TeleportError)

    def test_nothing_comes(self) -> None:
        """Whoever waits for a silent client is told so; not a second too early."""
        request = self.request(10)
        self.channel.dataReceived(b"abc")
        waiting = Deferred.fromCoroutine(_all(request.body))
        self.clock.advance(SILENT_SECONDS - 1)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        error = self.failureResultOf(waiting, TeleportError).value
        self.assertIn("nothing came for 60 seconds", error.message)

    def test_a_byte_a_minute(self) -> None:
        """Who sends just enough not to be silent is ended for being slow."""
        request = self.request(10**6)
        waiting = Deferred.fromCoroutine(_all(request.body))
        for _ in range(int(GRACE_SECONDS / 50)):
            self.clock.advance(50)
            self.assertNoResult(waiting)
            self.channel.dataReceived(b"x")
        self.assertNoResult(waiting)
        self.clock.advance(50)
        self.channel.dataReceived(b"x")
        error = self.failureResultOf(waiting, TeleportError).value
        self.assertIn("slower than", error.message)

    def test_slow_but_steady(self) -> None:
        """A poor line gets there."""
        request = self.request(100 * 10 * SLOWEST_RATE)
        waiting = Deferred.fromCoroutine(_all(request.body))
        for _ in range(100):
            self.clock.advance(10)
            self.channel.dataReceived(bytes(10 * SLOWEST_RATE))
        self.assertEqual(len(self.successResultOf(waiting)), 1000 * SLOWEST_RATE)

    def test_a_slow_server(self) -> None:
        """What the server takes its time for is not held against the client, who may send nothing meanwhile."""
        request = self.request(10)
        self.channel.dataReceived(b"abc")
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(request.body.__anext__())), b"abc")
        self.clock.advance(10 * GRACE_SECONDS)
        self.assertFalse(self.transport.disconnecting)
        waiting = Deferred.fromCoroutine(_all(request.body))
        self.clock.advance(SILENT_SECONDS - 1)
        self.channel.dataReceived(b"defghij")
        self.assertEqual(self.successResultOf(waiting), b"defghij")

    def test_refused_early(self) -> None:
        """The client may read why, while what it still sends is thrown away; but not for ever."""
        request = self.request(10**9)
        request.setResponseCode(403)
        request.finish()
        self.assertIn(b" 403 ", self.transport.value())
        self.assertFalse(self.transport.disconnecting)
        self.channel.dataReceived(bytes(5 * WAITING_BYTES))
        self.assertTrue(self.transport.reading)
        self.assertEqual(request.body._waiting, 0)
        self.clock.advance(LINGER_SECONDS)
        self.assertTrue(self.transport.disconnecting)

    def test_refused_and_whole(self) -> None:
        """Then there is nothing to wait for."""
        request = self.request(5)
        request.finish()
        self.channel.dataReceived(b"abcde")
        self.assertTrue(self.transport.disconnecting)
        self.assertIsNone(self.channel._deadline)

    def test_elsewhere_bounded(self) -> None:
        """Any other route refuses what is too large, as before."""
        self.channel.dataReceived(
            b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
        )
        self.assertTrue(self.transport.value().startswith(b"HTTP/1.1 413"))


async def _all(body: Body) -> bytes:
    return b"".join([piece async for piece in body])
