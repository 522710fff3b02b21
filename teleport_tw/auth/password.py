"""
Passwords: what one must look like, and hashing with argon2id away from the reactor's thread.

Hashing costs tens of milliseconds and tens of megabytes on purpose, so only a few run at once and only so many wait;
the rest are told to come back, which keeps a flood of logins from taking the machine.
"""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type
from attrs import define, field
from twisted.internet.defer import DeferredSemaphore

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads

MIN_LENGTH, MAX_LENGTH = 12, 128
"""Characters, as the reference has them."""

AT_ONCE = 2
"""Hashes computed at the same time: 64 MiB each."""
QUEUE = 100
"""Hashes that may wait: at 50 ms each, a caller waits some seconds at most."""


def check_strength(password: Secret[str]) -> None:
    """
    @raise TeleportError: BAD_PARAMETER, too short or too long.
    """
    length = len(password.reveal())
    if length < MIN_LENGTH:
        raise bad_parameter(f"the password is too short; it needs at least {MIN_LENGTH} characters")
    if length > MAX_LENGTH:
        raise bad_parameter(f"the password is too long; it may have at most {MAX_LENGTH} characters")


def default_hasher() -> PasswordHasher:
    """
    @return: argon2id, 3 passes over 64 MiB, 4 lanes: RFC 9106's second recommended setting.
    """
    return PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4, type=Type.ID)


@define(eq=False)
class Passwords:
    """
    Hashes and checks, in threads.
    """

    threads: Threads
    hasher: PasswordHasher = field(factory=default_hasher)
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(AT_ONCE), init=False)
    _decoy: str = field(default="", init=False)

    async def hash(self, password: Secret[str]) -> str:
        """
        @return: the PHC string to keep.
        @raise TeleportError: BAD_PARAMETER, too short or too long; LIMIT_EXCEEDED, too many wait.
        """
        check_strength(password)
        async with _Turn(self._turns):
            return await self.threads.run(self.hasher.hash, password.reveal())

    async def check(self, stored: str, password: Secret[str]) -> bool:
        """
        @param stored: a PHC string; empty for a user who does not exist or has no password, which takes as long.
        @raise TeleportError: LIMIT_EXCEEDED, too many wait.
        """
        text = password.reveal()
        async with _Turn(self._turns):
            if not self._decoy:
                self._decoy = await self.threads.run(self.hasher.hash, "nobody has this password")
            good = await self.threads.run(self._verify, stored or self._decoy, text[: MAX_LENGTH * 4])
        return good and bool(stored) and len(text) <= MAX_LENGTH

    def weak(self, stored: str) -> bool:
        """
        @return: whether the hash was made with other settings than today's and is better made anew.
        """
        try:
            return self.hasher.check_needs_rehash(stored)
        except InvalidHashError:
            return True

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self.hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


@define(eq=False)
class _Turn:
    turns: DeferredSemaphore

    async def __aenter__(self) -> None:
        if len(self.turns.waiting) >= QUEUE:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many sign-ins at once; try again in a few seconds")
        await self.turns.acquire()

    async def __aexit__(self, *_: object) -> None:
        self.turns.release()
