"""
The watched local copy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Change, Resources, Watched
from teleport_tw.api.mirror import Mirror
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Backoff, from_timestamp
from teleport_tw.resources.metadata import Metadata, Resource


def node(name: str, revision: str = "1", **more: object) -> Resource:
    return Resource("node", "v2", Metadata(name, revision=revision, **more))  # type: ignore[arg-type]


@define(eq=False)
class News:
    """
    One watch under the test's control.
    """

    waiting: Deferred[None] | None = None
    queue: deque[Watched | Exception] = field(factory=deque)
    closed: bool = False

    def __aiter__(self) -> AsyncIterator[Watched]:
        return self

    async def __anext__(self) -> Watched:
        if not self.queue:
            self.waiting = Deferred()
            await self.waiting
        item = self.queue.popleft()
        if isinstance(item, Exception):
            raise item
        return item

    def say(self, *items: Watched | Exception) -> None:
        self.queue.extend(items)
        if self.waiting is not None and not self.waiting.called:
            self.waiting.callback(None)

    async def aclose(self) -> None:
        self.closed = True


@define(eq=False)
class Source:
    """
    Stands for auth; only L{watch} is asked.
    """

    watches: list[News] = field(factory=list)
    away: bool = False
    asked: list[None] = field(factory=list)

    def watch(self, kinds: Sequence[str], *, with_initial: bool = True) -> AsyncIterator[Watched]:
        assert with_initial
        self.asked.append(None)
        if self.away:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "away")
        self.watches.append(News())
        return self.watches[-1]


INIT = Watched(Change.INIT)


def put(resource: Resource) -> Watched:
    return Watched(Change.PUT, resource)


class Mirrors(SynchronousTestCase):
    """
    With a clock of the test's own.
    """

    def setUp(self) -> None:
        self.clock, self.source = Clock(), Source()
        resources: Resources = self.source  # type: ignore[assignment]  # watch alone is asked
        self.mirror = Mirror(resources, ("node", "lock"), self.clock, Backoff(draw=lambda: 1.0))
        self.mirror.startService()
        self.addCleanup(self.mirror.stopService)
        self.heard: list[tuple[Change, str]] = []
        self.leave = self.mirror.subscribe(
            lambda news: self.heard.append((news.change, news.resource.name if news.resource else ""))
        )

    @property
    def news(self) -> News:
        return self.source.watches[-1]

    def broken(self) -> TeleportError:
        return TeleportError(Kind.CONNECTION_PROBLEM, "auth went away")

    def names(self) -> list[str]:
        return sorted(item.name for item in self.mirror.list("node"))

    def test_ready_at_init(self) -> None:
        """The copy is ready when INIT came, and not before."""
        ready = self.mirror.ready()
        self.assertEqual(self.mirror.age(), timedelta.max)
        self.news.say(put(node("a")))
        self.assertNoResult(ready)
        self.news.say(INIT)
        self.successResultOf(ready)
        self.successResultOf(self.mirror.ready())
        self.assertEqual((self.names(), self.mirror.age()), (["a"], timedelta(0)))

    def test_changes(self) -> None:
        """Changes arrive, each told once."""
        self.news.say(put(node("a")), INIT, put(node("b")), put(node("a", "2")))
        self.assertEqual(self.mirror.get("node", "a").revision, "2")
        self.news.say(Watched(Change.DELETE, node("a")), Watched(Change.DELETE, node("zz")))
        self.assertEqual(self.names(), ["b"])
        self.assertEqual(
            self.heard,
            [
                (Change.PUT, "a"),
                (Change.INIT, ""),
                (Change.PUT, "b"),
                (Change.PUT, "a"),
                (Change.DELETE, "a"),
            ],
        )

    def test_answers_while_away(self) -> None:
        """Two hours after auth went away the copy still answers, and says how old it is."""
        self.news.say(put(node("a")), INIT)
        self.source.away = True
        self.news.say(self.broken())
        for _ in range(120):
            self.clock.advance(60)
        self.assertFalse(self.mirror.connected)
        self.assertEqual(self.mirror.get("node", "a").name, "a")
        self.assertEqual(self.mirror.age(), timedelta(hours=2))

    def test_re_sync(self) -> None:
        """After a loss the content is sent anew: what went missing is deleted, what stayed is not told again."""
        self.news.say(put(node("a")), put(node("b")), put(node("c")), INIT)
        self.news.say(self.broken())
        del self.heard[:]
        self.clock.advance(1)
        self.assertEqual(len(self.source.watches), 2)
        self.assertTrue(self.source.watches[0].closed)
        self.news.say(put(node("a")), put(node("c", "2")), put(node("d")))
        self.assertEqual(self.names(), ["a", "b", "c", "d"])
        self.news.say(INIT)
        self.assertEqual(self.names(), ["a", "c", "d"])
        self.assertEqual(self.heard, [(Change.PUT, "c"), (Change.PUT, "d"), (Change.DELETE, "b"), (Change.INIT, "")])

    def test_waits_longer_and_longer(self) -> None:
        """Tries get rarer up to a cap; one success starts anew."""
        self.source.away = True
        self.news.say(self.broken())
        tries = []
        for second in range(1, 101):
            before = len(self.source.asked)
            self.clock.advance(1)
            if len(self.source.asked) > before:
                tries.append(second)
        self.assertEqual(tries, [1, 3, 7, 15, 31, 63])

    def test_loss_before_whole(self) -> None:
        """A watch lost half-way deletes nothing."""
        self.news.say(put(node("a")), put(node("b")), INIT, self.broken())
        self.clock.advance(1)
        self.news.say(put(node("a")), self.broken())
        self.assertEqual(self.names(), ["a", "b"])

    def test_a_bug_in_the_source(self) -> None:
        """An error nobody foresaw is logged, and the mirror goes on."""
        self.news.say(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(1)
        self.news.say(put(node("a")), INIT)
        self.assertEqual(self.names(), ["a"])

    def test_a_bug_in_a_listener(self) -> None:
        """A listener that fails is logged, and the others are told."""
        self.mirror.subscribe(lambda news: 1 / 0)  # type: ignore[arg-type, return-value]
        self.news.say(put(node("a")), INIT)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.names(), ["a"])

    def test_unsubscribe(self) -> None:
        """Who left hears no more."""
        self.leave()
        self.leave()
        self.news.say(put(node("a")), INIT)
        self.assertEqual(self.heard, [])

    def test_expiry(self) -> None:
        """What expires leaves the copy by itself, auth or no auth."""
        self.news.say(put(node("a", expires=from_timestamp(100))), put(node("b")), INIT)
        self.clock.advance(99)
        self.assertEqual(self.names(), ["a", "b"])
        self.clock.advance(1)
        self.assertEqual((self.names(), [item.name for item in self.mirror]), (["b"], ["b"]))
        with self.assertRaises(TeleportError) as caught:
            self.mirror.get("node", "a")
        self.assertEqual(caught.exception.kind, Kind.NOT_FOUND)

    def test_stop(self) -> None:
        """A stopped mirror closes its watch and leaves no timer."""
        self.news.say(put(node("a")))
        ready = self.mirror.ready()
        self.mirror.stopService()
        self.assertTrue(self.news.closed)
        self.failureResultOf(ready)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.names(), ["a"])
