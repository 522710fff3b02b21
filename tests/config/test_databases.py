"""
C{db_service} as people write it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.config.effects import changed
from teleport_tw.config.load import load_text
from teleport_tw.config.read_databases import PROTOCOLS
from teleport_tw.config.sections import DbService, RecordParameters
from teleport_tw.resources.databases import DEFAULT_PORTS, Database
from teleport_tw.resources.metadata import Metadata, Resource

PEM = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"

WHOLE = """
version: v3
proxy_service:
  mysql_listen_addr: 0.0.0.0:3036
  postgres_listen_addr: 0.0.0.0
  mongo_listen_addr: 0.0.0.0:27017
  redis_listen_addr: 0.0.0.0
  redis_public_addr: [redis.example.com:6379]
  mysql_server_version: 8.4.2
db_service:
  enabled: yes
  record_parameters: masked
  password_dir: /etc/teleport/passwords
  resources:
  - labels:
      env: [dev, test]
      "*": "*"
  databases:
  - name: orders
    description: what was bought
    protocol: postgres
    uri: db.example.com:5432
    static_labels:
      env: prod
    dynamic_labels:
    - name: load
      command: [uptime]
      period: 30s
    tls:
      mode: verify-ca
      server_name: pg
      ca_cert_file: {ca}
    admin_user:
      name: boss
    mysql:
      server_version: 8.0.1
    aws:
      region: eu-west-1
    gcp:
      project_id: p
      instance_id: i
  - name: cache
    protocol: redis
    uri: rediss://cache:6379?mode=cluster
    ca_cert_file: {ca}
"""


class DbServiceTests(SynchronousTestCase):
    """
    The section.
    """

    def read(self, text: str) -> DbService:
        """
        The section alone.
        """
        return load_text(text).db

    def refused(self, body: str) -> str:
        """
        What is wrong with it.
        """
        return str(self.assertRaises(TeleportError, self.read, f"version: v3\ndb_service:\n{body}"))

    def test_whole(self) -> None:
        """
        Every key arrives, and what is read makes a database.
        """
        ca = Path(self.mktemp())
        ca.write_text(PEM)
        configuration = load_text(WHOLE.format(ca=ca))
        section = configuration.db
        self.assertTrue(section.enabled)
        self.assertIs(section.record_parameters, RecordParameters.MASKED)
        self.assertEqual(section.password_dir, "/etc/teleport/passwords")
        self.assertEqual(section.resources[0].labels, {"env": ("dev", "test"), "*": ("*",)})
        read = [
            Database.parse(Resource("db", "v3", Metadata(each.name, each.description, each.labels), each.spec))
            for each in section.databases
        ]
        orders, cache = read
        self.assertEqual(
            (orders.protocol, orders.description, orders.labels["env"]), ("postgres", "what was bought", "prod")
        )
        self.assertEqual((orders.tls.mode.value, orders.tls.server_name, orders.tls.ca_cert), ("verify-ca", "pg", PEM))
        self.assertEqual(
            (orders.admin_user.name, orders.mysql_version, orders.aws.region), ("boss", "8.0.1", "eu-west-1")
        )
        self.assertEqual(orders.dynamic_labels["load"].command, ("uptime",))
        self.assertEqual(orders.gcp.instance_id, "i")
        self.assertEqual((cache.parameters, cache.tls.ca_cert), ({"mode": "cluster"}, PEM))
        proxy = configuration.proxy
        self.assertEqual((proxy.postgres_listen_addr, proxy.redis_listen_addr), ("0.0.0.0:5432", "0.0.0.0:6379"))
        self.assertEqual((proxy.mysql_server_version, proxy.redis_public_addr), ("8.4.2", ("redis.example.com:6379",)))

    def test_absent(self) -> None:
        """
        Nothing is served.
        """
        self.assertEqual(self.read("version: v3\n"), DbService())

    def test_mistakes(self) -> None:
        """
        All at once, by key path.
        """
        body = """
  enabled: yes
  record_parameters: some
  password_dir: passwords
  aws: [{types: [rds]}]
  resources: [{aws: {assume_role_arn: x}}]
  databases:
  - name: a
    protocol: oracle
    tls: {mode: maybe, ca_cert_file: /nonexistent}
    labels: {}
    dynamic_labels: [{period: 0s}]
    ad: {domain: x}
  - name: a
    protocol: mysql
    uri: x
"""
        said = self.refused(body)
        for path in (
            "record_parameters",
            "password_dir",
            "db_service.aws",
            "resources[0].aws",
            "resources[0].labels",
            "databases[0].protocol",
            "databases[0].uri",
            "databases[0].tls.mode",
            "databases[0].tls.ca_cert_file",
            "databases[0].labels",
            "databases[0].dynamic_labels[0].name",
            "databases[0].dynamic_labels[0].command",
            "databases[0].dynamic_labels[0].period",
            "databases[0].ad",
            "databases[1].name",
        ):
            self.assertIn(path, said)

    def test_no_certificates(self) -> None:
        """
        A file of something else is told of at once.
        """
        path = Path(self.mktemp())
        for content in (b"key", b"\xff\xfe"):
            path.write_bytes(content)
            body = f"  databases: [{{name: a, protocol: mysql, uri: x, tls: {{ca_cert_file: {path}}}}}]\n"
            self.assertIn("ca_cert_file", self.refused(body))

    def test_the_protocols_are_those_of_the_resource(self) -> None:
        """
        Two rooms that do not know each other say the same.
        """
        self.assertEqual(set(PROTOCOLS), set(DEFAULT_PORTS))

    def test_changes_are_named_as_the_file_has_them(self) -> None:
        """
        For who is told that they wait for a restart.
        """
        before, after = (
            load_text(f"version: v3\ndb_service:\n  record_parameters: {each}\n") for each in ("off", "full")
        )
        self.assertEqual(changed(before, after), ("db_service.record_parameters",))

    def parameters(self, value: Any) -> RecordParameters:
        """
        As read.
        """
        return self.read(f"version: v3\ndb_service:\n  record_parameters: {value}\n").record_parameters

    def test_off_is_a_word_of_yaml(self) -> None:
        """
        Unquoted, it is a boolean.
        """
        self.assertIs(self.parameters("off"), RecordParameters.OFF)
