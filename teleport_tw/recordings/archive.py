"""
What auth does with recordings: keep, give out, and find by content.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Collection
from typing import TypeVar

from attrs import define, field, frozen
from twisted.logger import Logger

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.tasks import Threads
from teleport_tw.recordings.container import Output, Reader
from teleport_tw.recordings.screen import Line, LineReader
from teleport_tw.recordings.search import ContentIndex, Found
from teleport_tw.recordings.storage import Storage

T = TypeVar("T")

MAX_REMEMBERED = 10_000
"""Closed recordings that are not read again when their sender says so again."""
MAX_INDEXED = 32 << 20
"""Characters of one recording that can be searched for, its beginning; the recording itself has everything."""
LINE_COST = 100
"""What a line counts beside its characters, since many are empty."""
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
    _turn: threading.Lock = field(factory=threading.Lock, init=False)
    _log = Logger()

    async def start(self) -> None:
        """
        Open the index and take in recordings that it does not have.
        """
        await self.threads.run(self.index.open)
        known = await self.threads.run(self._in_turn, self.index.sessions)
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
        Close a recording and make it searchable; said again, it costs nothing.

        @return: what is in it; what was tampered with is kept all the same.
        """
        checked = self._completed.get(session)
        if checked is None:
            await self.storage.complete(session, parts)
            checked = await self._take_in(session)
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

    async def search(self, text: str, sessions: Collection[str] | None = None, limit: int = 500) -> list[Found]:
        """
        @param sessions: those the caller may see.
        """
        found: list[Found] = await self.threads.run(self._in_turn, lambda: self.index.find(text, sessions, limit))
        return found

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
        await self.threads.run(self._in_turn, lambda: self.index.remove(session))

    async def close(self) -> None:
        """
        Let go of the index.
        """
        await self.threads.run(self._in_turn, self.index.close)

    async def _take_in(self, session: str) -> Checked:
        checked, lines = await self._read(session)
        if checked.problem:
            self._log.error("session {session}: {problem}", session=session, problem=checked.problem)
        await self.threads.run(self._in_turn, lambda: self.index.add(session, lines))
        return checked

    async def _read(self, session: str) -> tuple[Checked, list[Line]]:
        reader, screen, lines = Reader(), LineReader(), list[Line]()
        problem, indexed = "", 0
        async for data in self.storage.stream(session):
            try:
                fresh = await self.threads.run(_fed, reader, screen, data, MAX_INDEXED - indexed)
                indexed += sum(len(line.text) + LINE_COST for line in fresh)
                lines += fresh
            except RemoteProtocolError as error:
                problem = str(error)
                break
        lines += screen.end()
        digest = reader.digest.hex()
        return Checked(digest=digest, complete=reader.complete, frames=reader.frames, problem=problem), lines

    def _in_turn(self, call: Callable[[], T]) -> T:
        with self._turn:
            return call()


def _fed(reader: Reader, screen: LineReader, data: bytes, left: int) -> list[Line]:
    """
    @param left: characters that may still be kept; all is read, to check it.
    """
    found: list[Line] = []
    for record in reader.read(data):
        if left <= 0 or not isinstance(record.fact, Output):
            continue
        for line in screen.feed(record.fact.data, record.ms):
            left -= len(line.text) + LINE_COST
            found.append(line)
    return found
