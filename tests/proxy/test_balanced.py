"""
A proxy behind a load balancer: whose connection it is, as haproxy tells it and as strangers pretend.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve
from twisted.internet import reactor
from twisted.trial.unittest import SkipTest, TestCase

from teleport_tw.base.net.endpoints import TCPClient
from teleport_tw.config.sections import KeyPair, ProxyProtocol
from teleport_tw.events.kinds import Auth
from teleport_tw.proxy.detect import Want
from teleport_tw.resources.metadata import Metadata, Resource
from tests.base.net.peers import Recorders
from tests.conch.openssh import free_port, run
from tests.proxy.world import World, until

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")


class Balanced(TestCase):
    """
    The plain SSH port and the TLS port.
    """

    timeout = 60

    async def proxy(self, policy: ProxyProtocol) -> World:
        world = await World.start(self)
        await world.proxy.stop_listening()
        world.proxy.section = evolve(world.proxy.section, proxy_protocol=policy)
        await world.proxy.listen()
        return world

    async def said(self, port: int, words: bytes) -> bytes:
        """
        @return: what the proxy answers, until it ends or has said a line.
        """
        clock: Any = reactor
        client: Any = await TCPClient(clock, "127.0.0.1", port).connect(Recorders())
        client.transport.write(words)
        await until(lambda: b"\n" in client.data or client.lost.called)
        client.transport.abortConnection()
        await client.lost
        return bytes(client.data)

    async def test_a_header_that_nobody_asked_for_is_refused_or_ignored(self) -> None:
        """A stranger cannot pretend to be elsewhere."""
        claim = b"PROXY TCP4 203.0.113.9 127.0.0.1 4000 3023\r\n"
        world = await self.proxy(ProxyProtocol.OFF)
        self.assertNotIn(b"SSH-2.0", (await self.said(world.web_port, claim)))
        peers: list[str] = []
        build = world.proxy._plain_ssh.buildProtocol

        def seen(address: Any) -> Any:
            peers.append(address.host)
            return build(address)

        world.proxy._plain_ssh.buildProtocol = seen  # type: ignore[method-assign]
        await world.proxy.stop_listening()
        world.proxy.section = evolve(world.proxy.section, proxy_protocol=ProxyProtocol.UNSPECIFIED)
        await world.proxy.listen()
        self.assertTrue((await self.said(world.ssh_port, claim + b"SSH-2.0-x\r\n")).startswith(b"SSH-2.0-"))
        self.assertTrue((await self.said(world.ssh_port, b"")).startswith(b"SSH-2.0-"))
        self.assertEqual(peers, ["127.0.0.1", "127.0.0.1"])
        await world.proxy.stop_listening()
        world.proxy.section = evolve(world.proxy.section, proxy_protocol=ProxyProtocol.ON)
        await world.proxy.listen()
        self.assertTrue((await self.said(world.ssh_port, claim)).startswith(b"SSH-2.0-"))
        self.assertEqual(peers[2:], ["203.0.113.9"])
        self.assertEqual(await self.said(world.ssh_port, b"PROXY nonsense\r\n"), b"")

    async def test_web_certificates_are_read_again(self) -> None:
        """Now and then, and at HUP; files that cannot be used change nothing."""
        world = await World.start(self)
        proxy, identity = world.proxy, world.proxy.identity
        before = proxy.context(Want.WEB)
        pair = KeyPair(str(identity.key_file), str(identity.certificate_file))
        proxy.reload(evolve(proxy.section, https_keypairs=(KeyPair("/nonexistent", "/nonexistent"),)))
        self.assertIs(proxy.context(Want.WEB), before)
        proxy.reload(evolve(proxy.section, https_keypairs=(pair,)))
        self.assertIsNot(proxy.context(Want.WEB), before)
        self.assertEqual(proxy.section.https_keypairs, (pair,))
        await proxy.stop_listening()
        proxy.section = evolve(
            proxy.section, https_keypairs_reload_interval=timedelta(hours=1), tunnel_listen_addr="127.0.0.2:0"
        )
        await proxy.listen()
        self.assertEqual(len(proxy.ports), 3)
        reloading: Any = proxy._reloading
        self.assertTrue(reloading.running)
        self.assertTrue((await self.said(world.ssh_port, b"SSH-2.0-x\r\n")).startswith(b"SSH-2.0-"))
        await proxy.stop_listening()
        self.assertFalse(reloading.running)

    @pytest.mark.servers
    async def test_haproxy(self) -> None:
        """An SSH session through haproxy: the audit log has the client's address."""
        if HAPROXY is None:
            raise SkipTest("haproxy is not installed")
        for version in ("send-proxy", "send-proxy-v2"):
            await self.through(version)

    def start(self, configuration: str) -> None:
        """
        haproxy, until the test ends.
        """
        process = subprocess.Popen([str(HAPROXY), "-db", "-f", configuration], stderr=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

    async def through(self, version: str) -> None:
        """
        A locked user is turned away, and the event says from where they came.
        """
        world = await self.proxy(ProxyProtocol.ON)
        key = await world.user("alice", "access")
        await world.put(Resource("lock", "v2", Metadata("out"), {"target": {"user": "alice"}}))
        front = free_port()
        configuration = world.root / "haproxy.cfg"
        configuration.write_text(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n"
            f"listen ssh\n bind 127.0.0.1:{front}\n server proxy 127.0.0.1:{world.ssh_port} {version}\n"
        )
        self.start(str(configuration))

        def listens() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", front)) == 0

        await until(listens)
        words = ("-b", "127.0.0.2", *world.options(key), "-p", str(front), "-W", "nowhere:22", "u@127.0.0.1")
        await run("ssh", *words)
        refused = [event for event in world.sink.events if isinstance(event, Auth)]
        self.assertEqual([event.connection.remote.rpartition(":")[0] for event in refused], ["127.0.0.2"])
