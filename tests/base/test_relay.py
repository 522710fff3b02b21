"""
L{teleport_tw.base.relay} between real connections: a client, the relay's two sides, and a target.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import TestCase

from teleport_tw.base.net.endpoints import TCPClient, TCPServer, TLSClient, TLSServer
from teleport_tw.base.relay import join
from tests.base.net.peers import HalfCloser, Recorder, Recorders, context
from tests.base.net.test_transports import BIG, PIECE, PushProducer

reactor: Any = installed


class RelayContract:
    """
    A client talks to a target through a relay.
    """

    half_closes = True
    timeout = 10

    async def meet(self, kind: Any = Recorder, **options: Any) -> tuple[Any, Any]:
        """
        @return: the client's and the target's protocol.
        """
        case: Any = self
        accepted, reached = Recorders(), Recorders(kind)
        front = await self.front().listen(accepted)
        back = await self.back().listen(reached)
        self.client: Any = await self.to_front(front).connect(Recorders(kind))
        inner: Any = await accepted.first()
        outer: Any = await self.to_back(back).connect(Recorders())
        self.target: Any = await reached.first()
        self.joined = join(inner.transport, outer.transport, **options)
        self.inner, self.outer = inner.transport, outer.transport

        async def end() -> None:
            for peer in (self.client, self.target):
                if not peer.lost.called:
                    peer.transport.abortConnection()
                    await peer.lost
            if not self.joined.called:
                await self.joined
            await front.stopListening()
            await back.stopListening()

        case.addCleanup(lambda: Deferred.fromCoroutine(end()))
        return self.client, self.target

    def front(self) -> Any:
        return TCPServer(reactor, "127.0.0.1", 0)

    back = front

    def to_front(self, port: Any) -> Any:
        return TCPClient(reactor, "127.0.0.1", port.getHost().port)

    to_back = to_front

    async def test_bytes_pass_both_ways_and_are_counted(self) -> None:
        client, target = await self.meet()
        client.transport.write(b"question")
        case: Any = self
        case.assertEqual(await target.got(8), b"question")
        target.transport.write(b"answer")
        case.assertEqual(await client.got(6), b"answer")
        client.transport.loseConnection()
        ended = await self.joined
        case.assertEqual((ended.forth, ended.back), (8, 6))
        case.assertIsInstance(ended.reason, ConnectionDone)

    async def test_closing_half_leaves_the_way_back_open(self) -> None:
        if not self.half_closes:
            return
        client, target = await self.meet(HalfCloser)
        client.transport.write(b"all of it")
        client.transport.loseWriteConnection()
        await target.read_lost
        case: Any = self
        case.assertEqual(target.data, b"all of it")
        target.transport.write(PIECE * 8)
        target.transport.loseWriteConnection()
        await client.read_lost
        case.assertEqual(client.received, 8 * len(PIECE))
        client.transport.loseConnection()
        target.transport.loseConnection()
        ended = await self.joined
        case.assertEqual((ended.forth, ended.back), (9, 8 * len(PIECE)))

    async def test_a_lost_side_ends_the_other_after_what_was_sent(self) -> None:
        client, target = await self.meet()
        target.keep = False
        client.transport.write(PIECE * 64)
        client.transport.loseConnection()
        await target.lost
        case: Any = self
        case.assertEqual(target.received, 64 * len(PIECE))

    async def test_a_reset_is_told_and_ends_the_other(self) -> None:
        client, _ = await self.meet()
        client.transport.abortConnection()
        ended = await self.joined
        case: Any = self
        case.assertIsInstance(ended.reason, (ConnectionLost, ConnectionDone))

    async def test_a_slow_reader_slows_the_writer(self) -> None:
        client, target = await self.meet()
        target.keep = False
        target.transport.pauseProducing()
        producer = PushProducer(client.transport, BIG)
        producer.start()
        await deferLater(reactor, 0.1, lambda: None)
        case: Any = self
        case.assertTrue(producer.paused)
        case.assertGreater(producer.left, BIG // 2)
        target.transport.resumeProducing()
        await producer.done
        await target.got(BIG)
        case.assertEqual(target.received, BIG)

    async def test_cancelling_aborts_both(self) -> None:
        client, target = await self.meet()
        self.joined.cancel()
        case: Any = self
        await client.lost
        await target.lost
        with case.assertRaises(CancelledError):
            await self.joined
        case.assertFalse(self.inner.connected)
        case.assertFalse(self.outer.connected)

    async def test_silence_on_both_ways_ends_it(self) -> None:
        clock = Clock()
        client, target = await self.meet(clock=clock, idle_seconds=60)
        case: Any = self
        clock.pump([15] * 3)
        client.transport.write(b"x")
        await target.got(1)
        clock.pump([15] * 4)
        case.assertFalse(self.joined.called)
        clock.pump([15] * 2)
        case.assertIsInstance((await self.joined).reason, ConnectionDone)
        case.assertEqual(clock.getDelayedCalls(), [])

    async def test_a_side_that_is_gone_already_ends_the_other(self) -> None:
        case: Any = self
        accepted = Recorders()
        port: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(accepted)
        first: Any = await TCPClient(reactor, "127.0.0.1", port.getHost().port).connect(Recorders())
        second: Any = await TCPClient(reactor, "127.0.0.1", port.getHost().port).connect(Recorders())
        first.transport.abortConnection()
        await first.lost
        ended = await join(first.transport, second.transport)
        case.assertIsInstance(ended.reason, ConnectionLost)
        await port.stopListening()
        for peer in accepted.built:
            assert isinstance(peer, Recorder)
            await peer.lost


class NativeTest(RelayContract, TestCase):
    """
    Between transports of ours.
    """


class MixedTest(RelayContract, TestCase):
    """
    Between one of ours and one of Twisted's.
    """

    def back(self) -> Any:
        return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")

    def to_back(self, port: Any) -> Any:
        return TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)


class TLSInTest(RelayContract, TestCase):
    """
    With TLS on the client's side.
    """

    half_closes = False

    def front(self) -> Any:
        return TLSServer(reactor, "127.0.0.1", 0, context("server", server_side=True))

    def to_front(self, port: Any) -> Any:
        return TLSClient(
            reactor,
            "127.0.0.1",
            port.getHost().port,
            context("client", server_side=False),
            server_hostname="server",
        )
