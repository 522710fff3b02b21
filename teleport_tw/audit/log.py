"""
The audit log as auth keeps it: chained files (L{teleport_tw.audit.ledger}) and their index.

Writers that come at the same time share one write to disk. The index follows a little later, in steps with pauses while
events keep coming, for it costs more than keeping them; whoever searches has it brought up to date before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.api.contract import EventPage, EventQuery, Verification
from teleport_tw.audit.index import Index
from teleport_tw.audit.ledger import Ledger, read_lines
from teleport_tw.audit.lines import line as line_of
from teleport_tw.audit.lines import read
from teleport_tw.audit.verification import verify
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import utc_now
from teleport_tw.resources.metadata import Json

MAX_WAITING_EVENTS = 20_000
MAX_EVENT_BYTES = 1 << 20
INDEX_SECONDS = 1.0
"""From one step of the index to the next while events keep coming."""
INDEX_EVENTS = 300
"""In one such step: some 15 ms of work, for which others wait. So many events a second are indexed as they come."""
QUIET_EVENTS = 5000
"""In one step when nothing has come since the last one."""
BEHIND_EVENTS = 100_000
"""How far the index may be behind: as long as it takes to search, some seconds, and 16 MiB of memory. Beyond that there
are no pauses."""


@define(eq=False)
class AuditLog:
    """
    Keeps events once, in order, provably; finds them again.

    @ivar directory: C{<data_dir>/log}.
    @ivar key: signs checkpoints; its public half verifies.
    @ivar clock: for the pauses of the index; without one it is brought up to date with every write.
    """

    directory: Path
    key: Ed25519PrivateKey
    threads: Threads
    now: Callable[[], datetime] = utc_now
    clock: IReactorTime | None = None
    _ledger: Ledger = field(init=False)
    _index: Index = field(init=False)
    _waiting: list[tuple[list[tuple[str, bytes]], Deferred[None]]] = field(factory=list, init=False)
    _count: int = field(default=0, init=False)
    _writing: bool = field(default=False, init=False)
    _closed: bool = field(default=False, init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _ahead: set[str] = field(factory=set, init=False)
    _indexing: bool = field(default=False, init=False)
    _pause: Deferred[None] | None = field(default=None, init=False)
    _stored: int = field(default=0, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._ledger = Ledger(self.directory, self.key, self.now)
        self._index = Index(self.directory / "index.sqlite")

    async def start(self) -> None:
        """
        Open the files, cut what a crash left half written, bring the index up to date.

        @raise TeleportError: ALREADY_EXISTS, another process has the log open.
        """
        await self.threads.run(self._open)
        if self._ledger.cut_lines:
            self._log.warn("{lines} events were not confirmed before a crash", lines=self._ledger.cut_lines)

    async def emit(self, events: Sequence[Json]) -> None:
        """
        Store events in this order, once each by C{uid}; returns when they are on disk.

        @raise TeleportError: BAD_PARAMETER, one is not an event; LIMIT_EXCEEDED, the disk takes no more.
        """
        if not events:
            return
        if self._closed or self._count + len(events) > MAX_WAITING_EVENTS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "the audit log takes no more events now; try again")
        lines = [_checked(event) for event in events]
        done: Deferred[None] = Deferred()
        self._waiting.append((lines, done))
        self._count += len(lines)
        if not self._writing:
            self._writing = True
            self._tasks.spawn("writing the audit log", self._write())
        await done

    async def search(self, query: EventQuery) -> EventPage:
        """
        One page of events by time.
        """
        page: EventPage = await self.threads.run(self._search, query)
        return page

    async def verify(self) -> Verification:
        """
        Walk the whole chain.
        """
        return await self.threads.run(self._verify)

    async def truncate(self, before: datetime) -> int:
        """
        Delete the files of days that were over before a moment; what is left can still be verified.

        @return: how many events have been deleted since the log began; zero where nothing was deleted now.
        """
        gone: int = await self.threads.run(self._truncate, before)
        if gone:
            self._log.info("events of days before {day} were deleted for their age", day=before.date().isoformat())
        return gone

    def head(self) -> tuple[int, str]:
        """
        @return: number of events and the chain value after them, to be kept elsewhere as a witness.
        """
        return self._ledger.head()

    async def close(self) -> None:
        """
        Write what waits, sign the end, let go.
        """
        self._closed = True
        if self._pause is not None:
            self._pause.cancel()
        while self._writing or self._indexing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        await self.threads.run(self._close)

    def _open(self) -> None:
        self._ledger.open()
        self._index.open()
        self._index.catch_up(self._ledger.count)

    def _close(self) -> None:
        self._catch_up()
        self._ledger.close()
        self._index.close()

    def _truncate(self, before: datetime) -> int:
        self._catch_up()
        return self._ledger.truncate(before, self._index.forget)

    async def _write(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting, self._count = self._waiting, [], 0
                try:
                    await self.threads.run(self._store, [item for lines, _ in waiting for item in lines])
                except Exception as error:
                    self._log.error("the audit log cannot be written: {error}", error=str(error))
                    refusal = TeleportError(
                        Kind.LIMIT_EXCEEDED, "the audit log cannot be written; see the log of auth", details=str(error)
                    )
                    for _, done in waiting:
                        done.errback(refusal)
                else:
                    for _, done in waiting:
                        done.callback(None)
                    if self.clock is not None and self._ahead and not self._indexing and not self._closed:
                        self._indexing = True
                        self._tasks.spawn("indexing the audit log", self._follow(self.clock))
        finally:
            self._writing = False
            self._tell_idle()

    async def _follow(self, clock: IReactorTime) -> None:
        """
        Bring the index up to date, without haste while more comes.
        """
        seen = -1
        try:
            while self._ahead and not self._closed:
                haste = seen == self._stored or len(self._ahead) > BEHIND_EVENTS
                seen = self._stored
                added = await self.threads.run(self._catch_up, QUIET_EVENTS if haste else INDEX_EVENTS)
                if self._ahead and not (haste and added):
                    self._pause = deferLater(clock, INDEX_SECONDS)
                    await self._pause
        except CancelledError:
            return
        finally:
            self._pause = None
            self._indexing = False
            self._tell_idle()

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, []
        for one in idle:
            one.callback(None)

    def _catch_up(self, most: int | None = None) -> int:
        """
        Take what is kept into the index.

        @param most: events in this step; all that there are if not given.
        @return: how many were taken.
        """
        until = self._ledger.count
        added = self._index.catch_up(until if most is None else min(until, self._index.count() + most))
        self._ahead.difference_update(added)
        return len(added)

    def _store(self, items: list[tuple[str, bytes]]) -> None:
        ahead = self._ahead
        if self._index.count() >= self._ledger.count:
            ahead.clear()
        fresh: dict[str, bytes] = {}
        for uid, line in items:
            if uid not in ahead:
                fresh.setdefault(uid, line)
        for uid in self._index.known(list(fresh)):
            del fresh[uid]
        if not fresh:
            return
        lines = list(fresh.values())
        ahead.update(fresh)  # before they can be found by who indexes
        try:
            self._ledger.append(lines)
        except BaseException:
            ahead.difference_update(fresh)
            raise
        self._stored += len(lines)
        if self.clock is None or len(ahead) > 2 * BEHIND_EVENTS:
            self._catch_up()

    def _search(self, query: EventQuery) -> EventPage:
        if self._ahead:
            self._catch_up()
        places, start = self._index.find(query)
        return EventPage(tuple(_parsed(line) for line in read_lines(self.directory, places)), start)

    def _verify(self) -> Verification:
        return self._ledger.undisturbed(
            lambda: verify(self.directory, self.key.public_key(), max(self._index.count(), self._ledger.count))
        )


def _checked(event: Json) -> tuple[str, bytes]:
    uid = event.get("uid")
    if not isinstance(uid, str) or not uid or not isinstance(event.get("event"), str):
        raise bad_parameter("an audit event must have uid and event, both text")
    try:
        line = line_of(event if type(event) is dict else dict(event))
    except (TypeError, ValueError, RecursionError) as error:
        raise bad_parameter(f"the audit event {uid} is not JSON: {error}") from error
    if len(line) > MAX_EVENT_BYTES:
        raise bad_parameter(f"the audit event {uid} is larger than {MAX_EVENT_BYTES} bytes")
    return uid, line


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        return read(line)
    except TeleportError:
        return {"event": "unknown", "code": "TCC00E", "data": line.decode("utf-8", "replace")}
