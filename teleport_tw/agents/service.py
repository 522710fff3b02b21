"""
What every agent does beside serving: it tells the cluster that it is alive, and what its labels are now.
"""

from __future__ import annotations

from typing import Any, ClassVar

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

import teleport_tw
from teleport_tw.agents.labels import CommandLabels
from teleport_tw.api.contract import Presence
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration, utc_now
from teleport_tw.config.sections import SSHService
from teleport_tw.dial.heartbeats import HEARTBEAT, LEASE, Heartbeats, goodbye
from teleport_tw.resources.instances import Instance
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import Node


@define(eq=False, kw_only=True)
class Announcer(Service):
    """
    Heartbeats of a node and of the process it is in.

    @ivar labels: the node's command labels.
    @ivar use_tunnel: whether it is reached by its tunnel and listens on no port.
    """

    api: Presence
    clock: Any
    host_id: str
    hostname: str
    section: SSHService
    labels: CommandLabels
    use_tunnel: bool
    advertise_ip: str = ""
    services: tuple[str, ...] = ("Node",)
    every: Duration = HEARTBEAT
    lease: Duration = LEASE
    _tasks: Tasks = field(factory=Tasks, init=False)
    _beats: Heartbeats = field(init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._beats = Heartbeats(tell=self._tell, clock=self.clock, what="this host", every=self.every)

    def startService(self) -> None:
        """
        The first heartbeat at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self.labels.changed = self.announce_soon
        self._tasks.spawn("heartbeats", self._beats.run())

    def stopService(self) -> Deferred[None]:
        """
        Leave the list at once.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        return Deferred.fromCoroutine(goodbye(self.api, "node", (self.host_id,), self.clock))

    def announce_soon(self) -> None:
        """
        Something has changed that the cluster should know before the next heartbeat.
        """
        self._beats.soon()

    def node(self) -> Resource:
        """
        @return: this host as the cluster lists it.
        """
        port = self.section.listen_addr.rpartition(":")[2]
        address = "" if self.use_tunnel else f"{self.advertise_ip or self.hostname}:{port}"
        return Node(
            name=self.host_id,
            hostname=self.hostname,
            addr=address,
            public_addrs=self.section.public_addr,
            use_tunnel=self.use_tunnel,
            version=teleport_tw.__version__,
            labels=self.section.labels,
            command_labels=self.labels.spec(),
        ).to_resource()

    def instance(self) -> Resource:
        """
        @return: this process as the inventory lists it.
        """
        return Instance(
            name=self.host_id,
            hostname=self.hostname,
            version=teleport_tw.__version__,
            services=self.services,
            last_seen=utc_now(),
        ).to_resource()

    async def _tell(self) -> None:
        await self.api.heartbeat(self.node(), self.lease)
        await self.api.heartbeat(self.instance(), self.lease)
