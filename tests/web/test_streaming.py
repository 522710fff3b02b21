"""
Answers that come in pieces: no faster than the client reads, and not at all once it is gone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.web.routes import Answer
from teleport_tw.web.streaming import send


@define(eq=False)
class Request:
    """
    Takes so many pieces, then says wait.
    """

    room: int = 100
    method: bytes = b"GET"
    written: list[bytes] = field(factory=list)
    headers: dict[bytes, bytes] = field(factory=dict)
    status: int = 200
    producer: Any = None

    def setHeader(self, name: bytes, value: bytes) -> None:
        self.headers[name] = value

    def setResponseCode(self, status: int) -> None:
        self.status = status

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if len(self.written) >= self.room:
            self.producer.pauseProducing()

    def read(self, more: int) -> None:
        self.room += more
        self.producer.resumeProducing()


@define(eq=False)
class Pieces:
    """
    Counts what was asked of it.
    """

    count: int
    asked: int = 0
    closed: bool = False

    async def give(self) -> AsyncIterator[bytes]:
        try:
            while self.asked < self.count:
                self.asked += 1
                yield b"%d" % self.asked
        finally:
            self.closed = True


class StreamingTests(SynchronousTestCase):
    """
    With a client of the test's own.
    """

    def start(self, request: Request, pieces: Pieces) -> Deferred[Any]:
        body = Answer(body=pieces.give(), content_type=b"text/csv", headers={b"X": b"y"}, status=206)
        return Deferred.fromCoroutine(send(request, body))

    def test_whole(self) -> None:
        """All pieces, with what was said of them."""
        request, pieces = Request(), Pieces(3)
        self.assertEqual(self.successResultOf(self.start(request, pieces)), b"")
        self.assertEqual(request.written, [b"1", b"2", b"3"])
        self.assertEqual((request.status, request.headers), (206, {b"Content-Type": b"text/csv", b"X": b"y"}))
        self.assertIsNone(request.producer)

    def test_slow_reader(self) -> None:
        """Who reads slowly holds one piece more than was taken, and no more."""
        request, pieces = Request(room=2), Pieces(10)
        done = self.start(request, pieces)
        self.assertNoResult(done)
        self.assertEqual((len(request.written), pieces.asked), (2, 3))
        request.read(3)
        self.assertEqual((len(request.written), pieces.asked), (5, 6))
        request.read(100)
        self.successResultOf(done)
        self.assertEqual(len(request.written), 10)

    def test_gone(self) -> None:
        """Nothing is made for a client that went away."""
        request, pieces = Request(room=1), Pieces(10)
        done = self.start(request, pieces)
        request.producer.stopProducing()
        self.successResultOf(done)
        self.assertEqual(len(request.written), 1)
        self.assertTrue(pieces.closed)

    def test_head(self) -> None:
        """Who asks for the head gets it, and nothing is made."""
        request, pieces = Request(method=b"HEAD"), Pieces(10)
        self.successResultOf(self.start(request, pieces))
        self.assertEqual((request.written, pieces.asked), ([], 0))

    def test_others(self) -> None:
        """JSON is UTF-8 whatever stands in it; bytes stay bytes."""
        request = Request()
        said = self.successResultOf(Deferred.fromCoroutine(send(request, {"a": "é\ud800"})))
        self.assertEqual(said, '{"a":"é?"}'.encode())
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(send(request, b"x"))), b"x")
        answer = Answer(body=b"y", status=404)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(send(request, answer))), b"y")
        self.assertEqual(request.status, 404)
