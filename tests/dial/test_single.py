"""
L{teleport_tw.dial.single}: a command joined to standard input and output.
"""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.dial.single import Runner


class Plain:
    """A socket that passes for one with TLS."""

    def __init__(self, inner: socket.socket) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def pending(self) -> int:
        return 0


class Ending:
    """A command whose output, status and end come in one piece."""

    def __init__(self) -> None:
        self.outgoing, self.arrived, self.over, self.started = bytearray(), [], False, True
        self.status, self.signal, self.room, self.count = None, "", 0, 0

    def begin(self) -> None:
        """Nothing is said first."""

    def feed(self, data: bytes) -> None:
        """All at once."""
        self.arrived.append((1, data))
        self.status, self.over = 3, True

    def taken(self, count: int) -> None:
        """Note it."""
        self.count += count


class RunnerTests(SynchronousTestCase):
    """
    Up to the last byte.
    """

    def test_output_with_the_end(self) -> None:
        """What comes in one read with the end of the command is written before we go."""
        near, far = socket.socketpair()
        reading, writing = os.pipe()
        kept = os.dup(1)
        command: Any = Ending()
        far.sendall(b"again\n")
        try:
            os.dup2(writing, 1)
            connection: Any = Plain(near)
            status = Runner(connection, command, 30).run()
        finally:
            os.dup2(kept, 1)
            for each in (kept, writing):
                os.close(each)
            far.close()
        with os.fdopen(reading, "rb") as written:
            self.assertEqual((status, written.read(), command.count), (3, b"again\n", 6))
