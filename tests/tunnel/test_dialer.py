"""
Agents keep a link to each proxy, dial again in time, and drain.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, ITransport
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.streams import StreamHeader, encode_header
from teleport_tw.base.errors import access_denied
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.protocols.mux.machine import Role
from teleport_tw.tunnel.dialer import DIAL_TIMEOUT, STEADY, Dialer
from teleport_tw.tunnel.endpoints import Receptionist
from teleport_tw.tunnel.link import Link
from teleport_tw.tunnel.service import AgentTunnel
from tests.tunnel.wires import Note, Owner, Pipe


class Proxy:
    """
    A proxy in memory, as an endpoint: it answers when the test says so.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.dialled: list[tuple[Deferred[IProtocol], IProtocolFactory]] = []
        self.pipes: list[Pipe] = []

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        attempt: Deferred[IProtocol] = Deferred()
        self.dialled.append((attempt, factory))
        return attempt

    def answer(self) -> Pipe:
        attempt, factory = self.dialled.pop(0)
        link = factory.buildProtocol(None)
        assert isinstance(link, Protocol)
        pipe = Pipe(link, Link(Role.SERVER, self.clock, Owner()), self.clock)
        self.pipes.append(pipe)
        attempt.callback(link)
        return pipe

    def refuse(self) -> None:
        self.dialled.pop(0)[0].errback(ConnectionRefusedError())


