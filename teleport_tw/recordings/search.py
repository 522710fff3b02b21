"""
What was on the screens, findable: lines of every recording in one SQLite file beside them, made at completion.

The file can be thrown away and is made again from the recordings. SQLite cuts a megabyte a second into trigrams, so
what is long is written a batch at a time, with pauses in which the machine does what people wait for.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Collection, Iterable
from itertools import islice
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


BATCH_LINES = 200
"""Written in one go: some milliseconds of work."""


class Stopped(Exception):
    """
    The index was closed before all of a recording was in; nothing of it is.
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
    Everything blocks. One thread at a time writes, and one L{find} goes on meanwhile, which sees what was written
    before. Others wait for their turn, as a thread goes on when its caller has gone.
    """

    path: Path
    _database: sqlite3.Connection | None = field(default=None, init=False)
    _finding: sqlite3.Connection | None = field(default=None, init=False)
    _stopping: bool = field(default=False, init=False)
    _writes: threading.Lock = field(factory=threading.Lock, init=False)
    _finds: threading.Lock = field(factory=threading.Lock, init=False)

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
        self._finding = sqlite3.connect(self.path, check_same_thread=False)
        self._stopping = False

    def add(self, session: str, lines: Iterable[Line]) -> None:
        """
        Take in a recording; what was there of it is replaced.

        @raise Stopped: L{stop} was called.
        """
        self._go_on(session)
        with self._writes, self._open as write:
            self._remove(write, session)
            number = write.execute("INSERT INTO sessions (id) VALUES (?)", (session,)).lastrowid
            rows = ((number, line.ms, line.text) for line in lines)
            while batch := list(islice(rows, BATCH_LINES)):
                self._go_on(session)
                started = time.monotonic()
                write.executemany("INSERT INTO lines (session, ms, text) VALUES (?,?,?)", batch)
                time.sleep(time.monotonic() - started)

    def remove(self, session: str) -> None:
        """
        Forget a recording.
        """
        with self._writes, self._open as write:
            self._remove(write, session)

    def sessions(self) -> set[str]:
        """
        @return: ids of the recordings that are in.
        """
        with self._writes:
            return {session for (session,) in self._open.execute("SELECT id FROM sessions")}

    def find(self, text: str, sessions: Collection[str] | None = None, limit: int = 500) -> list[Found]:
        """
        @param text: occurs in the line, any case.
        @param sessions: look in these only; None means all.
        @return: newest recording first, in it by time.
        """
        if not text:
            return []
        with self._finds:
            return self._find(self._opened(self._finding), text, sessions, limit)

    def _find(
        self, finding: sqlite3.Connection, text: str, sessions: Collection[str] | None, limit: int
    ) -> list[Found]:
        if len(text) >= 3:
            where = "lines.number IN (SELECT rowid FROM words WHERE words MATCH ?)"
            value = '"' + text.replace("\0", " ").replace('"', '""') + '"'  # at a NUL SQLite stops reading
        else:  # too short for the trigrams
            where, value = "instr(lower(text), lower(?)) > 0", text
        if sessions is not None:
            finding.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (id TEXT PRIMARY KEY)")
            finding.execute("DELETE FROM wanted")
            finding.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", [(session,) for session in sessions])
            where += " AND sessions.id IN (SELECT id FROM wanted)"
        # the parts of the statement are constants of this module; what the caller sends goes in as values
        sql = (
            "SELECT sessions.id, ms, text FROM lines JOIN sessions ON sessions.number = lines.session "  # noqa: S608
            f"WHERE {where} ORDER BY lines.session DESC, lines.number LIMIT ?"
        )
        found = [Found(*row) for row in finding.execute(sql, (value, limit))]
        finding.rollback()
        return found

    def stop(self) -> None:
        """
        End an L{add} that another thread is at; to be called before L{close}, from any thread.
        """
        self._stopping = True

    def close(self) -> None:
        """
        Let go of the file.
        """
        with self._finds, self._writes:
            for connection in (self._finding, self._database):
                if connection is not None:
                    connection.close()
            self._finding = self._database = None

    def _go_on(self, session: str) -> None:
        if self._stopping:
            raise Stopped(session)

    @property
    def _open(self) -> sqlite3.Connection:
        return self._opened(self._database)

    @staticmethod
    def _opened(connection: sqlite3.Connection | None) -> sqlite3.Connection:
        if connection is None:
            raise RuntimeError("the index is not open")
        return connection

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
