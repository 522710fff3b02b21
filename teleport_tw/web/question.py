"""
A challenge of a second factor that a page answers through its WebSocket.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from teleport_tw.api.factors import Challenge, MfaAnswer
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import challenge_json
from teleport_tw.web.envelope import FACTOR, Envelope
from teleport_tw.web.reach import answer_from

ANSWER_SECONDS = 180.0
"""To answer a challenge of a second factor."""


@define(eq=False, repr=False)
class Question:
    """
    One terminal's; one challenge at a time.
    """

    _clock: IReactorTime
    _send: Callable[[Envelope], object]
    _challenge: Json = field(factory=dict, init=False)
    _answer: Deferred[MfaAnswer] | None = field(default=None, init=False)

    async def ask(self, challenge: Challenge) -> MfaAnswer:
        """
        @return: what the page says.
        @raise TeleportError: ACCESS_DENIED, nothing, for L{ANSWER_SECONDS}.
        """
        self._challenge = challenge_json(challenge)
        self._answer = Deferred()
        self.again()
        try:
            return await self._answer.addTimeout(ANSWER_SECONDS, self._clock)
        except TimeoutError as error:
            raise TeleportError(Kind.ACCESS_DENIED, "nobody answered the question for a second factor") from error
        finally:
            self._answer = None

    def again(self) -> None:
        """
        Another WebSocket has taken the place of the one that was asked.
        """
        if self._answer is not None:
            self._send(Envelope.of(FACTOR, self._challenge))

    def answered(self, told: dict[str, Any]) -> None:
        """
        @param told: by the page.
        @raise RemoteProtocolError: it is no answer, or to nothing.
        """
        if self._answer is None or self._answer.called:
            raise RemoteProtocolError("nothing was asked")
        try:
            answer = answer_from(told)
        except TeleportError as error:
            raise RemoteProtocolError(error.message) from error
        self._answer.callback(answer)

    def cancel(self) -> None:
        """
        Nobody will answer.
        """
        if self._answer is not None and not self._answer.called:
            self._answer.cancel()
