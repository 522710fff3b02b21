"""
Commands of our own to a MongoDB server, one after the other: to sign in, and to make users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.held import Held
from teleport_tw.protocols.mongodb import wire

_CLOSED = "the database closed the connection"


class Talk(Protocol):
    """
    Has a connection until somebody else takes its transport, by setting C{transport.protocol}.

    @ivar lost: the connection is gone.
    """

    def __init__(self, held: Held) -> None:
        """
        @param held: connected, TLS included.
        """
        self.lost = False
        self._answers = wire.Answers()
        self._asked: Deferred[bytes] | None = None
        self._number = 0
        transport: Any = held.transport
        self.transport = transport
        transport.protocol = self
        if held.early:
            self.dataReceived(held.early)
        transport.resumeProducing()

    async def ask(self, command: Mapping[str, Any]) -> bytes:
        """
        See L{teleport_tw.agents.db.mongodb.login.Ask}.

        @raise TeleportError: CONNECTION_PROBLEM.
        """
        if self.lost:
            raise TeleportError(Kind.CONNECTION_PROBLEM, _CLOSED)
        self._number += 1
        asked = self._asked = Deferred()
        transport: Any = self.transport
        transport.write(wire.encode_message(command, self._number))
        return await asked

    def dataReceived(self, data: bytes) -> None:
        """
        Answers, or parts of them.
        """
        try:
            found = self._answers.feed(data)
        except RemoteProtocolError as error:
            self.close()
            self._fail(f"the database speaks no MongoDB: {error}")
            return
        for answer in found:
            asked, self._asked = self._asked, None
            if asked is not None:
                asked.callback(answer.document)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The server is gone.
        """
        self.lost = True
        self._fail(_CLOSED)

    def _fail(self, text: str) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.errback(TeleportError(Kind.CONNECTION_PROBLEM, text))

    def close(self) -> None:
        """
        At once.
        """
        transport: Any = self.transport
        if not self.lost and transport is not None:
            self.lost = True
            transport.abortConnection()
