"""
A user's own clients, by way of us, with a real PostgreSQL.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from teleport_tw.agents.db.postgres.session import PostgresEngine
from tests.agents.db.rig import DatabaseTestCase
from tests.peers.postgres import Postgres

MISSING = Postgres.missing()
server: Postgres | None = None


def setUpModule() -> None:
    """One for all tests here."""
    global server
    if not MISSING:
        server = Postgres().start()
        for name in ("alice", "bob"):
            server.role(name)
        server.role("carol", password="pencil", group="by_scram")
        server.role("dave", password="pencil", group="by_md5")
        server.role("erin", password="pencil", group="by_password")
        server.sql("create database alice owner alice; create database other owner bob; grant pg_signal_backend to bob")
        server.sql("create table things (id int primary key, name text); grant all on things to alice", "alice")


def tearDownModule() -> None:
    """It goes with the tests."""
    if server is not None:
        server.stop()


class PostgresTestCase(DatabaseTestCase):
    """
    An agent in front of the server; alice may be alice in databases alice and postgres.
    """

    skip = MISSING or None

    def setUp(self) -> None:
        super().setUp()
        self.role("access", allow={"db_users": ["alice", "carol", "dave", "erin"], "db_names": ["alice", "postgres"]})

    async def started(self, protocol: str = "postgres", **more: Any) -> int:
        """The port."""
        assert server is not None
        await self.serve(PostgresEngine(), protocol, server.port, **more)
        return await self.listen(user="")

    async def psql(self, port: int, script: str, where: str = "dbname=alice user=alice", code: int = 0) -> str:
        """
        What psql prints, its standard error included.
        """
        words = ["psql", "-X", "-q", "-A", "-t", f"host=127.0.0.1 port={port} sslmode=disable {where}"]

        def run() -> subprocess.CompletedProcess[str]:
            environment = {**os.environ, "PGCONNECT_TIMEOUT": "10"}
            return subprocess.run(
                words, input=script, capture_output=True, text=True, timeout=60, env=environment, check=False
            )

        done = await self.in_thread(run)
        self.assertEqual(done.returncode, code, done.stderr)
        return str(done.stdout + done.stderr)


@pytest.mark.servers
class PsqlTests(PostgresTestCase):
    """
    By its shell.
    """

    async def test_statements_are_answered_and_told(self) -> None:
        """
        Rows, duration and the error of each are in its event; the session has a beginning and an end.
        """
        port = await self.started()
        said = await self.psql(port, "select 1;\nselect generate_series(1, 3);\nselect nothing;\n")
        self.assertIn("1\n1\n2\n3\n", said)
        self.assertIn('column "nothing" does not exist', said)
        await self.until(lambda: self.sink.named("db.session.end"))
        (start,) = self.sink.named("db.session.start")
        self.assertEqual(
            (start["user"], start["db_user"], start["db_name"], start["db_protocol"], start["user_agent"]),
            ("alice", "alice", "alice", "postgres", "psql"),
        )
        self.assertGreater(start["postgres_pid"], 0)
        one, three = self.queries()
        self.assertEqual((one["db_query"], one["affected_records"]), ("select 1;", 1))
        self.assertEqual((three["affected_records"], three["code"]), (3, "TDB02I"))
        self.assertGreater(three["duration_ms"], 0)
        (failed,) = self.sink.named("db.session.query.failed")
        self.assertIn("(SQLSTATE 42703)", failed["error"])
        (end,) = self.sink.named("db.session.end")
        self.assertEqual(end["queries"], 3)
