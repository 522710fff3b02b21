"""
Which databases an agent serves, on a clock.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.agents.db.catalog import Catalog, configured
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.config.sections import DatabaseTarget, DbService, ResourceMatcher
from teleport_tw.resources.database_servers import DatabaseServer, Health, TargetHealth
from teleport_tw.resources.databases import Database
from teleport_tw.resources.metadata import Metadata, Resource
from tests.doubles.cluster import FakeApi, MemoryCopy

HOST_ID = "11111111-2222-4333-8444-555555555555"
STATIC = DatabaseTarget(name="orders", labels={"env": "prod"}, spec={"protocol": "postgres", "uri": "localhost:5432"})


def described(name: str, uri: str = "localhost:3306", **labels: str) -> Resource:
    """
    A dynamic database.
    """
    return Resource("db", "v3", Metadata(name, labels=labels), {"protocol": "mysql", "uri": uri})


class Served:
    """
    The agent, as far as it is told what to serve.
    """

    def __init__(self) -> None:
        self.told: list[dict[str, Database]] = []

    def serve(self, databases: Mapping[str, Database]) -> None:
        """
        Kept.
        """
        self.told.append(dict(databases))


class Api(FakeApi):
    """
    Keeps what lives, and who has left.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[str, Resource] = {}
        self.beats = 0
        self.away = False

    async def heartbeat(self, resource: Resource, ttl: timedelta) -> None:
        """Kept."""
        if self.away:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")
        self.beats += 1
        self.alive[resource.name] = resource

    async def goodbye(self, kind: str, name: str) -> None:
        """Gone."""
        if self.away:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")
        assert kind == "db_server"
        self.alive.pop(name, None)


class Base:
    """
    A catalog and what is around it.
    """

    def make(self, clock: Any, *targets: DatabaseTarget, **labels: tuple[str, ...]) -> None:
        """
        @param labels: of dynamic databases.
        """
        self.api, self.copy, self.agent = Api(), MemoryCopy(), Served()
        self.health = TargetHealth()
        self.catalog = Catalog(
            api=self.api,
            clock=clock,
            host_id=HOST_ID,
            hostname="db-1",
            section=DbService(
                enabled=True,
                databases=targets,
                resources=(ResourceMatcher(labels=labels),) if labels else (),
            ),
            copy=self.copy,
            agent=self.agent,
            health=lambda name: self.health,
        )

    def names(self) -> list[str]:
        """
        What the cluster has heard of.
        """
        return sorted(DatabaseServer.parse(each).database.name for each in self.api.alive.values())


class CatalogTests(SynchronousTestCase, Base):
    """
    Without commands.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.make(self.clock, STATIC, env=("dev", "test"))

    def start(self) -> None:
        """
        Running.
        """
        self.catalog.startService()
        self.addCleanup(lambda: self.catalog.running and self.successResultOf(self.catalog.stopService()))

    def test_what_the_file_names(self) -> None:
        """
        Is served and announced at once, again every minute, and no more at the end.
        """
        self.start()
        self.assertEqual(list(self.agent.told[-1]), ["orders"])
        (resource,) = self.api.alive.values()
        self.assertEqual(resource.name, f"{HOST_ID}.orders")
        self.assertEqual(resource.metadata.labels, {"env": "prod", "teleport.dev/origin": "config-file"})
        beats = self.api.beats
        self.clock.advance(67)
        self.assertEqual(self.api.beats, beats + 1)
        self.successResultOf(self.catalog.stopService())
        self.assertEqual(self.api.alive, {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dynamic_ones_come_and_go(self) -> None:
        """
        By label; a change is told at once, and what the file names stays.
        """
        self.start()
        self.copy.put(described("shop", env="dev"))
        self.copy.put(described("hidden", env="prod"))
        self.assertEqual((sorted(self.agent.told[-1]), self.names()), (["orders", "shop"], ["orders", "shop"]))
        self.copy.put(described("shop", "localhost:3307", env="test"))
        self.assertEqual(self.agent.told[-1]["shop"].port, 3307)
        told = len(self.agent.told)
        self.copy.put(described("shop", "localhost:3307", env="test"))
        self.copy.put(Resource("role", "v7", Metadata("x")))
        self.assertEqual(len(self.agent.told), told)
        self.copy.put(described("shop", env="prod"))
        self.assertEqual(self.names(), ["orders"])
        self.copy.put(described("shop", env="dev"))
        self.copy.remove("db", "shop")
        self.assertEqual((list(self.agent.told[-1]), self.names()), (["orders"], ["orders"]))

    def test_the_file_wins(self) -> None:
        """
        Nobody with the right to make resources redirects what an operator wrote down.
        """
        self.start()
        self.copy.put(described("orders", "evil.example.com:1", env="dev"))
        self.assertEqual(self.catalog.served["orders"].host, "localhost")

    def test_broken_resources(self) -> None:
        """
        Stand in nobody's way.
        """
        self.start()
        self.copy.put(Resource("db", "v3", Metadata("bad", labels={"env": "dev"}), {"protocol": "oracle"}))
        self.assertEqual(list(self.catalog.served), ["orders"])

    def test_a_resource_runs_no_command(self) -> None:
        """
        Its dynamic labels have no values here.
        """
        self.start()
        spec = {"protocol": "mysql", "uri": "h:1", "dynamic_labels": {"x": {"command": ["touch", "/nonexistent/x"]}}}
        self.copy.put(Resource("db", "v3", Metadata("shop", labels={"env": "dev"}), spec))
        self.assertEqual(self.catalog.served["shop"].all_labels, {"env": "dev", "x": ""})
        self.assertEqual(self.catalog._labels, {})

    def test_health_is_told(self) -> None:
        """
        At the next heartbeat, or at once when asked.
        """
        self.start()
        self.health = TargetHealth(status=Health.UNHEALTHY, error="refused")
        self.catalog.announce_soon()
        (resource,) = self.api.alive.values()
        self.assertEqual(DatabaseServer.parse(resource).health, self.health)

    def test_auth_is_away(self) -> None:
        """
        It is tried again soon; leaving then holds up nobody.
        """
        self.api.away = True
        self.start()
        self.assertEqual(self.api.alive, {})
        self.api.away = False
        self.clock.advance(5)
        self.assertEqual(self.names(), ["orders"])
        self.api.away = True
        self.successResultOf(self.catalog.stopService())

    def test_a_file_that_makes_no_database(self) -> None:
        """
        Is refused before anything runs.
        """
        wrong = DatabaseTarget(name="x y", spec={"protocol": "postgres", "uri": "h:1"})
        self.assertRaises(TeleportError, configured, [wrong])

    def test_without_matchers_none(self) -> None:
        """
        Dynamic databases are for agents that ask for them.
        """
        self.make(self.clock, STATIC)
        self.start()
        self.copy.put(described("shop", env="dev"))
        self.assertEqual(list(self.catalog.served), ["orders"])


class CommandTests(TestCase, Base):
    """
    With a real command.
    """

    async def test_results_are_labels(self) -> None:
        """
        Known to who decides and to the cluster, once there is one.
        """
        command = [sys.executable, "-c", "print('here')"]
        spec = {**STATIC.spec, "dynamic_labels": {"where": {"command": command, "period": "1h"}}}
        self.make(reactor, DatabaseTarget(name="orders", spec=spec))
        self.catalog.startService()
        self.addCleanup(self.catalog.stopService)
        while self.catalog.served["orders"].all_labels.get("where") != "here":
            await deferLater(reactor, 0.02, lambda: None)  # type: ignore[arg-type]
        self.assertEqual(self.agent.told[-1]["orders"].all_labels["where"], "here")
