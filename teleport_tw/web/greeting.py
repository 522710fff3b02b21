"""
The first message on a WebSocket: who asks, in the words of the reference system.

The cookie came with the request; the bearer, which no other site can have, comes here. Whoever knows it in time is
answered by the conversation that the handler had in mind.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, ClassVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.web.envelope import parse_object
from teleport_tw.web.websocket import GONE, NO_TOKEN, REFUSED, Conversation, Socket

GREETING_SECONDS = 10.0
"""From the upgrade to the first message."""

MAX_GREETING = 16 * 1024
"""Characters of it."""


@frozen(kw_only=True)
class Greeting:
    """
    What the page began with.

    @ivar resume: id of what it goes on with; empty for something new.
    @ivar received: raw bytes it has; None when it does not know.
    """

    resume: str = ""
    received: int | None = None

    @classmethod
    def parse(cls, told: dict[str, Any]) -> Greeting:
        """
        @raise RemoteProtocolError: a member is of another sort.
        """
        resume, received = told.get("resume", ""), told.get("received")
        if not isinstance(resume, str) or not (received is None or (type(received) is int and received >= 0)):
            raise RemoteProtocolError("resume is a text and received a number of bytes")
        return cls(resume=resume, received=received)


Welcome = Callable[[Socket, Greeting], Conversation]
"""
Called once the page has proved itself: what goes on from here. Raises TeleportError, NOT_FOUND where there is nothing
to resume.
"""


@define(eq=False)
class Threshold:
    """
    A L{Conversation} until the first message.
    """

    _bearer: Secret[str]
    _welcome: Welcome
    _clock: IReactorTime
    _socket: Socket | None = field(default=None, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _log: ClassVar[Logger] = Logger()

    def opened(self, socket: Socket) -> None:
        """See L{Conversation.opened}."""
        self._socket = socket
        self._timer = self._clock.callLater(GREETING_SECONDS, self._too_late)

    def _too_late(self) -> None:
        self._timer = None
        self._refuse("bad_token", "the page did not say who it is", NO_TOKEN)

    def text(self, text: str) -> None:
        """See L{Conversation.text}."""
        socket = self._socket
        if socket is None or self._timer is None:
            return  # it was refused
        self._stop()
        if len(text) > MAX_GREETING:
            raise RemoteProtocolError("the first message is too long")
        told = parse_object(text)
        token = told.get("token")
        try:
            known = isinstance(token, str) and Secret(token) == self._bearer
        except UnicodeError:
            known = False
        if not known:
            self._refuse("bad_token", "please sign in again", NO_TOKEN)
            return
        greeting = Greeting.parse(told)
        try:
            conversation = self._welcome(socket, greeting)
        except TeleportError as error:
            if greeting.resume and error.kind is Kind.NOT_FOUND:
                self._refuse("gone", error.message, GONE)
            else:
                self._refuse("refused", error.message, REFUSED)
            return
        socket.send_text(_answer("ok"))
        socket.conversation = conversation
        conversation.opened(socket)

    def binary(self, data: bytes) -> None:
        """See L{Conversation.binary}."""
        raise RemoteProtocolError("the first message is text")

    def flow(self) -> None:
        """See L{Conversation.flow}."""

    def lost(self, code: int) -> None:
        """See L{Conversation.lost}."""
        self._stop()
        self._socket = None

    def _stop(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _refuse(self, code: str, message: str, close: int) -> None:
        if self._socket is not None:
            self._socket.send_text(_answer("error", code=code, message=message))
            self._socket.close(close, message)


def _answer(status: str, **more: str) -> str:
    return json.dumps({"type": "create_session_response", "status": status, **more})
