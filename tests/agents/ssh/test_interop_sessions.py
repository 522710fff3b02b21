"""
OpenSSH's client at our agent: shells and commands.
"""

from __future__ import annotations

import pytest

from tests.agents.ssh.rig import ME, AgentTestCase

pytestmark = pytest.mark.servers


class CommandTests(AgentTestCase):
    """
    Without a terminal.
    """

    async def test_a_command_runs_and_is_audited(self) -> None:
        """
        Output, error output and status come back apart; events say who did what.
        """
        await self.start()
        out, err, code = await self.ssh("echo out; echo err >&2; exit 7")
        self.assertEqual((out, err, code), (b"out\n", b"err\n", 7))
        await self.until(lambda: "session.end" in self.sink.names())
        self.assertEqual(self.sink.names(), ["session.start", "exec", "session.data", "session.end"])
        [event] = self.sink.named("exec")
        self.assertEqual((event["exitCode"], event["code"], event["login"]), ("7", "T3002E", ME))

    async def test_a_shell_with_a_terminal_is_recorded(self) -> None:
        """
        The recording holds what the terminal showed.
        """
        await self.start()
        out, err, code = await self.ssh("-tt", feed=b"echo $((40+2))-marker; tty; exit 3\n")
        self.assertEqual(code, 3, (out, err))
        self.assertIn(b"42-marker", out)
        self.assertIn(b"/dev/pts/", out)
        await self.until(lambda: "session.end" in self.sink.names())
        [end] = self.sink.named("session.end")
        self.assertTrue(end["interactive"])
        self.assertTrue(end["recording_digest"])
        self.assertEqual(len(list(self.recordings.glob("*.rec"))), 1)
