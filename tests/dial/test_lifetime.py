"""
What ends a connection, on a clock of the test's own.
"""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.locks import Subject
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import from_timestamp
from teleport_tw.dial.lifetime import Ending, Lease, Lifetimes, Terms
from teleport_tw.dial.view import View
from teleport_tw.resources.roles_options import Strictness
from tests.doubles.cluster import CLUSTER, FakeApi, MemoryCopy, lock

SUBJECT = Subject(user="alice", roles=frozenset({"access"}), login="root", server_id="host-1")
TTL = timedelta(minutes=2)


class LifetimeTests(SynchronousTestCase):
    """
    One connection at a time unless said otherwise.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.copy, self.api = MemoryCopy(), FakeApi()
        self.lifetimes = Lifetimes(self.clock, View(self.copy, CLUSTER), self.api, "host-1")
        self.lifetimes.startService()
        self.addCleanup(self.lifetimes.stopService)
        self.endings: list[Ending] = []

    def advance(self, seconds: float) -> None:
        """In steps of half a second, as a reactor would."""
        for _ in range(round(seconds * 2)):
            self.clock.advance(0.5)

    def test_idleness_counts_from_the_last_use(self) -> None:
        """
        Not before its time, and within two seconds after.
        """
        terms = Terms(subject=SUBJECT, idle_timeout=timedelta(seconds=60), idle_message="bye")
        life = self.lifetimes.begin(terms, self.endings.append)
        self.advance(50)
        life.touch()
        self.advance(59)
        self.assertEqual(self.endings, [])
        self.advance(2)
        self.assertEqual([ending.message for ending in self.endings], ["bye"])
        self.assertIn("no activity for 1m0s", self.endings[0].reason)
        self.assertEqual(len(self.lifetimes), 0)
        self.advance(120)
        self.assertEqual(len(self.endings), 1)

    def test_a_clock_that_is_set(self) -> None:
        """
        Silence is measured by a clock that nobody sets; a certificate ends when the wall clock says so.
        """
        wall = [0.0]
        steady = self.clock.seconds
        self.clock.steady = steady  # type: ignore[attr-defined]  # as our reactor has it
        self.clock.seconds = lambda: steady() + wall[0]  # type: ignore[method-assign]
        self.lifetimes.begin(Terms(subject=SUBJECT, idle_timeout=timedelta(minutes=10)), self.endings.append)
        expires = from_timestamp(self.clock.seconds()) + timedelta(minutes=30)
        expiring: list[Ending] = []
        self.lifetimes.begin(Terms(subject=SUBJECT, expires=expires), expiring.append)
        for jump in (3600, -3600):
            wall[0] += jump
            self.lifetimes._look()
        self.assertEqual((self.endings, len(expiring)), ([], 1))
        wall[0] -= 3600
        late: list[Ending] = []
        self.lifetimes.begin(Terms(subject=SUBJECT, expires=expires), late.append)
        self.lifetimes._look()
        self.assertEqual((self.endings, late), ([], []))

    def test_the_certificate_s_end(self) -> None:
        """
        To the second.
        """
        expires = from_timestamp(self.clock.seconds()) + timedelta(seconds=10)
        self.lifetimes.begin(Terms(subject=SUBJECT, expires=expires), self.endings.append)
        self.advance(9.5)
        self.assertEqual(self.endings, [])
        self.advance(2)
        self.assertIn("expired", self.endings[0].message)

    def test_a_lock_ends_whom_it_hits_at_once(self) -> None:
        """
        And nobody else.
        """
        self.lifetimes.begin(Terms(subject=SUBJECT), self.endings.append)
        others: list[Ending] = []
        self.lifetimes.begin(Terms(subject=Subject(user="bob")), others.append)
        self.copy.put(lock("l0", user="carol"))
        self.assertEqual(self.endings, [])
        self.copy.put(lock("l1", "ask the desk", user="alice"))
        self.assertIn("ask the desk", self.endings[0].message)
        self.assertEqual(others, [])

    def test_a_lock_that_cannot_be_read_ends_everybody(self) -> None:
        """
        Nobody knows whom it is for.
        """
        self.lifetimes.begin(Terms(subject=SUBJECT), self.endings.append)
        self.copy.put(lock("l1"))
        self.assertEqual(len(self.endings), 1)

    def test_stale_locks_end_strict_connections_alone(self) -> None:
        """
        After five minutes without news.
        """
        self.lifetimes.begin(Terms(subject=SUBJECT, locking=Strictness.STRICT), self.endings.append)
        lax: list[Ending] = []
        self.lifetimes.begin(Terms(subject=SUBJECT), lax.append)
        self.copy.old = timedelta(minutes=4)
        self.advance(2)
        self.assertEqual(self.endings, [])
        self.copy.old = timedelta(minutes=6)
        self.advance(2)
        self.assertIn("out of date", self.endings[0].message)
        self.assertEqual(lax, [])

    def test_a_closed_connection_is_forgotten(self) -> None:
        """
        Nothing ends it again.
        """
        life = self.lifetimes.begin(Terms(subject=SUBJECT, idle_timeout=TTL), self.endings.append)
        life.close()
        self.lifetimes.end_all(Ending("x", "x"))
        self.advance(300)
        self.assertEqual(self.endings, [])

    def lease(self, limit: int = 1) -> Lease:
        """One more connection of alice's."""
        return self.successResultOf(Deferred.fromCoroutine(self.lifetimes.lease("alice", limit, TTL)))

    def test_leases_are_bounded_and_given_back_once(self) -> None:
        """
        Over the limit is refused with its kind.
        """
        lease = self.lease()
        failure = self.failureResultOf(Deferred.fromCoroutine(self.lifetimes.lease("alice", 1, TTL)), TeleportError)
        self.assertEqual(failure.value.kind, Kind.LIMIT_EXCEEDED)
        lease.release()
        lease.release()
        self.assertEqual(self.api.leases, {"alice": []})
        self.lease()

    def test_an_outage_shorter_than_the_lease_is_no_matter(self) -> None:
        """
        A longer one ends the connection, before somebody else may have its place.
        """
        lease = self.lease()
        lease.on_lost = self.endings.append
        self.api.away = True
        self.advance(60)
        self.api.away = False
        self.advance(60)
        self.assertEqual(self.endings, [])
        self.api.away = True
        self.advance(125)
        self.assertEqual(len(self.endings), 1)
        self.assertIn("lease", self.endings[0].reason)

    def test_a_lease_that_auth_has_ended_ends_the_connection(self) -> None:
        """
        At the next renewal.
        """
        lease = self.lease()
        lease.on_lost = self.endings.append
        self.api.leases["alice"].clear()
        self.advance(31)
        self.assertEqual(len(self.endings), 1)
