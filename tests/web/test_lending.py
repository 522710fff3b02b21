"""
The agent of a session on the web, and terminals where sessions are recorded at the proxy.
"""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.conch import signatures
from teleport_tw.conch.connection import ChannelOpen
from teleport_tw.conch.streams import StreamChannel
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_string, put_text, put_uint32
from teleport_tw.web.envelope import CLOSED
from teleport_tw.web.lending import CHANNEL, MAX_MESSAGE_BYTES, Lender, Lent, LentAgent
from tests.proxy.world import until
from tests.web.world import Pages

FAILURE = b"\x00\x00\x00\x01\x05"


class AgentTests(SynchronousTestCase):
    """
    What it signs, and what not.
    """

    def setUp(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.blob = signatures.blob_of(self.key)
        self.lent = Lent(key=self.key, certificate=self.blob, login="root")

    def answered(self, *pieces: bytes) -> tuple[bytes, bool]:
        """
        @return: all answers, and whether the channel was closed.
        """
        agent, transport = LentAgent(self.lent), StringTransport()
        agent.makeConnection(transport)
        for piece in pieces:
            agent.dataReceived(piece)
        return transport.value(), transport.disconnecting

    def proof(self, **lies: Any) -> bytes:
        """
        @return: what is signed to sign in.
        """
        told = {"number": 50, "login": "root", "service": "ssh-connection", "method": "publickey"}
        told |= {"there": True, "algorithm": b"ssh-ed25519", "blob": self.blob, "more": b"", **lies}
        return (
            put_string(b"session id")
            + bytes((told["number"],))
            + put_text(told["login"])
            + put_text(told["service"])
            + put_text(told["method"])
            + put_boolean(told["there"])
            + put_string(told["algorithm"])
            + put_string(told["blob"])
            + told["more"]
        )

    def ask(self, signed: bytes, blob: bytes | None = None) -> bytes:
        """
        @return: a request for a signature.
        """
        blob = self.blob if blob is None else blob
        return put_string(b"\x0d" + put_string(blob) + put_string(signed) + put_uint32(0))

    def test_a_sign_in(self) -> None:
        """The one key is listed, and signs a sign-in; however the bytes come."""
        signed = self.proof()
        request = put_string(b"\x0b") + self.ask(signed)
        said, closed = self.answered(request)
        self.assertEqual(self.answered(*(request[i : i + 1] for i in range(len(request))))[0], said)
        self.assertFalse(closed)
        reader = Reader(said)
        listed, signature = Reader(reader.string()), Reader(reader.string())
        reader.end()
        self.assertEqual((listed.byte(), listed.uint32(), listed.string()), (12, 1, self.blob))
        self.assertEqual(signature.byte(), 14)
        parts = Reader(signature.string())
        self.assertEqual(parts.string(), b"ssh-ed25519")
        self.key.public_key().verify(parts.string(), signed)

    def test_nothing_else_is_signed(self) -> None:
        """Other words, another login, another key, and what is no sign-in at all."""
        other = signatures.blob_of(Ed25519PrivateKey.generate())
        lies: list[dict[str, Any]] = [
            {"number": 51},
            {"login": "bob"},
            {"service": "ssh-userauth"},
            {"method": "hostbased"},
            {"there": False},
            {"algorithm": b"ssh-rsa"},
            {"blob": other},
            {"more": b"x"},
        ]
        for lie in lies:
            self.assertEqual(self.answered(self.ask(self.proof(**lie)))[0], FAILURE, lie)
        for request in (
            self.ask(b"any document"),
            self.ask(b""),
            self.ask(self.proof(), other),
            put_string(b"\x0d"),
            put_string(b"\x11" + bytes(20)),
            put_string(b"\x0b\x00"),
        ):
            self.assertEqual(self.answered(request)[0], FAILURE, request)

    def test_broken_frames(self) -> None:
        """A length of nothing, or of too much, ends the channel; nothing is kept for it."""
        for size in (0, MAX_MESSAGE_BYTES + 1):
            self.assertEqual(self.answered(put_uint32(size)), (b"", True))

    def test_for_the_proxy_alone(self) -> None:
        """A server that opens the channel gets nothing; what else it opens is the other's affair."""
        connection: Any = None
        request = ChannelOpen(CHANNEL, b"", connection)
        lent = Lender(self.lent, lambda: False, None)
        self.failureResultOf(Deferred.fromCoroutine(lent.open_channel(request)), TeleportError)
        lent = Lender(self.lent, lambda: True, None)
        channel = self.successResultOf(Deferred.fromCoroutine(lent.open_channel(request)))
        self.assertIsInstance(channel, StreamChannel)
        other = ChannelOpen("forwarded-tcpip", b"", connection)
        self.failureResultOf(Deferred.fromCoroutine(lent.open_channel(other)), TeleportError)


@pytest.mark.servers
class RecordingProxyTests(TestCase):
    """
    Pages of a cluster that records at its proxy.
    """

    timeout = 120

    async def pages(self, mode: str, **options: Any) -> Pages:
        pages = await Pages.start(self, **options)
        await pages.world.set("session_recording_config", mode=mode)
        return pages

    async def test_a_terminal(self) -> None:
        """A shell on a server with an agent; the proxy records it. The server is lent nothing."""
        pages = await self.pages("proxy", forward_agent=True)
        page = await pages.shell()
        page.type(b"echo agent''=${SSH_AUTH_SOCK:-none}; exit 4\r")
        await until(lambda: page.of(CLOSED))
        self.assertEqual(page.of(CLOSED)[0]["status"], 4, page.of(CLOSED))
        self.assertIn(b"agent=none", page.shown)
        await until(lambda: pages.world.sink.named("session.end"))
        (end,) = pages.world.sink.named("session.end")
        self.assertEqual((end["user"], end["session_recording"]), ("alice", "proxy"))
        self.assertEqual(pages.world.sink.named("session.agent_forward"), [])

    async def test_files(self) -> None:
        """They go the same way."""
        pages = await self.pages("proxy")
        (pages.world.root / "x").write_bytes(b"content")
        status, told = await pages.json("GET", pages.place("list", path=str(pages.world.root)))
        self.assertEqual(status, 200, told)
        self.assertIn("x", [item["name"] for item in told["items"]])
