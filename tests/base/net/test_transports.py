"""
What a stream transport owes its Protocol: one suite for Twisted's own TCP and for each of ours.
"""

from __future__ import annotations

import os
import socket
import tempfile
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import (
    CannotListenError,
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
    TimeoutError,
)
from twisted.internet.interfaces import ISSLTransport, ITCPTransport
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SkipTest, TestCase

from teleport_tw.base.loop import loop_of
from teleport_tw.base.net.endpoints import TCPClient, TCPServer, TLSClient, TLSServer, UnixClient, UnixServer
from tests.base.net.peers import HalfCloser, Recorder, Recorders, context

reactor: Any = installed

BIG = 50 * 1024 * 1024
PIECE = b"\xa5" * 65536


class PushProducer:
    """
    Writes pieces as long as nobody says stop.
    """

    def __init__(self, transport: Any, total: int) -> None:
        self.transport, self.left = transport, total
        self.paused = False
        self.pauses = 0
        self.stopped = False
        self.done: Deferred[None] = Deferred()

    def start(self) -> None:
        self.transport.registerProducer(self, True)
        self._produce()

    def _produce(self) -> None:
        while self.left and not self.paused and not self.stopped:
            self.left -= len(PIECE)
            self.transport.write(PIECE)
        if not self.left and not self.done.called:
            self.transport.unregisterProducer()
            self.done.callback(None)

    def pauseProducing(self) -> None:
        self.paused = True
        self.pauses += 1

    def resumeProducing(self) -> None:
        self.paused = False
        self._produce()

    def stopProducing(self) -> None:
        self.stopped = True


class PullProducer:
    """
    Writes one piece each time it is asked.
    """

    def __init__(self, transport: Any, count: int) -> None:
        self.transport, self.left = transport, count
        self.stopped = False

    def resumeProducing(self) -> None:
        self.left -= 1
        self.transport.write(PIECE)
        if not self.left:
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped = True


