"""
How sessions end from our side, the same for every protocol, each in its own words: idleness, the certificate's end, a
lock, too many connections; a target that goes and comes back.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from twisted.internet.task import Clock

from teleport_tw.agents.db.flow import Engine
from teleport_tw.agents.db.mongodb.session import MongoDBEngine
from teleport_tw.agents.db.mysql.session import MySQLEngine
from teleport_tw.agents.db.postgres.session import PostgresEngine
from teleport_tw.agents.db.redis.session import RedisEngine
from teleport_tw.dial.lifetime import Lifetimes
from teleport_tw.protocols.mongodb import documents, wire
from tests.agents.db.mysql.rig import Wire as MySQLWire
from tests.agents.db.redis.test_session import Wire as RedisWire
from tests.agents.db.rig import DatabaseTestCase
from tests.doubles.cluster import lock
from tests.peers.mariadb import MariaDB
from tests.peers.mongodb import MongoDB
from tests.peers.postgres import Postgres
from tests.peers.process import Peer, shared
from tests.peers.redis import Redis

PATIENCE = 60


class Client:
    """
    One connection of alice's, in a thread.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)

    def enter(self) -> str:
        """
        Sign in and ask something.

        @return: what an error said; empty when all is well.
        """
        raise NotImplementedError

    def wait(self) -> None:
        """
        Ask something that takes a minute.
        """
        raise NotImplementedError

    def last(self) -> str:
        """
        @return: what was said until the connection's end.
        """
        return self._rest().decode("utf-8", "replace")

    def close(self) -> None:
        """
        At once.
        """
        self.socket.close()

    def _rest(self) -> bytes:
        found = b""
        while data := self.socket.recv(1 << 16):
            found += data
        return found


class PostgresClient(Client):
    """
    Protocol 3.0, simple queries.
    """

    def enter(self) -> str:
        """As Client."""
        words = b"user\0alice\0database\0alice\0\0"
        self.socket.sendall(struct.pack("!II", 8 + len(words), 196608) + words)
        said = self._until_ready()
        if not said:
            self._ask("select 1")
            said = self._until_ready()
        return said

    def wait(self) -> None:
        """As Client."""
        self._ask("select pg_sleep(60)")

    def _ask(self, text: str) -> None:
        self.socket.sendall(b"Q" + struct.pack("!I", 5 + len(text)) + text.encode() + b"\0")

    def _until_ready(self) -> str:
        data = b""
        while not data.endswith((b"Z\0\0\0\5I", b"Z\0\0\0\5T")):
            more = self.socket.recv(1 << 16)
            if not more:
                return data.decode("utf-8", "replace")
            data += more
        return ""


class MySQLClient(Client):
    """
    As tests of MySQL have it.
    """

    def __init__(self, port: int) -> None:
        self._wire = MySQLWire(port)
        self.socket = self._wire.socket

    def enter(self) -> str:
        """As Client."""
        said = self._wire.login()
        if said[:1] == b"\xff":
            return said.decode("utf-8", "replace")
        self._wire.say(b"\x0e")
        return "" if self._wire.read()[1][:1] == b"\0" else "no pong"

    def wait(self) -> None:
        """As Client."""
        self._wire.say(b"\x03select sleep(60)")


class RedisClient(Client):
    """
    As tests of Redis have it.
    """

    def __init__(self, port: int) -> None:
        self._wire = RedisWire(port)
        self.socket = self._wire.socket

    def enter(self) -> str:
        """As Client."""
        said = self._wire.ask("AUTH", "alice", "wonderland")
        return "" if "OK" in said else said

    def wait(self) -> None:
        """As Client."""
        self._wire.send("BLPOP", "nothing", "60")


class MongoDBClient(Client):
    """
    OP_MSG.
    """

    def enter(self) -> str:
        """As Client."""
        found: dict[str, Any] = {}
        first: tuple[dict[str, Any], ...] = ({"hello": 1, "$db": "admin"}, {"count": "things", "$db": "shop"})
        for number, asked in enumerate(first, 1):
            self.socket.sendall(wire.encode_message(asked, number))
            head = self._exactly(16)
            body = self._exactly(struct.unpack_from("<i", head)[0] - 16)
            found = documents.deep(body[5:])
        return "" if found["ok"] else str(found)

    def wait(self) -> None:
        """As Client."""
        drop = {"drop": "capped", "$db": "shop"}
        create = {"create": "capped", "capped": True, "size": 4096, "$db": "shop"}
        insert = {"insert": "capped", "documents": [{"_id": time.time_ns()}], "$db": "shop"}
        find = {"find": "capped", "tailable": True, "awaitData": True, "batchSize": 1, "$db": "shop"}
        cursor: Any = 0
        every: tuple[dict[str, Any], ...] = (drop, create, insert, find)
        for number, asked in enumerate(every, 3):
            self.socket.sendall(wire.encode_message(asked, number))
            head = self._exactly(16)
            read = documents.deep(self._exactly(struct.unpack_from("<i", head)[0] - 16)[5:])
            cursor = read.get("cursor", {}).get("id")
        more = {"getMore": cursor, "collection": "capped", "maxTimeMS": 60_000, "$db": "shop"}
        self.socket.sendall(wire.encode_message(more, 7))

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise AssertionError(f"the connection ended after {data!r}")
            data += more
        return data


