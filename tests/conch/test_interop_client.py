"""
Our client at OpenSSH's server.
"""

from __future__ import annotations

import os
from unittest import SkipTest

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import TCPClient, UnixClient
from teleport_tw.conch.agents import Agent
from teleport_tw.conch.algorithms import Algorithms
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.ciphers import CIPHERS, MACS
from teleport_tw.conch.connection import Connection
from teleport_tw.conch.exchange import HostProof
from teleport_tw.conch.kex import KEX_METHODS
from teleport_tw.conch.signatures import MemorySigner
from teleport_tw.conch.streams import ChannelEndpoint, Forward
from teleport_tw.conch.transport import ClientSettings, connect
from teleport_tw.protocols.ssh.wire import Reader, put_text
from tests.conch.openssh import MISSING, SSHD, Keys, Sshd, run, scratch
from tests.conch.programs import stream

pytestmark = pytest.mark.servers

_ALL_KINDS = ("ed25519", "ecdsa256", "ecdsa384", "ecdsa521", "rsa")


class Command(Channel):
    """
    Runs one command and keeps what it says.
    """

    name = b"session"

    def __init__(self) -> None:
        super().__init__()
        self.out = bytearray()
        self.status: int | None = None
        self.over: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.out += data

    def request_exit_status(self, payload: bytes) -> None:
        self.status = Reader(payload).uint32()

    def closed(self) -> None:
        self.over.callback(None)


async def execute(connection: Connection, command: str, feed: bytes = b"") -> Command:
    """
    Run it to its end.
    """
    channel = Command()
    await connection.open(channel)
    assert await connection.request(channel, "exec", put_text(command))
    if feed:
        channel.write(feed)
    channel.loseWriteConnection()
    await channel.over
    return channel


