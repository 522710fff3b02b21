"""
The SQLite file's tables, brought up to date step by step.

C{schemas/0001.sql} makes the first version, each further file turns one version into the next. The file says in
C{user_version} where it stands. Before a step an existing file is copied beside itself.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from teleport_tw.base.errors import Kind, TeleportError

_NAME = re.compile(r"(\d{4})\.sql\Z")


def steps() -> Mapping[int, str]:
    """
    @return: version to the SQL that leads to it.
    """
    folder = files("teleport_tw.backends").joinpath("schemas")
    return {int(match[1]): each.read_text("utf-8") for each in folder.iterdir() if (match := _NAME.match(each.name))}


def upgrade(connection: sqlite3.Connection, path: Path, known: Mapping[int, str]) -> Path | None:
    """
    Bring a file to the newest version known.

    @param connection: in autocommit mode.
    @param path: where the file is; backups go beside it.
    @param known: as L{steps} gives it.
    @return: the backup, when there was something to lose.
    @raise TeleportError: BAD_PARAMETER, the file is of a later version than this program.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    newest = max(known)
    if version > newest:
        raise TeleportError(
            Kind.BAD_PARAMETER,
            f"{path} was written by a later version (schema {version}, this program knows {newest}); upgrade it",
        )
    if version == newest:
        return None
    backup = _back_up(connection, path, version) if version else None
    for step in range(version + 1, newest + 1):
        connection.execute("BEGIN EXCLUSIVE")
        try:
            for statement in _statements(known[step]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
    return backup


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> Path:
    backup = path.with_name(f"{path.name}.v{version}.bak")
    backup.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(backup),))
    backup.chmod(0o600)
    return backup


def _statements(script: str) -> list[str]:
    """
    The script cut where SQLite says that a statement is complete.
    """
    found, current = [], ""
    for line in script.splitlines(keepends=True):
        current += line
        if sqlite3.complete_statement(current):
            found.append(current)
            current = ""
    return found
