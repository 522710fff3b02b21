"""
What becomes of PROXY headers, by policy.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.net.peeking import Decision, GoOn, NeedMore, RawRoute, Refuse
from teleport_tw.config.sections import ProxyProtocol
from teleport_tw.dial.balancer import behind
from teleport_tw.protocols.proxyheader.header import SIGNATURE

BALANCER = IPv4Address("TCP", "10.0.0.1", 5000)
HERE = IPv4Address("TCP", "127.0.0.1", 5000)
LINE = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
HELLO = b"\x16\x03\x01"


class BehindTests(SynchronousTestCase):
    """
    One decision after the other.
    """

    def setUp(self) -> None:
        self.route = RawRoute(Factory())
        self.seen: list[tuple[bytes, Any]] = []

    def inner(self, data: bytes, peer: Any) -> Decision:
        self.seen.append((data, peer))
        return self.route

    def test_on(self) -> None:
        """The header goes, its address counts, and whoever brings none is refused."""
        decide = behind(ProxyProtocol.ON, self.inner)
        self.assertEqual(
            decide(LINE + HELLO, BALANCER),
            GoOn(take=len(LINE), peer=IPv4Address("TCP", "192.0.2.7", 56324), then=self.inner),
        )
        six = b"PROXY TCP6 2001:db8::7 ::1 5 6\r\n"
        self.assertEqual(
            decide(six, BALANCER), GoOn(take=len(six), peer=IPv6Address("TCP", "2001:db8::7", 5), then=self.inner)
        )
        self.assertEqual(decide(LINE[:20], BALANCER), NeedMore())
        self.assertEqual(decide(HELLO, BALANCER), Refuse())
        self.assertEqual(decide(b"PROXY nonsense\r\n", BALANCER), Refuse())
        self.assertEqual(decide(SIGNATURE + b"\x99\0\0\0", BALANCER), Refuse())
        self.assertEqual(self.seen, [])

    def test_on_without_an_address(self) -> None:
        """A balancer that asks whether we live speaks for itself."""
        line = b"PROXY UNKNOWN\r\n"
        decide = behind(ProxyProtocol.ON, self.inner)
        self.assertEqual(decide(line, BALANCER), GoOn(take=len(line), then=self.inner))

    def test_on_from_this_host(self) -> None:
        """The agent of this process needs no header to reach its own proxy; its address is what it is."""
        self.assertIs(behind(ProxyProtocol.ON, self.inner)(HELLO, HERE), self.route)
        self.assertEqual(self.seen, [(HELLO, HERE)])

    def test_unspecified(self) -> None:
        """The header goes, and nobody believes it."""
        decide = behind(ProxyProtocol.UNSPECIFIED, self.inner)
        self.assertEqual(decide(LINE + HELLO, BALANCER), GoOn(take=len(LINE), then=self.inner))
        self.assertIs(decide(HELLO, BALANCER), self.route)

    def test_off(self) -> None:
        """Whoever decides about protocols sees it, and does not know it."""
        self.assertIs(behind(ProxyProtocol.OFF, self.inner)(LINE, BALANCER), self.route)
        self.assertEqual(self.seen, [(LINE, BALANCER)])

    def test_a_second_header_is_no_header(self) -> None:
        """What follows the balancer's is the client's own word, and goes to who decides about protocols."""
        first = behind(ProxyProtocol.ON, self.inner)(LINE + LINE, BALANCER)
        assert isinstance(first, GoOn)
        self.assertEqual(first.take, len(LINE))
        then: Any = first.then
        then(LINE, first.peer)
        self.assertEqual(self.seen, [(LINE, IPv4Address("TCP", "192.0.2.7", 56324))])

    def test_decided_already(self) -> None:
        """Where there is one protocol only, its server need not wait for more."""
        decide = behind(ProxyProtocol.UNSPECIFIED, self.route)
        self.assertEqual(decide(LINE, BALANCER), GoOn(take=len(LINE), then=self.route))
        self.assertIs(decide(b"SSH-2.0-x", BALANCER), self.route)
