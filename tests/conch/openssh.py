"""
OpenSSH's own programs on loopback: keys and certificates made by C{ssh-keygen}, the client, the server, the agent.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, field
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from teleport_tw.protocols.ssh.keys import parse_line

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin")
MISSING = next(
    (f"{name} is not installed" for name in ("ssh", "ssh-keygen", "ssh-agent") if not shutil.which(name)), ""
)


def scratch(test: TestCase) -> Path:
    """
    A directory that goes with the test; its name is short enough for sockets.
    """
    directory = TemporaryDirectory(prefix="ssh")
    test.addCleanup(directory.cleanup)
    return Path(directory.name)


class _Collector(ProcessProtocol):
    def __init__(self, feed: bytes) -> None:
        self.done: Deferred[tuple[bytes, bytes, int]] = Deferred()
        self.feed, self.out, self.err = feed, bytearray(), bytearray()

    def connectionMade(self) -> None:
        if self.feed:
            self.transport.write(self.feed)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        code = 0 if reason.check(ProcessDone) else reason.value.exitCode
        self.done.callback((bytes(self.out), bytes(self.err), -1 if code is None else code))


def run(*arguments: str, feed: bytes = b"", seconds: float = 60, env: dict[str, str] | None = None) -> Deferred:
    """
    @return: fires with output, error output and exit code; the program is killed after C{seconds}.
    """
    collector = _Collector(feed)
    program = shutil.which(arguments[0]) or arguments[0]
    process = reactor.spawnProcess(collector, program, arguments, env={**os.environ, **(env or {})})

    def stop() -> None:
        process.signalProcess("KILL")

    timer = reactor.callLater(seconds, stop)

    def ended(result: object) -> object:
        if timer.active():
            timer.cancel()
        return result

    return collector.done.addBoth(ended)


@define
class Keys:
    """
    A directory of keys: one of each type, a user and a host authority, and certificates by them.
    """

    root: Path
    types: Sequence[str] = ("ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa")

    @classmethod
    def make(cls, root: Path, types: Sequence[str] = ("ed25519",)) -> Keys:
        """
        C{user-<type>} and C{host-<type>} with certificates beside them.
        """
        keys = cls(root, types)
        root.mkdir(parents=True, exist_ok=True)
        for authority in ("user-ca", "host-ca"):
            keys.generate(authority, "ed25519")
        for kind in types:
            for whose, options in (("user", ["-n", "alice,root"]), ("host", ["-h", "-n", "127.0.0.1,localhost"])):
                name = f"{whose}-{kind}"
                keys.generate(name, kind)
                _keygen("-s", keys.path(f"{whose}-ca"), "-I", name, *options, "-V", "-5m:+1h", keys.path(name) + ".pub")
        return keys

    def generate(self, name: str, kind: str) -> None:
        """
        A key without passphrase.
        """
        letters, bits = kind.rstrip("0123456789"), kind.lstrip("abcdefghijklmnopqrstuvwxyz")
        if letters == "ed":
            letters, bits = kind, ""
        _keygen("-q", "-t", letters, *(["-b", bits] if bits else []), "-N", "", "-f", self.path(name))

    def path(self, name: str) -> str:
        """
        Of the private key.
        """
        return str(self.root / name)

    def private(self, name: str) -> object:
        """
        The private key itself.
        """
        return load_ssh_private_key(Path(self.path(name)).read_bytes(), None)

    def certificate(self, name: str) -> bytes:
        """
        The blob of its certificate.
        """
        return parse_line(Path(self.path(name) + "-cert.pub").read_text()).blob

    def blob(self, name: str) -> bytes:
        """
        The blob of its public key.
        """
        return parse_line(Path(self.path(name) + ".pub").read_text()).blob

    def known_hosts(self) -> str:
        """
        A file that trusts the host authority.
        """
        path = self.root / "known_hosts"
        path.write_text("@cert-authority * " + Path(self.path("host-ca") + ".pub").read_text())
        return str(path)

    def plain_hosts(self, port: int) -> str:
        """
        A file that knows the host keys themselves.
        """
        path = self.root / "plain_hosts"
        lines = [Path(self.path(f"host-{kind}") + ".pub").read_text() for kind in self.types]
        path.write_text("".join(f"[127.0.0.1]:{port} {line}" for line in lines))
        return str(path)


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, timeout=60)


def ssh_arguments(keys: Keys, port: int, *options: str, user_key: str = "user-ed25519") -> list[str]:
    """
    @return: C{ssh} that reads no configuration of this machine, up to but without the host.
    """
    settings = (
        "IdentityAgent=none",
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={keys.known_hosts()}",
        "GlobalKnownHostsFile=/dev/null",
        f"CertificateFile={keys.path(user_key)}-cert.pub",
        "LogLevel=ERROR",
        *options,
    )
    # The first value given counts, so what a test asks for goes before the rest.
    listed = [part for setting in (*options, *settings) for part in ("-o", setting)]
    return ["ssh", "-F", "none", "-p", str(port), "-i", keys.path(user_key), *listed]


def free_port() -> int:
    """
    For programs that cannot choose one themselves.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@define
class Sshd:
    """
    OpenSSH's server, trusting the user authority of C{keys}.
    """

    keys: Keys
    port: int = field(factory=free_port)
    _process: subprocess.Popen | None = None

    def start(self, *settings: str, host_key: str = "host-ed25519") -> None:
        """
        @param settings: further lines of its configuration.
        """
        os.makedirs("/run/sshd", exist_ok=True)
        lines = (
            *settings,
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.keys.path(host_key)}",
            f"HostCertificate {self.keys.path(host_key)}-cert.pub",
            f"TrustedUserCAKeys {self.keys.path('user-ca')}.pub",
            "AuthorizedKeysFile none",
            "PermitRootLogin yes",
            "StrictModes no",
            "PidFile none",
            "UsePAM no",
            "LogLevel ERROR",
        )
        path = self.keys.root / "sshd_config"
        path.write_text("\n".join(lines) + "\n")
        self._process = subprocess.Popen(
            [SSHD, "-D", "-e", "-f", str(path)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    async def up(self) -> None:
        """
        Wait until it listens.
        """
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            pause: Deferred[None] = Deferred()
            reactor.callLater(0.05, pause.callback, None)
            await pause
        raise AssertionError("sshd does not listen")

    def stop(self) -> None:
        """
        End it.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(10)
            self._process.stderr.close()
