"""
OpenSSH's client at our server.
"""

from __future__ import annotations

import hashlib
from unittest import SkipTest

import pytest
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from teleport_tw.base.errors import access_denied
from teleport_tw.base.net.endpoints import TCPServer
from teleport_tw.conch.algorithms import Algorithms
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.ciphers import CIPHERS, MACS
from teleport_tw.conch.kex import KEX_METHODS
from teleport_tw.conch.signatures import HostKeys, is_certificate
from teleport_tw.conch.transport import ServerFactory, ServerSettings
from teleport_tw.conch.userauth import LoginRules, Peer
from teleport_tw.protocols.ssh import certificate
from teleport_tw.protocols.ssh.wire import Reader
from tests.conch.openssh import MISSING, Keys, run, scratch, ssh_arguments
from tests.conch.pair import Host
from tests.conch.programs import ExecChannel, stream

pytestmark = pytest.mark.servers

_ALL_KINDS = ("ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa")


class ServerInteropTests(TestCase):
    """
    Each starts a server on a port of its own.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING:
            raise SkipTest(MISSING)
        self.logins: list[tuple[str, bytes]] = []
        self.hosts: list[Host] = []

    async def serve(self, kinds: tuple[str, ...] = ("ed25519",), **settings: object) -> int:
        """
        @return: the port.
        """
        self.keys = Keys.make(scratch(self), kinds)
        host_keys = [(self.keys.private(f"host-{kind}"), self.keys.certificate(f"host-{kind}")) for kind in kinds]

        async def authenticate(username: str, blob: bytes, peer: Peer) -> Host:
            if not is_certificate(Reader(blob).string()):
                raise access_denied(details="no certificate")
            if username not in certificate.parse(blob).principals:
                raise access_denied(details="wrong principal")
            self.logins.append((username, blob))
            host = Host(make=lambda request: ExecChannel())
            self.hosts.append(host)
            return host

        made = ServerSettings(
            **{
                "clock": reactor,
                "host_keys": HostKeys(host_keys),
                "rules": LoginRules(
                    authenticate=authenticate,
                    acceptable=lambda username, blob: is_certificate(Reader(blob).string()),
                    banner="Welcome aboard",
                    refusal=lambda error: None,
                ),
                "algorithms": Algorithms(kex=tuple(KEX_METHODS)),
                **settings,
            }
        )
        port = await TCPServer(reactor, "127.0.0.1", 0).listen(ServerFactory(made))
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def test_a_command_runs_and_its_exit_status_comes_back(self) -> None:
        """
        Output, error output, status, and the certificate that signed in.
        """
        port = await self.serve()
        arguments = ssh_arguments(self.keys, port)
        out, err, code = await run(*arguments, "alice@127.0.0.1", "echo hello there")
        self.assertEqual((out, err, code), (b"hello there\n", b"oops\n", 7))
        self.assertEqual(self.logins, [("alice", self.keys.certificate("user-ed25519"))])

    async def test_the_banner_is_shown(self) -> None:
        """
        Before the login.
        """
        port = await self.serve()
        arguments = ssh_arguments(self.keys, port, "LogLevel=INFO")
        _, err, _ = await run(*arguments, "alice@127.0.0.1", "echo")
        self.assertIn(b"Welcome aboard", err)

    async def test_a_wrong_principal_reads_permission_denied(self) -> None:
        """
        And nothing about why.
        """
        port = await self.serve()
        _, err, code = await run(*ssh_arguments(self.keys, port), "mallory@127.0.0.1", "echo")
        self.assertEqual(code, 255)
        self.assertIn(b"Permission denied (publickey)", err)
        self.assertNotIn(b"principal", err)

    async def test_a_host_of_another_authority_is_not_accepted_by_the_client(self) -> None:
        """
        Our server's certificate is really what the client checked.
        """
        port = await self.serve()
        other = self.keys.root / "other"
        other.write_text("")
        arguments = ssh_arguments(self.keys, port, f"UserKnownHostsFile={other}")
        _, err, code = await run(*arguments, "alice@127.0.0.1", "echo")
        self.assertEqual(code, 255)
        self.assertIn(b"Host key verification failed", err)

    async def test_every_cipher_and_mac(self) -> None:
        """
        Each moves data both ways.
        """
        port = await self.serve()
        data = stream(300_000)
        for cipher, algorithm in CIPHERS.items():
            for mac in (next(iter(MACS)),) if algorithm.authenticates else MACS:
                arguments = ssh_arguments(self.keys, port, f"Ciphers={cipher.decode()}", f"MACs={mac.decode()}")
                out, err, code = await run(*arguments, "alice@127.0.0.1", "back", feed=data)
                self.assertEqual((out == data, err, code), (True, b"", 0), (cipher, mac))

    async def test_every_key_exchange(self) -> None:
        """
        Those that the installed client knows.
        """
        known, _, _ = await run("ssh", "-Q", "kex")
        port = await self.serve()
        tried = []
        for method in KEX_METHODS:
            if method in known.split():
                arguments = ssh_arguments(self.keys, port, f"KexAlgorithms={method.decode()}")
                out, err, code = await run(*arguments, "alice@127.0.0.1", "echo ok")
                self.assertEqual((out, code), (b"ok\n", 7), (method, err))
                tried.append(method)
        self.assertIn(b"curve25519-sha256", tried)
        self.assertIn(b"diffie-hellman-group16-sha512", tried)

    async def test_every_type_of_user_and_host_certificate(self) -> None:
        """
        RSA with both hashes.
        """
        port = await self.serve(_ALL_KINDS)
        names = {
            "ed25519": ("ssh-ed25519",),
            "ecdsa256": ("ecdsa-sha2-nistp256",),
            "ecdsa384": ("ecdsa-sha2-nistp384",),
            "ecdsa521": ("ecdsa-sha2-nistp521",),
            "rsa": ("rsa-sha2-256", "rsa-sha2-512"),
        }
        for kind, algorithms in names.items():
            for algorithm in algorithms:
                certified = f"{algorithm}-cert-v01@openssh.com"
                options = (f"HostKeyAlgorithms={certified}", f"PubkeyAcceptedAlgorithms={certified},{algorithm}")
                arguments = ssh_arguments(self.keys, port, *options, user_key=f"user-{kind}")
                out, err, code = await run(*arguments, "alice@127.0.0.1", "echo ok")
                self.assertEqual((out, code), (b"ok\n", 7), (algorithm, err))
                self.assertEqual(self.logins[-1][1], self.keys.certificate(f"user-{kind}"))

    async def test_a_bare_host_key_serves_clients_without_an_authority(self) -> None:
        """
        Every type, from a known_hosts file of plain keys.
        """
        port = await self.serve(_ALL_KINDS)
        known = self.keys.plain_hosts(port)
        for algorithm in ("ssh-ed25519", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256"):
            options = (f"UserKnownHostsFile={known}", f"HostKeyAlgorithms={algorithm}")
            out, err, _ = await run(*ssh_arguments(self.keys, port, *options), "alice@127.0.0.1", "echo ok")
            self.assertEqual(out, b"ok\n", (algorithm, err))

    async def test_the_client_renews_keys_under_load(self) -> None:
        """
        Every megabyte, while data flows down, up, and both ways at once.
        """
        port = await self.serve()
        arguments = ssh_arguments(self.keys, port, "RekeyLimit=1M")
        size = 40_000_000
        out, err, code = await run(*arguments, "alice@127.0.0.1", f"source {size}")
        self.assertEqual((out == stream(size), err, code), (True, b"", 0))
        data = stream(20_000_000)
        out, err, code = await run(*arguments, "alice@127.0.0.1", "sink", feed=data)
        self.assertEqual((out, err, code), (hashlib.sha256(data).hexdigest().encode(), b"", 0))
        out, err, code = await run(*arguments, "alice@127.0.0.1", "back", feed=data)
        self.assertEqual((out == data, err, code), (True, b"", 0))

    async def test_we_renew_keys_under_load(self) -> None:
        """
        The same, with the server asking.
        """
        port = await self.serve(limits=Limits(rekey_bytes=1_000_000))
        arguments = ssh_arguments(self.keys, port)
        size = 40_000_000
        out, err, code = await run(*arguments, "alice@127.0.0.1", f"source {size}")
        self.assertEqual((out == stream(size), err, code), (True, b"", 0))
        data = stream(20_000_000)
        out, err, code = await run(*arguments, "alice@127.0.0.1", "back", feed=data)
        self.assertEqual((out == data, err, code), (True, b"", 0))

    async def test_an_agent_signs_the_user_in(self) -> None:
        """
        Keys and certificates in a real ssh-agent.
        """
        port = await self.serve()
        script = 'ssh-add -q "$0" && exec "$@"'
        command = ["ssh", "-F", "none", "-p", str(port)]
        options = ("BatchMode=yes", f"UserKnownHostsFile={self.keys.known_hosts()}", "LogLevel=ERROR")
        for option in options:
            command += ["-o", option]
        out, err, code = await run(
            "ssh-agent", "sh", "-c", script, self.keys.path("user-ed25519"), *command, "alice@127.0.0.1", "echo ok"
        )
        self.assertEqual((out, code), (b"ok\n", 7), err)
