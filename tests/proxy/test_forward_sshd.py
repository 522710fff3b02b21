"""
Users at stock sshds by way of the proxy, with OpenSSH's own client.
"""

from __future__ import annotations

from unittest import SkipTest

import pytest
from twisted.trial.unittest import TestCase

from tests.conch.openssh import MISSING, SSHD
from tests.proxy.world import World, until

pytestmark = pytest.mark.servers


class StockServerTests(TestCase):
    """
    Each has a cluster of its own.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING or not SSHD:
            raise SkipTest(MISSING or "sshd is not installed")

    async def test_a_command_runs_and_its_exit_status_comes_back(self) -> None:
        """
        Output, error output and status; and the audit log knows whose it was, and by whom it was forwarded.
        """
        world = await World.start(self)
        await world.role("ops")
        await world.sshd()
        key = await world.user("alice")
        out, err, code = await world.run(*world.ssh(key, "-q"), "echo hello; echo oops >&2; exit 7")
        self.assertEqual((out, err, code), (b"hello\n", b"oops\n", 7))
        await until(lambda: world.sink.named("session.end"))
        (run,) = world.sink.named("exec")
        self.assertEqual((run["user"], run["login"], run["exitCode"]), ("alice", "root", "7"))
        self.assertEqual(run["forwarded_by"], world.proxy.identity.host_id)
