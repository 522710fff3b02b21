"""
Heartbeats by a clock of the test's own.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.dial.heartbeats import AGAIN_SECONDS, GOODBYE_SECONDS, HEARTBEAT, SPREAD, Heartbeats, goodbye

PERIOD = HEARTBEAT.total_seconds()


class HeartbeatsTests(SynchronousTestCase):
    """
    When something is told.
    """

    def setUp(self) -> None:
        self.clock, self.told = Clock(), 0
        self.during: list[Any] = []
        self.beats = Heartbeats(tell=self.tell, clock=self.clock, what="the test")
        self.running = Deferred.fromCoroutine(self.beats.run())

    async def tell(self) -> None:
        self.told += 1
        if self.during:
            await self.during.pop()()

    def test_again_and_again(self) -> None:
        """At once, and about every minute."""
        self.assertEqual(self.told, 1)
        for number in range(1, 5):
            self.clock.advance(PERIOD * (1 - SPREAD) - 1)
            self.assertEqual(self.told, number)
            self.clock.advance(PERIOD * 2 * SPREAD + 2)
            self.assertEqual(self.told, number + 1)

    def test_soon(self) -> None:
        """What changes while nothing is told is told at once, once."""
        self.beats.soon()
        self.assertEqual(self.told, 2)
        self.clock.advance(PERIOD * (1 - SPREAD) - 1)
        self.assertEqual(self.told, 2)

    def test_a_change_while_it_is_told(self) -> None:
        """Is told right after, since what went out may not have had it."""
        answer: Deferred[None] = Deferred()

        async def slow() -> None:
            await answer

        self.during.append(slow)
        self.beats.soon()
        self.assertEqual(self.told, 2)
        self.beats.soon()
        self.assertEqual(self.told, 2)
        answer.callback(None)
        self.assertEqual(self.told, 3)

    def test_auth_is_away(self) -> None:
        """It is tried again soon."""

        async def refused() -> None:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "away")

        self.during.append(refused)
        self.beats.soon()
        self.clock.advance(AGAIN_SECONDS)
        self.assertEqual(self.told, 3)

    def test_the_end(self) -> None:
        """Nothing goes on after it was cancelled, whatever changes."""
        self.running.cancel()
        self.failureResultOf(self.running, CancelledError)
        self.beats.soon()
        self.clock.advance(2 * PERIOD)
        self.assertEqual(self.told, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class GoodbyeTests(SynchronousTestCase):
    """
    Nobody waits for it for long.
    """

    def test_goodbye(self) -> None:
        """All names are told; one that auth does not answer ends it in time."""
        left: list[tuple[str, str]] = []

        class Auth:
            async def goodbye(self, kind: str, name: str) -> None:
                left.append((kind, name))
                if name == "mute":
                    await Deferred()

        api, clock = Auth(), Clock()
        self.successResultOf(Deferred.fromCoroutine(goodbye(api, "node", ("a", "b"), clock)))  # type: ignore[arg-type]
        self.assertEqual(left, [("node", "a"), ("node", "b")])
        slow = Deferred.fromCoroutine(goodbye(api, "node", ("mute", "c"), clock))  # type: ignore[arg-type]
        self.assertNoResult(slow)
        clock.advance(GOODBYE_SECONDS)
        self.successResultOf(slow)
        self.assertEqual(clock.getDelayedCalls(), [])
