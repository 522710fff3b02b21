"""
PostgreSQL behind a reverse tunnel: users made for a session, locks, crashes, recordings.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import unittest

import pytest

from tests.journeys.cluster import Cluster, until
from tests.journeys.databases import certified, database_agent, server_files
from tests.peers.postgres import Postgres

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Postgres.missing()), reason=Postgres.missing())]

ROLE = """\
kind: role
version: v7
metadata: {name: maker}
spec:
  allow: {db_labels: {'*': '*'}, db_names: [postgres], db_roles: [reader]}
  options: {create_db_user_mode: best_effort_drop}
"""


class PostgresJourney(unittest.TestCase):
    """
    psql with certificate files, straight to the proxy's port.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(roles=("auth", "proxy")).start()
        self.addCleanup(self.cluster.close)
        self.postgres = Postgres(server_files(self.cluster)).start()
        self.addCleanup(self.postgres.close)
        self.postgres.role("teleport-admin", options="superuser")
        self.postgres.sql(
            "create role reader; create table t (a int); insert into t values (7); grant select on t to reader"
        )
        database = {
            "name": "pg",
            "protocol": "postgres",
            "uri": f"localhost:{self.postgres.port}",
            "admin_user": {"name": "teleport-admin"},
        }
        self.agent = database_agent(self.cluster, "db-1", [database])

    def _psql(self, user: str, db_user: str, statement: str) -> subprocess.Popen[str]:
        certificate, key, proxy = certified(self.cluster, user, "pg", "postgres", db_user, "postgres")
        where = f"host=localhost port={self.cluster.web} user={db_user} dbname=postgres sslmode=verify-full"
        where += f" sslcert={certificate} sslkey={key} sslrootcert={proxy}"
        words = [shutil.which("psql") or "", "-XAt", where, "-c", statement]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def _exists(self, role: str) -> bool:
        return bool(self.postgres.sql(f"select 1 from pg_roles where rolname = '{role}'"))

    def test_a_made_user_outlives_neither_session_nor_crash(self) -> None:
        """
        Gone when the session ends; and when the agent is killed in the middle, once it is back.
        """
        role = self.cluster.folder / "maker.yaml"
        role.write_text(ROLE)
        self.cluster.tctl("create", "-f", str(role))
        self.cluster.tctl("users", "add", "ann", "--roles=maker", "--logins=root")
        said = self._psql("ann", "ann", "select current_user, a from t").communicate(timeout=60)[0]
        self.assertEqual(said, "ann|7\n")
        until(lambda: not self._exists("ann"), "the user to be dropped")
        sleeping = self._psql("ann", "ann", "select pg_sleep(120)")
        until(lambda: "pg_sleep(120)" in self.postgres.sql("select query from pg_stat_activity"), "the statement")
        self.agent.kill()
        self.assertIn("closed", sleeping.communicate(timeout=60)[0])
        self.assertTrue(self._exists("ann"))
        self.postgres.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'ann'")
        self.agent.start()
        until(lambda: not self._exists("ann"), "the user to be cleaned up")
        self.assertEqual([each["username"] for each in self.cluster.events("db.session.user.create")][:1], ["ann"])

    def test_a_lock_ends_a_session_and_the_recording_shows_it(self) -> None:
        """
        Within seconds, in PostgreSQL's words; what was said before is in the transcript.
        """
        self.postgres.role("alice")
        self.cluster.tctl(
            "users", "add", "alice", "--roles=access", "--logins=root", "--db-users=alice", "--db-names=postgres"
        )
        sleeping = self._psql("alice", "alice", "select pg_sleep(120)")
        until(lambda: self.cluster.events("db.session.query"), "the long statement to be told")
        self.cluster.tctl("lock", "--user=alice", "--message=come to my office")
        said = sleeping.communicate(timeout=60)[0]
        self.assertIn("FATAL", said)
        self.assertIn("come to my office", said)
        until(lambda: self.cluster.events("db.session.end"), "the end")
        running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(120)'"
        until(lambda: self.postgres.sql(running) == "0", "the statement to be stopped")
        (recording,) = until(
            lambda: json.loads(self.cluster.tctl("recordings", "ls", "--format=json")), "the recording's upload"
        )
        self.assertEqual(recording["sid"], self.cluster.events("db.session.start")[0]["sid"])
        shown = until(lambda: self.cluster.tctl("db", "ls"), "the list")
        self.assertIn("pg", shown)
