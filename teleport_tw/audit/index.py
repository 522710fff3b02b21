"""
What makes the log searchable: a SQLite file beside it that can be thrown away and is made again from the log.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from teleport_tw.api.contract import EventQuery
from teleport_tw.audit.ledger import ChainFile, Place, files_of
from teleport_tw.audit.lines import read
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.timing import parse_time

DEFAULT_PAGE = 500
MAX_PAGE = 5000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY, uid TEXT NOT NULL, time INTEGER NOT NULL, name TEXT NOT NULL, user TEXT NOT NULL,
    sid TEXT NOT NULL, file TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS events_uid ON events (uid);
CREATE INDEX IF NOT EXISTS events_time ON events (time, number);
CREATE INDEX IF NOT EXISTS events_name ON events (name, time, number);
CREATE INDEX IF NOT EXISTS events_user ON events (user, time, number);
CREATE INDEX IF NOT EXISTS events_sid ON events (sid, time, number) WHERE sid <> '';
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5 (line, content='', tokenize="unicode61 tokenchars '_'");
"""


@define(eq=False)
class Index:
    """
    Everything blocks. Threads write in turn; each search has a connection of its own.
    """

    path: Path
    _writer: sqlite3.Connection | None = field(default=None, init=False)
    _known: sqlite3.Connection | None = field(default=None, init=False)
    _turn: threading.Lock = field(factory=threading.Lock, init=False)
    _at: tuple[int, str, int] = field(default=(0, "", 0), init=False)

    def open(self) -> None:
        """
        Make or open the file; one that SQLite cannot read is thrown away.
        """
        try:
            self._begin()
        except sqlite3.DatabaseError:
            self.close()
            for path in self.path.parent.glob(self.path.name + "*"):
                path.unlink()
            self._begin()

    def _begin(self) -> None:
        self._writer = self._prepared()
        self._at = self._found_at()

    def catch_up(self, until: int) -> list[str]:
        """
        Take in what stands in the log and not here.

        @param until: the number of the last line to be taken; what stands behind it is not confirmed yet.
        @return: the uids of the lines that were added.
        """
        with self._turn:
            number, last_file, offset = self._at
            added: list[str] = []
            for path in files_of(self.path.parent):
                if path.name < last_file or number >= until:
                    continue
                batch: list[tuple[Place, bytes]] = []
                for place, line in _lines(path, offset if path.name == last_file else 0, number + 1):
                    batch.append((place, line))
                    number, last_file, offset = place.number, path.name, place.offset + place.length
                    if len(batch) == 5000 or number >= until:
                        added += self._add(batch)
                        self._at, batch = (number, last_file, offset), []
                        if number >= until:
                            break
                if batch:
                    added += self._add(batch)
                    self._at = (number, last_file, offset)
            return added

    def _found_at(self) -> tuple[int, str, int]:
        """
        @return: number and file of the last line that is here, and where in it the next begins.
        """
        done = self._connection.execute(
            "SELECT number, file, offset + length FROM events ORDER BY number DESC LIMIT 1"
        ).fetchone()
        return done or (self._before_all(), "", 0)

    def _before_all(self) -> int:
        """
        @return: how many events stood before the oldest file that is kept.
        """
        files = files_of(self.path.parent)
        chain = ChainFile.read(files[0].with_suffix(".chain")) if files else None
        return chain.start_count if chain is not None else 0

    def forget(self, path: Path) -> None:
        """
        Take out the events of a file that is about to be deleted; the words in them too.
        """
        with self._turn, self._connection as write:
            places = write.execute("SELECT number, offset FROM events WHERE file = ?", (path.name,)).fetchall()
            numbers = {offset: number for number, offset in places}
            gone = [
                ("delete", numbers[place.offset], " ".join(_texts(_event(line))))
                for place, line in _lines(path, 0, 0)
                if place.offset in numbers
            ]
            write.executemany("INSERT INTO words (words, rowid, line) VALUES (?,?,?)", gone)
            write.execute("DELETE FROM events WHERE file = ?", (path.name,))

    def known(self, uids: Sequence[str]) -> set[str]:
        """
        @return: those of C{uids} that are stored.
        """
        found: set[str] = set()
        for start in range(0, len(uids), 500):
            part = uids[start : start + 500]
            marks = ",".join("?" * len(part))
            rows = self._asking.execute(f"SELECT uid FROM events WHERE uid IN ({marks})", part)  # noqa: S608
            found.update(uid for (uid,) in rows)
        return found

    def _add(self, lines: Iterable[tuple[Place, bytes]]) -> list[str]:
        """
        Take in lines of the log; one that is there already stays.

        @return: their uids.
        """
        rows, words, uids = [], [], []
        for place, line in lines:
            event = _event(line)
            session = str(event.get("sid") or event.get("session_id") or "")
            uid = str(event.get("uid") or f"line-{place.number}")
            uids.append(uid)
            rows.append(
                (
                    *(place.number, uid, _micros(event.get("time"))),
                    *(str(event.get("event", "")), str(event.get("user", "")), session),
                    *(place.file, place.offset, place.length),
                )
            )
            words.append((place.number, " ".join(_texts(event))))
        with self._connection as write:
            write.executemany("INSERT OR IGNORE INTO events VALUES (?,?,?,?,?,?,?,?,?)", rows)
            write.executemany("INSERT INTO words (rowid, line) VALUES (?,?)", words)
        return uids

    def count(self) -> int:
        """
        @return: the number of the last line that was taken in.
        """
        return self._at[0]

    def find(self, query: EventQuery) -> tuple[list[Place], str]:
        """
        @return: a page of places by time, and the start of the next page, empty on the last.
        @raise TeleportError: BAD_PARAMETER, C{start} is not one of ours.
        """
        limit = min(query.limit or DEFAULT_PAGE, MAX_PAGE)
        where, values = _conditions(query)
        order = "DESC" if query.descending else "ASC"
        # the parts of the statement are constants of this module; what the caller sends goes in as values
        sql = (
            f"SELECT number, file, offset, length, time FROM events {where} "  # noqa: S608
            f"ORDER BY time {order}, number {order} LIMIT ?"
        )
        reader = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        try:
            rows = reader.execute(sql, (*values, limit + 1)).fetchall()
        finally:
            reader.close()
        more = len(rows) > limit
        rows = rows[:limit]
        return [Place(*row[:4]) for row in rows], f"{rows[-1][4]}-{rows[-1][0]}" if more else ""

    def close(self) -> None:
        """
        Let go of the file.
        """
        with self._turn:
            for connection in (self._writer, self._known):
                if connection is not None:
                    connection.close()
            self._writer = self._known = None

    @property
    def _asking(self) -> sqlite3.Connection:
        """
        For looking up what is known, beside a writer at work.
        """
        if self._known is None:
            self._known = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, check_same_thread=False)
        return self._known

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._writer is None:
            raise RuntimeError("the index is not open")
        return self._writer

    def _prepared(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=OFF")
            connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection


def _conditions(query: EventQuery) -> tuple[str, list[Any]]:
    parts: list[str] = []
    values: list[Any] = []
    for column, wanted in (("name", query.types), ("user", query.users)):
        if wanted:
            parts.append(f"{column} IN ({','.join('?' * len(wanted))})")
            values += wanted
    if query.session:
        parts.append("sid <> '' AND sid = ?")
        values.append(query.session)
    if query.since is not None:
        parts.append("time >= ?")
        values.append(_as_micros(query.since))
    if query.until is not None:
        parts.append("time < ?")
        values.append(_as_micros(query.until))
    asked = query.text.replace("\0", " ").split()  # at a NUL SQLite stops reading
    words = ['"' + word.replace('"', '""') + '"*' for word in asked if any(map(str.isalnum, word))]
    if words:
        parts.append("number IN (SELECT rowid FROM words WHERE words MATCH ?)")
        values.append(" ".join(words))
    if query.start:
        time, _, number = query.start.partition("-")
        if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (time, number)):
            raise bad_parameter(f"{query.start!r} is not the start of a page")
        parts.append(f"(time, number) {'<' if query.descending else '>'} (?, ?)")
        values += [int(time), int(number)]
    return ("WHERE " + " AND ".join(parts) if parts else ""), values


def _lines(path: Path, offset: int, number: int) -> Iterator[tuple[Place, bytes]]:
    with open(path, "rb") as source:
        source.seek(offset)
        for line in source:
            if line.endswith(b"\n"):
                yield Place(number, path.name, offset, len(line)), line
                number, offset = number + 1, offset + len(line)


def _event(line: bytes) -> dict[str, Any]:
    try:
        return read(line)
    except TeleportError:
        return {}


def _texts(event: dict[str, Any]) -> list[str]:
    found: list[str] = []
    for value in event.values():
        if type(value) is str:
            found.append(value)
        elif value is not None:
            found.extend(_within(value))
    return found


def _within(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _within(item)
    elif value is not None:
        yield str(value)


def _micros(time: Any) -> int:
    try:
        return _as_micros(parse_time(str(time)))
    except Exception:
        return 0  # a line that was changed by hand still gets its place


def _as_micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
