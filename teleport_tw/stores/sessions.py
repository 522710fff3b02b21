"""
Sessions that run: each tracker lives by the heartbeats of the host the session runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import Backend, Condition
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.resources.sessions import KIND, Session
from teleport_tw.stores.layout import resource_key
from teleport_tw.stores.resources import ResourceStore

TTL: Duration = timedelta(minutes=5)
"""A tracker whose host is silent so long is gone."""


@frozen
class Sessions:
    """
    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def create(self, session: Session) -> Session:
        """
        @raise TeleportError: ALREADY_EXISTS.
        """
        stored = await ResourceStore(self._backend).create(self._alive(session).to_resource())
        return Session.parse(stored)

    async def change(self, name: str, step: Callable[[Session], Session]) -> Session:
        """
        Change a session, however many others do at once: people join and leave.

        @param step: may be called several times.
        @raise TeleportError: NOT_FOUND.
        """
        stored = await ResourceStore(self._backend).change(
            KIND,
            name,
            lambda found: self._alive(step(Session.parse(found))).to_resource().with_revision(found.revision),
        )
        return Session.parse(stored)

    async def keep(self, name: str) -> None:
        """
        It still runs.

        @raise TeleportError: NOT_FOUND.
        """
        await self._backend.keep_alive(resource_key(KIND, "", name), from_timestamp(self._clock.seconds()) + TTL)

    async def list(self) -> tuple[Session, ...]:
        """
        @return: those that run now.
        """
        return tuple([Session.parse(each) async for each in ResourceStore(self._backend).every(KIND)])

    async def end(self, name: str) -> None:
        """
        Harmless when it ended before.
        """
        await self._backend.delete(resource_key(KIND, "", name), Condition.ANY)

    def _alive(self, session: Session) -> Session:
        return evolve(session, expires=from_timestamp(self._clock.seconds()) + TTL)
