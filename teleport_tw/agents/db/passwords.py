"""
Passwords of database users, for servers that take no certificate from us.

They come from files on the agent's own host, or are tokens that a cloud makes (L{teleport_tw.agents.db.cloud}); none
is in a resource, at auth or on its way through the cluster. A file is C{password_dir/DATABASE/USER}, read again for
each session, so that a change counts at once. Only its owner may read it, and nobody else may be able to put one there.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import ClassVar, Protocol

from attrs import define, frozen
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.resources.databases import Database

MAX_BYTES = 16 << 10
"""Of a file; the longest tokens that databases take have a few thousand."""
MAX_NAME_BYTES = 255
"""Linux has no longer file names."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # a FIFO is opened without waiting


class Source(Protocol):
    """
    Has passwords.
    """

    async def password(self, database: Database, user: str) -> Secret[bytes] | None:
        """
        @param user: of the database; roles have allowed them.
        @return: C{None} for whom it has none.
        @raise TeleportError: there should be one, and it cannot be had.
        """
        ...


@define(eq=False)
class Passwords:
    """
    Those that an agent has.

    @ivar sources: asked one after the other; the first that has a password counts.
    """

    sources: tuple[Source, ...] = ()
    _log: ClassVar[Logger] = Logger()

    async def password(self, database: Database, user: str) -> Secret[bytes] | None:
        """
        See L{Source.password}.
        """
        for source in self.sources:
            try:
                found = await source.password(database, user)
            except TeleportError as error:
                self._log.error(
                    "no password for {user} of database {database}: {error}",
                    user=user,
                    database=database.name,
                    error=error.details or error.message,
                )
                raise
            if found is not None:
                return found
        return None


@frozen
class Files:
    """
    C{db_service.password_dir}.

    @ivar directory: holds a directory for each database, which holds a file for each user.
    """

    directory: Path
    threads: Threads

    async def password(self, database: Database, user: str) -> Secret[bytes] | None:
        """
        See L{Source.password}.
        """
        return await self.threads.run(self.read, database.name, user)

    def read(self, database: str, user: str) -> Secret[bytes] | None:
        """
        Blocks. Each step is taken from an open directory, so that nothing can be put in the way of a check.

        @return: the file without the end of its line; C{None} if there is none.
        @raise TeleportError: ACCESS_DENIED, the name is none for a file; INTERNAL, the file is not safe.
        """
        try:
            top = os.open(self.directory, _FOLDER)
        except OSError as error:
            raise _unusable(user, f"password_dir {self.directory}: {error.strerror}") from error
        try:
            _check_folder(top, self.directory, user)
            return self._in(top, database, user)
        finally:
            os.close(top)

    def _in(self, top: int, database: str, user: str) -> Secret[bytes] | None:
        path = self.directory / database
        if not _is_name(database):
            return None
        try:
            folder = os.open(database, _FOLDER | os.O_NOFOLLOW, dir_fd=top)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unusable(user, f"{path}: {_words(error)}") from error
        try:
            _check_folder(folder, path, user)
            if not _is_name(user):
                raise TeleportError(
                    Kind.ACCESS_DENIED,
                    f"database {database!r} is reached with passwords of files, and {user!r} is no name of a file",
                )
            return _read(folder, path / user, user)
        finally:
            os.close(folder)


def _read(folder: int, path: Path, user: str) -> Secret[bytes] | None:
    try:
        file = os.open(path.name, _FILE, dir_fd=folder)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(user, f"{path}: {_words(error)}") from error
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _unusable(user, f"{path} is no file")
        _check_owner(status, path, user)
        if status.st_mode & 0o077:
            raise _unusable(user, f"others may use {path} (mode {stat.S_IMODE(status.st_mode):04o}): chmod 600 {path}")
        content = os.read(file, MAX_BYTES + 1)
    finally:
        os.close(file)
    if len(content) > MAX_BYTES:
        raise _unusable(user, f"{path} is longer than {MAX_BYTES} bytes")
    password = content.removesuffix(b"\n").removesuffix(b"\r")
    if not password or any(octet in password for octet in (b"\n", b"\r", b"\0")):
        raise _unusable(user, f"{path} must hold one line, the password")
    return Secret(password)


def _is_name(name: str) -> bool:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        return False
    try:
        return len(name.encode("utf-8")) <= MAX_NAME_BYTES
    except UnicodeEncodeError:
        return False


def _check_folder(folder: int, path: Path, user: str) -> None:
    status = os.fstat(folder)
    _check_owner(status, path, user)
    if status.st_mode & 0o022:
        raise _unusable(user, f"others may write in {path} (mode {stat.S_IMODE(status.st_mode):04o}): chmod 700 {path}")


def _check_owner(status: os.stat_result, path: Path, user: str) -> None:
    if status.st_uid not in (0, os.geteuid()):
        raise _unusable(
            user,
            f"{path} is owned by user id {status.st_uid}, and must be by root or whom the agent runs as "
            f"({os.geteuid()}): chown {os.geteuid()} {path}",
        )


def _words(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "is a symbolic link or of the wrong kind, which is not followed"
    return error.strerror or str(error)


def _unusable(user: str, details: str) -> TeleportError:
    """
    @param details: for the operator; users do not learn what is where on the host.
    """
    return TeleportError(
        Kind.INTERNAL, f"the agent cannot use its password of database user {user!r}; its log says why", details=details
    )
