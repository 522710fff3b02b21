"""
What a host says to a user whose certificate lacks the second factor that a session takes.

An earlier answer may cover the session; else the login goes on with a question, which OpenSSH's client and others show
as keyboard-interactive authentication. C{tsh} gets itself a certificate instead, and never sees the question.

@see: L{teleport_tw.api.taps}; RFC 4256
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from attrs import frozen
from twisted.internet.defer import succeed

from teleport_tw.api.taps import BANNER, Tap, TapRequest
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.conch.connection import Responder
from teleport_tw.conch.userauth import Ask, MoreNeeded, Prompt

TRIES = 3
"""Wrong codes in one login."""

WAITS = 2
"""Times that auth is asked to wait for the user, some fifty seconds each: a login may take two minutes."""


T = TypeVar("T")


class SecondFactorMissing(TeleportError):
    """
    Everything is in order but that the certificate says of no second factor.
    """


class Asks(Protocol):
    """
    The part of L{teleport_tw.api.taps.Taps} that hosts use.
    """

    async def tap_covered(self, request: TapRequest) -> str:
        """See there."""
        ...

    async def begin_tap(self, request: TapRequest) -> Tap:
        """See there."""
        ...

    async def answer_tap(self, id: str, code: Secret[str]) -> str:
        """See there."""
        ...

    async def wait_tap(self, id: str) -> str:
        """See there."""
        ...


@frozen
class Tapping:
    """
    @ivar api: auth, as the host; C{None} where who lacks a second factor is refused and not asked.
    """

    api: Asks | None

    async def enter(
        self,
        request: TapRequest,
        admit: Callable[[str], T],
        welcome: Callable[[T], Awaitable[Responder]],
        refused: Callable[[TeleportError], None],
    ) -> Responder:
        """
        @param admit: decides, given the device that proved who the user is; empty at first.
        @param welcome: lets in whom it admitted.
        @param refused: notes why somebody was not.
        @raise MoreNeeded: the user is to be asked.
        """

        async def settle(device: Awaitable[str]) -> Responder:
            try:
                target = admit(await device)
            except TeleportError as error:
                refused(error)
                raise
            return await welcome(target)

        async def challenge(ask: Ask) -> Responder:
            return await settle(self.ask(request, ask))

        try:
            target = admit("")
        except SecondFactorMissing as missing:
            try:
                device = await self._covered(request, missing)
            except TeleportError as error:
                refused(error)
                raise
        except TeleportError as error:
            refused(error)
            raise
        else:
            return await welcome(target)
        if not device:
            raise MoreNeeded(challenge, BANNER)
        return await settle(succeed(device))

    async def _covered(self, request: TapRequest, missing: SecondFactorMissing) -> str:
        if self.api is None:
            raise missing
        try:
            return await self.api.tap_covered(request)
        except TeleportError as error:
            if error.kind is Kind.ACCESS_DENIED:
                raise
            text = "access denied: this session needs a second factor, and auth cannot check one now"
            raise access_denied(text, details=error.message) from error

    async def ask(self, request: TapRequest, ask: Ask) -> str:
        """
        @return: the device.
        @raise TeleportError: ACCESS_DENIED, it was not proven; what else auth says.
        """
        assert self.api is not None, "or nobody would be asked"
        try:
            tap = await self.api.begin_tap(request)
        except TeleportError as error:
            raise access_denied(f"access denied: {error.message}", details=error.details) from error
        said, left = "", TRIES
        while True:
            instruction, prompt = _words(tap, said)
            typed = "".join((await ask(instruction, [Prompt(prompt)]))[0].split())
            if not (tap.otp and typed):
                return await self._approved(tap)
            try:
                return await self.api.answer_tap(tap.id, Secret(typed))
            except TeleportError as error:
                left -= 1
                if error.kind is not Kind.ACCESS_DENIED or not left:
                    raise
                said = "That code is not accepted; each is good for one use.\n"

    async def _approved(self, tap: Tap) -> str:
        assert self.api is not None, "or nobody would be asked"
        for _ in range(WAITS if tap.link else 0):
            device = await self.api.wait_tap(tap.id)
            if device:
                return device
        raise access_denied("access denied: this session needs a second factor, and nobody showed one")


def _words(tap: Tap, before: str) -> tuple[str, str]:
    """
    @return: instruction and prompt; names were checked where they were made, and clients show no control characters.
    """
    who = f"{before}{BANNER[:-1]}, {tap.username}."
    if not tap.link:
        return who, "Code from your authenticator app: "
    where = f"{who}\nWith a security key or passkey, approve it here: {tap.link}"
    if tap.otp:
        return where, "Code from your authenticator app (or Enter once you approved there): "
    return where, "Press Enter once you approved there: "
