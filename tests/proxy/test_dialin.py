"""
A user's stream when something goes wrong on the way.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.streams import Prefixed, StreamHeader, decode_answer, encode_header
from teleport_tw.base.errors import Kind, access_denied
from teleport_tw.pki.identity import Identity
from teleport_tw.proxy.dialin import HEADER_SECONDS, DialIn, TurnedAway

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


class TurnedAwayTests(SynchronousTestCase):
    """
    A client that is known and may not come in.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.protocol = TurnedAway(self.clock, access_denied("lock: off duty"))
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def test_it_is_told_why(self) -> None:
        """Once it has asked, and once only."""
        self.assertEqual(self.transport.value(), b"")
        self.protocol.dataReceived(b"anything")
        self.protocol.dataReceived(b"more")
        body = Prefixed().feed(self.transport.value())
        assert body is not None
        error = decode_answer(body)
        assert error is not None
        self.assertEqual((error.kind, error.message), (Kind.ACCESS_DENIED, "lock: off duty"))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_may_not_stay(self) -> None:
        """Without asking, ten seconds; when it leaves by itself, nothing is left behind."""
        self.clock.advance(9.9)
        self.assertFalse(self.transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(self.transport.disconnecting)
        other = TurnedAway(self.clock, access_denied("no"))
        other.makeConnection(StringTransport())
        other.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