class Contract:
    """
    The suite; what the three switches say differs by nature.
    """

    half_closes = True
    resets = True
    has_tcp_options = True
    timeout = 20

    def server(self) -> Any:
        raise NotImplementedError

    def client(self, port: Any) -> Any:
        raise NotImplementedError

    async def pair(self, build: Any = Recorder, accept: Any = None) -> tuple[Any, Any]:
        """
        A client's and a server's protocol, facing each other.
        """
        case: Any = self
        accepted, connecting = Recorders(accept or build), Recorders(build)
        self.port = await self.server().listen(accepted)
        case.addCleanup(self.port.stopListening)
        client: Any = await self.client(self.port).connect(connecting)
        server: Any = await accepted.first()

        async def end() -> None:
            for peer in (client, server):
                if not peer.lost.called:
                    peer.transport.abortConnection()
            for peer in (client, server):
                if not peer.lost.called:
                    await peer.lost

        case.addCleanup(lambda: Deferred.fromCoroutine(end()))
        self.accepting, self.connecting = accepted, connecting
        return client, server

    async def test_bytes_arrive_in_order_both_ways(self) -> None:
        client, server = await self.pair()
        client.transport.write(b"one ")
        client.transport.writeSequence([b"two ", b"three"])
        server.transport.write(b"four")
        case: Any = self
        case.assertEqual(await server.got(13), b"one two three")
        case.assertEqual(await client.got(4), b"four")

    async def test_nothing_happens_on_empty_writes(self) -> None:
        client, server = await self.pair()
        client.transport.write(b"")
        client.transport.writeSequence([])
        client.transport.write(b"x")
        case: Any = self
        case.assertEqual(await server.got(1), b"x")

    async def test_text_is_no_bytes(self) -> None:
        client, _ = await self.pair()
        case: Any = self
        with case.assertRaises(TypeError):
            client.transport.write("text")

    async def test_closing_sends_what_was_written_first(self) -> None:
        client, server = await self.pair()
        data = PIECE * 64
        client.transport.write(data)
        client.transport.loseConnection()
        case: Any = self
        case.assertIsInstance(await server.lost, ConnectionDone)
        case.assertEqual(server.received, len(data))
        case.assertIsInstance(await client.lost, ConnectionDone)

    async def test_writing_after_the_end_does_nothing(self) -> None:
        client, server = await self.pair()
        client.transport.loseConnection()
        await client.lost
        await server.lost
        client.transport.write(b"late")
        client.transport.writeSequence([b"late"])
        client.transport.loseConnection()
        client.transport.abortConnection()
        server.transport.write(b"late")

    async def test_aborting_tells_both(self) -> None:
        client, server = await self.pair()
        client.transport.write(PIECE * 64)
        client.transport.abortConnection()
        case: Any = self
        case.assertIsInstance(await client.lost, ConnectionAborted)
        case.assertIsInstance(await server.lost, ConnectionLost if self.resets else (ConnectionLost, ConnectionDone))

    async def test_abort_inside_connectionMade_ends_it(self) -> None:
        class Aborter(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                assert self.transport is not None
                self.transport.abortConnection()  # type: ignore[attr-defined]

        case: Any = self
        client, server = await self.pair(accept=Aborter)
        case.assertIsInstance(await server.lost, ConnectionAborted)
        await client.lost

    async def test_paused_reader_gets_nothing_until_it_goes_on(self) -> None:
        client, server = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(b"later")
        await deferLater(reactor, 0.05, lambda: None)
        case: Any = self
        case.assertEqual(server.received, 0)
        server.transport.resumeProducing()
        case.assertEqual(await server.got(5), b"later")

    async def test_pause_inside_connectionMade_holds_what_is_there_already(self) -> None:
        await self._pause_early(False)

    async def test_pause_inside_connectionMade_holds_the_end_too(self) -> None:
        await self._pause_early(True)

    async def _pause_early(self, ends: bool) -> None:
        class Early(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                assert self.transport is not None
                self.transport.write(b"early ")

        class Late(Recorder):
            def connectionMade(self) -> None:
                super().connectionMade()
                assert self.transport is not None
                self.transport.pauseProducing()  # type: ignore[attr-defined]

        case: Any = self
        client, server = await self.pair(accept=Late, build=Early)
        await deferLater(reactor, 0.02, lambda: None)
        case.assertEqual(server.received, 0)
        client.transport.write(b"later")
        if ends:
            client.transport.loseConnection()
        await deferLater(reactor, 0.02, lambda: None)
        case.assertEqual(server.received, 0)
        server.transport.resumeProducing()
        case.assertEqual(await server.got(11), b"early later")
        if ends:
            case.assertIsInstance(await server.lost, ConnectionDone)

    async def test_nothing_is_lost_when_the_peer_closes_on_a_paused_reader(self) -> None:
        client, server = await self.pair()
        server.transport.pauseProducing()
        client.transport.write(PIECE * 2)
        client.transport.loseConnection()
        await deferLater(reactor, 0.05, lambda: None)
        server.transport.resumeProducing()
        case: Any = self
        case.assertIsInstance(await server.lost, ConnectionDone)
        case.assertEqual(server.received, 2 * len(PIECE))

    async def test_a_push_producer_is_held_back_by_a_slow_reader(self) -> None:
        client, server = await self.pair()
        server.keep = False
        server.transport.pauseProducing()
        producer = PushProducer(client.transport, BIG)
        producer.start()
        await deferLater(reactor, 0.1, lambda: None)
        case: Any = self
        case.assertTrue(producer.paused)
        case.assertGreater(producer.left, BIG // 2)  # the kernel takes some megabytes, and no more
        server.transport.resumeProducing()
        await producer.done
        await server.got(BIG)
        case.assertEqual(server.received, BIG)

    async def test_a_pull_producer_is_asked_for_each_piece(self) -> None:
        client, server = await self.pair()
        server.keep = False
        producer = PullProducer(client.transport, 40)
        client.transport.registerProducer(producer, False)
        client.transport.loseConnection()
        case: Any = self
        case.assertIsInstance(await server.lost, ConnectionDone)
        case.assertEqual(server.received, 40 * len(PIECE))

    async def test_there_is_one_producer_at_a_time(self) -> None:
        client, _ = await self.pair()
        first = PushProducer(client.transport, 0)
        client.transport.registerProducer(first, True)
        case: Any = self
        with case.assertRaises(RuntimeError):
            client.transport.registerProducer(PushProducer(client.transport, 0), True)
        client.transport.unregisterProducer()
        client.transport.registerProducer(first, True)

    async def test_a_producer_is_stopped_when_the_connection_ends(self) -> None:
        client, server = await self.pair()
        producer = PushProducer(client.transport, 0)
        client.transport.registerProducer(producer, True)
        server.transport.abortConnection()
        await client.lost
        late = PushProducer(client.transport, 0)
        client.transport.registerProducer(late, True)
        case: Any = self
        case.assertTrue(producer.stopped)
        case.assertTrue(late.stopped)

    async def test_half_close_leaves_the_other_way_open(self) -> None:
        if not self.half_closes:
            return
        client, server = await self.pair(build=HalfCloser)
        client.transport.write(PIECE * 16)
        client.transport.loseWriteConnection()
        await server.read_lost
        await client.write_lost
        case: Any = self
        case.assertEqual(server.received, 16 * len(PIECE))
        server.transport.write(b"still here")
        case.assertEqual(await client.got(10), b"still here")
        server.transport.loseConnection()
        await client.read_lost
        client.transport.loseConnection()
        case.assertIsInstance(await client.lost, ConnectionDone)
        case.assertIsInstance(await server.lost, ConnectionDone)

    async def test_half_close_ends_a_protocol_that_knows_of_none(self) -> None:
        client, server = await self.pair()
        client.transport.write(b"bye")
        client.transport.loseWriteConnection()
        case: Any = self
        case.assertIsInstance(await server.lost, ConnectionDone)
        case.assertEqual(server.data, b"bye")
        case.assertIsInstance(await client.lost, ConnectionDone)

    async def test_an_error_in_dataReceived_ends_the_connection_and_is_logged(self) -> None:
        class Broken(Recorder):
            def dataReceived(self, data: bytes) -> None:
                raise ZeroDivisionError

        client, server = await self.pair(accept=Broken)
        client.transport.write(b"x")
        await server.lost
        await client.lost
        case: Any = self
        case.assertEqual(len(case.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_factory_may_refuse(self) -> None:
        case: Any = self
        accepted = Recorders(lambda: None)
        port = await self.server().listen(accepted)
        client: Any = await self.client(port).connect(Recorders())
        await client.lost
        case.assertEqual(len(accepted.addresses), 1)
        await port.stopListening()

    async def test_addresses_of_both_ends_match(self) -> None:
        client, server = await self.pair()
        case: Any = self
        case.assertEqual(client.transport.getPeer(), server.transport.getHost())
        case.assertEqual(client.transport.getHost(), server.transport.getPeer())
        case.assertEqual(self.port.getHost(), server.transport.getHost())
        case.assertEqual(self.accepting.addresses, [server.transport.getPeer()])
        case.assertEqual(self.connecting.addresses, [client.transport.getPeer()])
        before = client.transport.getPeer()
        client.transport.loseConnection()
        await client.lost
        case.assertEqual(client.transport.getPeer(), before)

    async def test_socket_options_are_kept(self) -> None:
        client, _ = await self.pair()
        case: Any = self
        case.assertTrue(ITCPTransport.providedBy(client.transport))
        if not self.has_tcp_options:
            return
        client.transport.setTcpNoDelay(False)
        case.assertFalse(client.transport.getTcpNoDelay())
        client.transport.setTcpNoDelay(True)
        case.assertTrue(client.transport.getTcpNoDelay())
        client.transport.setTcpKeepAlive(True)
        case.assertTrue(client.transport.getTcpKeepAlive())

    async def test_the_port_is_free_after_it_stopped(self) -> None:
        factory = Recorders()
        port = await self.server().listen(factory)
        client = self.client(port)
        await port.stopListening()
        case: Any = self
        with case.assertRaises(ConnectError):
            await client.connect(Recorders())
        case.assertEqual(factory.stopped, 1)

    async def test_client_factories_hear_of_start_and_stop(self) -> None:
        client, server = await self.pair()
        case: Any = self
        case.assertEqual(self.connecting.stopped, 0)
        client.transport.loseConnection()
        await client.lost
        await server.lost
        case.assertEqual(self.connecting.numPorts, 0)


class TwistedTCPTest(Contract, TestCase):
    """
    Twisted's own: what the suite asks for is what Twisted does.
    """

    def server(self) -> Any:
        return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")

    def client(self, port: Any) -> Any:
        return TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)


class TCPTest(Contract, TestCase):
    """
    Ours on TCP.
    """

    host = "127.0.0.1"

    def server(self) -> Any:
        return TCPServer(reactor, self.host, 0)

    def client(self, port: Any) -> Any:
        return TCPClient(reactor, self.host, port.getHost().port)

    async def test_no_delay_is_on(self) -> None:
        client, server = await self.pair()
        self.assertTrue(client.transport.getTcpNoDelay())
        self.assertTrue(server.transport.getTcpNoDelay())

    async def test_what_came_can_be_acknowledged_at_once(self) -> None:
        """
        The kernel is told so; and nothing happens once the connection is closed.
        """
        client, _ = await self.pair()
        raw = client.transport.raw_socket()
        option = getattr(socket, "TCP_QUICKACK", None)
        if option is None:
            raise SkipTest("this kernel has no such option")
        raw.setsockopt(socket.IPPROTO_TCP, option, 0)
        client.transport.acknowledge()
        self.assertEqual(raw.getsockopt(socket.IPPROTO_TCP, option), 1)
        client.transport.abortConnection()
        client.transport.acknowledge()

    async def test_a_taken_port_is_said_at_once(self) -> None:
        port: Any = await self.server().listen(Recorders())
        with self.assertRaises(CannotListenError):
            await TCPServer(reactor, self.host, port.getHost().port).listen(Recorders())
        await port.stopListening()

    async def test_workers_share_a_port(self) -> None:
        first: Any = await TCPServer(reactor, self.host, 0, reuse_port=True).listen(Recorders())
        number = first.getHost().port
        second = await TCPServer(reactor, self.host, number, reuse_port=True).listen(Recorders())
        await first.stopListening()
        await second.stopListening()

    async def test_the_port_knows_its_connections(self) -> None:
        client, server = await self.pair()
        self.assertEqual(self.port.connections, {server.transport})
        client.transport.loseConnection()
        await server.lost
        self.assertEqual(self.port.connections, set())

    async def test_a_protocol_may_be_swapped(self) -> None:
        client, server = await self.pair()
        other = Recorder()
        server.transport.protocol = other
        client.transport.write(b"x")
        self.assertEqual(await other.got(1), b"x")
        server.lost.callback(None)
        client.transport.loseConnection()
        await other.lost


class TCP6Test(TCPTest):
    """
    Ours on IPv6.
    """

    host = "::1"

    def setUp(self) -> None:
        try:
            with socket.socket(socket.AF_INET6) as probe:
                probe.bind(("::1", 0))
        except OSError:
            self.skipTest("this machine has no IPv6")


class UnixTest(Contract, TestCase):
    """
    Ours on a UNIX socket.
    """

    resets = False
    has_tcp_options = False

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "socket")

    def server(self) -> Any:
        return UnixServer(reactor, self.path)

    def client(self, port: Any) -> Any:
        return UnixClient(reactor, port.getHost().name.decode())

    def test_only_the_owner_may_connect(self) -> Deferred[None]:
        port: Any = self.successResultOf(self.server().listen(Recorders()))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)
        stopped: Deferred[None] = port.stopListening()
        return stopped.addCallback(lambda _: self.assertFalse(os.path.exists(self.path)))

    async def test_a_socket_left_behind_is_replaced_and_a_live_one_is_not(self) -> None:
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path)
        port: Any = await self.server().listen(Recorders())
        with self.assertRaises(CannotListenError):
            await self.server().listen(Recorders())
        await port.stopListening()


class TLSTest(Contract, TestCase):
    """
    Ours on TLS.
    """

    half_closes = False
    resets = False

    def server(self) -> Any:
        return TLSServer(reactor, "127.0.0.1", 0, context("server", server_side=True, alpn=("two", "one"), ask=True))

    def client(self, port: Any) -> Any:
        return TLSClient(
            reactor,
            "127.0.0.1",
            port.getHost().port,
            context("client", server_side=False),
            server_hostname="server",
            alpn=("one",),
        )

    async def test_it_is_tls(self) -> None:
        client, _ = await self.pair()
        self.assertTrue(ISSLTransport.providedBy(client.transport))


class ConnectTest(TestCase):
    """
    How connecting fails.
    """

    async def test_nobody_listens(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            factory = Recorders()
            with self.assertRaises(ConnectionRefusedError):
                await TCPClient(reactor, "127.0.0.1", probe.getsockname()[1]).connect(factory)
        self.assertEqual(factory.stopped, 1)

    async def test_nobody_has_the_name(self) -> None:
        with self.assertRaises(DNSLookupError):
            await TCPClient(reactor, "no-such-host.invalid", 1).connect(Recorders())

    async def test_nobody_answers_in_time(self) -> None:
        clock: Any = Clock()
        clock._asyncioEventloop = loop_of(reactor)
        with socket.socket() as full:  # its queue is full, so a connection stays half open
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            others = []
            for _ in range(4):
                other = socket.socket()
                self.addCleanup(other.close)
                other.setblocking(False)
                other.connect_ex(full.getsockname())
                others.append(other)
            connecting = TCPClient(clock, "127.0.0.1", full.getsockname()[1], timeout=5).connect(Recorders())
            await deferLater(reactor, 0.01, lambda: None)
            clock.advance(4.9)
            self.assertNoResult(connecting)
            clock.advance(0.2)
            with self.assertRaises(TimeoutError):
                await connecting

    async def test_connecting_can_be_given_up(self) -> None:
        port: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(Recorders())
        connecting = TCPClient(reactor, "127.0.0.1", port.getHost().port).connect(Recorders())
        connecting.cancel()
        await deferLater(reactor, 0.01, lambda: None)
        self.failureResultOf(connecting)
        await port.stopListening()
        self.assertEqual(port.connections, set())
