"""
One question and answer after the other with a PostgreSQL server: signing in, and statements of our own.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.held import Held
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres.machine import ClientSide
from teleport_tw.protocols.postgres.startup import SSLRequest
from teleport_tw.protocols.postgres.wire import Decoder

MAX_MESSAGE = 1 << 20
"""No message of a login, or of our own statements, is nearly that long."""
STEP_SECONDS = 30.0
"""How long a server may take for one answer; PostgreSQL's own limit of a whole login is 60."""


class Conversation(Protocol):
    """
    Reads the transport message by message.

    @ivar machine: our side.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.machine = ClientSide()
        self._clock = clock
        self._decoder = Decoder.backend()
        self._messages: deque[Any] = deque()
        self._raw: Deferred[bytes] | None = None
        self._waiting: Deferred[Any] | None = None
        self._lost: Exception | None = None

    @classmethod
    def on(cls, held: Held, clock: IReactorTime, machine: ClientSide | None = None) -> Conversation:
        """
        @param held: its transport is ours now, and reads on.
        @param machine: of the conversation before TLS.
        """
        made = cls(clock)
        made.machine = machine or made.machine
        made.take(held)
        return made

    def take(self, held: Held) -> None:
        """
        Read from this transport.
        """
        transport: Any = held.transport
        self.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.protocol = self
        if held.early:
            self.dataReceived(held.early)
        transport.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        More of an answer.
        """
        if self._raw is not None:
            raw, self._raw = self._raw, None
            transport: Any = self.transport
            transport.pauseProducing()
            raw.callback(data)
            return
        try:
            self._messages.extend(self._decoder.feed(data))
            if self._decoder.waiting > MAX_MESSAGE or len(self._messages) > 100_000:
                raise RemoteProtocolError("the database sent too much at once")
        except RemoteProtocolError as error:
            self._fail(error)
            return
        self._deliver()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The server is gone.
        """
        self._fail(ConnectionError("the database closed the connection"))

    def say(self, *messages: m.Frontend) -> None:
        """
        Send.
        """
        self.transport.write(b"".join(map(self.machine.send, messages)))  # type: ignore[union-attr]

    async def secured(self) -> None:
        """
        Ask for TLS.

        @raise TeleportError: CONNECTION_PROBLEM, the server has none, or sent more than its answer.
        """
        self._raw = Deferred(lambda _: None)
        waiting = self._raw.addTimeout(STEP_SECONDS, self._clock)
        self.transport.write(self.machine.open(SSLRequest()))  # type: ignore[union-attr]
        try:
            answer = await waiting
            agreed = self.machine.tls_answer(answer[:1])
        except CancelledError:
            raise  # nobody asks any more
        except Exception as error:
            raise problem(str(error) or "it does not answer") from error
        if len(answer) > 1:
            # whatever came unencrypted must not pass for encrypted (CVE-2021-23222)
            raise problem("it sent data before TLS was set up")
        if not agreed:
            raise problem("it does not offer TLS; set ssl = on in postgresql.conf")

    async def hear(self) -> Any:
        """
        @return: the next message; notices are left out.
        @raise TeleportError: CONNECTION_PROBLEM, it is gone, silent or talks nonsense.
        """
        while True:
            if not self._messages:
                if self._lost is not None:
                    raise problem(str(self._lost)) from self._lost
                waiting: Deferred[Any] = Deferred(lambda _: None)
                self._waiting = waiting
                try:
                    await waiting.addTimeout(STEP_SECONDS, self._clock)
                except CancelledError:
                    raise  # nobody asks any more
                except Exception as error:
                    raise problem(str(error) or "it does not answer") from error
                finally:
                    self._waiting = None
                continue
            message = self._messages.popleft()
            try:
                self.machine.receive(message)
            except RemoteProtocolError as error:
                raise problem(str(error)) from error
            if not isinstance(message, m.NoticeResponse | m.NotificationResponse):
                return message

    async def rows(self, statement: str) -> list[tuple[bytes | None, ...]]:
        """
        Run statements of our own, as a simple query.

        @return: all rows, of all of them.
        @raise ServerError: the server refused.
        @raise TeleportError: as L{hear}.
        """
        self.say(m.Query(statement.encode("utf-8")))
        found: list[tuple[bytes | None, ...]] = []
        refused: m.ErrorResponse | None = None
        while True:
            match await self.hear():
                case m.DataRow(values):
                    found.append(values)
                case m.ErrorResponse() as error:
                    refused = refused or error
                    if error.fatal:
                        raise ServerError(error)
                case m.ReadyForQuery():
                    if refused is not None:
                        raise ServerError(refused)
                    return found

    def unread(self) -> bytes:
        """
        @return: the beginning of a message that is not whole yet; nothing more is decoded here.
        """
        return self._decoder.rest()

    def pending(self) -> list[Any]:
        """
        @return: messages that nobody has heard, which are forgotten.
        """
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def close(self) -> None:
        """
        Hang up.
        """
        if self.transport is not None:
            self.transport.loseConnection()

    def _deliver(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)

    def _fail(self, error: Exception) -> None:
        self._lost = self._lost or error
        for waiting in (self._raw, self._waiting):
            if waiting is not None and not waiting.called:
                waiting.errback(error)
        self._raw = None


class ServerError(TeleportError):
    """
    What the database itself said.

    @ivar response: as it said it.
    """

    def __init__(self, response: m.ErrorResponse) -> None:
        super().__init__(
            Kind.CONNECTION_PROBLEM, f"the database refused: {response.message} (SQLSTATE {response.sqlstate})"
        )
        self.response = response


def problem(text: str) -> TeleportError:
    """
    @return: CONNECTION_PROBLEM.
    """
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the database cannot be used: {text}")
