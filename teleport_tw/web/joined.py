"""
Which hosts joined through this proxy of late, and by which token: for the page that waits for a new server.

A token is known here by its hash alone.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from datetime import datetime

from attrs import define, field, frozen

from teleport_tw.base.secret import Secret

MAX_TOKENS = 1000
MAX_HOSTS = 100
"""Of one token."""


@frozen(kw_only=True)
class Joining:
    """
    @ivar at: aware UTC.
    """

    host_id: str
    node_name: str
    role: str
    at: datetime


@define(eq=False)
class Joined:
    """
    The last L{MAX_TOKENS} tokens that were used.
    """

    _by_token: OrderedDict[str, list[Joining]] = field(factory=OrderedDict, init=False)

    def note(self, token: Secret[str], joining: Joining) -> None:
        """
        A host was let in.
        """
        key = handle_of(token)
        hosts = self._by_token.pop(key, [])
        hosts = [each for each in hosts if (each.host_id, each.role) != (joining.host_id, joining.role)]
        self._by_token[key] = [*hosts, joining][-MAX_HOSTS:]
        while len(self._by_token) > MAX_TOKENS:
            self._by_token.popitem(last=False)

    def by(self, handle: str) -> list[Joining]:
        """
        @return: oldest first.
        """
        return list(self._by_token.get(handle, ()))


def handle_of(token: Secret[str]) -> str:
    """
    @return: what a page calls a token by, of no use to join.
    """
    return hashlib.sha256(b"token " + token.reveal().encode()).hexdigest()[:32]
