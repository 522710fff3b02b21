"""
What auth does with recordings: keep, give out, and find by content.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import DeferredLock, DeferredSemaphore
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.recordings.container import Output, Reader
from teleport_tw.recordings.screen import Line, LineReader
from teleport_tw.recordings.search import ContentIndex, Found, Stopped
from teleport_tw.recordings.storage import Storage

T = TypeVar("T")

MAX_REMEMBERED = 10_000
"""Closed recordings that are not read again when their sender says so again."""
MAX_INDEXED = 32 << 20
"""Bytes of one recording's output that can be searched, its beginning; the recording itself has everything."""
LINE_COST = 100
"""What a line counts beside its bytes, since many are empty."""
MAX_WAITING = 4
"""Recordings that were read and wait for the index, some ten megabytes each at the most; others are told to wait."""
SLICE_BYTES = 16 << 10
"""Output that is looked at in one go, well below a millisecond's worth: sessions are relayed in the same process."""
ABANDONED_SECONDS = 35 * 60.0
"""No part for this long: the sender is gone."""


@frozen(kw_only=True)
class Checked:
    """
    What reading a recording showed.

    @ivar digest: of its last whole frame, hex; the audit log has the same.
    @ivar complete: it has its end.
    @ivar problem: how it was tampered with; empty when it was not.
    """

    digest: str
    complete: bool
    frames: int
    problem: str = ""


