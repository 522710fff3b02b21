"""
What the SQLite backend's writer thread does: conditions judged and items changed inside one open transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import define, field

from teleport_tw.backends.conditions import check_conditions
from teleport_tw.backends.feed import Write
from teleport_tw.backends.interface import Change, ChangeType, Check, Delete, Extend, Item, Operation, Put
from teleport_tw.backends.keys import Key, decode_key, encode_key

SWEEP_ITEMS = 500
"""Removed in one write of the sweep."""

SWEEP_STEP_MICROS = 60 * 1_000_000
"""How far one sweep follows wall time: a clock that jumps ahead deletes what expires in this step, and no more."""

_EPOCH = datetime.fromtimestamp(0, UTC)
_MICRO = timedelta(microseconds=1)


def micros(seconds: float) -> int:
    """
    @return: microseconds since the epoch.
    """
    return round(seconds * 1_000_000)


def from_micros(value: int) -> datetime:
    """
    @return: aware UTC.
    """
    return _EPOCH + value * _MICRO


def _moment(expires: datetime | None) -> int | None:
    return None if expires is None else (expires - _EPOCH) // _MICRO


@define(eq=False, kw_only=True)
class Transaction:
    """
    One group of writes; used in the writer thread alone.

    @ivar revision: of the last write that was committed or applied in the open transaction.
    @ivar now: wall time in seconds.
    """

    connection: sqlite3.Connection
    revision: int
    now: Callable[[], float]
    _committed: int = field(init=False)
    _writes: list[Write] = field(factory=list, init=False)
    _swept_to: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._committed = self.revision
        self._swept_to = micros(self.now())

    def begin(self) -> None:
        """
        Open the group.
        """
        self.connection.execute("BEGIN IMMEDIATE")

    def commit(self) -> list[Write]:
        """
        @return: the writes that are now on disk, in order.
        """
        if self.revision != self._committed:
            self.connection.execute("UPDATE store SET revision = ?", (self.revision,))
        self.connection.execute("COMMIT")
        self._committed = self.revision
        writes, self._writes = self._writes, []
        return writes

    def roll_back(self) -> None:
        """
        Nothing of the group happened.
        """
        self._writes = []
        self.revision = self._committed
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def apply(self, operations: Sequence[Operation]) -> int:
        """
        One batch; nothing is changed unless every condition holds.

        @return: its revision.
        @raise TeleportError: as L{teleport_tw.backends.interface.Backend.batch}.
        """
        now = micros(self.now())
        found: dict[Key, Item] = {}

        def revision_of(key: Key) -> int | None:
            row = self.connection.execute(
                "SELECT value, revision, expires FROM item WHERE key = ?", (encode_key(key),)
            ).fetchone()
            if row is None:
                return None
            value, revision, expires = row
            if expires is not None and expires <= now:
                return None
            found[key] = Item(key, value, revision, None if expires is None else from_micros(expires))
            return int(revision)

        check_conditions(operations, revision_of)
        revision = self.revision + 1
        changes = [
            change for operation in operations if (change := self._change(operation, revision, found)) is not None
        ]
        if not changes:
            return self.revision
        self.revision = revision
        self._writes.append(tuple(changes))
        return revision

    def sweep(self) -> bool:
        """
        Remove what has expired.

        @return: whether there is more to remove.
        """
        now = micros(self.now())
        cutoff = self._swept_to = min(now, self._swept_to + SWEEP_STEP_MICROS)
        rows: list[tuple[Any, ...]] = self.connection.execute(
            "SELECT key, value, expires FROM item WHERE expires <= ? ORDER BY expires LIMIT ?", (cutoff, SWEEP_ITEMS)
        ).fetchall()
        if not rows:
            return False
        self.revision += 1
        self.connection.executemany("DELETE FROM item WHERE key = ?", [(row[0],) for row in rows])
        self._writes.append(
            tuple(
                Change(ChangeType.DELETE, Item(decode_key(key), value, self.revision, from_micros(expires)))
                for key, value, expires in rows
            )
        )
        return len(rows) == SWEEP_ITEMS

    def _change(self, operation: Operation, revision: int, found: dict[Key, Item]) -> Change | None:
        octets = encode_key(operation.key)
        match operation:
            case Put(key, value, expires):
                self.connection.execute(
                    "INSERT INTO item (key, value, revision, expires) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE"
                    " SET value = excluded.value, revision = excluded.revision, expires = excluded.expires",
                    (octets, value, revision, _moment(expires)),
                )
                return Change(ChangeType.PUT, Item(key, value, revision, expires))
            case Extend(key, expires):
                self.connection.execute(
                    "UPDATE item SET revision = ?, expires = ? WHERE key = ?", (revision, _moment(expires), octets)
                )
                return Change(ChangeType.PUT, Item(key, found[key].value, revision, expires))
            case Delete(key):
                if key not in found:
                    return None  # what has expired is left to the sweep, which tells watchers
                self.connection.execute("DELETE FROM item WHERE key = ?", (octets,))
                return Change(ChangeType.DELETE, Item(key, found[key].value, revision, found[key].expires))
            case Check():
                return None
