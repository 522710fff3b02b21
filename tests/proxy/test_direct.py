"""
Nodes that announce an address which is not theirs.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.pki.identity import Identity
from teleport_tw.proxy.direct import GREETING_SECONDS, AgentlessEndpoint, DirectEndpoint
from teleport_tw.proxy.targets import Targets
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.tunnel.registry import Registry

HEADER = StreamHeader(target_kind="node", target_name="n")


class Line(StringTransport):
    """
    A transport that can be handed on.
    """

    protocol: Any = None
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class There:
    """
    An endpoint to a peer of the test's choice.
    """

    host: str
    line: Line = field(init=False)

    def connect(self, factory: Any) -> Deferred[IProtocol]:
        self.line = Line(peerAddress=IPv4Address("TCP", self.host, 22))
        self.line.protocol = factory.buildProtocol(None)
        self.line.protocol.makeConnection(self.line)
        return succeed(self.line.protocol)


def nobody(transport: object) -> Identity:
    raise AssertionError("no links here")


class Direct(SynchronousTestCase):
    """
    One connection.
    """

    def dial(self, host: str = "10.0.0.5", own_host: bool = False) -> tuple[Line, Deferred[IProtocol]]:
        self.clock, there = Clock(), There(host)
        endpoint: Any = there
        connecting = DirectEndpoint(endpoint, self.clock, "n", own_host).connect(HoldingFactory())
        return there.line, connecting

    def refused(self, line: Line, connecting: Deferred[IProtocol]) -> None:
        error = self.failureResultOf(connecting, TeleportError).value
        self.assertEqual((error.kind, error.message), (Kind.CONNECTION_PROBLEM, "n cannot be reached"))
        self.assertTrue(line.aborted)
        self.assertEqual(line.value(), b"")

    def test_a_server_greets(self) -> None:
        """What was heard is handed on with the connection, however it came."""
        for pieces in ((b"SSH-2.0-x\r\n",), (b"S", b"SH", b"-2.0-x\r\n")):
            line, connecting = self.dial()
            self.assertNoResult(connecting)
            for piece in pieces:
                line.protocol.dataReceived(piece)
            held = self.successResultOf(connecting)
            assert isinstance(held, Held)
            self.assertEqual(held.early, b"SSH-2.0-x\r\n")
            self.assertIs(line.protocol, held)
            self.assertEqual(line.producerState, "paused")
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_another_service(self) -> None:
        """Nothing is told of it, and nothing sent to it: that speaks, is silent, or hangs up."""
        for greeting in (b"220 mail ready\r\n", b"-ERR\r\n", b"S3"):
            line, connecting = self.dial()
            line.protocol.dataReceived(greeting)
            self.refused(line, connecting)
        line, connecting = self.dial()
        self.clock.advance(GREETING_SECONDS)
        self.refused(line, connecting)
        line, connecting = self.dial()
        line.protocol.connectionLost(Failure(ConnectionDone()))
        self.refused(line, connecting)

    def test_a_name_that_leads_inside(self) -> None:
        """What a name resolves to is looked at too; a node beside the proxy may be there."""
        self.refused(*self.dial("127.0.0.1"))
        line, connecting = self.dial("127.0.0.1", own_host=True)
        line.protocol.dataReceived(b"SSH-2.0-x\r\n")
        self.successResultOf(connecting)

    def test_announced_addresses(self) -> None:
        """Addresses of the proxy's own host and link are not even dialled; its own agent's are."""
        clock: Any = Clock()
        copy: Any = None
        targets = Targets("example.com", copy, Registry(clock, nobody), clock, "proxy-id")
        hosts = "127.0.0.1 127.9.9.9 [::1] 0.0.0.0 [::] 169.254.169.254 [fe80::1%eth0] [::ffff:127.0.0.1] 224.0.0.1"
        for host in hosts.split():
            spec = {"hostname": "n", "addr": f"{host}:3022"}
            node = Resource("node", "v2", Metadata("n"), spec, "teleport")
            error = self.assertRaises(TeleportError, targets.endpoint, node, HEADER)
            self.assertIs(error.kind, Kind.CONNECTION_PROBLEM, host)
            own = Resource("node", "v2", Metadata("proxy-id"), spec, "teleport")
            self.assertIsInstance(targets.endpoint(own, HEADER), DirectEndpoint)
        far = Resource("node", "v2", Metadata("n"), {"addr": "10.0.0.5:3022"}, "teleport")
        self.assertIsInstance(targets.endpoint(far, HEADER), DirectEndpoint)

    def test_agentless_addresses(self) -> None:
        """A stock sshd may be on the proxy's host; where no server can be, the proxy does not go for anybody."""
        clock: Any = Clock()
        copy: Any = None
        targets = Targets("example.com", copy, Registry(clock, nobody), clock, "proxy-id")

        def node(host: str) -> Resource:
            return Resource("node", "v2", Metadata("n"), {"hostname": "n", "addr": f"{host}:22"}, "openssh")

        for host in ["169.254.169.254", "[fe80::1%eth0]", "0.0.0.0", "[::]", "224.0.0.1", "[::ffff:169.254.169.254]"]:
            error = self.assertRaises(TeleportError, targets.endpoint, node(host), HEADER)
            self.assertIs(error.kind, Kind.CONNECTION_PROBLEM, host)
        for host in ["127.0.0.1", "[::1]", "10.0.0.5", "db.example.com"]:
            self.assertIsInstance(targets.endpoint(node(host), HEADER), AgentlessEndpoint)

    def test_an_agentless_name_that_leads_astray(self) -> None:
        """What a name resolves to is looked at before a byte is said."""
        for host, wanted in (("169.254.169.254", False), ("10.0.0.5", True)):
            made: list[Any] = []

            class Inner:
                def connect(self, factory: Any, host: str = host, made: list[Any] = made) -> Any:
                    factory.doStart()
                    made.append(factory.buildProtocol(IPv4Address("TCP", host, 22)))
                    factory.doStop()

            inner: Any = Inner()
            AgentlessEndpoint(inner).connect(Factory.forProtocol(Protocol))
            self.assertEqual(made[0] is not None, wanted)
