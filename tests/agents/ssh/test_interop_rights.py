"""
What is copied and which sockets are opened is between kernel and login: root's agent lends nobody its rights.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from teleport_tw.base.net.endpoints import UnixServer
from tests.agents.ssh.test_interop_files import FilesTestCase
from tests.conch.openssh import run
from tests.doubles.cluster import role

pytestmark = pytest.mark.servers


class RightsTests(FilesTestCase):
    """
    As a user made for the test.
    """

    async def start(self, registry: Any = None, **section: Any) -> None:
        """
        With the user, and a directory that all can enter, in which root has a file of its own.
        """
        if os.geteuid() != 0:
            self.skipTest("needs root to make a Unix user and become it")
        self.login = f"tf{os.getpid()}"
        await run("useradd", "-m", "-s", "/bin/sh", self.login)
        self.addCleanup(subprocess.run, ["userdel", "-r", self.login], capture_output=True, check=False)
        self.uid, self.home = pwd.getpwnam(self.login).pw_uid, Path(pwd.getpwnam(self.login).pw_dir)
        self.open = Path(mkdtemp(prefix="sh"))
        self.addCleanup(shutil.rmtree, self.open)
        self.open.chmod(0o755)
        self.secret = self.open / "secret"
        self.secret.write_text("root's")
        self.secret.chmod(0o600)
        self.cluster.copy.put(role("access", allow={"logins": [self.login]}))
        self.certify(logins=(self.login,))
        await super().start(registry, **section)

    def as_user(self, *words: str) -> Any:
        """
        C{scp} as the login.
        """
        return run(*self.tool("scp"), *[word.replace("HOST:", f"{self.login}@127.0.0.1:") for word in words])

    async def test_files_are_the_users_and_roots_stay_roots(self) -> None:
        """
        By SFTP and by scp.
        """
        await self.start()
        mine = self.root / "mine"
        mine.write_text("mine")
        for number, mode in enumerate(((), ("-O",))):
            up = f"up{number}"
            result = await self.as_user(*mode, str(mine), f"HOST:{up}")
            self.assertEqual(result[2], 0, result)
            self.assertEqual((self.home / up).stat().st_uid, self.uid)
            for wanted in (str(self.secret), "/etc/shadow"):
                _, err, code = await self.as_user(*mode, f"HOST:{wanted}", str(self.root / "got"))
                self.assertNotEqual(code, 0)
                self.assertIn(b"Permission denied", err)
            _, err, code = await self.as_user(*mode, str(mine), f"HOST:{self.open}/new")
            self.assertNotEqual(code, 0)
            self.assertIn(b"Permission denied", err)
            (self.home / f"link{number}").symlink_to(self.secret)  # a link helps nobody
            _, err, code = await self.as_user(*mode, str(mine), f"HOST:link{number}")
            self.assertNotEqual(code, 0)
        self.assertEqual(self.secret.read_text(), "root's")
        self.assertFalse((self.root / "got").exists())

    async def test_roots_sockets_stay_roots(self) -> None:
        """
        C{-W} to one of root's is refused; one for all sees the user, not root.
        """
        await self.start()
        seen: list[int] = []

        class Tell(Protocol):
            """Who is there?"""

            def connectionMade(self) -> None:
                self.transport.write(b"come in")
                self.transport.loseConnection()

        for name, mode in (("closed", 0o600), ("open", 0o666)):
            port = await UnixServer(reactor, str(self.open / name), mode=mode).listen(Factory.forProtocol(Tell))
            self.addCleanup(port.stopListening)
        results = []
        for name in ("closed", "open"):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                local = probe.getsockname()[1]
            seen.append(local)
            arguments = [*self.arguments(self.root / "user"), "-L", f"{local}:{self.open}/{name}"]
            reach = f"from socket import *; print(create_connection(('127.0.0.1', {local})).recv(99))"
            arguments += ["-o", "PermitLocalCommand=yes", f"{self.login}@127.0.0.1", "sleep 3"]
            process = reactor.spawnProcess(_Quiet(), shutil.which("ssh"), arguments, env=dict(os.environ))
            self.addCleanup(lambda process=process: process.pid and process.signalProcess("KILL"))
            await self.until(lambda local=local: _listens(local))
            results.append((await run("python3", "-c", reach))[0])
        self.assertEqual(results, [b"b''\n", b"b'come in'\n"])
        failed = [event for event in self.sink.named("port.local") if event["code"] == "T3003E"]
        self.assertIn("Permission denied", failed[0]["error"])
        path = self.open / "mine.sock"
        await run(
            *self.arguments(self.root / "user", "ExitOnForwardFailure=yes"),
            "-R", f"{path}:127.0.0.1:1", f"{self.login}@127.0.0.1", "true",
        )  # fmt: skip
        self.assertEqual(list(self.open.glob("mine.sock")), [])
        self.assertIn("T3003E", [event["code"] for event in self.sink.named("port.remote")])

    async def test_small_ports_are_roots(self) -> None:
        """
        C{-R 80} is not for users.
        """
        await self.start()
        await run(
            *self.arguments(self.root / "user", "ExitOnForwardFailure=yes"),
            "-R", "81:127.0.0.1:1", f"{self.login}@127.0.0.1", "true",
        )  # fmt: skip
        [event] = self.sink.named("port.remote")
        self.assertEqual((event["code"], event["error"]), ("T3003E", "only root may listen on this port"))


class _Quiet(Protocol):
    def processEnded(self, reason: object) -> None:
        """Nobody asks."""

    processExited = outReceived = errReceived = childDataReceived = processEnded

    def childConnectionLost(self, descriptor: int) -> None:
        """Nobody asks."""


def _listens(port: int) -> bool:
    with open("/proc/net/tcp") as table:
        return f":{port:04X} 00000000:0000 0A" in table.read()
