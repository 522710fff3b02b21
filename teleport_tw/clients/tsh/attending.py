"""
Proving, in the middle of a session that one moderates, that one is there.

The server asks (L{teleport_tw.dial.joining.PRESENCE}); a key that is plugged in is touched, or the digits of a code are
typed: to the server they would mean nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from threading import Event

from attrs import define, evolve, field

from teleport_tw.api.attendance import TARGET_KIND
from teleport_tw.api.contract import Api, Challenge, MfaAnswer, MfaTarget, Scope
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks, in_thread
from teleport_tw.clients.factors import Answering
from teleport_tw.dial.session import ClientSession
from teleport_tw.protocols.ssh.wire import Reader

DIGITS = 6

_ERASE = b"\x7f\x08"


@define(eq=False)
class Attending:
    """
    One session's moderator.

    @ivar show: takes a line for the person at the terminal.
    """

    session: str
    api: Callable[[], Awaitable[Api]]
    answering: Answering
    show: Callable[[str], object]
    _asking: bool = field(default=False, init=False)
    _how: str = field(default="", init=False)
    _code: bytearray | None = field(default=None, init=False)
    _touch: Event = field(factory=Event, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)

    def asked(self, seconds: int) -> None:
        """
        By the server.

        @param seconds: that are left.
        """
        if self._asking:
            self._say(seconds)
        else:
            self._asking = True
            self._tasks.spawn("proving presence", self._prove(seconds)).addBoth(self._over)

    def typed(self, data: bytes) -> bytes:
        """
        @return: what is the server's; digits are ours while a code is waited for.
        """
        if self._code is None:
            return data
        rest = bytearray()
        for key in data:
            if self._code is not None and key in b"0123456789":
                self._code.append(key)
                if len(self._code) == DIGITS:
                    code, self._code = self._code.decode(), None
                    self._tasks.spawn("proving presence", self._tell(MfaAnswer(otp=Secret(code)))).addBoth(self._over)
            elif self._code is not None and key in _ERASE:
                del self._code[-1:]
            else:
                rest.append(key)
        return bytes(rest)

    def end(self) -> None:
        """
        The session is over.
        """
        self._touch.set()
        self._tasks.cancel()

    async def _prove(self, seconds: int) -> None:
        try:
            target = MfaTarget(kind=TARGET_KIND, name=self.session)
            challenge = await (await self.api()).create_challenge(Scope.SESSION_PRESENCE, target)
            await self._answer(challenge, seconds)
        except TeleportError as error:
            self.show(f"That you are there was not proven: {error.message}.")

    async def _answer(self, challenge: Challenge, seconds: int) -> None:
        options = challenge.webauthn if self.answering.mode != "otp" else None
        keys = list(self.answering.keys()) if options is not None else []
        if options is not None and keys:
            self._how, self._touch = "touch your security key", Event()
            self._say(seconds)
            signed = await in_thread(self.answering.sign, options, keys, self._touch)
            await self._tell(MfaAnswer(webauthn=dict(signed), challenge=challenge.id))
        elif challenge.otp and self.answering.mode != "cross-platform":
            self._how, self._code = "type the code of your authenticator app", bytearray()
            self._say(seconds)
        else:
            self._how = "plug in your security key"
            self._say(seconds)

    def _say(self, seconds: int) -> None:
        """
        Again where the server asks again: output may have carried the first line away.
        """
        if self._how:
            self.show(f"Prove within {seconds} seconds that you are there: {self._how}.")

    async def _tell(self, answer: MfaAnswer) -> None:
        try:
            await (await self.api()).prove_presence(self.session, answer)
        except TeleportError as error:
            self.show(f"That you are there was not proven: {error.message}.")
        else:
            self.show("Thank you: it is known that you are there.")

    def _over(self, result: object) -> None:
        self._asking = self._code is not None
        if not self._asking:
            self._how = ""


def prover(
    session: str, api: Callable[[], Awaitable[Api]], answering: Answering, show: Callable[[bytes], object]
) -> Attending:
    """
    @param show: takes what is written to the terminal.
    """
    return Attending(
        session, api, evolve(answering, recovery=False), lambda text: show(f"\r\nTeleport > {text}\r\n".encode())
    )


class WatchedSession(ClientSession):
    """
    Somebody else's session, in which one may be asked whether one is there.

    @ivar attending: answers.
    """

    attending: Attending | None = None

    def request_x_teleport_mfa_presence(self, payload: bytes) -> None:
        """
        C{uint32} seconds that are left.
        """
        if self.attending is not None:
            self.attending.asked(Reader(payload).uint32())
