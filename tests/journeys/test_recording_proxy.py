"""
Sessions that end at the proxy: a stock sshd that joined, and a cluster that records at its proxy.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import time
import unittest
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.journeys.cluster import PASSWORD, Cluster, free_ports, until

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
            f"Host node-1 web1 web2\n  ProxyJump proxy\nHost proxy\n  HostName localhost\n  Port {cluster.ssh}\n"
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
        self.stock("web1")
        done = until(lambda: self.reached("web1"), "the server to answer")
        self.assertEqual(done, "from web1\n")
        (end,) = until(lambda: self.sessions("web1")[:1], "the end of the session in the log")
        self.assertEqual(end["server_sub_kind"], "openssh")

    def stock(self, name: str) -> None:
        """
        Start an sshd that joined.
        """
        (port,) = free_ports(1)
        folder = self.cluster.folder / f"sshd-{name}"
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
            *(f"--node-name={name}", f"--ca-pin={self.cluster.pin}"),
            *(f"--address=127.0.0.1:{port}", f"--openssh-config={config}"),
            *(f"--data-dir={folder}", "--restart-sshd=no", "--labels=env=test"),
        )
        with (folder / "log").open("wb") as log:
            sshd = subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(config)], stderr=log, stdin=subprocess.DEVNULL)
        self.addCleanup(sshd.wait)
        self.addCleanup(sshd.terminate)
        until(lambda: self.cluster.node_listed(name), "the server in the list")

    def reached(self, name: str) -> str:
        """
        What a stock server answers; empty while it does not.
        """
        done = self.cluster.run("ssh", "-F", str(self.config), "-a", name, f"echo from {name}", check=False)
        return done.stdout

    def test_second_factors(self) -> None:
        """
        The proxy asks for them, of a server with an agent and of one without; an answer counts for the certificate that
        it was given with, at both.
        """
        cluster = self.cluster
        self.stock("web2")
        until(lambda: self.reached("web2"), "the server to answer")
        phone = self.guarded("tess")
        first, second = self.signed("tess", "first"), self.signed("tess", "second")
        refused = self.ssh(first, "node-1", "true")
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("This session needs a second factor.", refused.stderr)
        done = self.ssh(first, "node-1", "echo in", answer=phone.at(int(time.time())))
        self.assertEqual(done.stdout, "in\n", done.stderr)
        covered = self.ssh(first, "web2", "echo covered")
        self.assertEqual(covered.stdout, "covered\n", covered.stderr)
        copied = self.ssh(second, "web2", "true")
        self.assertNotEqual(copied.returncode, 0, "another certificate proves itself")
        self.assertIn("This session needs a second factor.", copied.stderr)
        wrong = self.ssh(second, "web2", "true", answer="000000")
        self.assertNotEqual(wrong.returncode, 0)
        done = self.ssh(second, "web2", "echo there", answer=phone.at(int(time.time()) + 30))
        self.assertEqual(done.stdout, "there\n", done.stderr)

        def begun() -> list[dict[str, Any]]:
            return cluster.events("session.start", user="tess")

        until(lambda: len(begun()) >= 3, "what the log hears")
        self.assertEqual([bool(event["with_mfa"]) for event in begun()], [True] * 3)

    def guarded(self, user: str) -> pyotp.TOTP:
        """
        Somebody whose sessions take a second factor; two codes are left.
        """
        cluster = self.cluster
        allow = {"logins": [getpass.getuser()], "node_labels": {"*": "*"}}
        role = {"kind": "role", "version": "v7", "metadata": {"name": "guarded"}}
        file = cluster.folder / "guarded.yaml"
        options = {"require_session_mfa": True, "forward_agent": True}
        file.write_text(json.dumps({**role, "spec": {"options": options, "allow": allow}}))
        cluster.tctl("create", str(file))
        made = json.loads(cluster.tctl("users", "add", user, "--roles=guarded", "--format=json"))
        path = f"/webapi/users/password/token/{made['url'].rpartition('/')[2]}"
        phone = pyotp.TOTP(json.loads(cluster.http("GET", path))["otpSecret"])
        said = {"password": PASSWORD, "second_factor_token": phone.at(int(time.time()) - 30)}
        cluster.http("PUT", path, json.dumps(said).encode())
        return phone

    def signed(self, user: str, name: str) -> Path:
        """
        Key and certificate.
        """
        key = self.folder / f"{user}-{name}"
        self.cluster.tctl("auth", "sign", f"--user={user}", "--format=openssh", f"--out={key}")
        return key

    def ssh(self, key: Path, host: str, command: str, *, answer: str = "") -> subprocess.CompletedProcess[str]:
        """
        With an agent that is forwarded, as somebody who types this to every question; who types nothing takes none.
        """
        typing = key.with_suffix(".askpass")
        typing.write_text(f"#!/bin/sh\necho {answer}\n")
        typing.chmod(0o755)
        config = key.with_suffix(".config")
        config.write_text(
            self.config.read_text()
            .replace(str(self.key), str(key))
            .replace("BatchMode yes", "BatchMode no" if answer else "BatchMode yes")
        )
        asking = {"SSH_ASKPASS": str(typing), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"} if answer else {}
        script = f'ssh-add -q {key} </dev/null && exec ssh -F {config} -A "$@"'
        return self.cluster.run("ssh-agent", "sh", "-c", script, "sh", host, command, check=False, **asking)
