"""
Checks of targets, on a clock.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.agents.db.health import Dial, HealthChecks
from teleport_tw.base.net.endpoints import TCPServer
from teleport_tw.dial.view import View
from teleport_tw.resources.database_servers import Health
from teleport_tw.resources.databases import Database
from tests.doubles.cluster import CLUSTER, Cluster

DATABASE = Database(name="pg", protocol="postgres", uri="db.example.com:5432")


class RoundsTests(SynchronousTestCase):
    """
    What becomes of the results.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.error: Exception | None = None
        self.served = {"pg": DATABASE}
        self.changes: list[str] = []
        self.checks = HealthChecks(self.clock, self.check, lambda: self.served, self.changed)
        self.checks.startService()
        self.addCleanup(self.checks.stopService)
        self.clock.advance(0)

    async def check(self, database: Database) -> None:
        """As told."""
        if self.error is not None:
            raise self.error

    def changed(self) -> None:
        """Noted."""
        self.changes.append(self.checks.health("pg").status.value)

    def later(self) -> None:
        """The next round."""
        self.clock.advance(40)

    def test_the_first_check_says_it(self) -> None:
        """
        At once, with the address that was dialled.
        """
        health = self.checks.health("pg")
        self.assertEqual((health.status, health.reason), (Health.HEALTHY, "initialized"))
        self.assertEqual(health.address, "db.example.com:5432")
        self.assertEqual(self.checks.health("other").status, Health.UNKNOWN)

    def test_one_failure_is_unhealthy_and_two_successes_are_well(self) -> None:
        """
        Each change is told once.
        """
        self.error = OSError("refused")
        self.later()
        self.later()
        self.assertEqual(
            (self.checks.health("pg").status, self.checks.health("pg").error), (Health.UNHEALTHY, "refused")
        )
        self.error = None
        self.later()
        self.assertIs(self.checks.health("pg").status, Health.UNHEALTHY)
        self.later()
        self.assertIs(self.checks.health("pg").status, Health.HEALTHY)
        self.assertEqual(self.changes, ["healthy", "unhealthy", "healthy"])

    def test_the_latest_error_is_shown(self) -> None:
        """
        Without a change of state.
        """
        for text in ("refused", "no route"):
            self.error = OSError(text)
            self.later()
        self.assertEqual(self.checks.health("pg").error, "no route")

    def test_what_is_served_no_more_is_forgotten(self) -> None:
        """
        And begins anew.
        """
        self.served = {}
        self.later()
        self.assertIs(self.checks.health("pg").status, Health.UNKNOWN)

    def test_a_check_that_hangs_fails(self) -> None:
        """
        A target that swallows packets.
        """
        hanging: Deferred[None] = Deferred()

        async def check(database: Database) -> None:
            await hanging

        checks = HealthChecks(self.clock, check, lambda: self.served)
        checks.startService()
        self.addCleanup(checks.stopService)
        self.clock.advance(0)
        self.clock.advance(9)
        self.assertIs(checks.health("pg").status, Health.UNKNOWN)
        self.clock.advance(2)
        self.assertIs(checks.health("pg").status, Health.UNHEALTHY)


class DialTests(TestCase):
    """
    With sockets.
    """

    async def test_a_port_that_listens_and_one_that_does_not(self) -> None:
        """
        By TCP; and by TLS where there is none.
        """
        from twisted.internet.protocol import Factory, Protocol

        listening = await TCPServer(reactor, "127.0.0.1", 0).listen(Factory.forProtocol(Protocol))
        cluster = Cluster()
        dial: Any = Dial(reactor, View(cluster.copy, CLUSTER), 0.5)
        uri = f"127.0.0.1:{listening.getHost().port}"
        await dial(Database(name="pg", protocol="postgres", uri=uri))
        with self.assertRaises(ConnectError):
            await dial(Database(name="m", protocol="mongodb", uri=uri))
        await listening.stopListening()
        with self.assertRaises(ConnectError):
            await dial(Database(name="pg", protocol="postgres", uri=uri))