class ClientInteropTests(TestCase):
    """
    Each starts an sshd of its own.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING or SSHD is None:
            raise SkipTest(MISSING or "sshd is not installed")
        if os.getuid():
            raise SkipTest("sshd signs root in only if it runs as root")

    async def start(self, *lines: str, kinds: tuple[str, ...] = ("ed25519",), host_key: str = "host-ed25519") -> None:
        self.keys = Keys.make(scratch(self), kinds)
        self.sshd = Sshd(self.keys)
        self.sshd.start(*lines, host_key=host_key)
        self.addCleanup(self.sshd.stop)
        await self.sshd.up()

    async def connect(self, endpoint: object = None, **settings: object) -> Connection:
        """
        @return: signed in with the certificate of C{user-ed25519}, unless told otherwise.
        """

        async def verify(proof: HostProof) -> None:
            self.proof = proof
            if not proof.certified:
                raise TeleportError(Kind.ACCESS_DENIED, "no host certificate")

        name = "user-ed25519"
        made = ClientSettings(
            **{
                "clock": reactor,
                "username": "root",
                "verify_host": verify,
                "signers": [MemorySigner(self.keys.private(name), self.keys.certificate(name))],
                **settings,
            }
        )
        connection = await connect(endpoint or TCPClient(reactor, "127.0.0.1", self.sshd.port, timeout=10), made)
        self.addCleanup(connection.transport.abortConnection)
        return connection

    async def test_a_command_runs(self) -> None:
        """
        With a user certificate, against a host certificate.
        """
        await self.start()
        done = await execute(await self.connect(), "echo hello; exit 3")
        self.assertEqual((bytes(done.out), done.status), (b"hello\n", 3))
        self.assertEqual(self.proof.blob, self.keys.certificate("host-ed25519"))

    async def test_an_unknown_host_is_not_talked_to(self) -> None:
        """
        The reason is the one that the callback gave.
        """
        await self.start()

        async def refuse(proof: HostProof) -> None:
            raise TeleportError(Kind.ACCESS_DENIED, "never heard of it")

        with self.assertRaises(TeleportError) as caught:
            await self.connect(verify_host=refuse)
        self.assertIn("never heard of it", str(caught.exception))

    async def test_a_refused_key_is_access_denied(self) -> None:
        """
        A bare key that the server does not know.
        """
        await self.start()
        with self.assertRaises(TeleportError) as caught:
            await self.connect(signers=[MemorySigner(self.keys.private("user-ed25519"))])
        self.assertEqual(caught.exception.kind, Kind.ACCESS_DENIED)

    async def test_the_second_identity_is_tried(self) -> None:
        """
        After the first was refused.
        """
        await self.start()
        key = self.keys.private("user-ed25519")
        signers = [MemorySigner(key), MemorySigner(key, self.keys.certificate("user-ed25519"))]
        done = await execute(await self.connect(signers=signers), "echo in")
        self.assertEqual(bytes(done.out), b"in\n")

    async def test_every_cipher_and_mac(self) -> None:
        """
        Each moves data both ways.
        """
        await self.start()
        data = stream(200_000)
        for cipher, algorithm in CIPHERS.items():
            for mac in (next(iter(MACS)),) if algorithm.authenticates else MACS:
                algorithms = Algorithms(ciphers=(cipher,), macs=(mac,))
                done = await execute(await self.connect(algorithms=algorithms), "cat", data)
                self.assertEqual((bytes(done.out) == data, done.status), (True, 0), (cipher, mac))

    async def test_every_key_exchange(self) -> None:
        """
        Those that the installed server knows.
        """
        known, _, _ = await run("ssh", "-Q", "kex")
        names = [method for method in KEX_METHODS if method in known.split()]
        await self.start("KexAlgorithms " + b",".join(names).decode())
        for method in names:
            done = await execute(await self.connect(algorithms=Algorithms(kex=(method,))), "echo ok")
            self.assertEqual(bytes(done.out), b"ok\n", method)

    async def test_every_type_of_user_and_host_certificate(self) -> None:
        """
        RSA signs with SHA-2.
        """
        for kind in _ALL_KINDS:
            await self.start(kinds=tuple({"ed25519", kind}), host_key=f"host-{kind}")
            signer = MemorySigner(self.keys.private(f"user-{kind}"), self.keys.certificate(f"user-{kind}"))
            done = await execute(await self.connect(signers=[signer]), "echo ok")
            self.assertEqual(bytes(done.out), b"ok\n", kind)
            self.assertEqual(self.proof.blob, self.keys.certificate(f"host-{kind}"))

    async def test_keys_are_renewed_under_load(self) -> None:
        """
        By the server every megabyte, and by us.
        """
        await self.start("RekeyLimit 1M")
        data = stream(20_000_000)
        done = await execute(await self.connect(), "cat", data)
        self.assertTrue(bytes(done.out) == data)
        await self.start()
        done = await execute(await self.connect(limits=Limits(rekey_bytes=1_000_000)), "cat", data)
        self.assertTrue(bytes(done.out) == data)

    async def test_a_real_agent_signs_in(self) -> None:
        """
        With RSA, which must not fall back to SHA-1, and by a certificate.
        """
        await self.start(kinds=("ed25519", "rsa"))
        socket = str(self.keys.root / "agent")
        out, _, _ = await run("ssh-agent", "-a", socket)
        pid = int(out.split(b"SSH_AGENT_PID=")[1].split(b";")[0])
        self.addCleanup(os.kill, pid, 15)
        for kind in ("rsa", "ed25519"):
            _, err, code = await run("ssh-add", "-q", self.keys.path(f"user-{kind}"), env={"SSH_AUTH_SOCK": socket})
            self.assertEqual(code, 0, err)
        agent = await Agent.connect(UnixClient(reactor, socket), reactor)
        self.addCleanup(agent.close)
        signers = await agent.signers()
        self.assertEqual(
            {signer.blob for signer in signers[:2]},
            {self.keys.certificate(f"user-{kind}") for kind in ("rsa", "ed25519")},
        )
        for signer in signers[:2]:
            done = await execute(await self.connect(signers=[signer]), "echo ok")
            self.assertEqual(bytes(done.out), b"ok\n")

    async def test_a_connection_goes_through_another(self) -> None:
        """
        SSH inside a direct-tcpip channel, as C{ssh -J} does it.
        """
        await self.start()
        jump = await self.connect()
        inside = await self.connect(ChannelEndpoint(jump, Forward("127.0.0.1", self.sshd.port)))
        data = stream(5_000_000)
        done = await execute(inside, "cat", data)
        self.assertTrue(bytes(done.out) == data)
