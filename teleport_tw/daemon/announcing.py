"""
A proxy tells the cluster that it is alive: C{tctl get proxies} lists it, and the inventory counts it.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.api.contract import Presence
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.resources.servers import Server

HEARTBEAT = Duration(minutes=3)
LEASE = Duration(minutes=10)
"""One whose heartbeats end leaves the list so much later."""
AGAIN_SECONDS = 5.0
"""After a heartbeat that auth did not hear."""
GOODBYE_SECONDS = 3.0


@define(eq=False)
class ServerAnnouncer(Service):
    """
    Heartbeats of one server that has no labels.
    """

    api: Presence
    clock: IReactorTime
    server: Server
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    def startService(self) -> None:
        """
        The first one at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._tasks.spawn("heartbeats", self._beat())

    def stopService(self) -> Deferred[None]:
        """
        Leave the list at once.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._leave())

    async def _beat(self) -> None:
        while self.running:
            wait = HEARTBEAT.total_seconds()
            try:
                await self.api.heartbeat(self.server.to_resource(), LEASE)
            except TeleportError as error:
                self._log.warn("auth did not hear that we are alive: {error}", error=error.message)
                wait = AGAIN_SECONDS
            await deferLater(self.clock, wait, lambda: None)

    async def _leave(self) -> None:
        leaving = Deferred.fromCoroutine(self.api.goodbye(self.server.kind, self.server.name))
        try:
            await leaving.addTimeout(GOODBYE_SECONDS, self.clock)
        except Exception as error:
            self._log.debug("auth did not hear that we leave: {error}", error=repr(error))
