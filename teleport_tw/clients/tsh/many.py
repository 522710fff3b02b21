"""
One command on many servers at the same time; each line of output says where it is from.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from attrs import define
from twisted.internet.defer import DeferredSemaphore

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.output import harmless
from teleport_tw.clients.tsh.target import Node
from teleport_tw.dial.session import LOST_STATUS, open_session
from teleport_tw.dial.ssh import Way

AT_ONCE = 32
"""Servers; the rest wait for their turn."""


@define
class Lines:
    """
    Puts a name before each line.
    """

    name: str
    stream: TextIO
    _rest: bytes = b""

    def feed(self, data: bytes) -> None:
        """
        Print the lines that are complete.
        """
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._show(line)

    def end(self) -> None:
        """
        Print what is left.
        """
        if self._rest:
            self._show(self._rest)
            self._rest = b""

    def _show(self, line: bytes) -> None:
        text = harmless(line.decode("utf-8", "replace").rstrip("\r").replace("\t", "    "))
        self.stream.write(f"[{self.name}] {text}\n")
        self.stream.flush()


async def run_on_all(way: Way, nodes: Sequence[Node], login: str, command: str) -> int:
    """
    @return: zero if it was zero everywhere; else the worst.
    """
    turns = DeferredSemaphore(AT_ONCE)
    await way.signers()
    running = [turns.run(_on_one, way, node, login, command) for node in nodes]
    statuses = dict(zip((node.name for node in nodes), [await each for each in running], strict=True))
    failed = [name for name, status in statuses.items() if status]
    if failed:
        sys.stderr.write(f"{len(failed)} of {len(nodes)} failed: {', '.join(map(harmless, failed))}\n")
    return max(statuses.values())


async def _on_one(way: Way, node: Node, login: str, command: str) -> int:
    name = harmless(node.name)
    try:
        connection = await way.connect(node.target, login, names=node.names)
    except TeleportError as error:
        sys.stderr.write(f"[{name}] ERROR: {error.message}\n")
        return LOST_STATUS
    output, errors = Lines(name, sys.stdout), Lines(name, sys.stderr)
    try:
        session = await open_session(connection, output.feed, errors.feed)
        await session.begin(command=command)
        session.loseWriteConnection()
        status: int = await session.ended
        return status
    except TeleportError as error:
        sys.stderr.write(f"[{name}] ERROR: {error.message}\n")
        return LOST_STATUS
    finally:
        output.end()
        errors.end()
        connection.transport.loseConnection()
