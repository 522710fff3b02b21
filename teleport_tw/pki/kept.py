"""
What was made of an object, kept as long as the same object is asked for again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from attrs import define, field

K = TypeVar("K")
V = TypeVar("V")


@define(eq=False)
class Kept(Generic[K, V]):
    """
    Looked up by which object it is, not by what is in it: that costs nothing, and an equal object is just made again.

    @ivar make: must depend on nothing but the object, which must not change.
    @ivar most: entries; the oldest goes first.
    """

    make: Callable[[K], V]
    most: int = 1000
    _entries: dict[int, tuple[K, V]] = field(factory=dict, init=False)

    def of(self, key: K) -> V:
        """
        @raise Exception: what C{make} raised; nothing is kept then.
        """
        kept = self._entries.get(id(key))
        if kept is None:
            kept = self.put(key, self.make(key))
        return kept[1]

    def put(self, key: K, made: V) -> tuple[K, V]:
        """
        @param made: what C{make} would make of the object.
        """
        if len(self._entries) >= self.most:
            del self._entries[next(iter(self._entries))]
        kept = self._entries[id(key)] = (key, made)  # the entry holds the object, so its id stays its own
        return kept
