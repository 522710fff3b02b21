"""
What keeps guessing from paying: one attempt at a time for each name, and a locked account after a few failures.

Signing in and everything else that asks for a password or a code share it, so that a stolen certificate is no way
round the bound.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import format_time
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.users import Lockout, User
from teleport_tw.stores.credentials import Credentials
from teleport_tw.stores.resources import ResourceStore

LOCKED = "this account is locked after too many failed sign-ins; try again later or ask an administrator"
MAX_WAITING = 20
"""Attempts for one name that wait for those before them."""


@define(eq=False)
class Guard:
    """
    Counts attempts.
    """

    resources: ResourceStore
    credentials: Credentials
    _turns: dict[str, DeferredLock] = field(factory=dict, init=False)
    _log = Logger()

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """
        One attempt at a time for each name: of many guesses at once, each finds those before it counted.

        @raise TeleportError: LIMIT_EXCEEDED, too many wait already.
        """
        turn = self._turns.setdefault(name, DeferredLock())
        if len(turn.waiting) >= MAX_WAITING:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many sign-ins at once; try again in a few seconds")
        try:
            await turn.acquire()
            try:
                yield
            finally:
                turn.release()
        finally:
            if not turn.locked and not turn.waiting:
                self._turns.pop(name, None)

    async def find(self, name: str) -> User | None:
        """
        @return: the user as stored; C{None} also for names that nobody can have.
        """
        try:
            resource = await self.resources.find("user", name)
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise
        return User.parse(resource) if resource is not None else None

    async def locked(self, name: str, user: User | None, now: datetime) -> bool:
        """
        @return: whether nothing is even looked at.
        """
        attempts = await self.credentials.attempts(name)
        return attempts.locked(now) or (user is not None and _locked_by_admin(user, now))

    async def failed(self, name: str, user: User | None, now: datetime) -> None:
        """
        Count a failure, for names that nobody has as well.
        """
        counted = await self.credentials.failed(name, now)
        if counted.locked_until is not None and user is not None:
            await self._lock(user.name, counted.locked_until, now)

    async def succeeded(self, name: str, user: User) -> None:
        """
        What failed before does not count any more.
        """
        if (await self.credentials.attempts(name)).failures or user.lockout.locked:
            await self.credentials.clear_attempts(name)

    async def _lock(self, name: str, until: datetime, now: datetime) -> None:
        text = "too many failed sign-ins"
        lockout = Lockout(locked=True, message=text, since=now, until=until)

        def step(resource: Resource) -> Resource:
            return _with_lockout(resource, lockout)

        await self.resources.change("user", name, step)
        self._log.warn("user {user} is locked until {until}", user=name, until=format_time(until))


def _locked_by_admin(user: User, now: datetime) -> bool:
    """
    Whether C{status.is_locked} holds: it was set, and its end is not past.
    """
    lockout = user.lockout
    return lockout.locked and (lockout.until is None or now < lockout.until)


def _with_lockout(resource: Resource, lockout: Lockout) -> Resource:
    spec = dict(resource.spec)
    status = dict(spec.get("status") or {})
    status |= {
        "is_locked": lockout.locked,
        "locked_message": lockout.message,
        "locked_time": format_time(lockout.since) if lockout.since else "",
        "lock_expires": format_time(lockout.until) if lockout.until else "",
    }
    spec["status"] = {key: value for key, value in status.items() if value != ""}
    return evolve(resource, spec=spec)
