"""
One port, many protocols: L{teleport_tw.base.net.peeking}.
"""

from __future__ import annotations

import time
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from teleport_tw.base.loop import loop_of
from teleport_tw.base.net.endpoints import TCPClient, TLSClient
from teleport_tw.base.net.peeking import Decision, GoOn, NeedMore, PeekingServer, RawRoute, Refuse, TLSRoute
from tests.base.net.peers import Recorders, context, der

reactor: Any = installed


class PeekingTest(TestCase):
    """
    C{RAW} goes to a plain protocol, a ClientHello to TLS, C{NO} is refused with a line, C{BAD} makes C{decide} fail.
    """

    timeout = 10

    def setUp(self) -> None:
        self.plain, self.secure = Recorders(), Recorders()
        self.asked: list[bytes] = []
        self.context = context("server", server_side=True, ask=True, alpn=("one",))

    def decide(self, data: bytes, peer: Any) -> Decision:
        self.asked.append(data)
        if data[:1] == b"\x16":
            return TLSRoute(self.context, lambda made: self.secure if made.negotiatedProtocol == b"one" else None)
        if data.startswith(b"NO"):
            return Refuse(b"go away\n")
        if data.startswith(b"BAD"):
            raise ZeroDivisionError
        if data.startswith(b"RAW"):
            return RawRoute(self.plain)
        return NeedMore()

    async def listen(self, clock: Any = reactor, **options: Any) -> Any:
        port: Any = await PeekingServer(clock, "127.0.0.1", 0, decide=self.decide, **options).start()
        self.addCleanup(port.stopListening)
        self.port = port
        return port

    async def connect(self, kind: Any = None) -> Any:
        return await TCPClient(reactor, "127.0.0.1", self.port.getHost().port).connect(Recorders())

    async def end(self, client: Any, server: Any) -> None:
        client.transport.loseConnection()
        await client.lost
        await server.lost
        self.assertEqual(self.port.connections, set())
        self.assertEqual(self.port.undecided, {})

    async def test_a_raw_route_sees_the_stream_from_its_start(self) -> None:
        await self.listen()
        client = await self.connect()
        client.transport.write(b"RAW and more")
        server: Any = await self.plain.first()
        self.assertEqual(await server.got(12), b"RAW and more")
        self.assertEqual(self.port.connections, {server.transport})
        server.transport.write(b"hello")
        self.assertEqual(await client.got(5), b"hello")
        await self.end(client, server)

    async def test_a_tls_route_ends_tls(self) -> None:
        await self.listen()
        client: Any = await TLSClient(
            reactor,
            "127.0.0.1",
            self.port.getHost().port,
            context("client", server_side=False),
            server_hostname="server",
            alpn=("one",),
        ).connect(Recorders())
        server: Any = await self.secure.first()
        client.transport.write(b"secret")
        self.assertEqual(await server.got(6), b"secret")
        self.assertEqual(server.transport.getPeerCertificate(), der("client"))
        await self.end(client, server)

    async def test_a_tls_route_may_drop_after_the_handshake(self) -> None:
        await self.listen()
        client: Any = await TLSClient(
            reactor,
            "127.0.0.1",
            self.port.getHost().port,
            context("client", server_side=False),
            server_hostname="server",
        ).connect(Recorders())
        await client.lost
        self.assertEqual(self.secure.built, [])

    async def test_a_failed_handshake_is_dropped_in_silence(self) -> None:
        await self.listen()
        client = await self.connect()
        client.transport.write(b"\x16garbage garbage garbage")
        await client.lost
        self.assertEqual(self.secure.built, [])

    async def test_a_refused_one_gets_a_farewell(self) -> None:
        await self.listen()
        client = await self.connect()
        client.transport.write(b"NO")
        await client.lost
        self.assertEqual(client.data, b"go away\n")

    async def test_one_byte_at_a_time_is_asked_about_once_each(self) -> None:
        await self.listen()
        client = await self.connect()
        for count, byte in enumerate((b"x", b"R", b"A", b"W"), 1):
            client.transport.write(byte)
            while len(self.asked) < count:
                await deferLater(reactor, 0.005, lambda: None)
        self.assertEqual(self.asked, [b"x", b"xR", b"xRA", b"xRAW"])
        client.transport.abortConnection()
        await client.lost

    async def test_bytes_in_wait_do_not_keep_the_process_busy(self) -> None:
        await self.listen()
        client = await self.connect()
        client.transport.write(b"R")
        while not self.asked:
            await deferLater(reactor, 0.005, lambda: None)
        before = time.process_time()
        await deferLater(reactor, 0.3, lambda: None)
        self.assertLess(time.process_time() - before, 0.15)
        self.assertEqual(len(self.asked), 1)
        client.transport.write(b"AW")
        server: Any = await self.plain.first()
        self.assertEqual(await server.got(3), b"RAW")
        client.transport.write(b"!")  # and single bytes still wake the reader afterwards
        self.assertEqual(await server.got(4), b"RAW!")
        await self.end(client, server)

    async def test_a_peer_that_ends_undecided_is_dropped(self) -> None:
        await self.listen()
        for said in (b"", b"R"):
            client = await self.connect()
            client.transport.write(said)
            client.transport.loseWriteConnection()
            await client.lost
        self.assertEqual(self.port.undecided, {})

    async def test_a_peer_that_says_too_much_of_nothing_is_dropped(self) -> None:
        await self.listen(max_peek_bytes=64)
        client = await self.connect()
        client.transport.write(b"x" * 200)
        await client.lost
        self.assertLessEqual(max(map(len, self.asked)), 64)

    async def test_a_silent_peer_is_dropped_on_time(self) -> None:
        clock: Any = Clock()
        clock._asyncioEventloop = loop_of(reactor)
        await self.listen(clock, peek_timeout=10)
        client = await self.connect()
        while not self.port.undecided:
            await deferLater(reactor, 0.005, lambda: None)
        clock.advance(9.9)
        self.assertEqual(len(self.port.undecided), 1)
        clock.advance(0.2)
        await client.lost
        self.assertEqual(self.port.undecided, {})

    async def test_the_oldest_undecided_makes_room(self) -> None:
        await self.listen(max_undecided=2)
        clients = [await self.connect() for _ in range(3)]
        await clients[0].lost
        self.assertEqual(len(self.port.undecided), 2)
        await self.port.stopListening()
        for client in clients[1:]:
            await client.lost

    async def test_a_decision_that_fails_is_logged_and_refuses(self) -> None:
        await self.listen()
        client = await self.connect()
        client.transport.write(b"BAD")
        await client.lost
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_bytes_may_be_answered_and_taken_off(self) -> None:
        """Nobody downstream sees them, the address may change, and what follows is decided anew: here by TLS."""

        def first(data: bytes, peer: Any) -> Decision:
            if len(data) < 4:
                return NeedMore()
            elsewhere = IPv4Address("TCP", "192.0.2.9", 4242)
            return GoOn(take=4, answer=b"S", peer=elsewhere, then=self.decide)

        port: Any = await PeekingServer(reactor, "127.0.0.1", 0, decide=first).start()
        self.addCleanup(port.stopListening)
        self.port = port
        for pieces in ((b"ASK!RAW",), (b"AS", b"K!", b"R", b"AW"), (b"ASK!", b"RAW")):
            client = await self.connect()
            for piece in pieces:
                client.transport.write(piece)
                await deferLater(reactor, 0.01, lambda: None)
            server: Any = await self.plain.first()
            self.plain = Recorders()
            self.assertEqual(await server.got(3), b"RAW")
            self.assertEqual(server.transport.getPeer(), IPv4Address("TCP", "192.0.2.9", 4242))
            self.assertEqual(await client.got(1), b"S")
            await self.end(client, server)

    async def test_what_follows_may_be_decided_already(self) -> None:
        """A server that speaks first need not wait for the client's next word."""
        port: Any = await PeekingServer(
            reactor, "127.0.0.1", 0, decide=lambda data, peer: GoOn(take=2, then=RawRoute(self.plain))
        ).start()
        self.addCleanup(port.stopListening)
        self.port = port
        client = await self.connect()
        client.transport.write(b"hi")
        server: Any = await self.plain.first()
        server.transport.write(b"hello")
        self.assertEqual(await client.got(5), b"hello")
        await self.end(client, server)

    async def test_the_server_may_speak_first(self) -> None:
        """A client that waits for a greeting gets it at once, and what it answers is decided about."""
        asked: list[bytes] = []

        def answered(data: bytes, peer: Any) -> Decision:
            asked.append(data)
            return RawRoute(self.plain) if len(data) >= 3 else NeedMore()

        port: Any = await PeekingServer(
            reactor,
            "127.0.0.1",
            0,
            decide=lambda data, peer: Refuse(),
            greet=lambda peer: GoOn(take=0, answer=b"hello", then=answered),
        ).start()
        self.addCleanup(port.stopListening)
        self.port = port
        client = await self.connect()
        self.assertEqual(await client.got(5), b"hello")
        client.transport.write(b"hey")
        server: Any = await self.plain.first()
        self.assertEqual(await server.got(3), b"hey")
        await self.end(client, server)

    async def test_a_greeting_that_fails_is_logged_and_drops(self) -> None:
        def broken(peer: Any) -> GoOn:
            raise ZeroDivisionError

        port: Any = await PeekingServer(
            reactor, "127.0.0.1", 0, decide=lambda data, peer: Refuse(), greet=broken
        ).start()
        self.addCleanup(port.stopListening)
        self.port = port
        client = await self.connect()
        await client.lost
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(port.undecided, {})

    async def test_more_than_came_is_not_taken(self) -> None:
        port: Any = await PeekingServer(reactor, "127.0.0.1", 0, decide=lambda data, peer: GoOn(take=99)).start()
        self.addCleanup(port.stopListening)
        self.port = port
        client = await self.connect()
        client.transport.write(b"hi")
        await client.lost
        self.assertEqual(port.undecided, {})

    async def test_a_silent_peer_may_be_routed_when_the_time_is_up(self) -> None:
        """But not one that has said something, nor one that was answered."""
        clock: Any = Clock()
        clock._asyncioEventloop = loop_of(reactor)
        await self.listen(clock, peek_timeout=2, silent=lambda peer: RawRoute(self.plain))
        silent, slow = await self.connect(), await self.connect()
        slow.transport.write(b"R")
        while len(self.port.undecided) < 2 or not self.asked:
            await deferLater(reactor, 0.005, lambda: None)
        clock.advance(2.1)
        server: Any = await self.plain.first()
        server.transport.write(b"hello")
        self.assertEqual(await silent.got(5), b"hello")
        await slow.lost
        self.assertEqual(len(self.plain.built), 1)
        await self.end(silent, server)

    async def test_it_is_a_server_endpoint(self) -> None:
        factory = Recorders()
        port: Any = await PeekingServer(reactor, "127.0.0.1", 0, decide=self.decide).listen(factory)
        await port.stopListening()
        await port.stopListening()
        self.assertEqual(factory.stopped, 1)
