"""
That something is alive is told to the cluster again and again, at once when it has changed, and that it leaves at the
end.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from teleport_tw.api.contract import Presence
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import Duration

HEARTBEAT = Duration(minutes=1)
LEASE = Duration(minutes=10)
"""What is told of no more leaves the lists so much later."""

AGAIN_SECONDS = 5.0
"""After a heartbeat that auth did not take."""


GOODBYE_SECONDS = 3.0
"""How long a stopping service waits until auth has heard that it leaves."""

SPREAD = 0.1
"""How much earlier or later a heartbeat may be, of its period: so that hosts which started together drift apart."""

_log = Logger()


@define(eq=False, kw_only=True)
class Heartbeats:
    """
    The loop; who runs it ends it by cancelling.

    @ivar tell: one heartbeat.
    @ivar what: for the log: whose they are.
    """

    tell: Callable[[], Awaitable[None]]
    clock: Any
    what: str
    every: Duration = HEARTBEAT
    _poke: Deferred[None] | None = field(default=None, init=False)
    _stale: bool = field(default=False, init=False)

    async def run(self) -> None:
        """
        The first at once.
        """
        while True:
            self._stale = False
            wait = self.every.total_seconds() * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311  # it hides nothing
            try:
                await self.tell()
            except TeleportError as error:
                _log.warn("auth did not hear of {what}: {error}", what=self.what, error=error.message)
                wait = min(wait, AGAIN_SECONDS)
            if self._stale:
                continue
            self._poke = Deferred()
            await self._poke.addTimeout(wait, self.clock, onTimeoutCancel=lambda *_: None)
            self._poke = None

    def soon(self) -> None:
        """
        Something has changed that the cluster should know before the next one.
        """
        self._stale = True
        poke, self._poke = self._poke, None
        if poke is not None:
            poke.callback(None)


async def goodbye(api: Presence, kind: str, names: Iterable[str], clock: Any) -> None:
    """
    They leave the list at once; where auth does not hear of it, when their leases end.
    """
    try:
        for name in names:
            await Deferred.fromCoroutine(api.goodbye(kind, name)).addTimeout(GOODBYE_SECONDS, clock)
    except Exception as error:
        _log.debug("auth did not hear that {kind} leaves: {error}", kind=kind, error=repr(error))
