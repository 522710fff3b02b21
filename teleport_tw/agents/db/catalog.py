"""
Which databases an agent serves now, and what the cluster hears of them.

Those of the configuration are served always; C{db} resources while one of C{db_service.resources} chooses them. Each is
announced as a C{db_server} of its own, with the results of its dynamic labels and what the health check found.

Commands for labels come from the agent's own file alone: a resource, which somebody else wrote, runs nothing here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Protocol

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

import teleport_tw
from teleport_tw.access.labels import Chooser, chooser
from teleport_tw.agents.labels import CommandLabels
from teleport_tw.api.contract import Presence, Watched
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.config.sections import CommandLabel, DatabaseTarget, DbService
from teleport_tw.dial.heartbeats import HEARTBEAT, LEASE, Heartbeats, goodbye
from teleport_tw.dial.view import Copy
from teleport_tw.resources.database_servers import SERVER_KIND, DatabaseServer, TargetHealth
from teleport_tw.resources.databases import KIND, VERSION, Database
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.roles import Selector

_UNKNOWN = TargetHealth()


class Serving(Protocol):
    """
    Who is told what is served: L{teleport_tw.agents.db.service.DatabaseAgentService}.
    """

    def serve(self, databases: Mapping[str, Database]) -> None:
        """
        @param databases: all that are served from now on, by name.
        """
        ...


def configured(targets: Iterable[DatabaseTarget]) -> dict[str, Database]:
    """
    @return: what stands in the configuration, by name.
    @raise TeleportError: BAD_PARAMETER, one makes no database.
    """
    found = {}
    for target in targets:
        metadata = Metadata(target.name, target.description, {**target.labels, "teleport.dev/origin": "config-file"})
        found[target.name] = Database.parse(Resource(KIND, VERSION, metadata, target.spec))
    return found


@define(eq=False, kw_only=True)
class Catalog(Service):
    """
    See the module.

    @ivar copy: watches C{db}.
    @ivar health: what is known of a database served here, by name.
    """

    api: Presence
    clock: Any
    host_id: str
    hostname: str
    section: DbService
    copy: Copy
    agent: Serving
    health: Callable[[str], TargetHealth] = lambda name: _UNKNOWN
    every: Duration = HEARTBEAT
    lease: Duration = LEASE
    served: dict[str, Database] = field(factory=dict, init=False)
    _static: dict[str, Database] = field(init=False)
    _choosers: tuple[Chooser, ...] = field(init=False)
    _labels: dict[str, CommandLabels] = field(factory=dict, init=False)
    _announced: set[str] = field(factory=set, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _beats: Heartbeats = field(init=False)
    _end: Callable[[], None] | None = field(default=None, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._beats = Heartbeats(tell=self._tell, clock=self.clock, what="the databases", every=self.every)
        self._static = configured(self.section.databases)
        self._choosers = tuple(
            chooser(Selector(labels=matcher.labels), {}, deny=False) for matcher in self.section.resources
        )
        for name, database in self._static.items():
            commands = [
                CommandLabel(name=label, command=each.command, period=each.period)
                for label, each in database.dynamic_labels.items()
            ]
            if commands:
                self._labels[name] = CommandLabels(commands, self.clock)

    # --- life

    def startService(self) -> None:
        """
        Serve and announce at once.
        """
        super().startService()  # type: ignore[no-untyped-call]
        for labels in self._labels.values():
            labels.changed = self.refresh
            labels.startService()
        self._end = self.copy.subscribe(self._changed)
        self.refresh()
        self._tasks.spawn("heartbeats of databases", self._beats.run())

    def stopService(self) -> Deferred[None]:
        """
        Leave the lists at once.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._end is not None:
            self._end()
            self._end = None
        for labels in self._labels.values():
            labels.stopService()
        self._tasks.cancel()
        return Deferred.fromCoroutine(goodbye(self.api, SERVER_KIND, sorted(self._announced), self.clock))

    def _changed(self, news: Watched) -> None:
        if news.resource is None or news.resource.kind == KIND:
            self.refresh()

    # --- what is served

    def refresh(self) -> None:
        """
        Look again at what is to be served, and tell the agent and the cluster where it has changed.
        """
        wanted = {**self._dynamic(), **{name: self._labelled(each) for name, each in self._static.items()}}
        if wanted == self.served:
            return
        for name in sorted({*wanted} - {*self.served}):
            self._log.info("database {name} is served from now on", name=name)
        for name in sorted({*self.served} - {*wanted}):
            self._log.info("database {name} is served no more", name=name)
        self.served = wanted
        self.agent.serve(wanted)
        self.announce_soon()

    def _labelled(self, database: Database) -> Database:
        labels = self._labels.get(database.name)
        return database if labels is None else database.with_results(labels.values())

    def _dynamic(self) -> dict[str, Database]:
        found = {}
        for resource in self.copy.list(KIND) if self.section.resources else ():
            if not self._chosen(resource.metadata.labels):
                continue
            try:
                database = Database.parse(resource)
            except TeleportError as error:
                self._log.warn("db resource {name} cannot be served: {error}", name=resource.name, error=error.message)
                continue
            found[database.name] = evolve(database, revision="")
        return found

    def _chosen(self, labels: Mapping[str, str]) -> bool:
        return any(each.chooses(labels) for each in self._choosers)

    # --- what is told

    def announce_soon(self) -> None:
        """
        Something has changed that the cluster should know before the next heartbeat.
        """
        self._beats.soon()

    def servers(self) -> list[Resource]:
        """
        @return: what is announced.
        """
        return [
            DatabaseServer(
                host_id=self.host_id,
                hostname=self.hostname,
                database=database,
                version=teleport_tw.__version__,
                health=self.health(name),
            ).to_resource()
            for name, database in sorted(self.served.items())
        ]

    async def _tell(self) -> None:
        told = self.servers()
        for resource in told:
            self._announced.add(resource.name)
            await self.api.heartbeat(resource, self.lease)
        for name in sorted(self._announced - {each.name for each in told}):
            await self.api.goodbye(SERVER_KIND, name)
            self._announced.discard(name)
