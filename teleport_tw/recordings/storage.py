"""
Recordings as auth keeps them.

L{Storage} is what an object store would do as well; L{LocalStorage} keeps parts in C{<session>/<part>} until the
recording is complete and then one file, C{<session>.rec}, that never changes again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.base.tasks import Threads
from teleport_tw.recordings.recorder import DONE_SUFFIX, checked_session

MAX_PART_BYTES = 4 << 20
MAX_PARTS = 100_000
CHUNK_BYTES = 256 << 10


class Storage(Protocol):
    """
    A place for recordings.
    """

    async def put(self, session: str, part: int, data: bytes) -> None:
        """
        Store one part, numbered from 1; the same part again overwrites, and one of a complete recording is ignored.
        """
        ...

    async def complete(self, session: str, parts: int) -> None:
        """
        All parts are there; harmless when said twice.

        @raise TeleportError: BAD_PARAMETER, some are not.
        """
        ...

    def stream(self, session: str, offset: int = 0) -> AsyncIterator[bytes]:
        """
        @param offset: bytes to leave out.
        @return: the recording in chunks, as far as it is there.
        @raise TeleportError: NOT_FOUND.
        """
        ...

    async def is_complete(self, session: str) -> bool:
        """
        @return: whether nothing more will come.
        """
        ...

    async def abandoned(self, before: float) -> list[tuple[str, int]]:
        """
        @param before: seconds since the epoch.
        @return: session and number of parts of uploads without a new part since then; their sender died.
        """
        ...

    async def sessions(self) -> list[str]:
        """
        @return: ids of complete recordings.
        """
        ...

    async def finished(self, before: float) -> list[str]:
        """
        @param before: seconds since the epoch.
        @return: complete recordings that were complete by then.
        """
        ...

    async def delete(self, session: str) -> None:
        """
        Forget it; harmless when it is not there.
        """
        ...


@define(eq=False)
class LocalStorage:
    """
    @ivar directory: C{<data_dir>/log/records}.
    @ivar max_bytes: of one recording.
    """

    directory: Path
    threads: Threads
    max_bytes: int = 4 << 30
    _sizes: dict[str, int] = field(factory=dict, init=False)

    async def put(self, session: str, part: int, data: bytes) -> None:
        """
        Store one part; on return it is on disk.
        """
        checked_session(session)
        if not 1 <= part <= MAX_PARTS:
            raise bad_parameter(f"part {part} of a recording; parts are numbered from 1 to {MAX_PARTS}")
        if len(data) > MAX_PART_BYTES:
            raise bad_parameter(f"a part of a recording has {len(data)} bytes, at most {MAX_PART_BYTES} are taken")
        await self.threads.run(self._put, session, part, data)

    async def complete(self, session: str, parts: int) -> None:
        """
        Make one file of the parts.
        """
        checked_session(session)
        if not 1 <= parts <= MAX_PARTS:
            raise bad_parameter(f"a recording of {parts} parts; there are 1 to {MAX_PARTS}")
        await self.threads.run(self._complete, session, parts)

    async def stream(self, session: str, offset: int = 0) -> AsyncIterator[bytes]:
        """
        The file, or the parts so far.
        """
        checked_session(session)
        while True:
            places: list[tuple[Path, int]] = await self.threads.run(self._places, session, offset)
            try:
                for path, start in places:
                    reading: Deferred[bytes] = self.threads.run(_read, path, start)
                    while data := await reading:
                        yield data
                        start, offset = start + len(data), offset + len(data)
                        reading = self.threads.run(_read, path, start)
            except FileNotFoundError:
                continue  # the parts have become one file
            return

    async def is_complete(self, session: str) -> bool:
        """
        Whether it is one file.
        """
        found: bool = await self.threads.run(self._file(checked_session(session)).exists)
        return found

    async def sessions(self) -> list[str]:
        """
        Newest last.
        """
        found: list[str] = await self.threads.run(self._sessions)
        return found

    async def abandoned(self, before: float) -> list[tuple[str, int]]:
        """
        @param before: seconds since the epoch.
        @return: session and number of parts of uploads without a new part since then; their sender died.
        """
        found: list[tuple[str, int]] = await self.threads.run(self._abandoned, before)
        return found

    async def finished(self, before: float) -> list[str]:
        """
        By the file's own time.
        """
        found: list[str] = await self.threads.run(self._finished, before)
        return found

    async def delete(self, session: str) -> None:
        """
        File and parts.
        """
        checked_session(session)
        await self.threads.run(self._delete, session)

    def _file(self, session: str) -> Path:
        return self.directory / (session + DONE_SUFFIX)

    def _put(self, session: str, part: int, data: bytes) -> None:
        if self._file(session).exists():
            return
        folder = self.directory / session
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if session not in self._sizes:
            self._sizes[session] = sum(path.stat().st_size for path in folder.glob("*.part"))
        if self._sizes[session] + len(data) > self.max_bytes:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"the recording of session {session} is larger than is kept")
        path = folder / f"{part:06d}.part"
        before = path.stat().st_size if path.exists() else 0
        _write(path, data)
        self._sizes[session] += len(data) - before

    def _complete(self, session: str, parts: int) -> None:
        file, folder = self._file(session), self.directory / session
        if not file.exists():
            paths = [folder / f"{part:06d}.part" for part in range(1, parts + 1)]
            missing = [path.stem for path in paths if not path.exists()]
            if missing or not paths:
                raise bad_parameter(f"parts of the recording of {session} are missing: {', '.join(missing) or 'all'}")
            scratch = file.with_suffix(".new")
            with open(scratch, "wb", opener=_private) as target:
                for path in paths:
                    target.write(path.read_bytes())
                target.flush()
                os.fdatasync(target.fileno())
            scratch.replace(file)
            _sync(self.directory)
        self._sizes.pop(session, None)
        self._drop_parts(folder)

    def _drop_parts(self, folder: Path) -> None:
        if folder.is_dir():
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()

    def _paths(self, session: str) -> list[Path]:
        file = self._file(session)
        if file.exists():
            return [file]
        found: list[Path] = []
        while (path := self.directory / session / f"{len(found) + 1:06d}.part").exists():
            found.append(path)
        if not found:
            raise not_found(f"there is no recording of session {session}")
        return found

    def _places(self, session: str, offset: int) -> list[tuple[Path, int]]:
        """
        @return: files that hold what is behind C{offset}, and where in each that begins.
        """
        found = []
        for path in self._paths(session):
            size = path.stat().st_size if offset else 0
            if offset and size <= offset:
                offset -= size
            else:
                found.append((path, offset))
                offset = 0
        return found

    def _sessions(self) -> list[str]:
        paths = sorted(self.directory.glob("*" + DONE_SUFFIX), key=lambda path: path.stat().st_mtime)
        return [path.stem for path in paths]

    def _finished(self, before: float) -> list[str]:
        return [path.stem for path in self.directory.glob("*" + DONE_SUFFIX) if path.stat().st_mtime < before]

    def _abandoned(self, before: float) -> list[tuple[str, int]]:
        folders = [path for path in self.directory.glob("*") if path.is_dir() and path.stat().st_mtime < before]
        counted = [(folder.name, self._whole(folder)) for folder in sorted(folders)]
        return [(session, parts) for session, parts in counted if parts]

    def _whole(self, folder: Path) -> int:
        parts = 0
        while (folder / f"{parts + 1:06d}.part").exists():
            parts += 1
        return parts

    def _delete(self, session: str) -> None:
        self._file(session).unlink(missing_ok=True)
        self._sizes.pop(session, None)
        self._drop_parts(self.directory / session)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _write(path: Path, data: bytes) -> None:
    scratch = path.with_suffix(".new")
    with open(scratch, "wb", opener=_private) as target:
        target.write(data)
        target.flush()
        os.fdatasync(target.fileno())
    scratch.replace(path)


def _sync(directory: Path) -> None:
    folder = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, offset: int) -> bytes:
    with open(path, "rb") as source:
        source.seek(offset)
        return source.read(CHUNK_BYTES)
