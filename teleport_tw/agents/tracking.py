"""
Which sessions run right now, told to the cluster for C{tsh sessions ls}.

A tracker lives by being announced again; what a dead agent announced is gone after L{TTL}.
"""

from __future__ import annotations

from typing import Protocol

from attrs import define, evolve, field
from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.sessions import KIND, Participant, Session, State

TTL = Duration(minutes=5)
GOODBYE_SECONDS = 5.0
"""How long a stopping agent waits for auth to hear of it."""


class Announcing(Protocol):
    """
    The part of L{teleport_tw.api.contract.Presence} that is told.
    """

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        """
        It runs.
        """
        ...

    async def goodbye(self, kind: str, name: str) -> None:
        """
        It has ended.
        """
        ...


@define(eq=False)
class Trackers:
    """
    Those of one agent.
    """

    _presence: Announcing
    _clock: IReactorTime
    _sessions: dict[str, Session] = field(factory=dict, init=False)
    _told: set[str] = field(factory=set, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    def begin(self, session: Session, after_seconds: float = 0.0) -> None:
        """
        A session runs from now on.

        @param after_seconds: when the cluster is told of it: never, of one that is over by then.
        """
        self._sessions[session.name] = session
        self._tasks.spawn("announcing a session", self._keep(session.name, after_seconds))

    def change(self, name: str, participants: tuple[Participant, ...], state: State) -> None:
        """
        Somebody joined or left, or the session began or paused.
        """
        session = self._sessions.get(name)
        if session is not None:
            self._sessions[name] = evolve(session, participants=participants, state=state)
            self._tasks.spawn("announcing a session", self._tell(name))

    def end(self, name: str) -> None:
        """
        The session has ended; harmless for one that never began.
        """
        if self._sessions.pop(name, None) is not None and name in self._told:
            self._told.discard(name)
            self._tasks.spawn("ending a session's tracker", self._goodbye(name))

    async def stop(self) -> None:
        """
        End them all, and stop.
        """
        names = tuple(self._told)
        self._sessions.clear()
        self._told.clear()
        goodbyes = [self._tasks.spawn("ending a session's tracker", self._goodbye(name)) for name in names]
        done = DeferredList(goodbyes)
        call = self._clock.callLater(GOODBYE_SECONDS, self._tasks.cancel)
        await done
        if call.active():
            call.cancel()
        self._tasks.cancel()

    async def _keep(self, name: str, after_seconds: float) -> None:
        if after_seconds:
            await deferLater(self._clock, after_seconds)
        while name in self._sessions:
            await self._tell(name)
            await deferLater(self._clock, TTL.total_seconds() / 3)

    async def _tell(self, name: str) -> None:
        self._told.add(name)
        try:
            await self._presence.heartbeat(self._sessions[name].to_resource(), TTL)
        except TeleportError as error:
            self._log.debug("session {name} was not announced: {error}", name=name, error=error.message)
            return
        if name not in self._sessions:  # it ended while it was told
            self._told.discard(name)
            await self._goodbye(name)

    async def _goodbye(self, name: str) -> None:
        try:
            await self._presence.goodbye(KIND, name)
        except TeleportError as error:
            self._log.debug("the end of session {name} was not told: {error}", name=name, error=error.message)
