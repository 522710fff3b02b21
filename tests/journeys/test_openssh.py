"""
Stock OpenSSH and what is built on it, with files of C{tctl auth sign} and no C{tsh} at run time.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import shutil
import subprocess
import unittest
from pathlib import Path

import pytest

from tests.journeys.cluster import Cluster, free_ports, until

pytestmark = pytest.mark.servers


@unittest.skipUnless(shutil.which("ssh"), "OpenSSH's client is not installed")
class OpenSSHTests(unittest.TestCase):
    cluster: Cluster
    config: Path
    folder: Path
    login: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.cluster = cluster = Cluster().start()
        cls.addClassCleanup(cluster.close)
        cls.login = getpass.getuser()
        cls.folder = cluster.folder / "openssh"
        cls.folder.mkdir(mode=0o700)
        cluster.tctl("users", "add", "alice", "--roles=access", f"--logins={cls.login}")
        key = cls.folder / "alice"
        cluster.tctl("auth", "sign", "--user=alice", "--format=openssh", f"--out={key}")
        authority = cluster.tctl("auth", "export", "--type=host").split()
        known_hosts = cls.folder / "known_hosts"
        known_hosts.write_text(f"@cert-authority * {authority[2]} {authority[3]}\n")
        cls.config = cls.folder / "config"
        cls.config.write_text(
            f"Host *\n  User {cls.login}\n  IdentityFile {key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {known_hosts}\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n"
            f"Host node-1 node-1.journey\n  ProxyJump proxy\nHost proxy\n  HostName localhost\n  Port {cluster.ssh}\n"
        )
        until(lambda: cluster.node_listed("node-1"), "the node's first heartbeat")

    def ssh(self, *words: str, program: str = "ssh", check: bool = True, **options: object) -> str:
        """
        @return: standard output.
        """
        done = self.cluster.run(program, "-F", str(self.config), *words, check=check, **options)  # type: ignore[arg-type]
        return done.stdout

    def test_a_command_by_way_of_the_jump_host(self) -> None:
        """No question is asked; output, errors and exit status come back."""
        done = self.cluster.run("ssh", "-F", str(self.config), "node-1", "id -un; echo no >&2; exit 3", check=False)
        self.assertEqual((done.stdout.strip(), done.stderr.strip(), done.returncode), (self.login, "no", 3))

    def test_the_cluster_s_name_may_stand_behind_the_host_s(self) -> None:
        """C{host.cluster} is the same host, and its certificate says so."""
        self.assertEqual(self.ssh("node-1.journey", "echo", "there").strip(), "there")

    def test_an_unknown_host_is_told_by_name(self) -> None:
        """The jump host says what it does not know."""
        done = self.cluster.run("ssh", "-F", str(self.config), "-J", "proxy", "nowhere", "true", check=False)
        self.assertIn("nowhere", done.stderr)
        self.assertEqual(done.returncode, 255)

    def test_the_jump_host_gives_no_shell(self) -> None:
        """It says what it is for."""
        done = self.cluster.run("ssh", "-F", str(self.config), "proxy", "id", check=False)
        self.assertIn("gives no shells", done.stderr)
        self.assertNotIn("uid=", done.stdout)

    def test_files_go_and_come_back_whole(self) -> None:
        """C{scp} in both protocols, C{sftp} and C{rsync}: 3 MB of noise, compared by digest."""
        noise = os.urandom(3_000_000)
        source = self.folder / "noise"
        source.write_bytes(noise)
        digest = hashlib.sha256(noise).hexdigest()
        there = self.folder / "there"
        there.mkdir(exist_ok=True)
        batch = self.folder / "batch"
        batch.write_text(f"put {source} {there}/by-sftp\nls -l {there}\n")
        copies = {
            "by-scp": ("scp", str(source), f"node-1:{there}/by-scp"),
            "by-old-scp": ("scp", "-O", str(source), f"node-1:{there}/by-old-scp"),
            "by-sftp": ("sftp", "-b", str(batch), "node-1"),
        }
        for name, (program, *words) in copies.items():
            with self.subTest(name):
                self.ssh(*words, program=program)
                self.assertEqual(hashlib.sha256((there / name).read_bytes()).hexdigest(), digest)
                self.ssh(f"node-1:{there}/{name}", str(self.folder / "back"), program="scp")
                self.assertEqual(hashlib.sha256((self.folder / "back").read_bytes()).hexdigest(), digest)
        if shutil.which("rsync"):
            shell = f"ssh -F {self.config}"
            self.cluster.run("rsync", "-a", "-e", shell, f"{there}/", f"node-1:{self.folder}/synced/")
            copied = sorted(path.name for path in (self.folder / "synced").iterdir())
            self.assertEqual(copied, sorted(path.name for path in there.iterdir()))
        self.assertTrue(until(lambda: self.cluster.events("sftp", user="alice"), "the file operations' events"))

    def test_one_connection_carries_many_sessions(self) -> None:
        """ControlMaster: eight commands over one connection, all at once."""
        socket = self.folder / "mux"
        master = subprocess.Popen(
            ["ssh", "-F", str(self.config), "-M", "-N", "-S", str(socket), "node-1"], stdin=subprocess.DEVNULL
        )
        self.addCleanup(master.wait)
        self.addCleanup(master.kill)
        until(socket.exists, "the master connection")
        running = [
            subprocess.Popen(
                ["ssh", "-F", str(self.config), "-S", str(socket), "node-1", f"echo {number}"],
                stdout=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            for number in range(8)
        ]
        self.assertEqual([each.communicate(timeout=60)[0].strip() for each in running], [str(n) for n in range(8)])

    @unittest.skipUnless(shutil.which("ansible"), "ansible is not installed")
    def test_ansible_pings(self) -> None:
        """Its ssh connection, with pipelining off: a file is copied and run."""
        inventory = self.folder / "inventory"
        inventory.write_text("node-1\n")
        done = self.cluster.run(
            *("ansible", "all", "-i", str(inventory), "-m", "ping"),
            ANSIBLE_SSH_ARGS=f"-F {self.config}",
            ANSIBLE_HOST_KEY_CHECKING="True",
            ANSIBLE_HOME=str(self.folder / "ansible"),
            ANSIBLE_LOCAL_TEMP=str(self.folder / "ansible-local"),
            ANSIBLE_REMOTE_TEMP=str(self.folder / "ansible-remote"),
            timeout=120,
        )
        self.assertIn("pong", done.stdout)

    def test_a_forwarded_port_reaches_what_the_server_reaches(self) -> None:
        """C{-L}: the proxy's own web port, seen from the server."""
        (port,) = free_ports(1)
        forward = f"127.0.0.1:{port}:127.0.0.1:{self.cluster.web}"
        tunnel = subprocess.Popen(
            ["ssh", "-F", str(self.config), "-N", "-L", forward, "node-1"], stdin=subprocess.DEVNULL
        )
        self.addCleanup(tunnel.wait)
        self.addCleanup(tunnel.kill)
        fetch = ("curl", "-sk", "--max-time", "5", f"https://127.0.0.1:{port}/webapi/find")
        shown = until(lambda: self.cluster.run(*fetch, check=False).stdout, "the forwarded port")
        self.assertIn("cluster_name", shown)

    def test_a_lock_ends_a_session_within_two_seconds(self) -> None:
        """The user is told, and stays out until the lock is removed."""
        self.cluster.tctl("users", "add", "mallory", "--roles=access", f"--logins={self.login}")
        key = self.folder / "mallory"
        self.cluster.tctl("auth", "sign", "--user=mallory", "--format=openssh", f"--out={key}")
        config = self.folder / "mallory-config"
        config.write_text(self.config.read_text().replace(str(self.folder / "alice"), str(key)))
        session = subprocess.Popen(
            ["ssh", "-F", str(config), "node-1", "echo in; sleep 60"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.addCleanup(session.kill)
        assert session.stdout is not None
        self.assertEqual(session.stdout.readline().strip(), "in")
        self.cluster.tctl("lock", "--user=mallory", "--message=not today")
        _, errors = session.communicate(timeout=20)
        self.assertNotEqual(session.returncode, 0)
        self.assertIn("not today", errors)
        self.assertTrue(until(lambda: self.cluster.events("client.disconnect", user="mallory"), "the event"))
