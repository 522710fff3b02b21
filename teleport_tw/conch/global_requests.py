"""
Global requests: what is asked of a connection as a whole, either way, and the keepalive that is one.

Answers have no number: they come in the order of the questions, so the peer's are answered one after the other.

@see: RFC 4254 section 4
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.conch.numbers import MSG_GLOBAL_REQUEST, MSG_REQUEST_FAILURE, MSG_REQUEST_SUCCESS
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_text

if TYPE_CHECKING:
    from teleport_tw.conch.carrier import Carrier

MAX_GLOBAL_REQUESTS = 64
"""Waiting for an answer, either way."""

KEEPALIVE = "keepalive@openssh.com"


class GlobalRequests:
    """
    Those of one connection.

    @ivar sessions_closed: the peer said that it will open no more sessions.
    """

    _log = Logger()
    _carrier: Carrier

    def __init__(self, responder: Callable[[str, bytes], Awaitable[bytes | None]] | None) -> None:
        """
        @param responder: gives the answer's own fields to a name and fields; C{None} to refuse, as TeleportError does.
        """
        self.sessions_closed = False
        self._responder = responder
        self._waiting: deque[Deferred[bytes]] = deque()
        self._questions: deque[tuple[str, bytes, bool]] = deque()
        self._answering = False
        self._stopped = False
        self._keepalive: IDelayedCall | None = None
        self._unanswered = 0

    def start(self, carrier: Carrier) -> None:
        """
        @param carrier: takes what is sent, and has the limits of the keepalive.
        """
        self._carrier = carrier
        self._schedule_keepalive()

    def stop(self) -> deque[Deferred[bytes]]:
        """
        The connection is gone.

        @return: those that wait for an answer, to be told.
        """
        self._stopped = True
        if self._keepalive is not None and self._keepalive.active():
            self._keepalive.cancel()
        waiting, self._waiting = self._waiting, deque()
        return waiting

    # What the peer asks.

    def asked(self, reader: Reader) -> None:
        """
        C{string} name; C{boolean} want reply; then the request's own fields. Answered one after the other.
        """
        name, want_reply = reader.text(), reader.boolean()
        if name == "no-more-sessions@openssh.com":
            self.sessions_closed = True
        if len(self._questions) >= MAX_GLOBAL_REQUESTS:
            raise RemoteProtocolError("too many global requests", code=DISCONNECT_PROTOCOL_ERROR)
        self._questions.append((name, reader.rest(), want_reply))
        if not self._answering:
            self._answering = True
            self._carrier.tasks.spawn("SSH global request", self._answer_questions())

    async def _answer_questions(self) -> None:
        try:
            while self._questions:
                name, payload, want_reply = self._questions.popleft()
                answer = await self._answer(name, payload)
                if want_reply and not self._stopped:
                    number = MSG_REQUEST_FAILURE if answer is None else MSG_REQUEST_SUCCESS
                    self._carrier.sendPacket(number, answer or b"")
        finally:
            self._answering = False

    async def _answer(self, name: str, payload: bytes) -> bytes | None:
        if self._responder is None or name == KEEPALIVE:
            return None
        try:
            return await self._responder(name, payload)
        except TeleportError as error:
            self._log.debug("global request {name} refused: {error}", name=name, error=error)
            return None
        except RemoteProtocolError as error:
            self._log.debug("global request {name} is malformed: {error}", name=name, error=error)
            return None

    # What we ask.

    async def ask(self, name: str, payload: bytes = b"") -> bytes:
        """
        @return: the answer's own fields.
        @raise TeleportError: NOT_IMPLEMENTED, the peer refuses; CONNECTION_PROBLEM, the connection is lost.
        """
        if self._stopped or self._carrier.ended:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the SSH connection was lost")
        if len(self._waiting) >= MAX_GLOBAL_REQUESTS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many requests wait for an answer")
        answer: Deferred[bytes] = Deferred()
        self._waiting.append(answer)
        self._carrier.sendPacket(MSG_GLOBAL_REQUEST, put_text(name) + put_boolean(True) + payload)
        return await answer

    def granted(self, reader: Reader) -> None:
        """
        The answer's own fields, to the oldest question.
        """
        self._oldest().callback(reader.rest())

    def refused(self, reader: Reader) -> None:
        """
        Nothing; of the oldest question.
        """
        self._oldest().errback(TeleportError(Kind.NOT_IMPLEMENTED, "the SSH peer refused the request"))

    def _oldest(self) -> Deferred[bytes]:
        if not self._waiting:
            raise RemoteProtocolError("reply to no request", code=DISCONNECT_PROTOCOL_ERROR)
        return self._waiting.popleft()

    # Keeping alive.

    def _schedule_keepalive(self) -> None:
        interval = self._carrier.limits.keepalive_interval.total_seconds()
        if interval > 0:
            self._keepalive = self._carrier.clock.callLater(interval, self._check_alive, interval)

    def _check_alive(self, interval: float) -> None:
        carrier = self._carrier
        silent = carrier.clock.seconds() - carrier.last_heard
        if silent < interval:
            pass
        elif self._unanswered >= carrier.limits.keepalive_count_max:
            self._log.info("peer answers no more; giving the connection up")
            carrier.abortConnection()
            return
        else:
            self._unanswered += 1
            carrier.tasks.spawn("SSH keepalive", self._ask_alive())
        self._schedule_keepalive()

    async def _ask_alive(self) -> None:
        with suppress(TeleportError):  # a refusal is an answer; a lost connection has stopped the questions
            await self.ask(KEEPALIVE)
        self._unanswered = 0
