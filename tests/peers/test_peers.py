"""
The servers that other tests rely on really ask for what they are said to ask for.
"""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pymongo
import pymongo.errors
import pymysql
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.pki.authority import Authority
from tests.peers.certificates import authorities
from tests.peers.mariadb import MariaDB
from tests.peers.mongodb import MongoDB
from tests.peers.postgres import Postgres
from tests.peers.process import shared
from tests.peers.redis import Redis

pytestmark = pytest.mark.servers


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp())

    def files(self, user: str, by: Authority | None = None) -> tuple[str, str, str]:
        written = authorities().client(user, by=by).written(self.folder, user)
        certificate, key, servers = map(str, written)
        return certificate, key, servers


@pytest.mark.skipif(bool(Postgres.missing()), reason=Postgres.missing())
class PostgresTests(_Case):
    """
    PostgreSQL.
    """

    def _connect(self, user: str, certified: str = "", password: str = "") -> str:
        certificate, key, servers = self.files(certified or user)
        shown = {"sslcert": certificate, "sslkey": key} if certified else {"sslcert": "/none"}
        with psycopg.connect(
            host="localhost",
            hostaddr="127.0.0.1",
            port=shared(Postgres).port,
            user=user,
            dbname="postgres",
            sslmode="verify-full",
            sslrootcert=servers,
            password=password,
            **shown,  # type: ignore[arg-type]
        ) as connection:
            row = connection.execute("select current_user").fetchone()
            assert row is not None
            return str(row[0])

    def test_certificate(self) -> None:
        """
        Its CN is the role; another's does not do.
        """
        shared(Postgres).role("peer-alice")
        self.assertEqual(self._connect("peer-alice", "peer-alice"), "peer-alice")
        self.assertRaises(psycopg.OperationalError, self._connect, "peer-alice", "bob")
        self.assertRaises(psycopg.OperationalError, self._connect, "peer-alice")

    def test_passwords(self) -> None:
        """
        Of three kinds, for those who are in the group.
        """
        for group in ("by_scram", "by_md5", "by_password"):
            shared(Postgres).role(f"peer-{group}", password="letmein", group=group)
            self.assertEqual(self._connect(f"peer-{group}", password="letmein"), f"peer-{group}")
            self.assertRaises(psycopg.OperationalError, self._connect, f"peer-{group}", "", "wrong")


@pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing())
class MariaDBTests(_Case):
    """
    MariaDB.
    """

    def _connect(self, user: str, certified: str = "") -> str:
        certificate, key, servers = self.files(certified or user)
        context = ssl.create_default_context(cafile=servers)
        if certified:
            context.load_cert_chain(certificate, key)
        connection = pymysql.connect(
            host="localhost", port=shared(MariaDB).port, user=user, ssl=context, unix_socket=None
        )
        with connection, connection.cursor() as cursor:
            cursor.execute("select current_user()")
            return str(cursor.fetchall()[0][0])

    def test_certificate(self) -> None:
        """
        The subject is the account's; another's does not do.
        """
        shared(MariaDB).user("peer-alice")
        self.assertEqual(self._connect("peer-alice", "peer-alice"), "peer-alice@%")
        self.assertRaises(pymysql.err.OperationalError, self._connect, "peer-alice", "bob")
        self.assertRaises(pymysql.err.OperationalError, self._connect, "peer-alice")


@pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing())
class RedisTests(_Case):
    """
    Redis.
    """

    def _ping(self, user: str, password: str | None, by: Authority | None = None) -> Any:
        certificate, key, servers = self.files(user, by)
        client = redis.Redis(
            host="localhost",
            port=shared(Redis).port,
            username=user,
            password=password,
            retry=Retry(NoBackoff(), 0),
            ssl=True,
            ssl_ca_certs=servers,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        with client:
            return client.ping()

    def test_certificate_and_password(self) -> None:
        """
        Both are needed, and the right authority.
        """
        self.assertTrue(self._ping("alice", "wonderland"))
        self.assertRaises(redis.AuthenticationError, self._ping, "alice", "wrong")
        with self.assertRaises(redis.ConnectionError):
            self._ping("alice", "wonderland", by=authorities().servers)

    def test_again(self) -> None:
        """
        A server that is started again has the same port.
        """
        with Redis() as peer:
            port = peer.port
            peer.kill()
            peer.start()
            self.assertEqual(peer.port, port)
            self.assertEqual(peer.cli("ping"), "PONG")


@pytest.mark.skipif(bool(MongoDB.missing()), reason=MongoDB.missing())
class MongoDBTests(_Case):
    """
    MongoDB's stand-in.
    """

    def test_certificate(self) -> None:
        """
        C{MONGODB-X509}: the subject is the user, with its roles only.
        """
        certificate, key, servers = self.files("alice")
        (self.folder / "both.pem").write_bytes(Path(certificate).read_bytes() + Path(key).read_bytes())
        with MongoDB(x509=[("CN=alice", [{"role": "readWrite", "db": "shop"}])]) as peer:
            client: pymongo.MongoClient[Any] = pymongo.MongoClient(
                "localhost",
                peer.port,
                tls=True,
                tlsCAFile=servers,
                tlsCertificateKeyFile=str(self.folder / "both.pem"),
                authMechanism="MONGODB-X509",
                directConnection=True,
            )
            with client:
                client.shop.things.insert_one({"a": 1})
                self.assertEqual(client.shop.things.count_documents({}), 1)
                self.assertRaises(pymongo.errors.OperationFailure, client.other.things.insert_one, {})
