"""
A user's stream when something goes wrong on the way.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.streams import StreamHeader, encode_header
from teleport_tw.pki.identity import Identity
from teleport_tw.proxy.dialin import HEADER_SECONDS, DialIn

ALICE = Identity(username="alice", cluster="example.com")


class Broken:
    """
    Targets that fail as they never should.
    """

    def node(self, host: str, cluster: str = "") -> Any:
        raise ZeroDivisionError


class Transport(StringTransport):
    """
    With a peer.
    """

    aborted = False

    def getPeer(self) -> IPv4Address:  # type: ignore[override]
        return IPv4Address("TCP", "10.0.0.1", 40000)

    def abortConnection(self) -> None:
        self.aborted = True


class DialInTests(SynchronousTestCase):
    """
    One connection in hand.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        targets: Any = Broken()
        self.protocol = DialIn(targets, self.clock).build(ALICE, b"")
        self.transport = Transport()
        self.protocol.makeConnection(self.transport)

    def test_our_own_bug(self) -> None:
        """The client does not wait for ever for an answer that nobody will give."""
        self.protocol.dataReceived(encode_header(StreamHeader(target_kind="node", target_name="x")))
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_silence(self) -> None:
        """Who says nothing is not waited for."""
        self.clock.advance(HEADER_SECONDS - 1)
        self.assertFalse(self.transport.aborted)
        self.clock.advance(1)
        self.assertTrue(self.transport.aborted)

    def test_too_much(self) -> None:
        """A header beyond its bound ends the connection."""
        self.protocol.dataReceived(b"\xff" * 8)
        self.assertTrue(self.transport.aborted)