class Case(SynchronousTestCase):
    """
    One proxy, one acceptor, and waits that are always the longest.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.proxy = Proxy(self.clock)
        self.changes: list[bool] = []
        self.served: list[Note] = []
        self.backoff = Backoff(first=Duration(seconds=2), cap=Duration(seconds=8), draw=lambda: 1.0)
        self.receptionist = Receptionist(self.accept, self.clock)
        self.dialer = self.make("proxy:3080", self.proxy, self.receptionist)

    async def accept(self, header: StreamHeader, stream: object) -> IProtocol:
        self.served.append(Note())
        return self.served[-1]

    def make(self, name: str, endpoint: object, receptionist: Receptionist) -> Dialer:
        return Dialer(
            name,
            endpoint,  # type: ignore[arg-type]
            self.clock,
            receptionist,
            verify=self.verify,
            changed=lambda: self.changes.append(self.dialer.link is not None),
            backoff=self.backoff,
        )

    def verify(self, transport: ITransport) -> None:
        pass

    def serve(self, pipe: Pipe) -> Note:
        """
        The proxy opens a stream that is accepted.
        """
        note = Note()
        stream = pipe.protocols[1].open()  # type: ignore[attr-defined]
        stream.begin(note)
        stream.write(encode_header(StreamHeader(target_kind="node")))
        pipe.run()
        return note


class DialerTests(Case):
    """
    One proxy.
    """

    def test_it_dials_at_once_and_takes_streams(self) -> None:
        self.dialer.start()
        self.dialer.start()
        pipe = self.proxy.answer()
        self.assertIs(self.dialer.link, pipe.protocols[0])
        self.serve(pipe)
        self.assertEqual((len(self.served), self.proxy.dialled, self.changes), (1, [], [True]))

    def test_waits_grow_to_the_cap(self) -> None:
        self.dialer.start()
        for wait in (2, 4, 8, 8):
            self.proxy.refuse()
            self.clock.advance(wait - 0.1)
            self.assertEqual(self.proxy.dialled, [])
            self.clock.advance(0.1)
            self.assertEqual(len(self.proxy.dialled), 1)

    def test_jitter_is_drawn_for_each_wait(self) -> None:
        draws = iter([0.5, 0.0, 0.25])
        self.backoff = Backoff(first=Duration(seconds=2), cap=Duration(seconds=8), draw=lambda: next(draws))
        dialer = self.make("proxy:3080", self.proxy, self.receptionist)
        dialer.start()
        for wait in (1.0, 0.0, 2.0):
            self.proxy.refuse()
            if wait:
                self.clock.advance(wait - 0.01)
                self.assertEqual(self.proxy.dialled, [])
            self.clock.advance(0.01)
            self.assertEqual(len(self.proxy.dialled), 1)

    def test_a_lost_link_is_dialled_again(self) -> None:
        self.dialer.start()
        self.proxy.answer().cut()
        self.assertEqual(self.changes, [True, False])
        self.clock.advance(2)
        self.proxy.answer()
        self.assertIsNotNone(self.dialer.link)

    def test_a_link_that_held_sets_the_waits_back(self) -> None:
        self.dialer.start()
        self.proxy.refuse()
        self.clock.advance(2)
        self.proxy.answer().cut()
        self.clock.advance(3.9)
        self.assertEqual(self.proxy.dialled, [])
        self.clock.advance(0.1)
        pipe = self.proxy.answer()
        for _ in range(int(STEADY.total_seconds())):
            self.clock.advance(1)
            pipe.run()
        pipe.cut()
        self.clock.advance(2)
        self.assertEqual(len(self.proxy.dialled), 1)

    def test_a_proxy_that_does_not_answer(self) -> None:
        self.dialer.start()
        self.clock.advance(DIAL_TIMEOUT.total_seconds())
        self.clock.advance(2)
        self.assertEqual(len(self.proxy.dialled), 2)

    def test_a_proxy_that_goes_away_is_dialled_anew_while_streams_go_on(self) -> None:
        self.dialer.start()
        old = self.proxy.answer()
        note = self.serve(old)
        old.protocols[1].drain()  # type: ignore[attr-defined]
        old.run()
        self.assertIsNone(self.dialer.link)
        self.clock.advance(2)
        new = self.proxy.answer()
        self.assertIs(self.dialer.link, new.protocols[0])
        note.transport.write(b"still")  # type: ignore[union-attr]
        old.run()
        self.assertEqual(self.served[0].data, b"still")
        note.transport.loseConnection()  # type: ignore[union-attr]
        old.run()
        self.assertTrue(old.broken)
        self.assertIs(self.dialer.link, new.protocols[0])
        self.assertEqual(self.proxy.dialled, [])

    def test_a_proxy_that_is_not_trusted(self) -> None:
        def refuse(transport: ITransport) -> None:
            raise access_denied(details="wrong authority")

        self.verify = refuse  # type: ignore[method-assign]
        self.dialer = self.make("proxy:3080", self.proxy, self.receptionist)
        self.dialer.start()
        pipe = self.proxy.answer()
        self.assertTrue(pipe.ends[0].aborted)
        self.assertIsNone(self.dialer.link)
        pipe.cut()
        self.clock.advance(2)
        self.assertEqual(len(self.proxy.dialled), 1)

    def test_stopping_in_every_state(self) -> None:
        self.successResultOf(self.dialer.stop())
        self.dialer.start()
        self.successResultOf(self.dialer.stop())
        self.proxy.dialled.clear()
        self.dialer.start()
        self.proxy.refuse()
        self.successResultOf(self.dialer.stop())
        self.dialer.start()
        pipe = self.proxy.answer()
        stopping = self.dialer.stop()
        pipe.run()
        self.successResultOf(stopping)
        self.clock.advance(100)
        self.assertEqual(self.proxy.dialled, [])

    def test_draining_lets_streams_end(self) -> None:
        self.dialer.start()
        pipe = self.proxy.answer()
        note = self.serve(pipe)
        stopping = self.dialer.stop()
        pipe.run()
        self.assertNoResult(stopping)
        note.transport.loseConnection()  # type: ignore[union-attr]
        pipe.run()
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class ServiceTests(Case):
    """
    Several proxies.
    """

    def setUp(self) -> None:
        super().setUp()
        self.other = Proxy(self.clock)
        self.service = AgentTunnel(
            self.clock, self.receptionist, self.make, {"a": self.proxy, "b": self.other},  # type: ignore[dict-item]
            drain_timeout=Duration(seconds=20),
        )  # fmt: skip

    def test_one_link_for_each_proxy(self) -> None:
        self.service.startService()
        self.proxy.answer()
        self.other.answer()
        self.assertEqual(self.service.links, 2)

    def test_proxies_come_and_go(self) -> None:
        self.service.startService()
        pipe = self.proxy.answer()
        third = Proxy(self.clock)
        self.service.set_proxies({"b": self.other, "c": third})  # type: ignore[dict-item]
        pipe.run()
        self.assertTrue(pipe.broken)
        third.answer()
        self.assertEqual([dialer.name for dialer in self.service.dialers], ["b", "c"])
        self.assertEqual(self.service.links, 1)

    def test_stopping_drains_for_so_long(self) -> None:
        self.service.startService()
        pipe = self.proxy.answer()
        self.serve(pipe)
        stopping = self.service.stopService()
        pipe.run()
        self.clock.advance(19)
        pipe.run()
        self.assertNoResult(stopping)
        self.clock.advance(1)
        self.successResultOf(stopping)
        self.assertTrue(pipe.ends[0].aborted)
