"""
Programs started by the launcher, and what becomes of them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_tw.agents.ssh.spawn import Ended, Launch, Process, Spawner
from teleport_tw.base.errors import TeleportError
from tests.conch.openssh import scratch

ROOT = Path(__file__).parents[3]

_AGENT = """
import os, sys
sys.path.insert(0, {root!r})
from teleport_tw.base.loop import install
reactor = install()
from teleport_tw.agents.ssh.spawn import Launch, Spawner
spawner = Spawner(reactor)
spawner.startService()
null = os.open("/dev/null", os.O_RDWR)
script = "trap 'echo hup > {mark}; exit' HUP; echo $$ > {pid}; while :; do sleep 0.05; done"
spawner.spawn(
    Launch(program="/bin/sh", argv=["sh", "-c", script], environment=dict(PATH=os.environ["PATH"]), folder="/",
           uid=os.getuid(), gid=os.getgid(), groups=os.getgroups()),
    [null, null, null], print)
reactor.run()
"""


class SpawnTests(TestCase):
    """
    As whoever runs the tests.
    """

    timeout = 30

    def setUp(self) -> None:
        self.spawner = Spawner(reactor)
        self.spawner.startService()
        self.addCleanup(lambda: self.spawner.stopService() if self.spawner.running else None)

    def start(self, script: str, **how: object) -> tuple[Process, Deferred[Ended]]:
        """A shell script."""
        ended: Deferred[Ended] = Deferred()
        facts = {
            "program": "/bin/sh",
            "argv": ["sh", "-c", script],
            "environment": {"PATH": os.environ["PATH"]},
            "folder": "/",
            "uid": os.getuid(),
            "gid": os.getgid(),
            "groups": os.getgroups(),
            **how,
        }
        null = os.open("/dev/null", os.O_RDWR)
        try:
            return self.spawner.spawn(Launch(**facts), [null, null, null], ended.callback), ended
        finally:
            os.close(null)

    async def test_how_a_program_ended(self) -> None:
        """
        Statuses, signals, and programs that are none.
        """
        self.assertEqual(await self.start("exit 3")[1], Ended(3))
        self.assertEqual(await self.start("kill -KILL $$")[1], Ended(None, "KILL"))
        self.assertEqual(await self.start("", program="/no/such/program")[1], Ended(127))
        self.assertEqual(await self.start("", program="/etc/passwd")[1], Ended(126))

    async def test_a_program_has_nothing_of_ours_open(self) -> None:
        """
        Neither the agent's files nor the launcher's; and it leads its session and group.
        """
        root = scratch(self)
        kept = os.open(root, os.O_RDONLY)
        os.set_inheritable(kept, True)
        self.addCleanup(os.close, kept)
        out = root / "out"
        await self.start(f"echo $(ls /proc/$$/fd) > {out}; cut -d ' ' -f 1,5,6 /proc/$$/stat >> {out}")[1]
        open_files, ids = out.read_text().splitlines()
        self.assertLessEqual(set(open_files.split()), {"0", "1", "2", "3", "10", "255"})
        self.assertEqual(len(set(ids.split())), 1)

    async def test_signals_reach_the_group(self) -> None:
        """
        One sent after the end is harmless.
        """
        process, ended = self.start("sleep 30 & sleep 30")
        process.signal(signal.SIGTERM)
        self.assertEqual(await ended, Ended(None, "TERM"))
        process.signal(signal.SIGTERM)

    async def test_a_folder_that_is_not_there_is_the_root(self) -> None:
        """
        As sshd has it.
        """
        out = scratch(self) / "out"
        await self.start(f"pwd > {out}", folder="/no/such/folder")[1]
        self.assertEqual(out.read_text(), "/\n")

    async def test_arguments_that_are_too_long_are_refused(self) -> None:
        """
        And the launcher lives on.
        """
        self.assertRaises(TeleportError, self.start, "x" * 200_000)
        self.assertEqual(await self.start("exit 0")[1], Ended(0))

    async def test_a_launcher_that_died_is_replaced(self) -> None:
        """
        Its programs are given up, with a reason.
        """
        _, ended = self.start("sleep 30")
        launcher = self.spawner._launcher
        assert launcher is not None
        launcher.kill()
        self.assertIn("launcher", (await ended).problem)
        self.assertEqual(await self.start("exit 5")[1], Ended(5))

    async def test_killing_the_agent_hangs_up_on_its_programs(self) -> None:
        """
        With SIGKILL, which it cannot see coming.
        """
        root = scratch(self)
        source = _AGENT.format(root=str(ROOT), mark=root / "mark", pid=root / "pid")
        script = root / "agent.py"
        script.write_text(source)
        agent = subprocess.Popen([sys.executable, str(script)])  # noqa: ASYNC220 it is not waited for
        self.addCleanup(agent.wait)
        self.addCleanup(agent.kill)
        for path, act in ((root / "pid", agent.kill), (root / "mark", lambda: None)):
            for _ in range(1000):
                if path.exists() and path.read_text():
                    break
                await deferLater(reactor, 0.01)
            act()
        self.assertEqual((root / "mark").read_text(), "hup\n")
