"""
Addresses from which the browser itself fetches a file: once, soon, and only for the session that asked.

A link cannot carry the bearer; what it leads to was allowed, and worded, when the page asked for the ticket.
"""

from __future__ import annotations

import secrets
from typing import Generic, TypeVar

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.web.places import Places

TICKET_SECONDS = 60.0
"""From asking for a download to the browser's fetching it."""

MAX_TICKETS = 1000
MAX_OF_ONE = 50
"""Of one sign-in: so many files may be picked at once."""

T = TypeVar("T")


@define(eq=False)
class Tickets(Generic[T]):
    """
    Those that were not used yet.
    """

    clock: IReactorTime
    _open: dict[str, tuple[Secret[str], T, float]] = field(factory=dict, init=False)
    _places: Places = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._places = Places(of_all=MAX_TICKETS, of_one=MAX_OF_ONE, what="downloads wait to begin")

    def issue(self, owner: Secret[str], what: T) -> str:
        """
        @param owner: id of the session on the web.
        @return: a word for an address.
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        now = self.clock.seconds()
        for old in [word for word, (_, _, expires) in self._open.items() if expires < now]:
            self._drop(old)
        self._places.take(owner)
        word = secrets.token_urlsafe(24)
        self._open[word] = (owner, what, now + TICKET_SECONDS)
        return word

    def look(self, owner: Secret[str], word: str) -> T:
        """
        Without using it up.

        @raise TeleportError: NOT_FOUND, used, too old or another's.
        """
        found = self._open.get(word)
        if found is None or found[2] < self.clock.seconds() or found[0] != owner:
            raise TeleportError(Kind.NOT_FOUND, "this download was begun already, or too long ago; ask for it again")
        return found[1]

    def take(self, owner: Secret[str], word: str) -> T:
        """
        @raise TeleportError: NOT_FOUND, as of L{look}; who has another's address does not use it up.
        """
        what = self.look(owner, word)
        self._drop(word)
        return what

    def signed_out(self, owner: Secret[str]) -> None:
        """
        What a session on the web asked for is not fetched any more.
        """
        for word in [word for word, (whose, _, _) in self._open.items() if whose == owner]:
            self._drop(word)

    def clear(self) -> None:
        """
        None is left.
        """
        for word in tuple(self._open):
            self._drop(word)

    def _drop(self, word: str) -> None:
        self._places.give(self._open.pop(word)[0])