@define(eq=False)
class Archive:
    """
    Behind C{Audit.put_recording} and its siblings.

    @ivar now: seconds since the epoch.
    """

    storage: Storage
    index: ContentIndex
    threads: Threads
    now: Callable[[], float]
    _completed: dict[str, Checked] = field(factory=dict, init=False)
    _writing: DeferredLock = field(factory=DeferredLock, init=False)
    _places: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(MAX_WAITING), init=False)
    _finding: DeferredLock = field(factory=DeferredLock, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    async def start(self) -> None:
        """
        Open the index and take in recordings that it does not have.
        """
        await self.threads.run(self.index.open)
        known = await self._in_turn(self._writing, self.index.sessions)
        for session in await self.storage.sessions():
            if session not in known:
                try:
                    await self._take_in(session)
                except Exception:
                    self._log.failure("the recording of session {session} cannot be taken in", session=session)

    async def put(self, session: str, part: int, data: bytes) -> None:
        """
        Store a part; returns when it is on disk.
        """
        await self.storage.put(session, part, data)

    async def complete(self, session: str, parts: int) -> Checked:
        """
        Close a recording and have it made searchable, one recording after the other; said again, it costs nothing.

        @return: what is in it; what was tampered with is kept all the same.
        """
        checked = self._completed.get(session)
        if checked is None:
            await self.storage.complete(session, parts)
            await self._places.acquire()
            try:
                checked, lines = await self._read(session)
            except BaseException:
                self._places.release()
                raise
            adding = self._tasks.spawn("indexing a recording", self._add(session, lines))
            adding.addBoth(lambda _: self._places.release())
            if len(self._completed) >= MAX_REMEMBERED:
                self._completed.pop(next(iter(self._completed)))
            self._completed[session] = checked
        return checked

    async def complete_abandoned(self) -> list[str]:
        """
        Close uploads whose sender died; to be called now and then.

        @return: their sessions.
        """
        found = await self.storage.abandoned(self.now() - ABANDONED_SECONDS)
        for session, parts in found:
            self._log.warn("the recording of session {session} was abandoned and is closed", session=session)
            await self.complete(session, parts)
        return [session for session, _ in found]

    def stream(self, session: str) -> AsyncIterator[bytes]:
        """
        @return: its bytes, also while it is being written.
        """
        return self.storage.stream(session)

    async def follow(
        self, session: str, pause: Callable[[], Awaitable[None]], patience: Callable[[], Awaitable[int]]
    ) -> AsyncIterator[bytes]:
        """
        @param pause: between two looks for more.
        @param patience: how often to look for the first of it; asked where nothing is there.
        @return: its bytes until it is complete, however long that takes.
        @raise TeleportError: NOT_FOUND, nothing of it has come.
        """
        offset, left = 0, -1
        while True:
            whole = await self.storage.is_complete(session)
            try:
                async for data in self.storage.stream(session, offset):
                    offset += len(data)
                    yield data
            except TeleportError as error:
                if error.kind is not Kind.NOT_FOUND or offset:
                    raise
                left = (await patience() if left < 0 else left) - 1
                if left <= 0:
                    raise
            if whole:
                return
            await pause()

    async def search(self, text: str, sessions: Collection[str] | None = None, limit: int = 500) -> list[Found]:
        """
        @param sessions: those the caller may see.
        """
        return await self._in_turn(self._finding, lambda: self.index.find(text, sessions, limit))

    async def check(self, session: str) -> Checked:
        """
        Read a recording again, for C{tctl audit verify}.
        """
        checked, _ = await self._read(session)
        return checked

    async def delete(self, session: str) -> None:
        """
        Forget a recording and its text.
        """
        self._completed.pop(session, None)
        await self.storage.delete(session)
        await self._in_turn(self._writing, lambda: self.index.remove(session))

    async def close(self) -> None:
        """
        Let go of the index; what was not in it yet is taken in at the next start.
        """
        self.index.stop()
        await self._finding.acquire()
        try:
            await self._in_turn(self._writing, self.index.close)
        finally:
            self._finding.release()

    async def _take_in(self, session: str) -> None:
        _, lines = await self._read(session)
        await self._add(session, lines)

    async def _add(self, session: str, lines: list[Line]) -> None:
        try:
            await self._in_turn(self._writing, lambda: self.index.add(session, lines))
        except Stopped:
            self._log.info("the recording of session {session} is taken in at the next start", session=session)

    async def _read(self, session: str) -> tuple[Checked, list[Line]]:
        intake, problem = _Intake(), ""
        async for data in self.storage.stream(session):
            try:
                await self.threads.run(intake.feed, data)
            except RemoteProtocolError as error:
                problem = str(error)
                self._log.error("session {session}: {problem}", session=session, problem=problem)
                break
        reader = intake.reader
        checked = Checked(digest=reader.digest.hex(), complete=reader.complete, frames=reader.frames, problem=problem)
        return checked, intake.lines + intake.screen.end()

    async def _in_turn(self, turn: DeferredLock, call: Callable[[], T]) -> T:
        # who waits here waits in no thread: others have need of them
        await turn.acquire()
        try:
            return await self.threads.run(call)
        finally:
            turn.release()


@define(eq=False)
class _Intake:
    """
    One recording's way into the index. It works in a thread and pauses for as long as it worked, a slice at a time, so
    that the reactor has the interpreter when it wants it: nobody waits for the index, people wait for the relay.

    @ivar lines: what was written, of the first C{MAX_INDEXED} bytes; all is read, to check it.
    """

    reader: Reader = field(factory=Reader)
    screen: LineReader = field(factory=LineReader)
    lines: list[Line] = field(factory=list)
    _left: int = field(factory=lambda: MAX_INDEXED)

    def feed(self, data: bytes) -> None:
        """
        @raise RemoteProtocolError: it was tampered with.
        """
        for record in self.reader.read(data):
            if self._left > 0 and isinstance(record.fact, Output):
                for start in range(0, len(record.fact.data), SLICE_BYTES):
                    self._look_at(record.fact.data[start : start + SLICE_BYTES], record.ms)

    def _look_at(self, data: bytes, ms: int) -> None:
        started = time.monotonic()
        lines = self.screen.feed(data, ms)
        self.lines += lines
        self._left -= len(data) + LINE_COST * len(lines)
        time.sleep(time.monotonic() - started)