class Lifecycle:
    """
    The tests, for each protocol.

    @cvar says: words of the protocol's goodbye to somebody who waits for an answer.
    @cvar idly: the same to somebody who does not.
    @cvar full: of a connection too many.
    """

    kind: ClassVar[type[Peer]]
    client: ClassVar[type[Client]]
    engine: ClassVar[type[Engine]]
    protocol: ClassVar[str]
    says: ClassVar[Sequence[str]]
    idly: ClassVar[Sequence[str]]
    full: ClassVar[Sequence[str]]
    away: ClassVar[Sequence[str]] = ("cannot be reached",)
    expiring: ClassVar[Sequence[str]] = ("certificate expired at",)
    silent: ClassVar[bool] = False

    def furnish(self: Any, peer: Any) -> None:
        """
        Alice is there.
        """

    @classmethod
    def made(cls) -> Any:
        """
        @return: a server of its own, not started.
        """
        return cls.kind()

    def peer(self: Any) -> Any:
        """
        @return: for all tests here; it stays.
        """
        peer = shared(self.kind, "lifecycle")
        if not hasattr(peer, "furnished_for_lifecycle"):
            self.furnish(peer)
            peer.furnished_for_lifecycle = True
        return peer

    async def there(self: Any, port: int = 0, allowed: Any = None, **options: Any) -> int:
        """
        @return: the port, with the time of lifetimes in C{self.clock}.
        """
        self.role("access", allow={"db_users": ["alice"], "db_names": ["*"]}, **options)
        await self.serve(self.engine(), self.protocol, port or self.peer().port)
        commons = self.agent.commons
        self.clock = Clock()
        self.clock.advance(time.time())
        commons.lifetimes.stopService()
        commons.lifetimes = Lifetimes(self.clock, commons.view, self.cluster.api, "host")
        commons.lifetimes.startService()
        name = "alice" if self.protocol in ("postgres", "cockroachdb") else ""
        return int(await self.listen(name=name, **(allowed or {})))

    async def entered(self: Any, port: int) -> Any:
        """
        @return: a client that has had its first answer.
        """
        client = await self.in_thread(self.client, port)
        self.addCleanup(client.close)
        self.assertEqual(await self.in_thread(client.enter), "")
        return client

    async def ends(self: Any, client: Any, reason: str, words: Sequence[str], *ours: str) -> None:
        """
        The client has read the goodbye, and the log has the reason.
        """
        last = await self.in_thread(client.last)
        for word in (*words, *(() if self.silent and not words else ours)):
            self.assertIn(word, last)
        (end,) = await self.until(lambda: self.sink.named("db.session.end"))
        self.assertIn(reason, end["reason"])
        await self.until(lambda: not self.agent.commons.sessions)

    async def test_idleness(self: Any) -> None:
        """After the role's time without a word; not before."""
        port = await self.there(client_idle_timeout="1m")
        client = await self.entered(port)
        self.clock.advance(58)
        self.assertEqual(len(self.agent.commons.sessions), 1)
        self.clock.pump([1, 1, 1])
        await self.ends(client, "no activity for 1m", self.idly, "no activity for 1m")

    async def test_a_certificate_ends(self: Any) -> None:
        """Where the role says so, in the middle of a statement."""
        expires = datetime.now(UTC) + timedelta(hours=2)  # it takes seconds, or a minute, until the statement runs
        port = await self.there(disconnect_expired_cert=True, allowed={"expires": expires})
        client = await self.entered(port)
        await self.in_thread(client.wait)
        await self.until(lambda: any(session.telling.running for session in self.agent.commons.sessions))
        self.clock.advance(3600)
        self.assertEqual(len(self.agent.commons.sessions), 1)
        self.clock.pump([3600, 1, 1])
        await self.ends(client, "certificate expired", self.says, "certificate expired at")

    async def test_a_certificate_s_end_is_no_matter_where_no_role_says_so(self: Any) -> None:
        """Sessions that stand go on."""
        port = await self.there(allowed={"expires": datetime.now(UTC) + timedelta(minutes=5)})
        await self.entered(port)
        self.clock.advance(3600)
        self.clock.pump([1, 1, 1])
        self.assertEqual(len(self.agent.commons.sessions), 1)

    async def test_a_lock(self: Any) -> None:
        """Ends a session at once, in the middle of a statement, with the administrator's words; none begins."""
        port = await self.there()
        client = await self.entered(port)
        await self.in_thread(client.wait)
        await self.until(lambda: any(session.telling.running for session in self.agent.commons.sessions))
        self.cluster.copy.put(lock("l", "see me first", user="alice"))
        await self.ends(client, "lock", self.says, "see me first")
        another = await self.in_thread(self.client, port)
        self.addCleanup(another.close)
        self.assertNotEqual(await self.in_thread(self._refused, another), "")
        await self.until(lambda: self.sink.named("db.session.start")[-1]["code"] == "TDB00W" or self.streams.refused)

    @staticmethod
    def _refused(client: Any) -> str:
        try:
            return str(client.enter()) or client.last()
        except (AssertionError, OSError, AttributeError, IndexError) as gone:
            return f"gone: {gone!r}"

    async def test_one_connection_too_many(self: Any) -> None:
        """Is refused, and told of; when the first has gone there is room."""
        port = await self.there(max_connections=1)
        first = await self.entered(port)
        second = await self.in_thread(self.client, port)
        self.addCleanup(second.close)
        said = await self.in_thread(second.enter)
        for word in self.full:
            self.assertIn(word, said)
        self.assertEqual(self.sink.named("db.session.start")[-1]["code"], "TDB00W")
        first.close()
        await self.until(lambda: self.sink.named("db.session.end"))
        await self.until(lambda: not any(self.cluster.api.leases.values()))
        await self.entered(port)

    async def test_a_target_that_is_away_and_back(self: Any) -> None:
        """A clear error and nothing else; then all is well."""
        peer = self.made()
        self.addCleanup(peer.close)
        await self.in_thread(peer.start)
        self.furnish(peer)
        port = await self.there(peer.port)
        client = await self.entered(port)
        await self.in_thread(client.wait)
        await self.until(lambda: any(session.telling.running for session in self.agent.commons.sessions))
        await self.in_thread(peer.kill)
        self.assertNotEqual(await self.in_thread(client.last), "")
        await self.until(lambda: not self.agent.commons.sessions)
        another = await self.in_thread(self.client, port)
        self.addCleanup(another.close)
        said = await self.in_thread(another.enter)
        for word in self.away:
            self.assertIn(word, said)
        await self.in_thread(peer.start)
        await self.entered(port)


