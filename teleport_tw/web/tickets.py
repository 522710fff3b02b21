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

TICKET_SECONDS = 60.0
MAX_TICKETS = 1000

T = TypeVar("T")


@define(eq=False)
class Tickets(Generic[T]):
    """
    Those that were not used yet.
    """

    clock: IReactorTime
    _open: dict[str, tuple[Secret[str], T, float]] = field(factory=dict, init=False)

    def issue(self, owner: Secret[str], what: T) -> str:
        """
        @param owner: id of the session on the web.
        @return: a word for an address.
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        now = self.clock.seconds()
        for old in [word for word, (_, _, expires) in self._open.items() if expires < now]:
            del self._open[old]
        if len(self._open) >= MAX_TICKETS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many downloads wait to begin; try again in a minute")
        word = secrets.token_urlsafe(24)
        self._open[word] = (owner, what, now + TICKET_SECONDS)
        return word

    def take(self, owner: Secret[str], word: str) -> T:
        """
        @raise TeleportError: NOT_FOUND, used, too old or another's.
        """
        found = self._open.pop(word, None)
        if found is None or found[2] < self.clock.seconds() or found[0] != owner:
            raise TeleportError(Kind.NOT_FOUND, "this download was begun already, or too long ago; ask for it again")
        return found[1]
