"""
The agent's own port, and strangers who stand there and say nothing.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.threads import deferToThread

from tests.agents.ssh.rig import AgentTestCase


class Doorstep(AgentTestCase):
    """
    From one address.
    """

    async def test_strangers_are_bounded(self) -> None:
        """Of one address's connections that have not signed in, those past the bound are closed without a word."""
        await self.start()
        most = self.agent.settings().max_pending_per_address
        standing: list[socket.socket] = []
        self.addCleanup(lambda: [each.close() for each in standing])

        def greeting() -> bytes:
            standing.append(socket.create_connection(("127.0.0.1", self.port), timeout=10))
            try:
                return standing[-1].recv(4)
            except ConnectionError:
                return b""

        greetings: list[Any] = [await deferToThread(greeting) for _ in range(most + 1)]
        self.assertEqual(greetings, [b"SSH-"] * most + [b""])
