"""
Pings, and what is concluded from them: a peer that says nothing at all within the time limit of one is taken for dead.

Whatever arrives counts, not the answer alone, so a peer that is busy with data need not hurry.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from teleport_tw.base.timing import Duration

_PING_EVERY, _PING_TIMEOUT = Duration(seconds=30), Duration(seconds=10)


@frozen(kw_only=True)
class Pace:
    """
    @ivar ping_every: how often to ping.
    @ivar ping_timeout: how long a silent peer may take to answer one; not longer than C{ping_every}.
    """

    ping_every: Duration = _PING_EVERY
    ping_timeout: Duration = _PING_TIMEOUT


DEFAULT_PACE = Pace()


class Heartbeat:
    """
    That of one link.

    @ivar heard: whether anything has come since the last ping; set by whoever reads.
    @ivar rtt: seconds the last answered ping took; zero before the first.
    """

    def __init__(
        self, clock: IReactorTime, pace: Pace, ping: Callable[[], bool], unheard: Callable[[], object]
    ) -> None:
        """
        @param ping: sends one and tells L{pinged}, or does neither where too many are unanswered; returns whether the
            link stands, else there is no next time.
        @param unheard: called when nothing has come in time.
        """
        self.heard = False
        self.rtt = 0.0
        self._clock = clock
        self._every = pace.ping_every.total_seconds()
        self._timeout = pace.ping_timeout.total_seconds()
        self._ping = ping
        self._unheard = unheard
        self._pinged_at = 0.0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """
        The link stands.
        """
        self._timer = self._clock.callLater(self._every, self._beat)

    def stop(self) -> None:
        """
        The link is gone, or going.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def pinged(self) -> None:
        """
        A ping leaves now.
        """
        self._pinged_at = self._clock.seconds()

    def answered(self) -> None:
        """
        The last ping was answered.
        """
        self.rtt = self._clock.seconds() - self._pinged_at

    def _beat(self) -> None:
        self._timer = None
        self.heard = False
        if self._ping():
            self._timer = self._clock.callLater(self._timeout, self._check)

    def _check(self) -> None:
        self._timer = None
        if self.heard:
            self._timer = self._clock.callLater(max(0.0, self._every - self._timeout), self._beat)
        else:
            self._unheard()
