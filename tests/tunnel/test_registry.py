"""
The proxy's book of links.
"""

from __future__ import annotations

from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.protocols.mux.machine import Role
from teleport_tw.tunnel.endpoints import Receptionist
from teleport_tw.tunnel.link import Link
from teleport_tw.tunnel.registry import Registry
from teleport_tw.tunnel.service import ProxyTunnel
from tests.tunnel.wires import Note, Owner, Pipe

HEADER = StreamHeader(target_kind="node", target_name="a")


class RegistryTests(SynchronousTestCase):
    """
    Agents come, go away and are lost.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.identities: list[Identity | TeleportError] = []
        self.now_refused = False
        self.seen: dict[ITransport, Identity] = {}
        self.registry = Registry(self.clock, self.identify)
        self.news: list[tuple[str, int]] = []
        self.unwatch = self.registry.watch(lambda host, links: self.news.append((host, links)))

    def identify(self, transport: ITransport) -> Identity:
        known = self.seen.get(transport)
        if known is not None:
            if self.now_refused or (known.expires is not None and known.expires.timestamp() < self.clock.seconds()):
                raise access_denied(details="locked or expired")
            return known
        found = self.identities.pop(0)
        if isinstance(found, TeleportError):
            raise found
        self.seen[transport] = found
        return found

    def agent(self, host: str = "a", *roles: SystemRole, identity: Identity | TeleportError | None = None) -> Pipe:
        """
        An agent that links to the registry and answers every stream.
        """
        self.identities.append(
            identity or Identity(username=f"{host}.example", system_roles=roles or (SystemRole.NODE,))
        )

        async def accept(header: StreamHeader, stream: object) -> Note:
            note = Note()
            self.served.append((host, note))
            return note

        self.served: list[tuple[str, Note]] = []
        owner = Owner(Receptionist(accept, self.clock).receive)
        return Pipe(Link(Role.CLIENT, self.clock, owner), self.registry.buildProtocol(None), self.clock)

    def connect(self, host: str, *pipes: Pipe) -> Note:
        note, factory = Note(), Factory()
        factory.buildProtocol = lambda addr: note  # type: ignore[method-assign]
        connecting = self.registry.endpoint(host, HEADER).connect(factory)
        for pipe in pipes:
            pipe.run()
        self.successResultOf(connecting)
        return note

    def test_an_agent_is_reached_by_its_id(self) -> None:
        pipe = self.agent("a", SystemRole.NODE, SystemRole.DB)
        self.assertEqual([(agent.host_id, agent.links) for agent in self.registry.agents()], [("a", 1)])
        self.assertEqual(self.registry.agents("db")[0].kinds, {"node", "db"})
        self.assertEqual(self.registry.agents("app"), ())
        identity = self.registry.identity("a")
        assert identity is not None
        self.assertEqual((identity.host_id, self.registry.identity("b")), ("a", None))
        note = self.connect("a", pipe)
        note.transport.write(b"hello")  # type: ignore[union-attr]
        pipe.run()
        self.assertEqual(self.served[0][1].data, b"hello")

    def test_an_unknown_agent_is_offline(self) -> None:
        error = self.failureResultOf(self.registry.endpoint("b", HEADER).connect(Factory()), TeleportError)
        self.assertIn("offline", error.getErrorMessage())

    def test_the_link_with_fewest_streams_is_taken_and_the_newest_of_equals(self) -> None:
        old, new = self.agent(), self.agent()
        self.assertEqual(self.registry.links("a"), [new.protocols[1], old.protocols[1]])
        self.connect("a", old, new)
        self.assertEqual(self.registry.links("a"), [old.protocols[1], new.protocols[1]])

    def test_a_link_serves_what_its_own_certificate_says(self) -> None:
        """
        Who joined as something else under a server's id gets no stream that is meant for the server, though its link
        is the newest and has the fewest streams.
        """
        real = self.agent("a", SystemRole.NODE)
        self.connect("a", real)
        thief = self.agent("a", SystemRole.DB)
        self.assertEqual(self.registry.links("a", "node"), [real.protocols[1]])
        self.assertEqual(self.registry.links("a", "db"), [thief.protocols[1]])
        self.connect("a", real, thief)
        self.assertEqual(len(thief.protocols[1]), 0)
        real.protocols[1].abort()
        real.run()
        self.assertEqual(self.registry.links("a", "node"), [])
        self.assertEqual(self.registry.agents()[0].kinds, {"db"})

    def test_watchers_hear_of_every_change(self) -> None:
        first, second = self.agent(), self.agent()
        first.cut()
        second.protocols[0].drain()  # type: ignore[attr-defined]
        second.run()
        self.assertEqual(self.news, [("a", 1), ("a", 2), ("a", 1), ("a", 0)])
        self.assertEqual((self.registry.agents(), len(self.registry)), ((), 0))
        self.unwatch()
        self.agent()
        self.assertEqual(len(self.news), 4)

    def test_a_draining_agent_gets_no_streams_but_keeps_its_own(self) -> None:
        pipe = self.agent()
        note = self.connect("a", pipe)
        gone = pipe.protocols[0].drain()  # type: ignore[attr-defined]
        pipe.run()
        self.assertEqual(self.registry.links("a"), [])
        note.transport.write(b"still")  # type: ignore[union-attr]
        pipe.run()
        self.assertEqual(self.served[0][1].data, b"still")
        note.transport.loseConnection()  # type: ignore[union-attr]
        pipe.run()
        self.successResultOf(gone)

    def test_strangers_and_users_are_turned_away(self) -> None:
        for identity in (access_denied(details="expired"), Identity(username="alice")):
            pipe = self.agent(identity=identity)
            self.assertTrue(pipe.ends[1].aborted)
            self.assertEqual(self.registry.agents(), ())
            pipe.cut()
        self.assertEqual((self.news, len(self.registry)), ([], 0))

    def test_a_lock_ends_a_link_and_its_streams(self) -> None:
        """Who would not be let in now is not kept in; who would be, stays."""
        pipe = self.agent("a")
        note = self.connect("a", pipe)
        self.registry.recheck()
        self.assertEqual(len(self.registry.links("a")), 1)
        self.now_refused = True
        self.registry.recheck()
        self.assertTrue(pipe.ends[1].aborted)
        self.assertEqual(self.registry.links("a"), [])
        pipe.cut()
        self.assertIsNotNone(note.lost)
        self.assertEqual((self.news[-1], len(self.registry)), (("a", 0), 0))

    def test_a_link_ends_with_its_certificate(self) -> None:
        """Not before, and at the end without anything else having to happen; lost links leave no timer."""
        expires = from_timestamp(1000)
        one, two = (
            self.agent(identity=Identity(username=f"{name}.example", system_roles=(SystemRole.NODE,), expires=expires))
            for name in "ab"
        )
        two.cut()
        for seconds, ended in ((999, False), (2.5, True)):
            self.clock.advance(seconds)
            self.assertEqual(one.ends[1].aborted, ended)
        one.cut()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_agents_open_no_streams(self) -> None:
        pipe = self.agent()
        note = Note()
        pipe.protocols[0].open().begin(note)  # type: ignore[attr-defined]
        pipe.run()
        self.assertIsNotNone(note.lost)

    def test_a_service_that_stops_drains_every_link(self) -> None:
        pipes = [self.agent("a"), self.agent("b")]
        note = self.connect("a", pipes[0])
        service = ProxyTunnel(self.clock, self.registry, drain_timeout=Duration(seconds=20))
        service.startService()
        stopped = service.stopService()
        for pipe in pipes:
            pipe.run()
        self.assertEqual(len(self.registry), 1)
        late = self.agent("c")
        late.run()
        self.assertNotIn("c", [agent.host_id for agent in self.registry.agents()])
        note.transport.loseConnection()  # type: ignore[union-attr]
        pipes[0].run()
        self.successResultOf(stopped)

    def test_a_service_waits_no_longer_than_it_was_told(self) -> None:
        pipe = self.agent()
        self.connect("a", pipe)
        stopped = ProxyTunnel(self.clock, self.registry, drain_timeout=Duration(seconds=5)).stopService()
        pipe.run()
        self.clock.advance(4.9)
        self.assertNoResult(stopped)
        self.clock.advance(0.2)
        self.successResultOf(stopped)
        self.assertTrue(pipe.ends[1].aborted)
