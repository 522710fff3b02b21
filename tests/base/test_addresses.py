"""
C{host:port} in every way it is written.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis.strategies import ip_addresses, text
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.addresses import host_of, join_address, network_of, same_address, split_address
from teleport_tw.base.errors import Kind, TeleportError


class AddressTests(SynchronousTestCase):
    """
    Apart and together.
    """

    def test_split(self) -> None:
        """
        Brackets and ports are understood.
        """
        for address, parts in (
            ("db1:22", ("db1", 22)),
            ("[2001:db8::1]:3022", ("2001:db8::1", 3022)),
            (":3025", ("", 3025)),
            ("127.0.0.1:0", ("127.0.0.1", 0)),
        ):
            self.assertEqual(split_address(address), parts)
            self.assertEqual(host_of(address), parts[0])
        for alone in ("db1", "2001:db8::1", "[2001:db8::1]"):
            self.assertEqual(split_address(alone, 443), (alone.strip("[]"), 443))

    def test_no_port(self) -> None:
        """
        What has no port to dial says so, in words.
        """
        for address in (
            "",
            "db1",
            "db1:",
            "db1:ssh",
            "db1:99999",
            "db1:-1",
            "db1:\u0661",
            "2001:db8::1",
            "[::1]",
            "[::1]22",
        ):
            refusal = self.assertRaises(TeleportError, split_address, address)
            self.assertEqual(refusal.kind, Kind.BAD_PARAMETER)
            self.assertIn("write host:port", refusal.message)

    @given(ip_addresses())
    def test_round_trip(self, address: object) -> None:
        """
        Every address is found again.
        """
        self.assertEqual(split_address(join_address(str(address), 7)), (str(address), 7))

    @given(text())
    def test_anything(self, address: str) -> None:
        """
        Whatever is written gives an address or a refusal.
        """
        try:
            host, port = split_address(address)
        except TeleportError:
            return
        self.assertIn(port, range(65536))
        self.assertEqual(host, host_of(address))

    def test_network(self) -> None:
        """
        A customer of IPv6 has one name, however many addresses.
        """
        self.assertEqual(network_of("10.0.0.1"), "10.0.0.1")
        self.assertEqual(network_of("::ffff:10.0.0.1"), "10.0.0.1")
        self.assertEqual(network_of("2001:db8:1:2:3::4"), network_of("2001:db8:1:2:ffff::%eth0"))
        self.assertNotEqual(network_of("2001:db8:1:2::4"), network_of("2001:db8:1:3::4"))
        self.assertEqual(network_of("unknown"), "unknown")

    def test_one_address_written_two_ways(self) -> None:
        """
        A socket that serves both families shows IPv4 peers mapped.
        """
        for one, other in (("10.0.0.1", "::ffff:10.0.0.1"), ("2001:db8::1", "2001:0DB8:0::1"), ("x", "x")):
            self.assertTrue(same_address(one, other))
            self.assertTrue(same_address(other, one))
        for one, other in (("10.0.0.1", "10.0.0.2"), ("::1", "127.0.0.1"), ("x", "10.0.0.1"), ("", "10.0.0.1")):
            self.assertFalse(same_address(one, other))
