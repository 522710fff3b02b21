"""
The reference backend, in memory: what tests and a throw-away cluster use.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from datetime import datetime
from heapq import heappop, heappush

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.conditions import check_conditions, check_limit, check_operations, closed, named
from teleport_tw.backends.feed import Feed
from teleport_tw.backends.interface import (
    MAX_PAGE,
    Change,
    ChangeType,
    Check,
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
from teleport_tw.backends.keys import Key, encode_key, make_key, span_of
from teleport_tw.base.errors import not_found
from teleport_tw.base.timing import from_timestamp


@define(eq=False)
class MemoryBackend:
    """
    What has expired is swept with every write and by L{sweep}.

    @ivar _clock: wall time.
    @ivar _expiring: a heap; entries whose item was written since are passed over.
    """

    _clock: IReactorTime
    _items: dict[bytes, Item] = field(factory=dict, init=False)
    _order: list[bytes] = field(factory=list, init=False)
    _expiring: list[tuple[datetime, bytes]] = field(factory=list, init=False)
    _feed: Feed = field(factory=lambda: Feed(0), init=False)
    _closed: bool = field(default=False, init=False)

    async def get(self, key: Key) -> Item:
        """
        @see: L{teleport_tw.backends.interface.Backend.get}; as for all methods below.
        """
        self._check_open()
        item = self._living(encode_key(make_key(key)))
        if item is None:
            raise not_found(f"{named(key)} is not found")
        return item

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
        self._check_open()
        check_limit(limit)
        first, past = bounds(prefix, start, end, start_after, descending)
        low, high = bisect_left(self._order, first), bisect_left(self._order, past)
        found: list[Item] = []
        for position in range(high - 1, low - 1, -1) if descending else range(low, high):
            item = self._living(self._order[position])
            if item is not None:
                if len(found) == limit:
                    return Page(tuple(found), True, self._feed.revision)
                found.append(item)
        return Page(tuple(found), False, self._feed.revision)

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
        self._check_open()
        check_operations(operations)
        self.sweep()

        def revision_of(key: Key) -> int | None:
            item = self._living(encode_key(key))
            return None if item is None else item.revision

        check_conditions(operations, revision_of)
        revision, changes = self._feed.revision + 1, []
        for operation in operations:
            change = self._apply(operation, revision)
            if change is not None:
                changes.append(change)
        if not changes:
            return self._feed.revision
        self._feed.tell(tuple(changes))
        return revision

    def watch(self, prefixes: Sequence[Key], from_revision: int | None = None) -> Watch:
        return self._feed.watch(prefixes, from_revision)

    async def close(self) -> None:
        self._closed = True
        self._feed.close()

    def sweep(self) -> None:
        """
        Remove what has expired and tell watchers.
        """
        now = from_timestamp(self._clock.seconds())
        gone: set[bytes] = set()
        while self._expiring and self._expiring[0][0] <= now:
            expires, octets = heappop(self._expiring)
            item = self._items.get(octets)
            if item is not None and item.expires == expires:
                gone.add(octets)
        if gone:
            revision = self._feed.revision + 1
            self._feed.tell(tuple(self._remove(octets, revision) for octets in sorted(gone)))

    def _apply(self, operation: Operation, revision: int) -> Change | None:
        octets = encode_key(operation.key)
        match operation:
            case Put(key, value, expires):
                return self._store(octets, Item(key, bytes(value), revision, expires))
            case Extend(_, expires):
                return self._store(octets, evolve(self._items[octets], revision=revision, expires=expires))
            case Delete():
                return self._remove(octets, revision) if octets in self._items else None
            case Check():
                return None

    def _store(self, octets: bytes, item: Item) -> Change:
        if octets not in self._items:
            insort(self._order, octets)
        self._items[octets] = item
        if item.expires is not None:
            heappush(self._expiring, (item.expires, octets))
        return Change(ChangeType.PUT, item)

    def _remove(self, octets: bytes, revision: int) -> Change:
        item = self._items.pop(octets)
        del self._order[bisect_left(self._order, octets)]
        return Change(ChangeType.DELETE, evolve(item, revision=revision))

    def _living(self, octets: bytes) -> Item | None:
        item = self._items.get(octets)
        if item is None or (item.expires is not None and item.expires.timestamp() <= self._clock.seconds()):
            return None
        return item

    def _check_open(self) -> None:
        if self._closed:
            raise closed()


def bounds(prefix: Key, start: str, end: str, start_after: Key, descending: bool) -> tuple[bytes, bytes]:
    """
    @return: the first encoded key wanted and the first past what is wanted, both in ascending order.
    """
    first, past = span_of(prefix)
    if start:
        first = max(first, encode_key((*prefix, start)))
    if end:
        past = min(past, encode_key((*prefix, end)))
    if start_after:
        last = encode_key(start_after)
        if descending:
            past = min(past, last)
        else:
            first = max(first, last + b"\x00")
    return first, past
