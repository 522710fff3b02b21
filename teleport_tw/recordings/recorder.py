"""
Capturing a session beside its relay.

L{Recorder} takes what the terminal is sent and returns at once. Once a second, or sooner when much has come, a frame
goes to a L{Drain}: a file in the spool, or auth. A drain that does not keep up costs at most C{MAX_BUFFERED_BYTES} of
memory; then output is left out, a note in the recording says how much, and C{on_failure} lets strict sessions end.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.events.kinds import Recorded
from teleport_tw.recordings.container import Encoder, End, Fact, Note, Output, Resized, Start, Timed
from teleport_tw.resources.metadata import Json

FLUSH_SECONDS = 1.0
FLUSH_BYTES = 256 << 10
MAX_BUFFERED_BYTES = 4 << 20
SMALL_BYTES = 16 << 10
"""Compressed in a tenth of a millisecond, which is less than to have a thread do it."""
RECORD_BYTES = 16
"""What a record costs beside its content."""
ALIVE_SECONDS = 600.0
"""Auth closes a recording of which it has not heard for half an hour: the last part is sent again."""
OPEN_SUFFIX = ".part"
DONE_SUFFIX = ".rec"

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


def checked_session(session: str) -> str:
    """
    @return: the same.
    @raise TeleportError: BAD_PARAMETER, it cannot be a file's name.
    """
    if not _SESSION.fullmatch(session):
        raise bad_parameter(f"{session!r} is not a session id")
    return session


class Drain(Protocol):
    """
    Where frames go, one call at a time.
    """

    async def write(self, data: bytes) -> None:
        """
        Take a frame; returns when it is where it belongs.
        """
        ...

    async def close(self, whole: bool) -> int | None:
        """
        Nothing more comes.

        @param whole: the last frame was written.
        @return: how many parts it went in, where it went in parts.
        """
        ...


@define(eq=False)
class FileDrain:
    """
    A file in the upload spool, C{<session>.part} while it grows, C{<session>.rec} when done. It is locked while its
    process lives, so that L{teleport_tw.recordings.upload} can tell it from one left by a crash.
    """

    directory: Path
    session: str
    threads: Threads
    _file: int = field(default=-1, init=False)

    async def open(self, first: bytes) -> None:
        """
        @param first: the recording's beginning. The disk confirms it with what follows; nothing has happened so far.
        @raise OSError: the directory cannot be written.
        """
        await self.threads.run(self._open, first)

    async def write(self, data: bytes) -> None:
        """
        Write and have the disk confirm.
        """
        await self.threads.run(self._write, data)

    async def close(self, whole: bool) -> int | None:
        """
        A recording that could not be finished is left as after a crash.
        """
        await self.threads.run(self._close, whole)
        return None

    @property
    def _path(self) -> Path:
        return self.directory / (self.session + OPEN_SUFFIX)

    def _open(self, first: bytes) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        try:
            self._file = os.open(self._path, flags, 0o600)
        except FileNotFoundError:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._append(first)
        except OSError:
            self._path.unlink()
            os.close(self._file)
            raise

    def _write(self, data: bytes) -> None:
        self._append(data)
        os.fdatasync(self._file)

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        start = os.lseek(self._file, 0, os.SEEK_CUR)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            os.ftruncate(self._file, start)
            os.lseek(self._file, start, os.SEEK_SET)
            raise

    def _close(self, whole: bool) -> None:
        if whole:
            self._path.rename(self._path.with_suffix(DONE_SUFFIX))
        os.close(self._file)


PutPart = Callable[[str, int, bytes], Awaitable[None]]
Complete = Callable[[str, int], Awaitable[None]]


@define(eq=False)
class PartDrain:
    """
    Straight to auth, a part each frame: C{node-sync} and C{proxy-sync}. In a silence the last part is sent again now
    and then, or auth would take the host for dead.

    @ivar put_part: C{Audit.put_recording}.
    @ivar complete: C{Audit.complete_recording}.
    """

    session: str
    put_part: PutPart
    complete: Complete
    clock: IReactorTime
    _parts: int = field(default=0, init=False)
    _last: bytes = field(default=b"", init=False)
    _alive: IDelayedCall | None = field(default=None, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    async def write(self, data: bytes) -> None:
        """
        Send one part.
        """
        await self.put_part(self.session, self._parts + 1, data)
        self._parts += 1
        self._last = data
        self._again_later()

    def _again_later(self) -> None:
        if self._alive is not None and self._alive.active():
            self._alive.reset(ALIVE_SECONDS)
        else:
            self._alive = self.clock.callLater(ALIVE_SECONDS, self._silent)

    def _silent(self) -> None:
        self._again_later()
        self._tasks.spawn("keeping a recording open", self._say_again(self._parts, self._last))

    async def _say_again(self, part: int, data: bytes) -> None:
        try:
            await self.put_part(self.session, part, data)
        except TeleportError as error:
            self._log.warn("the recording of {session} was not kept open: {error}", session=self.session, error=error)

    async def close(self, whole: bool) -> int | None:
        """
        Complete what was sent, be it whole or not.
        """
        if self._alive is not None and self._alive.active():
            self._alive.cancel()
        self._tasks.cancel()
        if self._parts:
            await self.complete(self.session, self._parts)
        return self._parts


@define(eq=False)
class Recorder:
    """
    One session's recording; made by L{open} or L{stream}.

    @ivar on_failure: told why, once, when something could not be recorded.
    """

    session: str
    clock: IReactorTime
    threads: Threads
    drain: Drain
    mode: str = ""
    on_failure: Callable[[str], None] = field(default=lambda reason: None)
    failed: str = field(default="", init=False)
    _encoder: Encoder = field(factory=Encoder, init=False)
    _records: list[Timed] = field(factory=list, init=False)
    _bytes: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False)
    _left_out: int = field(default=0, init=False)
    _gap: int = field(default=0, init=False)
    _last_ms: int = field(default=0, init=False)
    _printed: int = field(default=0, init=False)
    _started_at: float = field(default=0.0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _draining: bool = field(default=False, init=False)
    _closing: bool = field(default=False, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    @classmethod
    async def open(
        cls,
        session: str,
        metadata: Json,
        directory: Path,
        *,
        clock: IReactorTime,
        threads: Threads,
        mode: str = "node",
        on_failure: Callable[[str], None] = lambda reason: None,
    ) -> Recorder:
        """
        Record to disk, for L{teleport_tw.recordings.upload} to send.

        @param session: its id.
        @param metadata: who, where, when, C{size} as C{W:H}; JSON.
        @raise OSError: the file cannot be made.
        """
        drain = FileDrain(directory, checked_session(session), threads)
        made = cls(session=session, clock=clock, threads=threads, drain=drain, mode=mode, on_failure=on_failure)
        await drain.open(made._begin(metadata))
        return made

    @classmethod
    async def stream(
        cls,
        session: str,
        metadata: Json,
        *,
        put_part: PutPart,
        complete: Complete,
        clock: IReactorTime,
        threads: Threads,
        mode: str = "node-sync",
        on_failure: Callable[[str], None] = lambda reason: None,
    ) -> Recorder:
        """
        Record straight to auth.

        @raise TeleportError: auth did not take the beginning.
        """
        drain = PartDrain(checked_session(session), put_part, complete, clock)
        made = cls(session=session, clock=clock, threads=threads, drain=drain, mode=mode, on_failure=on_failure)
        await drain.write(made._begin(metadata))
        return made

    def print(self, data: bytes) -> None:
        """
        The terminal was sent C{data}.
        """
        if self._closing or not data:
            return
        if self._bytes + self._in_flight + len(data) > MAX_BUFFERED_BYTES or self.failed:
            self._leave_out(len(data))
            return
        if self._gap:
            self._add(Note({"event": "recording.gap", "bytes": self._gap}), 50)
            self._gap = 0
        self._printed += len(data)
        self._add(Output(bytes(data)), len(data))

    def resize(self, width: int, height: int) -> None:
        """
        The terminal has a new size in characters.
        """
        if not self._closing:
            self._add(Resized(width, height), 4)

    def event(self, event: Json) -> None:
        """
        Something else happened that a viewer should see: somebody joined or left.
        """
        if not self._closing:
            self._add(Note(event), 200)

    async def flush(self) -> None:
        """
        Return when what came so far is with the drain, or has failed.
        """
        self._drain()
        while self._draining:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting

    async def close(self) -> Recorded:
        """
        Write the end.

        @return: what the C{session.end} event tells of the recording; no digest when it is not whole.
        """
        if not self._closing:
            self._closing = True
            if self._draining or self._bytes > SMALL_BYTES:
                await self.flush()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            summary = {"bytes": self._printed, "left_out": self._left_out}
            records, self._records = [*self._records, Timed(self._now(), End(summary))], []
            await self._send(records, last=True)
            try:
                parts = await self.drain.close(not self.failed)
            except Exception as error:
                parts = None
                self._fail(f"the recording could not be closed: {error}")
            return Recorded(mode=self.mode, digest="" if self.failed else self._encoder.digest.hex(), parts=parts)
        return Recorded(mode=self.mode)

    def _begin(self, metadata: Json) -> bytes:
        self._started_at = self.clock.seconds()
        return self._encoder.frame([Timed(0, Start(metadata))])

    def _now(self) -> int:
        # never backwards, though somebody sets the clock
        self._last_ms = max(self._last_ms, round((self.clock.seconds() - self._started_at) * 1000))
        return self._last_ms

    def _add(self, fact: Fact, size: int) -> None:
        self._records.append(Timed(self._now(), fact))
        self._bytes += size + RECORD_BYTES
        if self._bytes >= FLUSH_BYTES:
            self._drain()
        elif self._timer is None:
            self._timer = self.clock.callLater(FLUSH_SECONDS, self._timed)

    def _timed(self) -> None:
        self._timer = None
        self._drain()

    def _drain(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._records and not self._draining:
            self._draining = True
            self._tasks.spawn("recording a session", self._write())

    async def _write(self) -> None:
        try:
            while self._records:
                records, self._records = self._records, []
                self._in_flight, self._bytes = self._bytes, 0
                await self._send(records, self._in_flight)
                self._in_flight = 0
        finally:
            self._draining = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    async def _send(self, records: list[Timed], size: int = 0, *, last: bool = False) -> None:
        if self.failed:
            return
        try:
            if size <= SMALL_BYTES:
                frame = self._encoder.frame(records, last=last)
            else:
                frame = await self.threads.run(self._encoder.frame, records, last=last)
            await self.drain.write(frame)
        except Exception as error:
            # whatever it was, the session must hear of it: what follows would not be recorded
            self._fail(f"the recording cannot be written: {error}")

    def _leave_out(self, size: int) -> None:
        if not self._left_out and not self.failed:
            self._log.error("session {session}: the recording does not keep up", session=self.session)
            self.on_failure("the recording does not keep up with the output")
        self._left_out += size
        self._gap += size

    def _fail(self, reason: str) -> None:
        if not self.failed:
            self.failed = reason
            self._log.error("session {session}: {reason}", session=self.session, reason=reason)
            self.on_failure(reason)
