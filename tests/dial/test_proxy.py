"""
Dialling through the proxy, with and without a reactor, and everybody who pretends to be it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.api.streams import StreamHeader, encode_answer
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.dial.blocking import open_stream
from teleport_tw.dial.identity import require_proxy
from teleport_tw.dial.proxy import ProxyEndpoint
from teleport_tw.pki.identity import SystemRole
from tests.dial.world import STRANGER, client_identity, listen


class Collects(Protocol):
    """
    Waits for some bytes.
    """

    def __init__(self) -> None:
        self.came = b""
        self.enough: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.came += data
        if self.came.endswith(b"!") and not self.enough.called:
            self.enough.callback(self.came)


class DialTests(TestCase):
    """
    Over real TLS.
    """

    timeout = 30

    def setUp(self) -> None:
        self.seen: list[StreamHeader] = []

    def endpoint(self, port: int, target: str = "node-1") -> ProxyEndpoint:
        clock: Any = reactor
        return ProxyEndpoint(clock, "localhost", port, client_identity(), target, login="root")

    async def refused(self, port: int) -> TeleportError:
        error = await self.assertFailure(self.endpoint(port).connect(Factory.forProtocol(Collects)), TeleportError)
        blocking = await self.assertFailure(
            deferToThread(open_stream, "localhost", port, client_identity(), "node-1"), TeleportError
        )
        self.assertEqual(error.kind, blocking.kind)
        assert isinstance(error, TeleportError)
        return error

    async def test_stream(self) -> None:
        """The header names the server; what it says with the answer is not lost; then bytes go both ways."""
        port = await listen(self.addCleanup, encode_answer() + b"SSH-", self.seen)
        protocol: Any = await self.endpoint(port).connect(Factory.forProtocol(Collects))
        protocol.transport.write(b"2.0!")
        self.assertEqual(await protocol.enough, b"SSH-2.0!")
        protocol.transport.abortConnection()
        header = self.seen[0]
        self.assertEqual((header.target_kind, header.target_name, header.login), ("node", "node-1", "root"))

    async def test_blocking_stream(self) -> None:
        """The same without a reactor."""
        port = await listen(self.addCleanup, encode_answer() + b"SSH-", self.seen)

        def use() -> bytes:
            connection, early = open_stream("localhost", port, client_identity(), "node-1@leaf")
            with connection:
                connection.sendall(b"2.0!")
                while not early.endswith(b"!"):
                    early += connection.recv(100)
            return early

        self.assertEqual(await deferToThread(use), b"SSH-2.0!")
        self.assertEqual(self.seen[0].target_name, "node-1@leaf")

    async def test_no(self) -> None:
        """What the other side says is what the user hears."""
        port = await listen(self.addCleanup, encode_answer(not_found("no server is known as node-1")), self.seen)
        error = await self.refused(port)
        self.assertEqual((error.kind, str(error)), (Kind.NOT_FOUND, "no server is known as node-1"))

    async def test_another_host_pretends(self) -> None:
        """A node has a certificate of the same authority; it is told nothing all the same."""
        port = await listen(self.addCleanup, encode_answer(), self.seen, role=SystemRole.NODE)
        self.assertEqual((await self.refused(port)).kind, Kind.ACCESS_DENIED)
        self.assertEqual(self.seen, [])

    async def test_another_cluster_pretends(self) -> None:
        """A proxy of a cluster of the same name, with other keys."""
        port = await listen(self.addCleanup, encode_answer(), self.seen, authority=STRANGER)
        self.assertEqual((await self.refused(port)).kind, Kind.CONNECTION_PROBLEM)
        self.assertEqual(self.seen, [])

    async def test_nonsense(self) -> None:
        """An answer that is none, or far too long."""
        for answer in (b"\0\0\0\4junk", b"\xff\xff\xff\xff"):
            port = await listen(self.addCleanup, answer, self.seen)
            self.assertEqual((await self.refused(port)).kind, Kind.CONNECTION_PROBLEM)


class RoleTests(SynchronousTestCase):
    """
    Who may stand in for the proxy.
    """

    def test_roles(self) -> None:
        """Its role must be among the certificate's; no certificate has none."""
        name: Any = ((("commonName", "x"),), (("organizationName", "Node"),), (("organizationName", "Proxy"),))
        require_proxy({"subject": name}, "p:1")
        for said in (None, {}, {"subject": name[:2]}, {"subject": ((("commonName", "Proxy"),),)}):
            self.assertRaises(TeleportError, require_proxy, said, "p:1")
