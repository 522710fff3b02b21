"""
Recordings on their way from the spool to auth, also those that a crash left behind.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.events.kinds import Event, Recorded, Session, SessionUpload
from teleport_tw.events.sink import EventSink
from teleport_tw.recordings.container import Reader
from teleport_tw.recordings.recorder import DONE_SUFFIX, OPEN_SUFFIX, Complete, PutPart

PART_BYTES = 2 << 20
"""Below gRPC's 4 MiB a message."""
SCAN_SECONDS = 30.0


@define(eq=False)
class Uploader:
    """
    Sends what is finished in C{directory}, one recording at a time, and deletes it when auth has it.

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
    _again: bool = field(default=False, init=False)
    _poke: Deferred[None] | None = field(default=None, init=False)
    _log = Logger()

    def start(self) -> None:
        """
        Scan now, every half minute, and when told.
        """
        self._tasks.spawn("uploading recordings", self._run())

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
        sent = 0
        for path in await self.threads.run(self._ready):
            await self._send(path)
            sent += 1
        return sent

    async def _run(self) -> None:
        waits = self.backoff.waits()
        while True:
            try:
                await self.scan()
            except Exception as error:
                seconds = next(waits)
                self._log.warn("recordings wait in {directory}: {error}", directory=self.directory, error=str(error))
                await deferLater(self.clock, seconds)
            else:
                waits = self.backoff.waits()
                await self._pause()

    async def _pause(self) -> None:
        if self._again:
            self._again = False
            return
        self._poke = Deferred()
        timer = self.clock.callLater(SCAN_SECONDS, self.wake)
        try:
            await self._poke
        finally:
            if timer.active():
                timer.cancel()

    def _ready(self) -> list[Path]:
        if not self.directory.is_dir():
            return []
        for path in self.directory.glob("*" + OPEN_SUFFIX):
            if _abandoned(path):
                path.rename(path.with_suffix(DONE_SUFFIX))
        return sorted(self.directory.glob("*" + DONE_SUFFIX), key=lambda path: path.stat().st_mtime)

    async def _send(self, path: Path) -> None:
        session, part, reader = path.stem, 0, Reader()
        offset = 0
        broken = ""
        while data := await self.threads.run(_read, path, offset):
            part, offset = part + 1, offset + len(data)
            await self.put_part(session, part, data)
            if not broken:
                try:
                    await self.threads.run(reader.verify, data)
                except RemoteProtocolError as error:
                    broken = str(error)  # still worth keeping: auth stores what there is
        if part:
            await self.complete(session, part)
            digest = "" if broken else reader.digest.hex()
            event: Event = SessionUpload(session=Session(id=session), recorded=Recorded(digest=digest, parts=part))
            self.sink.emit(event)
        if broken or not reader.complete:
            self._log.warn("the recording of session {session} ends early {broken}", session=session, broken=broken)
        await self.threads.run(path.unlink)


def _abandoned(path: Path) -> bool:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def _read(path: Path, offset: int) -> bytes:
    with open(path, "rb") as source:
        source.seek(offset)
        return source.read(PART_BYTES)
