"""
Sessions that end at the proxy: a stock sshd that joined, and a cluster that records at its proxy.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import unittest
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.cluster import Cluster, free_ports, until

pytestmark = pytest.mark.servers

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")


@unittest.skipUnless(SSHD and shutil.which("ssh-agent"), "OpenSSH's server or agent is not installed")
@unittest.skipIf(os.getuid(), "sshd lets others than root in as themselves only")
class RecordingProxyTests(unittest.TestCase):
    cluster: Cluster
    config: Path
    folder: Path
    key: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = cluster = Cluster(auth_service={"session_recording": "proxy"}).start()
        cls.addClassCleanup(cluster.close)
        login = getpass.getuser()
        cls.folder = cluster.folder / "openssh"
        cls.folder.mkdir(mode=0o700)
        cluster.tctl("users", "add", "alice", "--roles=access", f"--logins={login}")
        cls.key = cls.folder / "alice"
        cluster.tctl("auth", "sign", "--user=alice", "--format=openssh", f"--out={cls.key}")
        authority = cluster.tctl("auth", "export", "--type=host").split()
        known_hosts = cls.folder / "known_hosts"
        known_hosts.write_text(f"@cert-authority * {authority[2]} {authority[3]}\n")
        cls.config = cls.folder / "config"
        cls.config.write_text(
            f"Host *\n  User {login}\n  IdentityFile {cls.key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n"
            f"Host node-1 web1\n  ProxyJump proxy\nHost proxy\n  HostName localhost\n  Port {cluster.ssh}\n"
        )
        until(lambda: cluster.node_listed("node-1"), "the node's first heartbeat")

    def sessions(self, server: str) -> list[dict[str, Any]]:
        """
        Ended ones that the proxy tells of.
        """
        ended = self.cluster.events("session.end", server_hostname=server)
        return [event for event in ended if event.get("forwarded_by")]

    def test_a_server_with_an_agent(self) -> None:
        """
        With a forwarded agent; the recording is stored and was made by the proxy.
        """
        command = ["ssh", "-F", str(self.config), "-A", "-tt", "node-1", "echo seen by the proxy"]
        script = f'ssh-add -q {self.key} && exec "$@"'
        done = self.cluster.run("ssh-agent", "sh", "-c", script, "sh", *command, check=False)
        self.assertIn("seen by the proxy", done.stdout, done.stderr)
        (end,) = until(lambda: self.sessions("node-1"), "the end of the session in the log")
        until(lambda: self.cluster.events("session.upload", sid=end["sid"]), "its upload")
        for name in ("session.start", "session.data", "session.end"):
            told = self.cluster.events(name)
            self.assertTrue(told)
            self.assertEqual([event for event in told if not event.get("forwarded_by")], [], name)

    def test_a_server_with_an_agent_and_no_agent_forwarded(self) -> None:
        """
        The user reads what is needed.
        """
        done = self.cluster.run("ssh", "-F", str(self.config), "-a", "node-1", "true", check=False)
        self.assertEqual(done.returncode, 255)
        self.assertIn("ssh -A", done.stderr)

    def test_a_stock_server_that_joins(self) -> None:
        """
        C{teleport join openssh}, then C{ssh} as to any other; no agent is needed.
        """
        (port,) = free_ports(1)
        folder = self.cluster.folder / "sshd"
        folder.mkdir()
        Path("/run/sshd").mkdir(exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "host")], check=True)
        config = folder / "config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nAuthorizedKeysFile none\n"
            "PermitRootLogin yes\nStrictModes no\nPidFile none\nUsePAM no\n"
        )
        token = self.cluster.tctl("tokens", "add", "--type=node", "--format=json")
        secret = json.loads(token)["token"]
        self.cluster.run(
            *self.cluster.program("teleport"),
            *("join", "openssh", f"--proxy-server={self.cluster.proxy}", f"--token={secret}"),
            *("--node-name=web1", f"--ca-pin={self.cluster.pin}"),
            *(f"--address=127.0.0.1:{port}", f"--openssh-config={config}"),
            *(f"--data-dir={folder}", "--restart-sshd=no", "--labels=env=test"),
        )
        with (folder / "log").open("wb") as log:
            sshd = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=log, stdin=subprocess.DEVNULL)
        self.addCleanup(sshd.wait)
        self.addCleanup(sshd.terminate)
        until(lambda: self.cluster.node_listed("web1"), "the server in the list")
        done = until(self.reached, "the server to answer")
        self.assertEqual(done, "from web1\n")
        (end,) = until(lambda: self.sessions("web1")[:1], "the end of the session in the log")
        self.assertEqual(end["server_sub_kind"], "openssh")

    def reached(self) -> str:
        """
        What the stock server answers; empty while it does not.
        """
        done = self.cluster.run("ssh", "-F", str(self.config), "-a", "web1", "echo from web1", check=False)
        return done.stdout
