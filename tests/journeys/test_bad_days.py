"""
Hosts that join through the proxy, and what is kept when something dies.
"""

from __future__ import annotations

import getpass
import json
import signal
import subprocess
import unittest
from pathlib import Path

import pytest

from tests.journeys.cluster import Cluster, until

pytestmark = pytest.mark.servers


class BadDays(unittest.TestCase):
    """
    Auth and proxy in one process, an agent in another that knows only the proxy.
    """

    cluster: Cluster
    config: Path
    login: str

    def setUp(self) -> None:
        self.cluster = cluster = Cluster(roles=("auth", "proxy")).start()
        self.addCleanup(cluster.close)
        self.login = getpass.getuser()
        self.agent = cluster.agent("node-2", labels={"env": "far"})
        self.agent.start()
        until(lambda: cluster.node_listed("node-2"), "the agent's first heartbeat")
        folder = cluster.folder / "openssh"
        folder.mkdir(mode=0o700)
        cluster.tctl("users", "add", "alice", "--roles=access,auditor", f"--logins={self.login}")
        cluster.tctl("auth", "sign", "--user=alice", "--format=openssh", f"--out={folder / 'alice'}")
        authority = cluster.tctl("auth", "export", "--type=host").split()
        (folder / "known_hosts").write_text(f"@cert-authority * {authority[2]} {authority[3]}\n")
        self.config = folder / "config"
        self.config.write_text(
            f"Host *\n  User {self.login}\n  IdentityFile {folder / 'alice'}\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  UserKnownHostsFile {folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n  BatchMode yes\n  ConnectTimeout 10\n"
            f"Host node-2\n  ProxyJump proxy\nHost proxy\n  HostName localhost\n  Port {cluster.ssh}\n"
        )

    def ssh(self, command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.cluster.run("ssh", "-F", str(self.config), "node-2", command, check=check)

    def works(self) -> bool:
        return self.ssh("echo fine", check=False).stdout.strip() == "fine"

    def session(self) -> subprocess.Popen[str]:
        """
        @return: a session that says a line and waits for one.
        """
        words = ["ssh", "-F", str(self.config), "node-2", "echo up; read line; echo got $line"]
        session = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(session.kill)
        assert session.stdout is not None
        self.assertEqual(session.stdout.readline().strip(), "up")
        return session

    def test_the_agent_needs_its_token_once_and_comes_back(self) -> None:
        """Killed and started again it is reached again, also after its token is gone; it listens on no port."""
        self.assertTrue(self.works())
        listening = self.cluster.run("ss", "-ltnp", check=False).stdout
        assert self.agent.process is not None
        ours = [line for line in listening.splitlines() if f"pid={self.agent.process.pid}," in line]
        self.assertEqual([line for line in ours if f":{self.agent.diag} " not in line], [])
        for token in json.loads(self.cluster.tctl("tokens", "ls", "--with-secrets", "--format=json")):
            self.cluster.tctl("tokens", "rm", token["metadata"]["name"])
        self.agent.kill()
        self.agent.start()
        until(self.works, "the agent to be reached again")

    def test_a_session_outlives_auth(self) -> None:
        """Auth and proxy are one process here; killed and started again, the agent finds back by itself."""
        self.assertTrue(self.works())
        self.cluster.service.kill()
        self.cluster.service.start()
        until(self.works, "the agent to be linked again")
        self.assertIn("whole", self.cluster.tctl("audit", "verify"))

    def test_a_killed_agent_s_events_and_recording_arrive_later(self) -> None:
        """What was on its disk is sent at its next start."""
        words = ["ssh", "-F", str(self.config), "-tt", "node-2"]
        session = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(session.kill)
        assert session.stdin is not None
        started = until(lambda: self.cluster.events("session.start", user="alice"), "the session's start")
        sid = started[-1]["sid"]
        spool = self.agent.folder / "data" / "log" / "upload"

        def size() -> int:
            return sum(path.stat().st_size for path in spool.rglob(f"*{sid}*"))

        for word in ("before-the-crash", "after-it", "last-words"):  # what comes last may be lost, what is before not
            before = until(size, "the recording's file")
            session.stdin.write(f"echo {word}\n")
            session.stdin.flush()
            until(lambda before=before: size() > before, "more of the recording on disk")
        self.agent.kill()
        self.agent.start()
        until(lambda: self.cluster.events("session.upload", sid=sid), "the recording's upload")
        hits = until(
            lambda: json.loads(self.cluster.tctl("recordings", "search", "before-the-crash", "--format=json")),
            "the recording's text",
        )
        self.assertEqual(hits[0]["session"], sid)

    def test_drain_lets_a_session_end(self) -> None:
        """QUIT: a running session goes on; when it is over the agent ends."""
        session = self.session()
        process = self.agent.process
        assert process is not None
        process.send_signal(signal.SIGQUIT)
        until(lambda: not self.works(), "the agent to take nobody new")
        self.assertIsNone(process.poll())
        output, _ = session.communicate("on\n", timeout=20)
        self.assertEqual(output.strip(), "got on")
        until(lambda: process.poll() is not None, "the agent to end")
        self.agent.process = None

    def test_a_second_auth_on_the_same_state_is_refused(self) -> None:
        """It says why, and the first goes on."""
        second = Cluster(roles=("auth",), teleport={"data_dir": str(self.cluster.folder / "data")})
        self.addCleanup(second.close)
        second.service.launch()
        assert second.service.process is not None
        until(lambda: second.service.process.poll() is not None, "the second auth to give up")  # type: ignore[union-attr]
        self.assertNotEqual(second.service.process.returncode, 0)
        self.assertIn("cannot start", second.service.log_tail())
        self.assertTrue(self.works())
