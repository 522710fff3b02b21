"""
An SSH agent on a port of its own, and OpenSSH's client with certificates of a cluster made for the test.
"""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_tw.agents.ssh.service import SSHAgentService, default_registry
from teleport_tw.base.tasks import Threads
from teleport_tw.config.sections import SSHService
from teleport_tw.pki import sshcert
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.protocols.ssh.keys import format_line
from teleport_tw.recordings.capture import Recordings
from tests.conch.openssh import MISSING, run, scratch
from tests.doubles.cluster import Cluster, RecordingSink, role

ME = getpass.getuser()


class AgentTestCase(TestCase):
    """
    C{start} makes the agent; C{ssh} runs the client.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING:
            raise SkipTest(MISSING)
        self.cluster = Cluster()
        self.sink = RecordingSink()
        self.root = scratch(self)
        self.cluster.copy.put(role("access", allow={"logins": [ME, "nosuchlogin"]}))

    async def start(self, registry: Any = None, **section: Any) -> None:
        """
        The agent, listening.
        """
        self.threads = Threads(reactor, reactor.getThreadPool())
        self.recordings = self.root / "recordings"
        self.agent = SSHAgentService(
            reactor=reactor,
            threads=self.threads,
            identity=self.cluster.host(self.root),
            node_name="node-1",
            version="1.0.0",
            section=SSHService(listen_addr="127.0.0.1:0", **section),
            copy=self.cluster.copy,
            leases=self.cluster.api,
            sink=self.sink,
            recordings=Recordings(self.recordings, self.cluster.api, reactor, self.threads),
            labels=lambda: {"env": "prod"},
            proxy_address="proxy.example.com:443",
            listen=True,
            registry=registry or default_registry(),
        )
        self.agent.startService()
        self.addCleanup(self.stop)
        await self.until(lambda: self.agent.port is not None)
        self.port = self.agent.port.getHost().port

    async def stop(self) -> None:
        """
        The agent stops; nobody is waited for.
        """
        from datetime import timedelta

        self.agent.drain_timeout = timedelta(0)
        if self.agent.running:
            await self.agent.stopService()
        # A session that was just beginning opens its recording a moment later, and flushes it within a second.
        await self.until(lambda: not any("Recorder" in repr(call.func) for call in reactor.getDelayedCalls()))

    async def until(self, true: Any, seconds: float = 60) -> None:
        """
        Let the reactor run until something holds.
        """
        for _ in range(int(seconds / 0.01)):
            if true():
                return
            await deferLater(reactor, 0.01)
        raise AssertionError("it did not happen in time")

    def certify(self, name: str = "user", authority: Any = None, username: str = "alice", **identity: Any) -> Path:
        """
        A key and certificate as files.

        @param name: of the file.
        @return: the key's path.
        """
        key = PrivateKey.generate_ssh()
        facts = {"logins": (ME, "nosuchlogin"), "roles": ("access",), **identity}
        blob = self.cluster.ssh(self.cluster.user(username, **facts), key, authority)
        path = self.root / name
        path.write_bytes(key.openssh_pem().reveal())
        path.chmod(0o600)
        Path(f"{path}-cert.pub").write_text(sshcert.line(blob) + "\n")
        return path

    def arguments(self, key: Path, *options: str) -> list[str]:
        """
        C{ssh} up to but without the host.
        """
        known = self.root / "known_hosts"
        host_key = self.cluster.host_ca.active.ssh[0].public
        known.write_text(f"@cert-authority * {format_line(host_key)}\n")
        settings = (
            "IdentityAgent=none", "IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={known}", "GlobalKnownHostsFile=/dev/null", f"CertificateFile={key}-cert.pub",
            "LogLevel=ERROR",
        )  # fmt: skip
        listed = [part for setting in (*options, *settings) for part in ("-o", setting)]
        return ["ssh", "-F", "none", "-p", str(self.port), "-i", str(key), *listed]

    def as_login(self, arguments: list[str], login: str) -> list[str]:
        """
        By a file, as OpenSSH takes no login that begins with a hyphen from its command line.
        """
        path = self.root / f"config{login}"
        path.write_text(f"Host *\n  User {login}\n")
        return [str(path) if each == "none" else each for each in arguments]

    def ssh(
        self, *command: str, key: Path | None = None, login: str = ME, options: tuple[str, ...] = (), **more: Any
    ) -> Deferred:
        """
        @return: output, error output, exit code.
        """
        arguments = self.arguments(key or self.certify(), *options)
        flags = [each for each in command if each.startswith("-t")]
        rest = [each for each in command if not each.startswith("-t")]
        return run(*self.as_login(arguments, login), *flags, "127.0.0.1", *rest, **more)
