"""
Databases.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.databases import AWS, GCP, AdminUser, Database, DatabaseTLS, DynamicLabel, TLSMode
from teleport_tw.resources.kinds import lookup, validate
from teleport_tw.resources.metadata import Metadata, Resource

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"
HOST_ID = "a4c2b1d0-0000-4000-8000-000000000001"


def database(**changes: Any) -> Database:
    """
    With everything said.
    """
    said: dict[str, Any] = {
        "name": "orders",
        "protocol": "postgres",
        "uri": "db.example.com:5432",
        "description": "what was bought",
        "labels": {"env": "prod"},
        "dynamic_labels": {"load": DynamicLabel(command=("uptime",), period=timedelta(minutes=1), result="3")},
        "tls": DatabaseTLS(mode=TLSMode.VERIFY_CA, server_name="pg", ca_cert=PEM, trust_system_cert_pool=True),
        "admin_user": AdminUser(name="boss", default_database="postgres"),
        "mysql_version": "8.0.1",
        "aws": AWS(region="eu-west-1", details={"region": "eu-west-1"}),
        "gcp": GCP(project_id="p", instance_id="i"),
    }
    return Database(**{**said, **changes})


def of(name: str = "orders", **spec: Any) -> Resource:
    """
    As somebody wrote it.
    """
    said = {"protocol": "postgres", "uri": "localhost:5432", **spec}
    return Resource("db", "v3", Metadata(name, labels={"env": "prod"}), said)


class DatabaseTests(SynchronousTestCase):
    """
    The target.
    """

    def test_what_we_make_reads_back(self) -> None:
        """
        A view turned into a resource is parsed as the same view.
        """
        for view in (database(), database(dynamic_labels={}, tls=DatabaseTLS(), aws=AWS(), gcp=GCP())):
            resource = view.to_resource()
            self.assertEqual(Database.parse(resource), view)
            validate(resource)
            self.assertEqual(len(lookup("db").row(resource)), len(lookup("dbs").columns))

    def test_dynamic_labels_as_people_write_them(self) -> None:
        """
        A list with names; results join the static labels and win.
        """
        listed = [{"name": "env", "command": ["hostname"], "period": "30s"}]
        read = Database.parse(of(dynamic_labels=listed))
        self.assertEqual(read.dynamic_labels["env"].period, timedelta(seconds=30))
        self.assertEqual(read.with_results({"env": "here", "other": "x"}).all_labels, {"env": "here"})

    def test_addresses(self) -> None:
        """
        With and without scheme and port, and several for a replica set.
        """
        for protocol, uri, wanted in (
            ("postgres", "db.example.com:5433", [("db.example.com", 5433)]),
            ("postgres", "db.example.com", [("db.example.com", 5432)]),
            ("mysql", "[::1]:3306", [("::1", 3306)]),
            ("redis", "rediss://cache:7000?mode=cluster", [("cache", 7000)]),
            ("mongodb", "mongodb://a,b:27018/?replicaSet=rs0", [("a", 27017), ("b", 27018)]),
            ("cockroachdb", "roach", [("roach", 26257)]),
        ):
            read = Database.parse(of(protocol=protocol, uri=uri))
            self.assertEqual(list(read.addresses), wanted)
            self.assertEqual((read.host, read.port), wanted[0])
        self.assertEqual(read.parameters, {})
        redis = Database.parse(of(protocol="redis", uri="redis://cache:7000?mode=cluster"))
        self.assertEqual(redis.parameters, {"mode": "cluster"})
        self.assertEqual(redis.server_name, "cache")
        self.assertEqual(database().server_name, "pg")

    def test_names_are_checked_where_they_can_be(self) -> None:
        """
        Only where one cannot reach another database from within the one named.
        """
        checked = [each for each in ("postgres", "mongodb", "mysql", "cockroachdb", "redis") if self.checks(each)]
        self.assertEqual(checked, ["postgres", "mongodb"])

    def checks(self, protocol: str) -> bool:
        """
        Whether names are.
        """
        return database(protocol=protocol).checks_names

    def test_mistakes(self) -> None:
        """
        All at once, each with its path.
        """
        wrong = of("or ders", protocol="oracle", uri="db:port", tls={"mode": "maybe", "ca_cert": "x"}, url="x")
        error = str(self.assertRaises(TeleportError, validate, wrong))
        for path in ("metadata.name", "spec.protocol", "spec.tls.mode", "spec.tls.ca_cert", "spec.url"):
            self.assertIn(path, error)
        for uri in ("db:port", "mongodb://", "http://[x", ","):
            self.assertIn("spec.uri", str(self.assertRaises(TeleportError, validate, of(uri=uri))))
        self.assertIn("missing", str(self.assertRaises(TeleportError, validate, of(uri=""))))
        labels = [{"command": ["x"]}]
        self.assertIn("name", str(self.assertRaises(TeleportError, validate, of(dynamic_labels=labels))))

    def test_iam(self) -> None:
        """
        A region says that the database is Amazon's.
        """
        self.assertTrue(database().aws.iam)
        self.assertFalse(Database.parse(of()).aws.iam)
