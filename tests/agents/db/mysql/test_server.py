"""
MariaDB behind the agent, with drivers and its own client unmodified.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from teleport_tw.agents.db.mysql.session import MySQLEngine
from tests.agents.db.rig import DatabaseTestCase
from tests.peers.mariadb import MariaDB
from tests.peers.process import found, shared

pymysql = pytest.importorskip("pymysql")
connector = pytest.importorskip("mysql.connector")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing()),
]

_made: set[str] = set()


def server() -> MariaDB:
    """
    One for all, with the accounts that the tests use.
    """
    peer = shared(MariaDB)
    if not _made:
        peer.sql("create database app; create database other")
        peer.user("alice")
        _made.add("alice")
    return peer


class ServerTestCase(DatabaseTestCase):
    """
    C{alice}, who may be C{alice} of the database.
    """

    async def there(self, *, engine: MySQLEngine | None = None, **listening: Any) -> int:
        """
        @return: the port that the user connects to.
        """
        self.role("access", allow={"db_users": ["alice"]})
        self.peer = server()
        await self.serve(engine or MySQLEngine(), "mysql", self.peer.port)
        return await self.listen(**listening)

    def mariadb(self, port: int, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """
        Run the native client.
        """
        command = [found("mariadb", "mariadb-client"), "--no-defaults", "-h127.0.0.1", f"-P{port}", "-ualice", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def connect(port: int, **more: Any) -> Any:
    """
    PyMySQL.
    """
    return pymysql.connect(**{"host": "127.0.0.1", "port": port, "user": "alice", "ssl_disabled": True, **more})


class QueryTests(ServerTestCase):
    """
    What people do.
    """

    async def test_a_query(self) -> None:
        """
        It is answered as the database answers, and told of.
        """
        port = await self.there()

        def work() -> Any:
            with connect(port, database="app") as connection, connection.cursor() as cursor:
                cursor.execute("select 1, 'two', null union select 3, 'four', null")
                rows = cursor.fetchall()
                cursor.execute("create or replace table t1 (a int)")
                cursor.execute("insert into t1 values (1), (2), (3)")
                return rows, cursor.rowcount, connection.get_server_info()

        rows, count, version = await self.in_thread(work)
        self.assertEqual(rows, ((1, "two", None), (3, "four", None)))
        self.assertEqual(count, 3)
        self.assertIn("MariaDB", version)
        await self.until(lambda: self.sink.named("db.session.end"))
        told = {event["db_query"]: event for event in self.queries()}
        self.assertEqual(told["insert into t1 values (1), (2), (3)"]["affected_records"], 3)
        self.assertEqual(told["select 1, 'two', null union select 3, 'four', null"]["affected_records"], 2)
        [start] = self.sink.named("db.session.start")
        self.assertEqual((start["db_user"], start["db_name"], start["user_agent"]), ("alice", "app", "pymysql 1.2.4"))
