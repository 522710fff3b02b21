"""
One address cannot take everything.
"""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.limits import ConnectionLimit, RateLimit


class RateLimitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.limit = RateLimit(self.clock, per_minute=20, burst=3)

    def test_burst_then_refused_with_words(self) -> None:
        """A burst passes; the next request is told to wait."""
        for _ in range(3):
            self.limit.take("10.0.0.1")
        refusal = self.assertRaises(TeleportError, self.limit.take, "10.0.0.1")
        self.assertEqual(refusal.kind, Kind.LIMIT_EXCEEDED)

    def test_refills_with_time_and_no_further_than_the_burst(self) -> None:
        """Three seconds earn one request at 20 a minute; a day earns a burst and no more."""
        while self.limit.allows("a"):
            pass
        self.clock.advance(2.9)
        self.assertFalse(self.limit.allows("a"))
        self.clock.advance(0.2)
        self.assertTrue(self.limit.allows("a"))
        self.clock.advance(86400)
        self.assertEqual([self.limit.allows("a") for _ in range(4)], [True, True, True, False])

    def test_addresses_do_not_share(self) -> None:
        """Who is over the limit does not shut out others."""
        while self.limit.allows("a"):
            pass
        self.assertTrue(self.limit.allows("b"))

    def test_memory_is_bounded(self) -> None:
        """A flood of addresses forgets the quietest."""
        limit = RateLimit(self.clock, per_minute=1, burst=1, max_keys=2)
        for key in ("a", "b", "c"):
            self.assertTrue(limit.allows(key))
        self.assertFalse(limit.allows("c"))
        self.assertTrue(limit.allows("a"))


class ConnectionLimitTests(SynchronousTestCase):
    def test_counts_what_is_open(self) -> None:
        """The limit holds until one is closed."""
        limit = ConnectionLimit(2)
        self.assertEqual([limit.acquire("a") for _ in range(3)], [True, True, False])
        self.assertTrue(limit.acquire("b"))
        limit.release("a")
        self.assertTrue(limit.acquire("a"))

    def test_held_gives_back_on_failure(self) -> None:
        """A connection that fails is no longer counted."""
        limit = ConnectionLimit(1)
        with self.assertRaises(ZeroDivisionError), limit.held("a"):
            raise ZeroDivisionError
        with limit.held("a"):
            self.assertRaises(TeleportError, limit.held("a").__enter__)
