"""
The embedded backend: one SQLite file, for a cluster with a single auth service.

Two threads of its own. The writer takes whatever writes are queued, up to a bound, judges and applies them one after
the other in a single transaction, commits, and only then answers them all: many writers share one flush to disk, and
what was acknowledged survives a crash of the process and, with C{synchronous=FULL}, of the machine. The reader has a
connection of its own, so in WAL mode reads never wait for a flush. Changes reach watchers from the writer, after the
commit and in its order.

Expiry is judged against wall time whenever an item is looked at. The sweep that removes what has expired follows wall
time by at most a minute each second, so that a clock that jumps ahead for a moment hides items and deletes few.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from teleport_tw.backends.conditions import check_limit, check_operations, closed, named
from teleport_tw.backends.feed import Feed, Write
from teleport_tw.backends.interface import (
    MAX_PAGE,
    Condition,
    Delete,
    Expected,
    Extend,
    Item,
    Operation,
    Page,
    Put,
    Watch,
)
from teleport_tw.backends.keys import Key, decode_key, encode_key, make_key
from teleport_tw.backends.memory import bounds
from teleport_tw.backends.schema import steps, upgrade
from teleport_tw.backends.sqlite_writer import Transaction, from_micros, micros
from teleport_tw.backends.worker import Reactor, Worker
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found

SWEEP_SECONDS = 1.0
"""Between two sweeps for what has expired."""

JOURNALS = ("DELETE", "TRUNCATE", "PERSIST", "WAL")
SYNCS = ("OFF", "NORMAL", "FULL", "EXTRA")

BUSY_SECONDS = 10.0
"""How long a statement waits for a lock of an operator's own C{sqlite3}."""


