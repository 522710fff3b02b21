"""
C{teleport join openssh}: a stock sshd becomes a server of the cluster.
"""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import SkipTest

import pytest
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.clients.teleport.openssh import BEGIN, END, configured
from teleport_tw.clients.teleport.renewal import install_timer
from tests.conch.openssh import MISSING, SSHD
from tests.proxy.world import TOKEN, World, until


class ConfiguredTests(SynchronousTestCase):
    """
    The block in C{sshd_config}.
    """

    def put(self, text: str) -> str:
        """
        With fixed paths.
        """
        return configured(text, Path("/k"), Path("/c"), Path("/t"))

    def test_it_stands_before_everything(self) -> None:
        """
        A C{Match} at the end does not swallow it, and the first word counts.
        """
        old = "HostKey /etc/ssh/key\nTrustedUserCAKeys /old\nMatch User git\n  X11Forwarding no\n"
        new = self.put(old)
        self.assertEqual(new, f"{BEGIN}\nTrustedUserCAKeys /t\nHostCertificate /c\n{END}\n{old}")

    def test_it_replaces_itself(self) -> None:
        """
        Said twice is said once.
        """
        once = self.put("Port 22\n")
        self.assertEqual(self.put(once), once)

    def test_a_configuration_with_default_keys_names_the_certified_one(self) -> None:
        """
        sshd wants the key beside its certificate.
        """
        self.assertIn("HostKey /k\n", self.put("# HostKey commented\nPort 22\n"))


class TimerTests(SynchronousTestCase):
    """
    What systemd is told.
    """

    def test_units(self) -> None:
        """
        Both are written; the command is one that systemd reads as we meant it, whatever is in the path.
        """
        folder = Path(self.mktemp())
        service, timer = install_timer(Path("/var/lib/a b%c"), folder)
        self.assertIn("--renew '--data-dir=/var/lib/a b%%c'\n", service.read_text())
        self.assertIn("OnCalendar=weekly", timer.read_text())
        self.assertEqual(service.stem, timer.stem)


@pytest.mark.servers
class JoinTests(TestCase):
    """
    The program itself, through the proxy's one port.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING or not SSHD:
            raise SkipTest(MISSING or "sshd is not installed")

    async def join(
        self, world: World, config: Path, port: int, *more: str, token: str = ""
    ) -> tuple[bytes, bytes, int]:
        """
        Run the command.
        """
        pins = (await world.cluster.local().ping()).ca_pins
        return await world.run(
            sys.executable,
            "-m",
            "teleport_tw.clients.teleport.main",
            "join",
            "openssh",
            f"--proxy-server=127.0.0.1:{world.web_port}",
            f"--ca-pin={pins[0]}",
            *([f"--token={token}"] if token else []),
            "--node-name=web1",
            f"--address=127.0.0.1:{port}",
            f"--openssh-config={config}",
            f"--data-dir={world.root}/data",
            "--restart-sshd=no",
            *more,
        )

    async def test_an_sshd_joins_and_users_reach_it(self) -> None:
        """
        With a token, through the proxy alone; run again without one it renews.
        """
        world = await World.start(self, listen=True)
        await world.role("ops", {"node_labels": {"env": "legacy"}})
        port = await world.sshd(name="web1", trusts=False, certified=False, register=False, launch=False)
        config = world.root / "sshd-web1" / "config"
        out, err, code = await self.join(world, config, port, "--labels=env=legacy", token=TOKEN.reveal())
        self.assertEqual(code, 0, err)
        self.assertIn(b"web1", out)
        await until(lambda: list(world.copy.list("node")))
        (node,) = world.copy.list("node")
        self.assertEqual((node.sub_kind, node.spec["hostname"]), ("openssh", "web1"))
        self.assertIsNone(node.metadata.expires)
        await world.launch(config.parent, port)
        key = await world.user("alice")
        out, err, code = await world.run(*world.ssh(key, "-q", host="web1"), "echo in")
        self.assertEqual((out, code), (b"in\n", 0), err)
        before = (world.root / "data/openssh/host-cert.pub").read_bytes()
        _, err, code = await self.join(world, config, port, "--labels=env=legacy")
        self.assertEqual(code, 0, err)
        self.assertNotEqual((world.root / "data/openssh/host-cert.pub").read_bytes(), before)
        await self.renews(world, key)

    async def renews(self, world: World, key: Path) -> None:
        """
        With nothing but its folder, and users still get in.
        """
        kept = world.root / "data/openssh/join.json"
        self.assertNotIn(TOKEN.reveal(), kept.read_text())
        self.assertEqual(kept.stat().st_mode & 0o777, 0o600)
        before = (world.root / "data/openssh/host-cert.pub").read_bytes()
        program = (sys.executable, "-m", "teleport_tw.clients.teleport.main", "join", "openssh", "--renew")
        _, err, code = await world.run(*program, f"--data-dir={world.root}/data")
        self.assertEqual(code, 0, err)
        self.assertNotEqual((world.root / "data/openssh/host-cert.pub").read_bytes(), before)
        out, err, code = await world.run(*world.ssh(key, "-q", host="web1"), "echo in")
        self.assertEqual((out, code), (b"in\n", 0), err)
        _, err, code = await world.run(*program, f"--data-dir={world.root}/elsewhere")
        self.assertEqual(code, 2)
        self.assertIn(b"has not joined", err)

    async def test_a_wrong_token_changes_nothing(self) -> None:
        """
        Neither here nor there.
        """
        world = await World.start(self, listen=True)
        port = await world.sshd(name="web1", trusts=False, certified=False, register=False, launch=False)
        config = world.root / "sshd-web1" / "config"
        before = config.read_text()
        _, err, code = await self.join(world, config, port, token="wrong")
        self.assertEqual(code, 1, err)
        self.assertEqual(config.read_text(), before)
        self.assertEqual(list(world.copy.list("node")), [])

    async def test_a_configuration_that_sshd_does_not_take_stays(self) -> None:
        """
        The old file is as it was.
        """
        world = await World.start(self, listen=True)
        port = await world.sshd(name="web1", trusts=False, certified=False, register=False, launch=False)
        config = world.root / "sshd-web1" / "config"
        before = config.read_text()
        refuse = world.root / "refuse"
        refuse.write_text('#!/bin/sh\n[ $1 = -T ] && exec sshd "$@"\necho no good >&2\nexit 1\n')
        refuse.chmod(0o755)
        _, err, code = await self.join(world, config, port, f"--sshd-check-command={refuse}", token=TOKEN.reveal())
        self.assertNotEqual(code, 0)
        self.assertIn(b"no good", err)
        self.assertEqual(config.read_text(), before)
