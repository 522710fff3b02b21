"""
The agents that serve databases.
"""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.database_servers import DatabaseServer, Health, TargetHealth, database_name
from teleport_tw.resources.kinds import lookup, validate
from teleport_tw.resources.metadata import Metadata, Resource
from tests.resources.test_databases import database

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOST_ID = "a4c2b1d0-0000-4000-8000-000000000001"


class ServerTests(SynchronousTestCase):
    """
    An agent that serves it.
    """

    def server(self) -> DatabaseServer:
        """
        With everything said.
        """
        health = TargetHealth(
            status=Health.UNHEALTHY,
            address="db.example.com:5432",
            reason="threshold_reached",
            error="refused",
            message="1 failed",
            since=NOON,
        )
        return DatabaseServer(
            host_id=HOST_ID, hostname="h", database=database(), version="1", health=health, proxy_ids=("p",)
        )

    def test_what_we_make_reads_back(self) -> None:
        """
        Database, health and all; what roles match on are the database's labels.
        """
        for view in (self.server(), DatabaseServer(host_id=HOST_ID, hostname="", database=database())):
            resource = view.to_resource()
            self.assertEqual(DatabaseServer.parse(resource), view)
            validate(resource)
            self.assertEqual(resource.metadata.labels, {"env": "prod", "load": "3"})
            self.assertEqual(database_name(resource), "orders")
            row = lookup("db_servers").row(resource)
            self.assertEqual(len(row), len(lookup("db_server").columns))
            self.assertIn(view.health.status.value, row)

    def test_name_says_whose_it_is(self) -> None:
        """
        One host may not announce under another's id.
        """
        self.assertEqual(self.server().name, f"{HOST_ID}.orders")
        resource = self.server().to_resource()
        other = Resource("db_server", "v3", Metadata("other.orders"), resource.spec)
        self.assertIn("metadata.name", str(self.assertRaises(TeleportError, validate, other)))

    def test_mistakes(self) -> None:
        """
        The inner database's as well.
        """
        wrong = Resource("db_server", "v3", Metadata("x"), {"database": {"metadata": {"name": "a"}, "spec": {}}})
        error = str(self.assertRaises(TeleportError, validate, wrong))
        for path in ("spec.host_id", "spec.database", "spec.uri"):
            self.assertIn(path, error)
        for spec in ({}, {"database": []}, {"database": {"metadata": {"name": 3}}}):
            self.assertEqual(database_name(Resource("db_server", "v3", Metadata("x"), spec)), "")
