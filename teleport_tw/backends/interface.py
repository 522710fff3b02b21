"""
The contract of every key-value driver.

Each successful write moves the store's revision on by one; an item carries the revision of the write that made it.
Revisions are positive, only grow, and are compared for equality and order alone. A batch has one revision and is seen
by readers and watchers whole or not at all. An item with an expiry is gone from that moment on, whether or not a
sweep has removed it yet; the sweep tells watchers.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import Protocol, Self

from attrs import field, frozen

from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import Kind, TeleportError

MAX_VALUE_BYTES = 1_000_000
"""Of one item; a resource is text for people, and etcd refuses requests past 1.5 MB."""

MAX_BATCH = 128
"""Operations in one batch: etcd's default bound."""

MAX_PAGE = 1000
"""Items in one page of a range."""


@frozen
class Item:
    """
    @ivar expires: aware UTC; C{None} means never.
    @ivar revision: of the write that made it.
    """

    key: Key
    value: bytes = field(repr=False)
    revision: int
    expires: datetime | None = None


@frozen
class Page:
    """
    @ivar more: whether there are further items; ask again with C{start_after} the last key.
    @ivar revision: the store's revision when the page was read.
    """

    items: tuple[Item, ...]
    more: bool
    revision: int


class Condition(Enum):
    """
    What must be true of a key before an operation, where that is not one exact revision.
    """

    ANY = "any"
    ABSENT = "absent"
    PRESENT = "present"


Expected = Condition | int
"""A condition, or the one revision that the item must have."""


@frozen
class Put:
    """
    Write an item.

    @ivar expires: aware UTC; a moment in the past writes an item that nobody sees.
    """

    key: Key
    value: bytes = field(repr=False)
    expires: datetime | None = None
    expected: Expected = Condition.ANY


@frozen
class Delete:
    """
    Remove an item; with L{Condition.ANY}, an absent one is left absent.
    """

    key: Key
    expected: Expected = Condition.PRESENT


@frozen
class Check:
    """
    Change nothing, but fail the batch unless the condition holds.
    """

    key: Key
    expected: Expected


@frozen
class Extend:
    """
    Give an item another expiry and leave its value alone: the cheap half of a heartbeat. Watchers see a PUT.
    """

    key: Key
    expires: datetime | None
    expected: Expected = Condition.PRESENT


Operation = Put | Delete | Check | Extend


class ChangeType(Enum):
    """
    What became of an item.
    """

    PUT = "put"
    DELETE = "delete"


@frozen
class Change:
    """
    @ivar item: as it is now; for DELETE as it last was, with the revision of the deletion.
    """

    type: ChangeType
    item: Item


class WatchLost(TeleportError):
    """
    The watcher missed changes: it was too slow, or asked for a revision that is no longer kept. List again.
    """

    def __init__(self, message: str) -> None:
        super().__init__(Kind.CONNECTION_PROBLEM, message)


class Watch(Protocol):
    """
    An open watch; each turn gives the changes of one or more whole writes, oldest first.

    The iteration ends when the watch or the backend is closed, and fails with L{WatchLost} when changes were missed.

    @ivar revision: every change after this revision is told.
    """

    revision: int

    def __aiter__(self) -> Self: ...

    async def __anext__(self) -> tuple[Change, ...]: ...

    def close(self) -> None:
        """
        Stop; a waiting turn ends. Closing twice is harmless.
        """
        ...


class Backend(Protocol):
    """
    One key-value store. Every call may raise TeleportError: BAD_PARAMETER for a bad key or a value above
    L{MAX_VALUE_BYTES}, CONNECTION_PROBLEM when the store cannot be reached or written.
    """

    async def get(self, key: Key) -> Item:
        """
        @raise TeleportError: NOT_FOUND.
        """
        ...

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
        """
        Items below a prefix in the order of their keys.

        @param start: the first component below the prefix to give, inclusive; empty means from the beginning.
        @param end: where to stop, exclusive; empty means at the end. Both are ends of the ascending order.
        @param start_after: the last key of the page before.
        @param limit: 1 to L{MAX_PAGE}.
        """
        ...

    async def put(self, key: Key, value: bytes, expires: datetime | None = None) -> int:
        """
        Write, whatever was there.

        @return: the item's revision, as for the calls below.
        """
        ...

    async def create(self, key: Key, value: bytes, expires: datetime | None = None) -> int:
        """
        @raise TeleportError: ALREADY_EXISTS.
        """
        ...

    async def compare_and_swap(self, key: Key, expected: int, value: bytes, expires: datetime | None = None) -> int:
        """
        @param expected: the revision that must be there.
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED, it has another revision.
        """
        ...

    async def delete(self, key: Key, expected: Expected = Condition.PRESENT) -> int:
        """
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED, it has another revision.
        """
        ...

    async def keep_alive(self, key: Key, expires: datetime, expected: Expected = Condition.PRESENT) -> int:
        """
        Move an item's expiry.

        @raise TeleportError: NOT_FOUND, it has expired or never was.
        """
        ...

    async def batch(self, operations: Sequence[Operation]) -> int:
        """
        All of them or none, each key at most once.

        @param operations: 1 to L{MAX_BATCH}.
        @return: the revision of every item written.
        @raise TeleportError: as the single call would, for the first condition that does not hold.
        """
        ...

    def watch(self, prefixes: Sequence[Key], from_revision: int | None = None) -> Watch:
        """
        Changes below any of the prefixes, from now or after a revision.

        @param from_revision: tell every change after it; C{None} means those after this call.
        """
        ...

    async def close(self) -> None:
        """
        Finish what was accepted, end every watch, free files. Later calls fail with CONNECTION_PROBLEM.
        """
        ...