@pytest.mark.servers
@pytest.mark.skipif(bool(Postgres.missing()), reason=Postgres.missing())
class PostgresLifecycle(Lifecycle, DatabaseTestCase):
    """FATAL with SQLSTATE."""

    kind, client, engine, protocol = Postgres, PostgresClient, PostgresEngine, "postgres"
    says, idly, full = ("SFATAL", "C57P01"), ("SFATAL", "C57P05"), ("SFATAL", "C53300")

    def furnish(self, peer: Any) -> None:
        """As Lifecycle."""
        peer.role("alice")
        peer.sql("create database alice owner alice")


@pytest.mark.servers
@pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing())
class MySQLLifecycle(Lifecycle, DatabaseTestCase):
    """ERR packets."""

    kind, client, engine, protocol = MariaDB, MySQLClient, MySQLEngine, "mysql"
    says, idly, full = ("#70100",), ("#70100",), ("#08004",)

    def furnish(self, peer: Any) -> None:
        """As Lifecycle."""
        peer.sql("create or replace user alice require subject '/CN=alice'")


@pytest.mark.servers
@pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing())
class RedisLifecycle(Lifecycle, DatabaseTestCase):
    """Error lines."""

    kind, client, engine, protocol = Redis, RedisClient, RedisEngine, "redis"
    says, idly, full = ("-ERR Teleport",), ("-ERR Teleport",), ("ERR Teleport",)


@pytest.mark.servers
@pytest.mark.skipif(bool(MongoDB.missing()), reason=MongoDB.missing())
class MongoDBLifecycle(Lifecycle, DatabaseTestCase):
    """Documents for those who wait; nothing can be said to those who do not, whose connection is closed."""

    kind, client, engine, protocol = MongoDB, MongoDBClient, MongoDBEngine, "mongodb"
    says, idly, full = ("Interrupted",), (), ("codeName",)
    silent = True
    _peer: ClassVar[list[Any]] = []

    def peer(self) -> Any:
        """As Lifecycle."""
        if not self._peer:
            self._peer.append(self.made().start())
        return self._peer[0]

    @classmethod
    def made(cls) -> Any:
        """As Lifecycle."""
        return MongoDB(x509=[("CN=alice", [{"role": "readWrite", "db": "shop"}])])

    @classmethod
    def tearDownClass(cls) -> None:
        """The server ends."""
        while cls._peer:
            cls._peer.pop().close()


__all__ = ["MongoDBLifecycle", "MySQLLifecycle", "PostgresLifecycle", "RedisLifecycle"]
