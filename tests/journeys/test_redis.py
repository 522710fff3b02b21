"""
A database behind a reverse tunnel, reached by its own client with a certificate and nothing of ours running beside it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import unittest

import pytest

from tests.journeys.cluster import Cluster, until
from tests.journeys.databases import certified, database_agent, server_files
from tests.peers.redis import Redis

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing())]


class RedisJourney(unittest.TestCase):
    """
    From C{tctl auth sign} to the recording.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(roles=("auth", "proxy")).start()
        self.addCleanup(self.cluster.close)
        self.redis = Redis(server_files(self.cluster)).start()
        self.addCleanup(self.redis.close)
        database = {"name": "cache", "protocol": "redis", "uri": f"localhost:{self.redis.port}"}
        self.agent = database_agent(self.cluster, "db-1", [database])

    def _cli(self, db_user: str, *words: str, stdin: str = "") -> str:
        certificate, key, proxy = certified(self.cluster, "alice", "cache", "redis", db_user)
        base = [shutil.which("redis-cli") or "", "--tls", "-h", "localhost", "-p", str(self.cluster.web)]
        base += ["--cert", str(certificate), "--key", str(key), "--cacert", str(proxy)]
        done = subprocess.run([*base, *words], input=stdin, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def test_a_first_session(self) -> None:
        """
        The ordinary client on the web port; every command in the audit log; what roles do not allow is refused.
        """
        self.cluster.tctl("users", "add", "alice", "--roles=access", "--logins=root", "--db-users=alice")
        self.assertIn("OK", self._cli("alice", stdin="auth alice wonderland\nset greeting 'good day'\n"))
        self.assertEqual(self.redis.cli("get", "greeting"), "good day")
        self.assertIn("this session is for", self._cli("alice", "--user", "bob", "--pass", "builder", "ping"))
        with self.assertRaisesRegex(AssertionError, "do not allow database user 'bob'"):
            self._cli("bob", "ping")
        until(lambda: len(self.cluster.events("db.session.end")) == 2, "the ends of the sessions")
        told = [event["db_query"] for event in self.cluster.events("db.session.query")]
        self.assertIn("AUTH alice ****", [text.replace("auth", "AUTH") for text in told])
        self.assertIn('set greeting "good day"', told)
        log = self.cluster.tctl("audit", "export", "--format=json")
        self.assertNotIn("wonderland", log)
        self.assertNotIn("builder", log)
        codes = [event["code"] for event in self.cluster.events("db.session.start")]
        self.assertEqual(sorted(codes), ["TDB00I", "TDB00I"])

    def test_the_recording(self) -> None:
        """
        Who had the session may play it, as a transcript of what was typed and what came of it.
        """
        code = self.cluster.sign_up("alice")
        self.cluster.tctl("users", "update", "alice", "--set-db-users=alice")
        self.cluster.log_in("alice", code)
        self.cluster.tsh("db", "login", "cache", "--db-user=alice")
        typed = "auth alice wonderland\nset greeting 'good day'\nlpush greeting x\n"
        said = self.cluster.tsh("db", "connect", "cache", stdin=typed).stdout
        self.assertIn("WRONGTYPE", said)
        recordings = until(
            lambda: json.loads(self.cluster.tctl("recordings", "ls", "--format=json")), "the recording's upload"
        )
        played = self.cluster.tsh("play", "--format=text", recordings[0]["sid"]).stdout
        self.assertIn('=> set greeting "good day"', played)
        self.assertIn("ERROR: WRONGTYPE", played)
        self.assertNotIn("wonderland", played)

    def test_a_database_that_goes(self) -> None:
        """
        Gone, back, and the agent too: each time the client hears what is wrong, and then all is well again.
        """
        self.cluster.tctl("users", "add", "alice", "--roles=access", "--logins=root", "--db-users=alice")
        signed = ("--user", "alice", "--pass", "wonderland")
        self.redis.kill()
        self.assertIn("cannot be reached", self._cli("alice", *signed, "ping"))
        self.redis.start()
        self.assertIn("PONG", self._cli("alice", *signed, "ping"))
        self.agent.stop()
        self.assertIn("ERR", self._cli("alice", *signed, "ping"))
        self.agent.start()
        until(lambda: "PONG" in self._cli("alice", *signed, "ping"), "the agent to be back")
