"""
A recording on its way to a page: fetched once, kept packed, looked through for what a player shows beside it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.tasks import Threads
from teleport_tw.recordings.container import HEADER_BYTES, Header, Note, Output, Reader, Resized, Start, Timed, unpack
from teleport_tw.recordings.screen import LineReader
from teleport_tw.resources.metadata import Json

MAX_PACKED_BYTES = 64 * 1024 * 1024
"""Of one recording: about a gigabyte of output, hours of which nobody looks at in a page."""

IDLE_MS = 3000
"""A silence that a player can skip."""

MAX_NOTED = 2000
"""Events, sizes and silences each that a page is told of."""

MAX_HITS = 500

_SHORT = 64 * 1024
"""Unpacked bytes of a frame that is read at once, without a thread."""


@define
class Facts:
    """
    What is known of a recording so far.

    @ivar start: metadata of its beginning; None before that has come.
    """

    start: Json | None = None
    length_ms: int = 0
    bytes: int = 0
    events: list[Json] = field(factory=list)
    sizes: list[tuple[int, int, int]] = field(factory=list)
    idle: list[tuple[int, int]] = field(factory=list)
    _shown_ms: int = 0

    def add(self, record: Timed) -> None:
        """
        One record more.
        """
        ms = self.length_ms = max(self.length_ms, record.ms)
        match record.fact:
            case Start(metadata):
                self.start = self.start or metadata
            case Output(data):
                self.bytes += len(data)
                if ms - self._shown_ms > IDLE_MS and len(self.idle) < MAX_NOTED:
                    self.idle.append((self._shown_ms, ms))
                self._shown_ms = ms
            case Resized(width, height) if len(self.sizes) < MAX_NOTED:
                self.sizes.append((ms, width, height))
            case Note(event) if len(self.events) < MAX_NOTED:
                told = {name: event[name] for name in ("event", "user", "mode", "login") if name in event}
                self.events.append({"ms": ms, **told})
            case _:
                pass

    def told(self, complete: bool) -> Json:
        """
        @return: for the page.
        """
        return {
            "length": self.length_ms,
            "complete": complete,
            "bytes": self.bytes,
            "events": self.events,
            "idle": self.idle,
            "sizes": self.sizes,
        }


@define(eq=False, repr=False)
class Viewing:
    """
    One recording for one viewer.

    @ivar frames: packed, those that have come.
    @ivar whole: no more will come.
    @ivar complete: the recording has its end.
    @ivar failure: why it could not be fetched.
    @ivar changed: called when something came.
    """

    threads: Threads
    changed: Callable[[], object]
    frames: list[tuple[Header, bytes]] = field(factory=list, init=False)
    facts: Facts = field(factory=Facts, init=False)
    whole: bool = field(default=False, init=False)
    complete: bool = field(default=False, init=False)
    failure: TeleportError | None = field(default=None, init=False)
    _ends: list[int] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _log: ClassVar[Logger] = Logger()

    async def fetch(self, chunks: AsyncIterator[bytes]) -> None:
        """
        Take all in; what goes wrong is kept in L{failure}.
        """
        try:
            await self._fetch(chunks)
        except CancelledError:
            raise
        except TeleportError as error:
            self.failure = error
        except RemoteProtocolError as error:
            self.failure = TeleportError(Kind.BAD_PARAMETER, f"the recording cannot be read: {error}")
        finally:
            self.whole = True
            self._news()
            close: Any = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def _fetch(self, chunks: AsyncIterator[bytes]) -> None:
        reader, rest = Reader(), bytearray()
        async for chunk in chunks:
            rest += chunk
            for header, body, frame in frames_of(rest):
                reader.verify(frame)
                self._size += len(frame)
                if self._size > MAX_PACKED_BYTES:
                    raise TeleportError(
                        Kind.LIMIT_EXCEEDED, "the recording is too long for a page; use tsh play or export it"
                    )
                for record in await self._unpacked(header, body):
                    self.facts.add(record)
                self.frames.append((header, body))
                self._ends.append(self.facts.bytes)
                self.complete = reader.complete
            self._news()

    def _news(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)
        self.changed()

    def place(self, offset: int) -> tuple[int, int]:
        """
        @param offset: bytes of output that are not wanted, of those that have come.
        @return: the first frame in which something may follow them, and how many bytes were output before that frame.
            An aside that stands right behind them follows them, in whichever frame it is.
        """
        number = bisect_left(self._ends, offset)
        return number, self._ends[number - 1] if number else 0

    async def frame(self, number: int) -> list[Timed] | None:
        """
        @return: its records, once it has come; None when it never will.
        """
        while number >= len(self.frames):
            if self.whole:
                return None
            news: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(news)
            await news
        return await self._unpacked(*self.frames[number])

    async def _unpacked(self, header: Header, body: bytes) -> list[Timed]:
        if header.unpacked <= _SHORT:
            return unpack(header, body)
        return await self.threads.run(unpack, header, body)

    async def search(self, text: str) -> tuple[list[tuple[int, str]], bool]:
        """
        @param text: occurs in the line, any case.
        @return: time and line of each hit so far, and whether there are more.
        """
        return await self.threads.run(_find, tuple(self.frames), text.casefold())


def frames_of(rest: bytearray) -> Iterator[tuple[Header, bytes, bytes]]:
    """
    Cut off the frames that are whole.

    @return: of each its header, its body, and both.
    """
    while len(rest) >= HEADER_BYTES:
        header = Header.parse(bytes(rest[:HEADER_BYTES]))
        end = HEADER_BYTES + header.packed
        if len(rest) < end:
            return
        frame = bytes(rest[:end])
        del rest[:end]
        yield header, frame[HEADER_BYTES:], frame


def after(records: list[Timed], skip: int) -> tuple[list[Timed], int]:
    """
    @param skip: bytes of output at their beginning that are not wanted, and what stands between them.
    @return: what follows, and how many bytes are still to be skipped.
    """
    for number, record in enumerate(records):
        if skip <= 0:
            return records[number:], 0
        if isinstance(record.fact, Output):
            size = len(record.fact.data)
            if size > skip:
                return [Timed(record.ms, Output(record.fact.data[skip:])), *records[number + 1 :]], 0
            skip -= size
    return [], skip


def _find(frames: tuple[tuple[Header, bytes], ...], text: str) -> tuple[list[tuple[int, str]], bool]:
    reader, hits = LineReader(), []
    for header, body in frames:
        for record in unpack(header, body):
            if isinstance(record.fact, Output):
                for line in reader.feed(record.fact.data, record.ms):
                    if text in line.text.casefold():
                        hits.append((line.ms, line.text))
                        if len(hits) > MAX_HITS:
                            return hits[:MAX_HITS], True
    hits += [(line.ms, line.text) for line in reader.end() if text in line.text.casefold()]
    return hits[:MAX_HITS], len(hits) > MAX_HITS
