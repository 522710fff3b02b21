"""
Changes on their way to watchers, for drivers that see every write themselves.

The feed keeps the last writes for watchers that resume. Each watcher has a queue with a bound; one that falls further
behind loses the watch and lists again, rather than holding everybody's memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Self

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred

from teleport_tw.backends.interface import Change, WatchLost
from teleport_tw.backends.keys import Key, is_below

HISTORY_CHANGES = 8192
"""Kept for watchers that resume; a few seconds of the fastest writing."""

HISTORY_BYTES = 16 * 1024 * 1024
"""Of the values kept for watchers that resume."""

QUEUE_CHANGES = 65_536
"""Unread changes of one watcher: more than the first heartbeats of 50,000 nodes in one go."""

QUEUE_BYTES = 64 * 1024 * 1024
"""Unread bytes of one watcher."""

TURN_CHANGES = 512
"""Changes handed over in one turn, about; whole writes."""

Write = tuple[Change, ...]


@define(eq=False)
class Feed:
    """
    @ivar revision: of the last write told.
    """

    revision: int
    _history: deque[Write] = field(factory=deque, init=False)
    _history_changes: int = field(default=0, init=False)
    _history_bytes: int = field(default=0, init=False)
    _forgotten: int = field(init=False)
    _watches: set[FeedWatch] = field(factory=set, init=False)
    _closed: bool = field(default=False, init=False)

    @_forgotten.default
    def _nothing_before_start(self) -> int:
        return self.revision

    def tell(self, changes: Write) -> None:
        """
        @param changes: of one write, all with its revision, which is above that of the last write.
        """
        self.revision = changes[0].item.revision
        self._history.append(changes)
        self._history_changes += len(changes)
        self._history_bytes += _size(changes)
        while self._history_changes > HISTORY_CHANGES or self._history_bytes > HISTORY_BYTES:
            old = self._history.popleft()
            self._forgotten = old[0].item.revision
            self._history_changes -= len(old)
            self._history_bytes -= _size(old)
        for watch in tuple(self._watches):
            watch.tell(changes)

    def watch(self, prefixes: Iterable[Key], from_revision: int | None) -> FeedWatch:
        """
        @see: L{teleport_tw.backends.interface.Backend.watch}
        """
        watch = FeedWatch(self, tuple(prefixes), self.revision if from_revision is None else from_revision)
        if self._closed:
            watch.close()
            return watch
        if from_revision is not None:
            if not self._forgotten <= from_revision <= self.revision:
                watch.lose(f"changes since revision {from_revision} are no longer kept; list again")
                return watch
            for write in self._history:
                if write[0].item.revision > from_revision:
                    watch.tell(write)
        self._watches.add(watch)
        return watch

    def forget(self, watch: FeedWatch) -> None:
        """
        The watch wants no more.
        """
        self._watches.discard(watch)

    def close(self) -> None:
        """
        End every watch after what it has queued.
        """
        self._closed = True
        for watch in tuple(self._watches):
            watch.close()

    @property
    def watchers(self) -> int:
        """
        How many watches are open.
        """
        return len(self._watches)


@define(eq=False)
class FeedWatch:
    """
    @ivar revision: every change after it is told.
    """

    _feed: Feed
    _prefixes: tuple[Key, ...]
    revision: int
    _queue: deque[Write] = field(factory=deque, init=False)
    _queued_changes: int = field(default=0, init=False)
    _queued_bytes: int = field(default=0, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)
    _lost: WatchLost | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def tell(self, changes: Write) -> None:
        """
        Queue what of a write concerns this watch.
        """
        mine = tuple(c for c in changes if any(is_below(c.item.key, prefix) for prefix in self._prefixes))
        if not mine:
            return
        self._queued_changes += len(mine)
        self._queued_bytes += _size(mine)
        if self._queued_changes > QUEUE_CHANGES or self._queued_bytes > QUEUE_BYTES:
            self.lose("the watcher was too slow and missed changes; list again")
            return
        self._queue.append(mine)
        self._wake()

    def lose(self, reason: str) -> None:
        """
        Changes were missed: the iteration fails.
        """
        self._lost = WatchLost(reason)
        self._queue.clear()
        self._feed.forget(self)
        self._wake()

    def close(self) -> None:
        """
        Stop; a waiting turn ends.
        """
        self._closed = True
        self._feed.forget(self)
        self._wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Change, ...]:
        while not self._queue:
            if self._lost is not None:
                raise self._lost
            if self._closed:
                raise StopAsyncIteration
            waiting = self._waiting = Deferred(self._cancelled)
            await waiting
        turn: list[Change] = list(self._queue.popleft())
        while self._queue and len(turn) < TURN_CHANGES:
            turn += self._queue.popleft()
        self._queued_changes -= len(turn)
        self._queued_bytes -= _size(turn)
        return tuple(turn)

    def _cancelled(self, waiting: Deferred[None]) -> None:
        self._waiting = None
        self.close()
        waiting.errback(CancelledError())

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


def _size(changes: Iterable[Change]) -> int:
    return sum(len(change.item.value) for change in changes)
