"""
A proxy tells the cluster that it is alive: C{tctl get proxies} lists it, and the inventory counts it.
"""

from __future__ import annotations

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from teleport_tw.api.contract import Presence
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.dial.heartbeats import LEASE, Heartbeats, goodbye
from teleport_tw.resources.servers import Server

HEARTBEAT = Duration(minutes=3)


@define(eq=False)
class ServerAnnouncer(Service):
    """
    Heartbeats of one server that has no labels.
    """

    api: Presence
    clock: IReactorTime
    server: Server
    _tasks: Tasks = field(factory=Tasks, init=False)

    def startService(self) -> None:
        """
        The first one at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        beats = Heartbeats(tell=self._tell, clock=self.clock, what="this proxy", every=HEARTBEAT)
        self._tasks.spawn("heartbeats", beats.run())

    def stopService(self) -> Deferred[None]:
        """
        Leave the list at once.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        return Deferred.fromCoroutine(goodbye(self.api, self.server.kind, (self.server.name,), self.clock))

    async def _tell(self) -> None:
        await self.api.heartbeat(self.server.to_resource(), LEASE)
