"""
What was on the screens, findable: lines of every recording in one SQLite file beside them, made at completion.

The file can be thrown away and is made again from the recordings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from pathlib import Path

from attrs import define, field, frozen

from teleport_tw.recordings.screen import Line

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, session INTEGER NOT NULL, ms INTEGER NOT NULL,
    text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS lines_session ON lines (session);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (text, content='lines', content_rowid='number', tokenize='trigram');
CREATE TRIGGER IF NOT EXISTS lines_added AFTER INSERT ON lines BEGIN
    INSERT INTO words (rowid, text) VALUES (new.number, new.text); END;
CREATE TRIGGER IF NOT EXISTS lines_removed AFTER DELETE ON lines BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.number, old.text); END;
"""


@frozen
class Found:
    """
    @ivar ms: when the line was written, since the start of the session.
    """

    session: str
    ms: int
    line: str


@define(eq=False)
class ContentIndex:
    """
    Everything blocks; one thread at a time.
    """

    path: Path
    _database: sqlite3.Connection | None = field(default=None, init=False)

    def open(self) -> None:
        """
        Make or open the file; one that SQLite cannot read is thrown away.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self._database = self._prepared()
        except sqlite3.DatabaseError:
            for path in self.path.parent.glob(self.path.name + "*"):
                path.unlink()
            self._database = self._prepared()

    def add(self, session: str, lines: Iterable[Line]) -> None:
        """
        Take in a recording; what was there of it is replaced.
        """
        with self._open as write:
            self._remove(write, session)
            number = write.execute("INSERT INTO sessions (id) VALUES (?)", (session,)).lastrowid
            rows = ((number, line.ms, line.text) for line in lines)
            write.executemany("INSERT INTO lines (session, ms, text) VALUES (?,?,?)", rows)

    def remove(self, session: str) -> None:
        """
        Forget a recording.
        """
        with self._open as write:
            self._remove(write, session)

    def sessions(self) -> set[str]:
        """
        @return: ids of the recordings that are in.
        """
        return {session for (session,) in self._open.execute("SELECT id FROM sessions")}

    def find(self, text: str, sessions: Collection[str] | None = None, limit: int = 500) -> list[Found]:
        """
        @param text: occurs in the line, any case.
        @param sessions: look in these only; None means all.
        @return: newest recording first, in it by time.
        """
        if not text:
            return []
        if len(text) >= 3:
            where = "lines.number IN (SELECT rowid FROM words WHERE words MATCH ?)"
            value = '"' + text.replace('"', '""') + '"'
        else:  # too short for the trigrams
            where, value = "instr(lower(text), lower(?)) > 0", text
        if sessions is not None:
            self._open.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (id TEXT PRIMARY KEY)")
            self._open.execute("DELETE FROM wanted")
            self._open.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", [(session,) for session in sessions])
            where += " AND sessions.id IN (SELECT id FROM wanted)"
        # the parts of the statement are constants of this module; what the caller sends goes in as values
        sql = (
            "SELECT sessions.id, ms, text FROM lines JOIN sessions ON sessions.number = lines.session "  # noqa: S608
            f"WHERE {where} ORDER BY lines.session DESC, lines.number LIMIT ?"
        )
        found = [Found(*row) for row in self._open.execute(sql, (value, limit))]
        self._open.rollback()
        return found

    def close(self) -> None:
        """
        Let go of the file.
        """
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            raise RuntimeError("the index is not open")
        return self._database

    def _remove(self, write: sqlite3.Connection, session: str) -> None:
        write.execute("DELETE FROM lines WHERE session IN (SELECT number FROM sessions WHERE id = ?)", (session,))
        write.execute("DELETE FROM sessions WHERE id = ?", (session,))

    def _prepared(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=NORMAL")
            database.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            database.close()
            raise
        return database
