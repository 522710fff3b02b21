"""
Recordings on their way from the spool to auth, also those that a crash left behind.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.events.kinds import Event, Recorded, Session, SessionUpload
from teleport_tw.events.sink import EventSink
from teleport_tw.recordings.container import Reader
from teleport_tw.recordings.recorder import ALIVE_SECONDS, DONE_SUFFIX, OPEN_SUFFIX, Complete, PutPart

T = TypeVar("T")

PART_BYTES = 2 << 20
"""Below gRPC's 4 MiB a message."""
SCAN_SECONDS = 30.0
GATHER_SECONDS = 0.2
"""From a recording's end to its upload, for which others that end meanwhile wait too."""
GROW_SECONDS = 2.0
"""Between two rounds over recordings that still grow; most sessions are over before a second one."""
MAX_SMALL_PARTS = 50_000
"""Sent of one recording while it grows; then only whole ones of L{PART_BYTES}, since storages count parts."""


@define(eq=False)
class _Sent:
    """
    How far a recording is that still grows.

    @ivar last: how long the last part is.
    @ivar at: when it was sent, by our clock.
    """

    parts: int = 0
    offset: int = 0
    last: int = 0
    at: float = 0.0


@define(eq=False)
class Uploader:
    """
    Sends what is finished in C{directory}, one recording at a time, and deletes it when auth has it. Of those that grow
    it sends what there is every few seconds, so that sessions can be followed.

    @ivar put_part: C{Audit.put_recording}.
    @ivar complete: C{Audit.complete_recording}.
    @ivar sink: hears C{session.upload}.
    """

    directory: Path
    put_part: PutPart
    complete: Complete
    sink: EventSink
    threads: Threads
    clock: IReactorTime
    backoff: Backoff = field(factory=lambda: Backoff(Duration(seconds=1), Duration(minutes=5)))
    _tasks: Tasks = field(factory=Tasks, init=False)
    _growing: dict[str, _Sent] = field(factory=dict, init=False)
    _turn: DeferredLock = field(factory=DeferredLock, init=False)
    _again: bool = field(default=False, init=False)
    _poke: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def start(self) -> None:
        """
        Scan now, every half minute, and when told.
        """
        self._tasks.spawn("uploading recordings", self._run())
        self._tasks.spawn("uploading recordings that grow", self._watch())

    def stop(self) -> None:
        """
        Leave the rest for the next start.
        """
        self._tasks.cancel()

    def wake(self) -> None:
        """
        A recording was closed just now.
        """
        poke, self._poke = self._poke, None
        if poke is None:
            self._again = True
        else:
            poke.callback(None)

    async def scan(self) -> int:
        """
        Send all that is ready.

        @return: how many recordings were sent.
        @raise TeleportError: auth did not take one.
        """
        await self.threads.run(self._give_up)
        return await self._send_all()

    async def _send_all(self) -> int:
        sent = 0
        for path in await self.threads.run(self._ready):
            await self._in_turn(self._send(path))
            sent += 1
        return sent

    async def grow(self) -> int:
        """
        Send what has come to recordings that were there the last time already.

        @return: how many parts were sent.
        @raise TeleportError: auth did not take one.
        """
        found: dict[str, int] = await self.threads.run(self._open_ones)
        for session in self._growing.keys() - found.keys():
            if not (self.directory / (session + DONE_SUFFIX)).exists():
                del self._growing[session]
        count = 0
        for session, size in found.items():
            if session not in self._growing:
                self._growing[session] = _Sent()
            else:
                count += await self._in_turn(self._send_more(session, self._growing[session], size))
        return count

    async def _in_turn(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            await self._turn.acquire()
        except BaseException:
            work.close()
            raise
        try:
            return await work
        finally:
            self._turn.release()

    async def _send_more(self, session: str, sent: _Sent, size: int) -> int:
        path, now = self.directory / (session + OPEN_SUFFIX), self.clock.seconds()
        if size < sent.offset:  # a full disk: what did not fit was taken back
            return 0
        enough = 1 if sent.parts < MAX_SMALL_PARTS else PART_BYTES
        if size - sent.offset >= enough:
            start, part = sent.offset, sent.parts + 1
        elif sent.parts and now - sent.at >= ALIVE_SECONDS:
            start, part = sent.offset - sent.last, sent.parts
            size = sent.offset
        else:
            return 0
        try:
            data = (await self.threads.run(_read, path, start))[: size - start]
        except FileNotFoundError:
            return 0  # it was finished meanwhile
        await self.put_part(session, part, data)
        sent.parts, sent.offset, sent.last, sent.at = part, start + len(data), len(data), now
        return 1

    async def _watch(self) -> None:
        waits = self.backoff.waits()
        while True:
            try:
                await self.grow()
            except Exception as error:
                self._log.debug("growing recordings wait: {error}", error=str(error))
                await deferLater(self.clock, next(waits))
            else:
                waits = self.backoff.waits()
                await deferLater(self.clock, GROW_SECONDS)

    async def _run(self) -> None:
        waits, scanned_at = self.backoff.waits(), float("-inf")
        while True:
            try:
                if self.clock.seconds() - scanned_at >= SCAN_SECONDS:
                    await self.scan()
                    scanned_at = self.clock.seconds()
                else:
                    await self._send_all()
            except Exception as error:
                seconds = next(waits)
                self._log.warn("recordings wait in {directory}: {error}", directory=self.directory, error=str(error))
                await deferLater(self.clock, seconds)
            else:
                waits = self.backoff.waits()
                await self._pause()

    async def _pause(self) -> None:
        if not self._again:
            self._poke = Deferred()
            timer = self.clock.callLater(SCAN_SECONDS, self.wake)
            try:
                await self._poke
            finally:
                if timer.active():
                    timer.cancel()
        await deferLater(self.clock, GATHER_SECONDS)
        self._again = False

    def _give_up(self) -> None:
        """
        Nobody writes some of the recordings any more.
        """
        for path in self.directory.glob("*" + OPEN_SUFFIX):
            if _abandoned(path):
                path.rename(path.with_suffix(DONE_SUFFIX))

    def _ready(self) -> list[Path]:
        return sorted(self.directory.glob("*" + DONE_SUFFIX), key=lambda path: path.stat().st_mtime)

    def _open_ones(self) -> dict[str, int]:
        if not self.directory.is_dir():
            return {}
        return {path.stem: path.stat().st_size for path in self.directory.glob("*" + OPEN_SUFFIX)}

    async def _send(self, path: Path) -> None:
        session, reader, offset, broken = path.stem, Reader(), 0, ""
        sent = self._growing.get(session)
        if sent is None or sent.offset > await self.threads.run(os.path.getsize, path):
            sent = self._growing[session] = _Sent()  # it is sent anew, in place of what is there
        whole = False
        while not whole:
            most = min(PART_BYTES, sent.offset - offset) if offset < sent.offset else PART_BYTES
            data, wrong = await self.threads.run(_verified, path, offset, most, None if broken else reader)
            broken = broken or wrong
            whole = len(data) < most
            offset += len(data)
            if offset > sent.offset:
                await self.put_part(session, sent.parts + 1, data)
                sent.parts, sent.offset = sent.parts + 1, offset
        if sent.parts:
            await self.complete(session, sent.parts)
            digest = "" if broken else reader.digest.hex()
            event: Event = SessionUpload(
                session=Session(id=session), recorded=Recorded(digest=digest, parts=sent.parts)
            )
            self.sink.emit(event)
        if broken or not reader.complete:
            self._log.warn("the recording of session {session} ends early {broken}", session=session, broken=broken)
        await self.threads.run(path.unlink)
        del self._growing[session]


def _abandoned(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _read(path: Path, offset: int, most: int = PART_BYTES) -> bytes:
    with open(path, "rb") as source:
        source.seek(offset)
        return source.read(most)


def _verified(path: Path, offset: int, most: int, reader: Reader | None) -> tuple[bytes, str]:
    """
    @return: what stands there, and what is wrong with it; that is still worth keeping.
    """
    data = _read(path, offset, most)
    if data and reader is not None:
        try:
            reader.verify(data)
        except RemoteProtocolError as error:
            return data, str(error) or "broken"
    return data, ""
