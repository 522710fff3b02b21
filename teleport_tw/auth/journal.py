"""
Auth's own audit events, straight into the log that it keeps.

Everybody else's events wait in a spool on disk until auth has them (L{teleport_tw.audit.emitter}); auth's own have no
way to go. What comes within a moment is written together, so that an event costs little when there are many.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.audit.redact import redacted
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import format_time, from_timestamp
from teleport_tw.events.kinds import Event
from teleport_tw.resources.metadata import Json

LINGER_SECONDS = 0.025
"""How long the first event of a batch waits for others."""
BATCH = 1000
MAX_WAITING = 50_000
"""Events in memory while the disk takes none."""
RETRY_SECONDS = 1.0


@define(eq=False)
class Journal:
    """
    An L{teleport_tw.events.sink.EventSink}.

    @ivar store: the log's; returns once the events are on disk.
    @ivar heard: told of each event, to count them.
    @ivar lost: how many could not be kept.
    """

    cluster: str
    store: Callable[[Sequence[Json]], Awaitable[None]]
    clock: IReactorTime
    heard: Callable[[Event], None] = lambda event: None
    lost: int = field(default=0, init=False)
    _waiting: list[dict[str, Any]] = field(factory=list, init=False)
    _writing: bool = field(default=False, init=False)
    _hurry: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    def emit(self, event: Event) -> None:
        """
        Take the event in order.
        """
        if self._closed or len(self._waiting) >= MAX_WAITING:
            self._lose(1, "auth is stopping" if self._closed else "they come faster than the disk takes them")
            return
        self.heard(event)
        moment = from_timestamp(self.clock.seconds())
        self._waiting.append(
            {
                **redacted(event),
                "event": event.NAME,
                "code": event.code,
                "time": format_time(moment.replace(microsecond=moment.microsecond // 1000 * 1000)),
                "uid": str(uuid.uuid4()),
                "ei": 0,
                "cluster_name": self.cluster,
            }
        )
        if not self._writing:
            self._writing = True
            self._tasks.spawn("writing auth's audit events", self._write())

    async def flush(self) -> None:
        """
        Return when everything taken so far is on disk, or was reported as lost.
        """
        self._hurry = True
        try:
            while self._writing:
                idle: Deferred[None] = Deferred()
                self._idle.append(idle)
                await idle
        finally:
            self._hurry = False

    async def close(self, patience: float = 5.0) -> None:
        """
        Take no more, and write what there is.
        """
        self._closed = True
        written = Deferred.fromCoroutine(self.flush()).addTimeout(patience, self.clock)
        written.addErrback(lambda failure: None)
        await written
        self._tasks.cancel()
        if self._waiting:
            self._lose(len(self._waiting), "the disk takes none")

    async def _write(self) -> None:
        try:
            while self._waiting:
                if not self._hurry and len(self._waiting) < BATCH:
                    await deferLater(self.clock, LINGER_SECONDS)
                batch = self._waiting[:BATCH]
                try:
                    await self.store(batch)
                except TeleportError as error:
                    if error.kind is not Kind.BAD_PARAMETER:
                        self._log.error("audit events wait: {error}", error=str(error))
                        await deferLater(self.clock, RETRY_SECONDS)
                        continue
                    await self._one_by_one(batch)
                del self._waiting[: len(batch)]
        finally:
            self._writing = False
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)

    async def _one_by_one(self, batch: list[dict[str, Any]]) -> None:
        for event in batch:
            try:
                await self.store([event])
            except TeleportError as error:
                self._lose(1, str(error))

    def _lose(self, events: int, reason: str) -> None:
        self.lost += events
        self._log.error("{events} audit events of auth were lost: {reason}", events=events, reason=reason)