@define(eq=False)
class SqliteBackend:
    """
    Open it with L{open_sqlite}.
    """

    path: Path
    _reactor: Reactor
    _lock: int
    _writer: Worker
    _reader: Worker
    _transaction: Transaction
    _read: sqlite3.Connection
    _feed: Feed
    _sweeping: IDelayedCall | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)
    _log = Logger()

    async def get(self, key: Key) -> Item:
        """
        @see: L{teleport_tw.backends.interface.Backend.get}; as for all methods below.
        """
        octets = encode_key(make_key(key))
        self._check_open()
        rows = await self._reader.run(lambda: self._select(octets))
        if not rows:
            raise not_found(f"{named(key)} is not found")
        return _item(rows[0])

    async def range(
        self,
        prefix: Key,
        *,
        start: str = "",
        end: str = "",
        start_after: Key = (),
        limit: int = MAX_PAGE,
        descending: bool = False,
    ) -> Page:
        check_limit(limit)
        first, past = bounds(prefix, start, end, start_after, descending)
        self._check_open()
        rows, revision = await self._reader.run(lambda: self._select_range(first, past, limit + 1, descending))
        return Page(tuple(map(_item, rows[:limit])), len(rows) > limit, revision)

    async def put(self, key: Key, value: bytes, expires: datetime | None = None) -> int:
        return await self.batch((Put(key, value, expires),))

    async def create(self, key: Key, value: bytes, expires: datetime | None = None) -> int:
        return await self.batch((Put(key, value, expires, Condition.ABSENT),))

    async def compare_and_swap(self, key: Key, expected: int, value: bytes, expires: datetime | None = None) -> int:
        return await self.batch((Put(key, value, expires, expected),))

    async def delete(self, key: Key, expected: Expected = Condition.PRESENT) -> int:
        return await self.batch((Delete(key, expected),))

    async def keep_alive(self, key: Key, expires: datetime, expected: Expected = Condition.PRESENT) -> int:
        return await self.batch((Extend(key, expires, expected),))

    async def batch(self, operations: Sequence[Operation]) -> int:
        check_operations(operations)
        self._check_open()
        taken = tuple(operations)
        return await self._writer.run(lambda: self._transaction.apply(taken))

    def watch(self, prefixes: Sequence[Key], from_revision: int | None = None) -> Watch:
        return self._feed.watch(prefixes, from_revision)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._sweeping is not None and self._sweeping.active():
            self._sweeping.cancel()
        await self._writer.stop(self._transaction.connection.close)
        await self._reader.stop(self._read.close)
        self._feed.close()
        os.close(self._lock)

    def start_sweeping(self) -> None:
        """
        Remove what has expired, now and then until the backend is closed.
        """
        self._sweeping = self._reactor.callLater(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        def swept(more: bool) -> None:
            if not self._closed:
                self._sweeping = self._reactor.callLater(0 if more else SWEEP_SECONDS, self._sweep)

        def failed(failure: Any) -> None:
            self._log.error("expired items cannot be removed: {reason}", reason=failure.getErrorMessage())
            swept(False)

        self._writer.run(self._transaction.sweep).addCallbacks(swept, failed)

    def _select(self, octets: bytes) -> list[tuple[Any, ...]]:
        now = micros(self._reactor.seconds())
        return self._read.execute(f"{_COLUMNS} WHERE key = ? AND {_LIVING}", (octets, now)).fetchall()

    def _select_range(
        self, first: bytes, past: bytes, limit: int, descending: bool
    ) -> tuple[list[tuple[Any, ...]], int]:
        now = micros(self._reactor.seconds())
        self._read.execute("BEGIN")
        try:
            order = "DESC" if descending else "ASC"
            rows = self._read.execute(
                f"{_COLUMNS} WHERE key >= ? AND key < ? AND {_LIVING} ORDER BY key {order} LIMIT ?",
                (first, past, now, limit),
            ).fetchall()
            ((revision,),) = self._read.execute("SELECT revision FROM store").fetchall()
        finally:
            self._read.execute("COMMIT")
        return rows, revision

    def _check_open(self) -> None:
        if self._closed:
            raise closed()


_COLUMNS = "SELECT key, value, revision, expires FROM item"
_LIVING = "(expires IS NULL OR expires > ?)"


def open_sqlite(
    path: Path, reactor: Reactor, *, journal: str = "WAL", synchronous: str = "FULL", max_pages: int = 0
) -> SqliteBackend:
    """
    Open or create the file; blocks for the moment this takes.

    @param path: of the file; its folder must exist.
    @param reactor: where answers are given; its clock is wall time.
    @param journal: of L{JOURNALS}.
    @param synchronous: of L{SYNCS}; below FULL a crash of the machine may lose acknowledged writes.
    @param max_pages: the largest size of the file in SQLite's pages; zero for its own bound.
    @raise TeleportError: ALREADY_EXISTS, another process has it open; CONNECTION_PROBLEM, it cannot be read or
        written; BAD_PARAMETER, it was written by a later version.
    """
    if journal.upper() not in JOURNALS:
        raise bad_parameter(f"storage.journal must be one of {', '.join(JOURNALS)}, not {journal!r}")
    if synchronous.upper() not in SYNCS:
        raise bad_parameter(f"storage.sync must be one of {', '.join(SYNCS)}, not {synchronous!r}")
    try:
        lock = _take_lock(path)
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    try:
        write = _connect(path)
        try:
            path.chmod(0o600)
            write.execute(f"PRAGMA journal_mode = {journal}")
            write.execute(f"PRAGMA synchronous = {synchronous}")
            if max_pages:
                write.execute(f"PRAGMA max_page_count = {max_pages:d}")
            upgrade(write, path, steps())
            ((revision,),) = write.execute("SELECT revision FROM store").fetchall()
            read = _connect(path)
            read.execute("PRAGMA query_only = ON")
        except BaseException:
            write.close()
            raise
    except (sqlite3.Error, OSError) as error:
        os.close(lock)
        raise _unusable(path, str(error)) from error
    except BaseException:
        os.close(lock)
        raise
    feed = Feed(revision)
    transaction = Transaction(connection=write, revision=revision, now=reactor.seconds)

    def tell(writes: list[Write]) -> None:
        for each in writes:
            feed.tell(each)

    def broken(error: Exception) -> Exception:
        return _unusable(path, str(error)) if isinstance(error, sqlite3.Error) else error

    writer = Worker(name="sqlite-writer", reactor=reactor, around=transaction, told=tell, broken=broken)
    reader = Worker(name="sqlite-reader", reactor=reactor, broken=broken)
    backend = SqliteBackend(path, reactor, lock, writer, reader, transaction, read, feed)
    backend.start_sweeping()
    return backend


def _take_lock(path: Path) -> int:
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise TeleportError(
            Kind.ALREADY_EXISTS,
            f"{path} is open in another process; one auth service at a time keeps its state in a SQLite file",
        ) from error
    return lock


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)


def _unusable(path: Path, reason: str) -> TeleportError:
    return TeleportError(
        Kind.CONNECTION_PROBLEM, f"the state file {path} cannot be used: {reason}; check free space and permissions"
    )


def _item(row: tuple[Any, ...]) -> Item:
    key, value, revision, expires = row
    return Item(decode_key(key), value, revision, None if expires is None else from_micros(expires))
