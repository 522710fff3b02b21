"""
The way of an event from whoever acts to the audit log: memory, disk, auth; in order, and never lost in silence.

L{Emitter.emit} completes the event and returns. A thread appends it to the L{Spool} within milliseconds and has the
disk confirm within a second; from there it is sent in batches until auth has acknowledged it, across restarts.
"""

from __future__ import annotations

import json
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.audit.redact import redacted
from teleport_tw.audit.spool import Spool, Taken
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import Backoff, Duration, format_time, utc_now
from teleport_tw.events.kinds import Event
from teleport_tw.events.worded import Worded
from teleport_tw.resources.metadata import Json

BATCH_EVENTS = 500
BATCH_BYTES = 512 << 10
"""gRPC carries 4 MiB a message; this leaves room for one event of the largest size."""
MAX_EVENT_BYTES = 256 << 10
MAX_WAITING_BYTES = 16 << 20
"""In memory, while the disk does not take any."""
SYNC_SECONDS = 1.0
WRITE_SECONDS = 0.02
SEND_SECONDS = 0.1
"""From one write, or batch, to the next. The first of a quiet time goes at once; of thousands of events a second each
would otherwise wake two threads, auth and its disk."""
MAX_SESSIONS = 10_000

_FRACTIONS = tuple(f".{number:03d}".rstrip("0").rstrip(".") + "Z" for number in range(1000))
"""Of a second, as L{format_time} writes them."""

_INDEX = {"session.upload": 2**31 - 1, "session.data": 2**31 - 2}
"""The reference gives these two a fixed C{ei}, since they come when the session is over."""


