"""
How much one address may ask for: requests per time, and connections at once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.base.errors import Kind, TeleportError

MAX_KEYS = 100_000
"""So many addresses are remembered; of more, the one that was quiet longest is forgotten (some 20 MB at the most)."""


@define(eq=False)
class RateLimit:
    """
    A token bucket for each key.

    @ivar per_minute: how fast a bucket refills.
    @ivar burst: how much it holds.
    """

    clock: IReactorTime
    per_minute: float
    burst: int
    max_keys: int = MAX_KEYS
    _buckets: OrderedDict[str, tuple[float, float]] = field(factory=OrderedDict, init=False)

    def allows(self, key: str) -> bool:
        """
        Take one token.

        @param key: an address without port, or whatever is counted.
        @return: whether there was one.
        """
        now = self.clock.seconds()
        level, then = self._buckets.pop(key, (float(self.burst), now))
        level = min(float(self.burst), level + max(0.0, now - then) * self.per_minute / 60)
        allowed = level >= 1
        self._buckets[key] = (level - 1 if allowed else level, now)
        if len(self._buckets) > self.max_keys:
            self._buckets.popitem(last=False)
        return allowed

    def take(self, key: str) -> None:
        """
        As L{allows}.

        @raise TeleportError: LIMIT_EXCEEDED.
        """
        if not self.allows(key):
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many requests from this address; try again in a minute")


@define(eq=False)
class ConnectionLimit:
    """
    Counts what is open at once for each key.

    @ivar most: for one key.
    """

    most: int
    _open: dict[str, int] = field(factory=dict, init=False)

    def acquire(self, key: str) -> bool:
        """
        @return: whether one more is allowed; then L{release} must follow once.
        """
        count = self._open.get(key, 0)
        if count >= self.most:
            return False
        self._open[key] = count + 1
        return True

    def full(self, key: str) -> bool:
        """
        @return: whether L{acquire} would say no now.
        """
        return self._open.get(key, 0) >= self.most

    def release(self, key: str) -> None:
        """
        One of C{key}'s has ended.
        """
        count = self._open[key] - 1
        if count:
            self._open[key] = count
        else:
            del self._open[key]

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        if not self.acquire(key):
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"more than {self.most} connections at once from this address")
        try:
            yield
        finally:
            self.release(key)
