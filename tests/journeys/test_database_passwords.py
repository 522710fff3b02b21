"""
A database whose password lies on the agent's host, and is found nowhere else.
"""

from __future__ import annotations

import shutil
import subprocess
import unittest

import pytest

from tests.journeys.cluster import Cluster, until
from tests.journeys.databases import certified, database_agent, server_files
from tests.peers.redis import Redis

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing())]

SECRET = "wonderland-of-the-agent"


class PasswordJourney(unittest.TestCase):
    """
    C{db_service.password_dir}.
    """

    def setUp(self) -> None:
        self.cluster = Cluster(roles=("auth", "proxy")).start()
        self.addCleanup(self.cluster.close)
        users = {"alice": f"on >{SECRET} ~* &* +@all"}
        self.redis = Redis(server_files(self.cluster), users=users).start()
        self.addCleanup(self.redis.close)
        passwords = self.cluster.folder / "passwords"
        self.file = passwords / "cache" / "alice"
        self.file.parent.mkdir(parents=True)
        for folder in (passwords, self.file.parent):
            folder.chmod(0o700)
        self._write(SECRET)
        database = {"name": "cache", "protocol": "redis", "uri": f"localhost:{self.redis.port}"}
        self.agent = database_agent(self.cluster, "db-1", [database], password_dir=str(passwords))

    def _write(self, text: str, mode: int = 0o600) -> None:
        self.file.write_text(f"{text}\n")
        self.file.chmod(mode)

    def _cli(self, *words: str) -> str:
        certificate, key, proxy = certified(self.cluster, "alice", "cache", "redis", "alice")
        base = [shutil.which("redis-cli") or "", "--tls", "-h", "localhost", "-p", str(self.cluster.web)]
        base += ["--cert", str(certificate), "--key", str(key), "--cacert", str(proxy)]
        done = subprocess.run([*base, *words], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def test_found_nowhere_else(self) -> None:
        """
        The user has a certificate alone; the file's changes count at once; log, audit log and recording are silent.
        """
        self.cluster.tctl("users", "add", "alice", "--roles=access", "--logins=root", "--db-users=alice")
        self.assertEqual(self._cli("acl", "whoami").strip(), "alice")
        self._write("outdated")
        self.assertIn("did not take our password", self._cli("ping"))
        self._write(SECRET, 0o640)
        said = self._cli("ping")
        self.assertIn("its log says why", said)
        self._write(SECRET)
        self.assertIn("PONG", self._cli("ping"))
        until(lambda: len(self.cluster.events("db.session.end")) == 2, "the ends of the sessions")
        reasons = [event.get("error", "") for event in self.cluster.events("db.session.start")]
        self.assertTrue(any(f"chmod 600 {self.file}" in reason for reason in reasons), reasons)
        self.assertNotIn(SECRET, said + self.cluster.tctl("audit", "export", "--format=json"))
        files = {path for path in self.cluster.folder.rglob("*") if path.is_file()} - {self.file}
        self.assertIn(self.agent.log, files)
        self.assertEqual([path for path in files if SECRET.encode() in path.read_bytes()], [])
