"""
Which sessions run, as an agent tells the cluster.
"""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.tracking import TTL, Trackers
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.sessions import Participant, Session, State

SESSION = Session(name="s1", session_kind="db", hostname="orders", host_user="alice")


class Auth:
    """
    Notes what it is told.
    """

    def __init__(self) -> None:
        self.told: list[Resource] = []
        self.left: list[str] = []
        self.answer: Deferred[None] | None = None
        self.away = False

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        if self.away:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")
        self.told.append(resource)
        if self.answer is not None:
            await self.answer

    async def goodbye(self, kind: str, name: str) -> None:
        self.left.append(name)


class TrackersTests(SynchronousTestCase):
    """
    By a clock of the test's own.
    """

    def setUp(self) -> None:
        self.clock, self.auth = Clock(), Auth()
        self.trackers = Trackers(self.auth, self.clock)

    def test_life(self) -> None:
        """Told at once, again before it would be forgotten, when it changes, and at its end."""
        self.trackers.begin(SESSION)
        self.assertEqual([Session.parse(each) for each in self.auth.told], [SESSION])
        self.clock.advance(TTL.total_seconds() / 2)
        self.assertEqual(len(self.auth.told), 2)
        bob = Participant(id="p", user="bob")
        self.trackers.change("s1", (bob,), State.PENDING)
        wanted = evolve(SESSION, participants=(bob,), state=State.PENDING)
        self.assertEqual(Session.parse(self.auth.told[-1]), wanted)
        self.trackers.end("s1")
        self.trackers.end("s1")
        self.assertEqual(self.auth.left, ["s1"])
        self.clock.advance(TTL.total_seconds())
        self.assertEqual(len(self.auth.told), 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_short_ones(self) -> None:
        """Of a session that is over before its time to be told has come, nobody hears anything."""
        self.trackers.begin(SESSION, 2.0)
        self.clock.advance(1)
        self.trackers.end("s1")
        self.clock.advance(2)
        self.assertEqual((self.auth.told, self.auth.left), ([], []))
        self.trackers.begin(evolve(SESSION, name="s2"), 2.0)
        self.clock.advance(2)
        self.assertEqual([each.name for each in self.auth.told], ["s2"])

    def test_an_end_while_it_is_told(self) -> None:
        """The goodbye comes after it, whichever way."""
        self.auth.answer = Deferred()
        self.trackers.begin(SESSION)
        self.trackers.end("s1")
        self.auth.answer.callback(None)
        self.assertEqual(self.auth.left[-1], "s1")

    def test_auth_is_away(self) -> None:
        """It hears of the session when it is back."""
        self.auth.away = True
        self.trackers.begin(SESSION)
        self.auth.away = False
        self.clock.advance(TTL.total_seconds() / 3)
        self.assertEqual(len(self.auth.told), 1)

    def test_stop(self) -> None:
        """All that were told of are taken back."""
        self.trackers.begin(SESSION)
        self.trackers.begin(evolve(SESSION, name="s2"), 2.0)
        self.successResultOf(Deferred.fromCoroutine(self.trackers.stop()))
        self.assertEqual(self.auth.left, ["s1"])
        self.assertEqual(self.clock.getDelayedCalls(), [])
