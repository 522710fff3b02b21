"""
Places that all sign-ins share: a bounded number, of which one sign-in has a small part and never those of the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret


@define(eq=False, kw_only=True)
class Places:
    """
    Those that are taken, by whom.

    @ivar of_all: there are so many.
    @ivar of_one: so many of them for one sign-in.
    @ivar what: one takes them for, in the plural, as C{"recordings are being watched"}.
    """

    of_all: int
    of_one: int
    what: str
    _taken: Counter[Secret[str]] = field(factory=Counter, init=False)

    def take(self, owner: Secret[str]) -> None:
        """
        @param owner: id of the session on the web.
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        if self._taken[owner] >= self.of_one:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"{self.of_one} {self.what} by you already; end one first")
        if self._taken.total() >= self.of_all:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"too many {self.what} here; try again in a minute")
        self._taken[owner] += 1

    def give(self, owner: Secret[str]) -> None:
        """
        One is free again.
        """
        self._taken[owner] -= 1
        if self._taken[owner] <= 0:
            del self._taken[owner]

    @contextmanager
    def taken(self, owner: Secret[str]) -> Iterator[None]:
        """
        One place, as long as the block runs.

        @raise TeleportError: LIMIT_EXCEEDED.
        """
        self.take(owner)
        try:
            yield
        finally:
            self.give(owner)

    def __len__(self) -> int:
        return self._taken.total()
