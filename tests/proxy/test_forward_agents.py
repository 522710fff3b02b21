"""
Servers with our agent where sessions are recorded at the proxy: the user's forwarded agent signs the proxy in.
"""

from __future__ import annotations

import os
from typing import Any
from unittest import SkipTest

import pytest
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.agents.ssh.service import default_registry
from teleport_tw.recordings.container import Reader
from tests.conch.openssh import MISSING, SSHD
from tests.proxy.world import World, until

pytestmark = pytest.mark.servers

ADD = 'ssh-add -q "$0" && exec "$@"'


class ProxyModeTests(TestCase):
    """
    Each has a cluster of its own.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING or not SSHD or os.getuid():
            raise SkipTest(MISSING or "sshd is not installed, or the tests do not run as root")

    async def world(self, mode: str = "proxy", **options: Any) -> World:
        """
        With one agent, C{node-1}, and a role C{ops}.
        """
        world = await World.start(self)
        await world.role("ops", **options)
        await world.set("session_recording_config", mode=mode)
        await world.agent()
        return world

    async def lent(self, world: World, key: str, *command: str, **more: Any) -> tuple[bytes, bytes, int]:
        """
        Run a command whose agent holds C{key}.
        """
        return await world.run("ssh-agent", "sh", "-c", ADD, key, *command, **more)

    async def test_the_forwarded_agent_signs_in(self) -> None:
        """
        The session is recorded at the proxy and not at the server.
        """
        world = await self.world()
        key = await world.user("alice")
        out, err, code = await self.lent(
            world, key, *world.ssh(key, "-q", "-A", "-tt", host="node-1"), "echo here; exit 4"
        )
        self.assertEqual((out, code), (b"here\r\n", 4), err)
        await until(lambda: world.sink.named("session.end"))
        (end,) = world.sink.named("session.end")
        self.assertEqual((end["user"], end["session_recording"]), ("alice", "proxy"))
        self.assertEqual(end["forwarded_by"], world.proxy.identity.host_id)
        (file,) = [path for path in world.spool.iterdir() if path.name.startswith(end["sid"])]
        reader = Reader()
        text = b"".join(getattr(each.fact, "data", b"") for each in reader.feed(file.read_bytes()))
        self.assertEqual((text, reader.complete), (out, True))
        self.assertFalse([each for each in world.agent_sink.named("session.end") if each.get("recording_digest")])

    async def test_without_an_agent_the_user_reads_what_to_do(self) -> None:
        """
        For a session on its error output.
        """
        world = await self.world()
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key, "-q", host="node-1"), "echo here")
        self.assertEqual(code, 255)
        self.assertIn(b"ssh -A", err)

    async def test_an_agent_without_the_certificate_reads_the_same(self) -> None:
        """
        Somebody else's certificate does not do, even where it would be let in.
        """
        world = await self.world()
        alice, bob = await world.user("alice"), await world.user("bob")
        _, err, code = await self.lent(world, bob, *world.ssh(alice, "-q", "-A", host="node-1"), "echo here")
        self.assertEqual(code, 255)
        self.assertIn(b"ssh -A", err)

    async def test_copying_files(self) -> None:
        """
        By the agent's own sftp.
        """
        if "sftp" not in default_registry().subsystems:
            raise SkipTest("the agent has no sftp")
        world = await self.world()
        key = await world.user("alice")
        source, data = world.root / "source", os.urandom(200_000)
        source.write_bytes(data)
        target = world.root / "target"
        _, err, code = await self.lent(
            world, key, "scp", "-q", "-A", *world.through(key), str(source), f"root@node-1:{target}"
        )
        self.assertEqual((err, code), (b"", 0))
        self.assertEqual(target.read_bytes(), data)

    async def test_forwarding_a_port_without_a_session(self) -> None:
        """
        C{ssh -A -W}: the agent is asked for when it is needed.
        """
        if "direct-tcpip" not in default_registry().channels:
            raise SkipTest("the agent forwards no ports")
        world = await self.world()
        port = await world.sshd(register=False)
        key = await world.user("alice")
        out, _, _ = await self.lent(
            world, key, *world.ssh(key, "-q", "-A", "-W", f"127.0.0.1:{port}", host="node-1"), feed=b"x\r\n"
        )
        self.assertEqual(out[:8], b"SSH-2.0-", world.sink.named("port.local"))

    async def test_sent_at_once(self) -> None:
        """
        C{proxy-sync}: auth has the recording when the session is over.
        """
        world = await self.world("proxy-sync")
        key = await world.user("alice")
        out, _, code = await self.lent(world, key, *world.ssh(key, "-q", "-A", "-tt", host="node-1"), "echo here")
        self.assertEqual((out, code), (b"here\r\n", 0))
        await until(lambda: world.sink.named("session.end"))
        (end,) = world.sink.named("session.end")
        found: list[bytes] = []

        async def fetch() -> None:
            async for chunk in world.cluster.local().get_recording(end["sid"]):
                found.append(chunk)

        await Deferred.fromCoroutine(fetch())
        reader = Reader()
        text = b"".join(getattr(each.fact, "data", b"") for each in reader.feed(b"".join(found)))
        self.assertEqual(text, out)
