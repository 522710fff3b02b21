"""
Copying files between places: this machine and servers, in all four directions, by the rules of C{scp}.
"""

from __future__ import annotations

import fnmatch
import os
import posixpath
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import Protocol

from attrs import define, frozen

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.dial.sftp import CHUNK, Attributes

READ_BYTES = 8 * CHUNK
_GLOB = frozenset("*?[")


class Place(Protocol):
    """
    Where files are: L{Sftp} is one.
    """

    async def stat(self, path: str) -> Attributes | None:
        """None when there is nothing."""
        ...

    async def list(self, path: str) -> list[tuple[str, Attributes]]:
        """By name."""
        ...

    async def make_folder(self, path: str, mode: int) -> None:
        """One level."""
        ...

    async def set(self, path: str, attributes: Attributes) -> None:
        """Permissions and times."""
        ...

    def read(self, path: str) -> AsyncIterator[bytes]:
        """In order."""
        ...

    async def write(self, path: str, chunks: AsyncIterator[bytes], mode: int) -> int:
        """Bytes written."""
        ...


class Here:
    """
    This machine's files.
    """

    async def stat(self, path: str) -> Attributes | None:
        """See L{Place}."""
        try:
            return _attributes(os.stat(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _problem(error) from error

    async def list(self, path: str) -> list[tuple[str, Attributes]]:
        """See L{Place}."""
        try:
            return sorted((name, _attributes(os.stat(os.path.join(path, name)))) for name in os.listdir(path))
        except OSError as error:
            raise _problem(error) from error

    async def make_folder(self, path: str, mode: int) -> None:
        """See L{Place}."""
        try:
            Path(path).mkdir(mode & 0o7777)
        except OSError as error:
            raise _problem(error) from error

    async def set(self, path: str, attributes: Attributes) -> None:
        """See L{Place}."""
        try:
            os.chmod(path, attributes.mode & 0o7777)
            os.utime(path, (attributes.accessed, attributes.modified))
        except OSError as error:
            raise _problem(error) from error

    async def read(self, path: str) -> AsyncIterator[bytes]:
        """See L{Place}."""
        try:
            with Path(path).open("rb") as file:
                while data := file.read(READ_BYTES):
                    yield data
        except OSError as error:
            raise _problem(error) from error

    async def write(self, path: str, chunks: AsyncIterator[bytes], mode: int) -> int:
        """See L{Place}."""
        size = 0
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode & 0o777)
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    file.write(chunk)
                    size += len(chunk)
        except OSError as error:
            raise _problem(error) from error
        return size


def _attributes(said: os.stat_result) -> Attributes:
    return Attributes(size=said.st_size, mode=said.st_mode, accessed=int(said.st_atime), modified=int(said.st_mtime))


def _problem(error: OSError) -> TeleportError:
    kind = Kind.ACCESS_DENIED if isinstance(error, PermissionError) else Kind.BAD_PARAMETER
    return TeleportError(kind, f"{error.filename or ''}: {error.strerror}".lstrip(": "))


@frozen
class Spot:
    """
    C{[[user@]host:]path}.

    @ivar host: as L{teleport_tw.clients.tsh.target.Wanted} reads it; empty for this machine.
    """

    host: str
    path: str

    @classmethod
    def parse(cls, text: str) -> Spot:
        """
        @param text: a colon before any slash names a host; write C{./a:b} for a local file with one.
        """
        head, _, rest = text.partition("]:") if "[" in text.partition("/")[0] else ("", "", "")
        if head:
            return cls(head.replace("[", ""), _remote(rest))
        host, colon, path = text.partition(":")
        if not colon or "/" in host or not host:
            return cls("", text)
        return cls(host, _remote(path))


def _remote(path: str) -> str:
    if path in ("", "~", "~/"):
        return "."
    return path.removeprefix("~/") if path.startswith("~/") else path


Progress = Callable[[str, int, int], object]
"""Told name, size, and how much more was copied just now; zero when a file begins."""


@define(eq=False)
class Copier:
    """
    @ivar recursive: folders too.
    @ivar preserve: permissions and times as they were.
    """

    recursive: bool = False
    preserve: bool = False
    progress: Progress = lambda name, size, more: None

    async def copy(self, source: Place, path: str, target: Place, to: str, *, into: bool = False) -> None:
        """
        @param path: at the source; may hold wildcards, where the source is a server.
        @param to: at the target: a folder to copy into, or the new name.
        @param into: C{to} must be a folder, as there are several sources.
        @raise TeleportError: the first thing that cannot be copied.
        """
        found = await self._expand(source, path)
        there = await target.stat(to)
        is_folder = there is not None and there.is_folder
        if (into or len(found) > 1) and not is_folder:
            raise bad_parameter(f"{to} is not a folder")
        for each in found:
            name = posixpath.basename(each.rstrip("/"))
            if is_folder and name in ("", ".", ".."):
                await self._any(source, each, target, to, name)
            else:
                await self._any(source, each, target, posixpath.join(to, name) if is_folder else to, name)

    async def _expand(self, source: Place, path: str) -> list[str]:
        if isinstance(source, Here) or not _GLOB & set(path) or await source.stat(path) is not None:
            return [path]
        paths = ["/" if path.startswith("/") else ""]
        for part in filter(None, path.split("/")):
            if not _GLOB & set(part):
                paths = [posixpath.join(each, part) for each in paths]
                continue
            found = []
            for each in paths:
                names = [name for name, _ in await source.list(each or ".")]
                found += [posixpath.join(each, name) for name in names if _matches(name, part)]
            paths = found
        if not paths:
            raise not_found(f"{path}: nothing matches")
        return paths

    async def _any(self, source: Place, path: str, target: Place, to: str, name: str) -> None:
        said = await source.stat(path)
        if said is None:
            raise not_found(f"{path}: no such file or folder")
        if said.is_folder:
            if not self.recursive:
                raise bad_parameter(f"{path} is a folder; use -r")
            await self._folder(source, path, said, target, to)
        elif said.mode and not S_ISREG(said.mode):
            raise bad_parameter(f"{path} is not an ordinary file")
        else:
            await self._file(source, path, said, target, to, name)

    async def _folder(self, source: Place, path: str, said: Attributes, target: Place, to: str) -> None:
        there = await target.stat(to)
        if there is None:
            await target.make_folder(to, (said.mode & 0o7777) | 0o700)
        elif not S_ISDIR(there.mode):
            raise bad_parameter(f"{to} is not a folder")
        for name, _ in await source.list(path):
            await self._any(source, posixpath.join(path, name), target, posixpath.join(to, name), name)
        if self.preserve:
            await target.set(to, said)

    async def _file(self, source: Place, path: str, said: Attributes, target: Place, to: str, name: str) -> None:
        self.progress(name, said.size, 0)

        async def counted() -> AsyncIterator[bytes]:
            async for chunk in source.read(path):
                yield chunk
                self.progress(name, said.size, len(chunk))

        await target.write(to, counted(), said.mode & 0o7777 or 0o644)
        if self.preserve:
            await target.set(to, said)


def _matches(name: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(name, pattern) and (not name.startswith(".") or pattern.startswith("."))
