"""
A server's commands for tests against real clients: C{echo}, C{source N}, C{sink}, C{back}.
"""

from __future__ import annotations

import hashlib

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from teleport_tw.conch.channel import Channel
from teleport_tw.protocols.ssh.wire import Reader

BLOCK = hashlib.shake_128(b"block").digest(100_003)
"""What C{source} repeats: of a length that fits no packet."""


def stream(size: int) -> bytes:
    """
    @return: what C{source} sends.
    """
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


@implementer(IPushProducer)
class _Source:
    """
    Writes until told to pause.
    """

    def __init__(self, channel: Channel, size: int) -> None:
        self._channel, self._left = channel, size
        self._running = True

    def run(self) -> None:
        while self._running and self._left:
            piece = BLOCK[: self._left]
            self._left -= len(piece)
            self._channel.write(piece)
        if self._running and not self._left:
            self._running = False
            self._channel.unregisterProducer()
            self._channel.exit_status(0)
            self._channel.loseConnection()

    def pauseProducing(self) -> None:
        self._running = False

    def resumeProducing(self) -> None:
        self._running = True
        self.run()

    def stopProducing(self) -> None:
        self._running = False


class ExecChannel(Channel):
    """
    One command.
    """

    name = b"session"

    def __init__(self) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self.command: list[bytes] = []

    def request_exec(self, payload: bytes) -> bool:
        self.command = Reader(payload).string().split()
        match self.command:
            case [b"echo", *words]:
                self.write(b" ".join(words) + b"\n")
                self.writeExtended(1, b"oops\n")
                self.exit_status(7)
                self.loseConnection()
            case [b"source", size]:
                source = _Source(self, int(size))
                self.registerProducer(source, True)
                source.run()
            case [b"sink" | b"back"]:
                pass
            case _:
                return False
        return True

    def dataReceived(self, data: bytes) -> None:
        if self.command == [b"back"]:
            self.write(data)
        else:
            self.digest.update(data)

    def eofReceived(self) -> None:
        if self.command == [b"sink"]:
            self.write(self.digest.hexdigest().encode("ascii"))
        if self.command[:1] != [b"source"]:
            self.exit_status(0)
            self.loseConnection()
