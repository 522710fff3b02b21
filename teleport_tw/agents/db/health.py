"""
Whether the databases served here can be reached, for C{tctl db ls}.

Each is dialled every half minute: by TCP, and where its protocol begins with TLS, by TLS too, its certificate checked
as for a session. It is unhealthy when a check fails, and healthy again after two that did not.
"""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar, Protocol

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.agents.db.target import target_context
from teleport_tw.base.addresses import join_address
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.held import HoldingFactory
from teleport_tw.base.net.endpoints import TCPClient, TLSClient
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.dial.view import View
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.trust import bundle
from teleport_tw.resources.database_servers import Health, TargetHealth
from teleport_tw.resources.databases import Database

INTERVAL = Duration(seconds=30)
TIMEOUT_SECONDS = 5.0
HEALTHY_AFTER = 2
AT_ONCE = 20
"""Checks that run at the same time, however many databases there are."""

TLS_FIRST = frozenset({"mongodb", "redis"})
"""Protocols whose connections begin with TLS."""

UNKNOWN = TargetHealth()


class Check(Protocol):
    """
    Dials a database once.
    """

    async def __call__(self, database: Database) -> None:
        """
        @raise Exception: it cannot be reached; the text says why.
        """
        ...


@define(eq=False)
class Dial:
    """
    The L{Check} of an agent.
    """

    reactor: IReactorTime
    view: View
    timeout: float = TIMEOUT_SECONDS
    _contexts: dict[str, tuple[Database, bytes, ssl.SSLContext]] = field(factory=dict, init=False)

    async def __call__(self, database: Database) -> None:
        """
        See L{Check}.
        """
        host, port = database.host, database.port
        endpoint: TCPClient | TLSClient
        if database.protocol in TLS_FIRST:
            context = self._context(database)
            endpoint = TLSClient(
                self.reactor, host, port, context, server_hostname=database.server_name, timeout=self.timeout
            )
        else:
            endpoint = TCPClient(self.reactor, host, port, timeout=self.timeout)
        connected: Any = await endpoint.connect(HoldingFactory())
        connected.transport.abortConnection()

    def _context(self, database: Database) -> ssl.SSLContext:
        authorities = bundle(self.view.authorities(AuthorityType.DB))
        kept = self._contexts.get(database.name)
        if kept is None or kept[0].tls != database.tls or kept[1] != authorities:
            kept = (database, authorities, target_context(database, authorities))
            self._contexts[database.name] = kept
        return kept[2]


@define(eq=False)
class HealthChecks(Service):
    """
    Those of one agent.

    @ivar databases: what is served now, by name.
    @ivar on_change: something is healthy that was not, or the other way: tell the cluster.
    """

    clock: IReactorTime
    check: Check
    databases: Callable[[], Mapping[str, Database]]
    on_change: Callable[[], object] = lambda: None
    interval: Duration = INTERVAL
    _known: dict[str, TargetHealth] = field(factory=dict, init=False)
    _passed: dict[str, int] = field(factory=dict, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(AT_ONCE), init=False)
    _log: ClassVar[Logger] = Logger()

    def health(self, name: str) -> TargetHealth:
        """
        @return: of one database, as L{teleport_tw.agents.db.catalog.Catalog.health} asks.
        """
        return self._known.get(name, UNKNOWN)

    def startService(self) -> None:
        """
        Look at once, and again and again.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._tasks.spawn("checking databases", self._rounds())

    def stopService(self) -> None:
        """
        No more.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()

    async def _rounds(self) -> None:
        await deferLater(self.clock, 0, lambda: None)  # whoever started us says what is served
        while True:
            await self.look()
            wait = self.interval.total_seconds() * (0.9 + 0.2 * random.random())  # noqa: S311 spreads load
            await deferLater(self.clock, wait, lambda: None)

    async def look(self) -> None:
        """
        Check all once.
        """
        databases = dict(self.databases())
        for name in [name for name in self._known if name not in databases]:
            del self._known[name]
            self._passed.pop(name, None)
        checks = [self._tasks.spawn(f"checking {name}", self._one(each)) for name, each in databases.items()]
        for check in checks:
            await check

    async def _one(self, database: Database) -> None:
        await self._turns.acquire()
        error = ""
        try:
            checking = Deferred.fromCoroutine(self.check(database))
            await checking.addTimeout(2 * TIMEOUT_SECONDS, self.clock)
        except TeleportError as problem:
            error = problem.message
        except Exception as problem:
            error = str(problem) or type(problem).__name__
        finally:
            self._turns.release()
        self._note(database, error, from_timestamp(self.clock.seconds()))

    def _note(self, database: Database, error: str, now: datetime) -> None:
        name, before = database.name, self.health(database.name)
        passed = self._passed[name] = 0 if error else self._passed.get(name, 0) + 1
        first = before.status is Health.UNKNOWN
        status = before.status
        if error:
            status = Health.UNHEALTHY
        elif first or passed >= HEALTHY_AFTER:
            status = Health.HEALTHY
        if status is before.status:
            if error != before.error and error:
                self._known[name] = evolve(before, error=error)
            return
        self._known[name] = TargetHealth(
            status=status,
            address=join_address(database.host, database.port),
            protocol="TLS" if database.protocol in TLS_FIRST else "TCP",
            reason="initialized" if first else "threshold_reached",
            error=error,
            message=f"{'1 health check failed' if error else f'{passed} health checks passed'}",
            since=now,
        )
        if error:
            self._log.warn("database {name} cannot be reached: {error}", name=name, error=error)
        elif not first:
            self._log.info("database {name} can be reached again", name=name)
        self.on_change()