@define(eq=False)
class Emitter:
    """
    An L{teleport_tw.events.sink.EventSink}.

    @ivar send: stores a batch, C{Audit.emit}; returns once it is safe.
    @ivar write_seconds: from one write to the disk to the next.
    @ivar send_seconds: from one batch to the next.
    @ivar send_text: the same for events as JSON text, where it takes them, which saves reading and writing each.
    @ivar on_failure: told why when an event could not be kept, as at a full disk; ends the sessions that must not go
        unrecorded.
    """

    cluster: str
    spool: Spool
    send: Callable[[Sequence[Json]], Awaitable[None]]
    threads: Threads
    clock: IReactorTime
    send_text: Callable[[Sequence[str]], Awaitable[None]] | None = None
    on_failure: Callable[[str], None] = field(default=lambda reason: None)
    now: Callable[[], datetime] = utc_now
    backoff: Backoff = field(factory=lambda: Backoff(Duration(seconds=0.2), Duration(seconds=30)))
    write_seconds: float = WRITE_SECONDS
    send_seconds: float = SEND_SECONDS
    lost: int = field(default=0, init=False)
    _waiting: list[bytes] = field(factory=list, init=False)
    _waiting_bytes: int = field(default=0, init=False)
    _indexes: OrderedDict[str, int] = field(factory=OrderedDict, init=False)
    _writer: Tasks = field(factory=Tasks, init=False)
    _sender: Tasks = field(factory=Tasks, init=False)
    _more: bool = field(default=False, init=False)
    _writing: bool = field(default=False, init=False)
    _sending: bool = field(default=False, init=False)
    _synced_at: float = field(default=0.0, init=False)
    _sync_due: bool = field(default=False, init=False)
    _stopping: bool = field(default=False, init=False)
    _idle: list[Deferred[None]] = field(factory=list, init=False)
    _wrote_at: float = field(default=float("-inf"), init=False)
    _sent_at: float = field(default=float("-inf"), init=False)
    _pauses: list[tuple[Deferred[None], IDelayedCall]] = field(factory=list, init=False)
    _uids: str = field(factory=lambda: str(uuid.uuid4())[:24], init=False)
    _cluster: str = field(init=False)
    _serial: int = field(default=0, init=False)
    _second: int = field(default=-1, init=False)
    _shown: str = field(default="", init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._cluster = json.dumps(self.cluster)

    async def start(self) -> None:
        """
        Open the spool and begin to send what is left from before.

        @raise TeleportError: another process uses the spool.
        """
        await self.threads.run(self.spool.open)
        self._wake_sender()

    def emit(self, event: Event) -> None:
        """
        Take the event in order.
        """
        line = self._stamped(event) if isinstance(event, Worded) else encoded(self._completed(event))
        if self._stopping or self._waiting_bytes + len(line) > MAX_WAITING_BYTES:
            self._fail(1, "events come faster than the disk takes them" if not self._stopping else "we are stopping")
            return
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self._wake_writer()

    async def flush(self) -> None:
        """
        Return when everything taken so far is on disk (or was reported as lost) and no batch waits to be sent.
        """
        self._wake_writer()
        while self._writing or self._sending:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            self._hurry()
            await idle

    async def close(self, patience: float = 5.0) -> None:
        """
        Take no more, write what there is, try to send for C{patience} seconds; the rest stays on disk for next time.
        """
        drained = Deferred.fromCoroutine(self.flush()).addTimeout(patience, self.clock)
        drained.addErrback(lambda failure: None)
        await drained
        self._stopping = True
        self._sender.cancel()
        self._hurry()
        while self._writing:
            settled: Deferred[None] = Deferred()
            self._idle.append(settled)
            await settled
        await self.threads.run(self.spool.close)

    def _completed(self, event: Event) -> dict[str, Any]:
        fields = redacted(event)
        stored: dict[str, Any] = {
            "event": event.NAME,
            "code": event.code,
            "time": format_time(_milliseconds(self.now())),
            "uid": str(uuid.uuid4()),
            "ei": self._index(event.NAME, str(fields.get("sid", ""))),
            "cluster_name": self.cluster,
        }
        return {**fields, **stored}

    def _stamped(self, event: Worded) -> bytes:
        """
        As L{_completed} and L{encoded}, for an event that is in words already.
        """
        moment = self.now()
        second = int(moment.timestamp())
        if second != self._second:
            self._second, self._shown = second, format_time(moment.replace(microsecond=0))[:-1]
        self._serial += 1
        line = (
            f'{{{event.words},"event":"{event.NAME}","code":"{event.code}",'
            f'"time":"{self._shown}{_FRACTIONS[moment.microsecond // 1000]}",'
            f'"uid":"{self._uids}{self._serial:012x}","ei":{self._index(event.NAME, event.session)},'
            f'"cluster_name":{self._cluster}}}\n'
        ).encode("ascii")
        return line if len(line) <= MAX_EVENT_BYTES else encoded(json.loads(line))

    def _index(self, name: str, session: str) -> int:
        if name in _INDEX:
            return _INDEX[name]
        if not session:
            return 0
        number = self._indexes.pop(session, 0)
        self._indexes[session] = number + 1
        if len(self._indexes) > MAX_SESSIONS:
            self._indexes.popitem(last=False)
        return number

    def _wake_writer(self) -> None:
        if self._waiting and not self._writing:
            self._writing = True
            self._writer.spawn("writing audit events", self._write())

    async def _write(self) -> None:
        try:
            while self._waiting:
                await self._together(self._wrote_at + self.write_seconds)
                self._wrote_at = self.clock.seconds()
                lines, self._waiting, self._waiting_bytes = self._waiting, [], 0
                try:
                    await self.threads.run(self._append, lines, self.clock.seconds())
                except (OSError, TeleportError) as error:
                    self._fail(len(lines), f"the audit spool cannot be written: {error}")
                else:
                    self._wake_sender()
            self._plan_sync()
        finally:
            self._writing = False
            self._tell_idle()

    def _append(self, lines: list[bytes], now: float) -> None:
        self.spool.append(lines)
        self._sync_due = True
        if now - self._synced_at >= SYNC_SECONDS:
            self._sync(now)

    def _sync(self, now: float) -> None:
        self.spool.sync()
        self._synced_at, self._sync_due = now, False

    def _plan_sync(self) -> None:
        if self._sync_due and not self._stopping:
            self._sender.spawn("syncing audit events", self._sync_later())

    async def _sync_later(self) -> None:
        await deferLater(self.clock, SYNC_SECONDS)
        if self._sync_due and not self._stopping:
            try:
                await self.threads.run(self._sync, self.clock.seconds())
            except OSError as error:
                self._fail(0, f"the audit spool cannot be written: {error}")

    def _wake_sender(self) -> None:
        self._more = True
        if not self._sending and not self._stopping:
            self._sending = True
            self._sender.spawn("sending audit events", self._send())

    async def _send(self) -> None:
        waits, count = self.backoff.waits(), BATCH_EVENTS
        try:
            while True:
                await self._together(self._sent_at + self.send_seconds)
                self._sent_at = self.clock.seconds()
                self._more = False
                taken: Taken = await self.threads.run(self.spool.take, count, BATCH_BYTES)
                if not taken.lines:
                    if self._more:
                        continue
                    return
                try:
                    if self.send_text is not None:
                        await self.send_text([line.decode("ascii") for line in taken.lines])
                    else:
                        await self.send([json.loads(line) for line in taken.lines])
                except TeleportError as error:
                    if error.kind is not Kind.BAD_PARAMETER:
                        await self._pause(error, next(waits))
                        continue
                    if len(taken.lines) > 1:
                        count = 1
                        continue
                    await self.threads.run(self.spool.refuse, taken.lines[0])
                    self._fail(1, f"auth refused an event, kept in {self.spool.directory / 'refused'}: {error}")
                except Exception as error:
                    # whatever went wrong on the way, the events are safe here and must go out some day
                    await self._pause(error, next(waits))
                    continue
                await self.threads.run(self.spool.acknowledge, taken.after)
                if len(taken.lines) >= count:
                    self._sent_at = float("-inf")  # a full batch: more wait already
                waits, count = self.backoff.waits(), BATCH_EVENTS
        finally:
            self._sending = False
            self._tell_idle()

    async def _together(self, until: float) -> None:
        """
        Let more events come, unless somebody waits for those there are.
        """
        left = until - self.clock.seconds()
        if left <= 0 or self._idle or self._stopping:
            return
        waiting: Deferred[None] = Deferred(lambda _: call.cancel())
        call = self.clock.callLater(left, waiting.callback, None)
        pause = (waiting, call)
        self._pauses.append(pause)
        try:
            await waiting
        finally:
            self._pauses.remove(pause)

    def _hurry(self) -> None:
        for waiting, call in tuple(self._pauses):
            if call.active():
                call.cancel()
                waiting.callback(None)

    async def _pause(self, error: Exception, seconds: float) -> None:
        self._log.warn(
            "audit events wait on disk, next try in {seconds:.1f} s: {error}", seconds=seconds, error=str(error)
        )
        await deferLater(self.clock, seconds)

    def _fail(self, events: int, reason: str) -> None:
        self.lost += events
        self._log.error("{events} audit events were lost: {reason}", events=events, reason=reason)
        self.on_failure(reason)

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)


def encoded(event: dict[str, Any]) -> bytes:
    """
    @return: one line of JSON; of an event above C{MAX_EVENT_BYTES} the long texts are cut and C{truncated} is set.
    """
    line = _line(event)
    if len(line) > MAX_EVENT_BYTES:
        line = _line({**{name: _cut(value) for name, value in event.items()}, "truncated": True})
    return line


def _line(event: dict[str, Any]) -> bytes:
    return json.dumps(event, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _cut(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return value if len(text) <= 2048 else text[:2048] + "…"


def _milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
