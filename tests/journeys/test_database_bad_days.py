"""
Databases when hosts die: several agents of one database, and what is kept when the middle of the cluster goes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import unittest
from typing import Any

import pytest

from tests.journeys.cluster import Cluster, Service, until
from tests.journeys.databases import certified, database_agent, server_files
from tests.journeys.test_postgres import ROLE
from tests.peers.postgres import Postgres

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Postgres.missing()), reason=Postgres.missing())]


class DatabaseBadDays(unittest.TestCase):
    """
    One PostgreSQL, two agents that serve it; users are made for their sessions.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(roles=("auth", "proxy")).start()
        self.addCleanup(self.cluster.close)
        self.postgres = Postgres(server_files(self.cluster)).start()
        self.addCleanup(self.postgres.close)
        self.postgres.role("teleport-admin", options="superuser")
        self.postgres.sql("create role reader; create table t (a int); grant select on t to reader")
        role = self.cluster.folder / "maker.yaml"
        role.write_text(ROLE)
        self.cluster.tctl("create", "-f", str(role))
        self.cluster.tctl("users", "add", "ann", "--roles=maker", "--logins=root")
        self.agents: dict[str, Service] = {}

    def serve(self, *names: str) -> None:
        database = {
            "name": "pg",
            "protocol": "postgres",
            "uri": f"localhost:{self.postgres.port}",
            "admin_user": {"name": "teleport-admin"},
        }
        for name in names:
            self.agents[name] = database_agent(self.cluster, name, [database])

    def psql(self, statement: str) -> subprocess.Popen[str]:
        certificate, key, proxy = certified(self.cluster, "ann", "pg", "postgres", "ann", "postgres")
        where = f"host=localhost port={self.cluster.web} user=ann dbname=postgres sslmode=verify-full"
        where += f" sslcert={certificate} sslkey={key} sslrootcert={proxy}"
        process = subprocess.Popen(
            [shutil.which("psql") or "", "-XAt", where, "-c", statement],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(process.kill)
        return process

    def works(self) -> bool:
        return self.psql("select 6 * 7").communicate(timeout=60)[0] == "42\n"

    def running(self, statement: str) -> bool:
        return statement in self.postgres.sql("select query from pg_stat_activity where usename = 'ann'")

    def gone(self) -> bool:
        return not self.postgres.sql("select 1 from pg_roles where rolname = 'ann'")

    def long(self) -> tuple[subprocess.Popen[str], str, str]:
        """
        @return: a session in the middle of a statement, the session's id, and whose agent has it.
        """
        sleeping = self.psql("select pg_sleep(600)")
        until(lambda: self.running("pg_sleep(600)"), "the statement to run")
        event = until(lambda: self.cluster.events("db.session.query", db_query="select pg_sleep(600)"), "the event")[-1]
        started: Any = self.cluster.events("db.session.start", sid=event["sid"])[0]
        for name, agent in self.agents.items():
            if started["server_id"] in (agent.folder / "data" / "host_uuid").read_text():
                return sleeping, str(event["sid"]), name
        raise AssertionError(f"no agent is {started['server_id']}")

    def test_the_other_agent(self) -> None:
        """One is killed in the middle of a session: that ends, the next is the other's; also where one hangs."""
        self.serve("db-1", "db-2")
        sleeping, _, name = self.long()
        self.agents[name].kill()
        self.assertIn("closed", sleeping.communicate(timeout=60)[0])
        for _ in range(4):
            self.assertTrue(self.works())
        self.agents[name].start()
        until(lambda: len(self.cluster.tctl("db", "ls").split("db-")) > 2, "both to be listed")
        hanging = self.agents[name].process
        assert hanging is not None
        os.kill(hanging.pid, signal.SIGSTOP)
        try:
            for _ in range(4):
                self.assertTrue(self.works())
        finally:
            os.kill(hanging.pid, signal.SIGCONT)

    def test_auth_and_proxy_die(self) -> None:
        """
        What was acknowledged is there when they are back, the end of the session comes in behind, and its user is gone.
        """
        self.serve("db-1")
        sleeping, session, _ = self.long()
        self.cluster.service.kill()
        self.assertIn("lost", sleeping.communicate(timeout=60)[0])
        # PostgreSQL itself does not notice before its statement ends that nobody waits for it
        self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ann'")
        until(self.gone, "the user to be dropped by the agent alone")
        self.cluster.service.start()
        kept = self.cluster.events("db.session.query", sid=session)
        self.assertEqual([event["db_query"] for event in kept], ["select pg_sleep(600)"])
        until(lambda: self.cluster.events("db.session.end", sid=session), "the session's end")
        until(lambda: self.cluster.events("db.session.user.deactivate", sid=session), "the user's end in the log")
        until(lambda: self.cluster.events("session.upload", sid=session), "the recording")
        self.assertIn("whole", self.cluster.tctl("audit", "verify"))
        until(self.works, "the agent to be linked again")

    def test_the_database_dies(self) -> None:
        """In the middle: a clear error; and when it is back, its user is taken away and sessions go on."""
        self.serve("db-1")
        sleeping, session, _ = self.long()
        self.postgres.kill()
        said = sleeping.communicate(timeout=60)[0]
        self.assertIn("closed", said)
        self.assertIn("cannot be reached", self.psql("select 1").communicate(timeout=60)[0])
        self.postgres.start()
        until(self.gone, "the user to be dropped")
        self.assertTrue(self.works())
        until(self.gone, "the user to be dropped again")
        ends = until(lambda: self.cluster.events("db.session.end", sid=session), "the session's end")
        self.assertEqual(len(ends), 1)
