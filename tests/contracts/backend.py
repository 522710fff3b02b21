"""
What every backend promises, as one suite.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from teleport_tw.backends.interface import (
    MAX_VALUE_BYTES,
    Backend,
    ChangeType,
    Check,
    Condition,
    Delete,
    Extend,
    Put,
    Watch,
    WatchLost,
)
from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import from_timestamp


class Time:
    """
    Wall time that a test moves; threads may read it.
    """

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def seconds(self) -> float:
        """
        Seconds since the epoch.
        """
        return self.now


class BackendContract(TestCase):
    """
    Mixed into a case that makes the backend.
    """

    timeout = 60

    async def make(self, time: Time) -> Backend:
        """
        A fresh backend whose wall time is C{time}.
        """
        raise NotImplementedError

    async def sweep(self) -> None:
        """
        Let what has expired be removed now.
        """
        raise NotImplementedError

    async def setUp(self) -> None:  # type: ignore[override]
        self.time = Time()
        self.backend = await self.make(self.time)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.backend.close()))

    async def refused(self, work: Coroutine[Deferred[Any], Any, Any]) -> Kind:
        """
        The kind of the error the work ends in.
        """
        try:
            await work
        except TeleportError as error:
            return error.kind
        raise AssertionError("this was not refused")

    async def names(self, *prefix: str, **bounds: Any) -> list[Key]:
        """
        The keys of one range.
        """
        return [item.key for item in (await self.backend.range(prefix, **bounds)).items]

    async def test_write_and_read(self) -> None:
        """
        What was written is read, with the revision the write gave, and revisions grow.
        """
        first = await self.backend.put(("a", "x"), b"1")
        second = await self.backend.put(("a", "y"), b"", self.later(60))
        self.assertGreater(second, first)
        item = await self.backend.get(("a", "y"))
        self.assertEqual((item.value, item.revision, item.expires), (b"", second, self.later(60)))
        third = await self.backend.put(("a", "x"), b"2")
        self.assertEqual(await self.value("a", "x"), b"2")
        self.assertGreater(third, second)
        self.assertEqual(await self.refused(self.backend.get(("a",))), Kind.NOT_FOUND)

    async def test_create_and_swap(self) -> None:
        """
        Create never overwrites, and a swap wants exactly the revision it read.
        """
        first = await self.backend.create(("a", "x"), b"1")
        self.assertEqual(await self.refused(self.backend.create(("a", "x"), b"2")), Kind.ALREADY_EXISTS)
        second = await self.backend.compare_and_swap(("a", "x"), first, b"2")
        self.assertEqual(
            await self.refused(self.backend.compare_and_swap(("a", "x"), first, b"3")), Kind.COMPARE_FAILED
        )
        self.assertEqual(await self.refused(self.backend.compare_and_swap(("a", "z"), first, b"3")), Kind.NOT_FOUND)
        self.assertEqual(await self.refused(self.backend.delete(("a", "x"), first)), Kind.COMPARE_FAILED)
        self.assertEqual(await self.value("a", "x"), b"2")
        await self.backend.delete(("a", "x"), second)
        self.assertEqual(await self.refused(self.backend.delete(("a", "x"))), Kind.NOT_FOUND)
        await self.backend.delete(("a", "x"), Condition.ANY)
        self.assertGreater(await self.backend.create(("a", "x"), b"again"), second)

    async def test_one_of_many_racers_wins(self) -> None:
        """
        Of swaps that start at once from one revision, one succeeds.
        """
        first = await self.backend.create(("a", "x"), b"0")
        racers = [
            Deferred.fromCoroutine(self.backend.compare_and_swap(("a", "x"), first, str(n).encode())) for n in range(20)
        ]
        kinds: list[Kind] = []
        for racer in racers:
            racer.addErrback(lambda failure: kinds.append(failure.value.kind))
        await gatherResults(racers)
        self.assertEqual(kinds, [Kind.COMPARE_FAILED] * 19)

    async def test_batches_are_all_or_nothing(self) -> None:
        """
        One condition that fails leaves everything as it was, and a batch has one revision.
        """
        await self.backend.put(("a", "x"), b"1")
        batch = (Put(("a", "y"), b"2"), Put(("a", "x"), b"3", None, Condition.ABSENT))
        self.assertEqual(await self.refused(self.backend.batch(batch)), Kind.ALREADY_EXISTS)
        self.assertEqual(await self.names("a"), [("a", "x")])
        revision = await self.backend.batch(
            (Put(("a", "y"), b"2"), Delete(("a", "x")), Check(("a", "z"), Condition.ABSENT), Put(("b", "c"), b"4"))
        )
        self.assertEqual(await self.names("a"), [("a", "y")])
        self.assertEqual({(await self.backend.get(key)).revision for key in (("a", "y"), ("b", "c"))}, {revision})

    async def test_bad_requests_are_refused(self) -> None:
        """
        Keys, values and pages outside of the bounds are bad parameters.
        """
        for key in ((), ("",), ("a", ".."), ("a\x00b",), ("a",) * 9, ("\ud800",), ("x" * 513,)):
            self.assertEqual(await self.refused(self.backend.put(key, b"")), Kind.BAD_PARAMETER, key)
        big = bytes(MAX_VALUE_BYTES)
        await self.backend.put(("big",), big)
        self.assertEqual((await self.backend.get(("big",))).value, big)
        for work in (
            self.backend.put(("big",), big + b"x"),
            self.backend.put(("naive",), b"", self.later(1).replace(tzinfo=None)),
            self.backend.batch(()),
            self.backend.batch((Delete(("a",)), Delete(("a",)))),
            self.backend.batch((Extend(("a",), None, Condition.ABSENT),)),
            self.backend.range(("a",), limit=0),
        ):
            self.assertEqual(await self.refused(work), Kind.BAD_PARAMETER)

    async def test_ranges_are_ordered_and_paged(self) -> None:
        """
        Pages hold each item below a prefix once, in the order of the tuples, either way round.
        """
        keys = [("n", name) for name in ("a", "a b", "a!", "ab", "b", "ä", "日本", "z")]
        keys += [("n", "a", "deep"), ("n2", "x"), ("m", "x"), ("n",)]
        for key in random.Random(1).sample(keys, len(keys)):
            await self.backend.put(key, repr(key).encode())
        wanted = sorted(key for key in keys if key[0] == "n" and len(key) > 1)
        self.assertEqual(await self.names("n"), wanted)
        self.assertEqual(await self.names("n", descending=True), wanted[::-1])
        self.assertEqual(await self.names("n", "a"), [("n", "a", "deep")])
        self.assertEqual(await self.names("n", start="ab", end="z"), [("n", "ab"), ("n", "b")])
        self.assertEqual(await self.names(), sorted(keys))
        for descending in (False, True):
            found: list[Key] = []
            after: Key = ()
            while True:
                page = await self.backend.range(("n",), start_after=after, limit=2, descending=descending)
                found += [item.key for item in page.items]
                if not page.more:
                    break
                after = found[-1]
            self.assertEqual(found, wanted[::-1] if descending else wanted)

    async def test_what_has_expired_is_gone(self) -> None:
        """
        From the moment of expiry on, whether or not it was swept, and back when the clock jumps back before a sweep.
        """
        await self.backend.put(("a", "x"), b"1", self.later(10))
        await self.backend.put(("a", "y"), b"1", self.later(100))
        self.time.now += 9.999
        self.assertEqual(len(await self.names("a")), 2)
        self.time.now += 0.001
        self.assertEqual(await self.names("a"), [("a", "y")])
        self.assertEqual(await self.refused(self.backend.get(("a", "x"))), Kind.NOT_FOUND)
        self.time.now -= 5
        self.assertEqual(await self.value("a", "x"), b"1")
        self.time.now += 10
        self.assertEqual(await self.refused(self.backend.keep_alive(("a", "x"), self.later(10))), Kind.NOT_FOUND)
        revision = await self.backend.create(("a", "x"), b"2")
        self.assertEqual((await self.backend.get(("a", "x"))).revision, revision)

    async def test_keep_alive(self) -> None:
        """
        A lease moved in time does not end, and keeps its value.
        """
        await self.backend.put(("a", "x"), b"1", self.later(10))
        self.time.now += 9
        await self.backend.keep_alive(("a", "x"), self.later(10))
        self.time.now += 9
        self.assertEqual(await self.value("a", "x"), b"1")
        self.time.now += 1
        self.assertEqual(await self.refused(self.backend.get(("a", "x"))), Kind.NOT_FOUND)

    async def test_watch(self) -> None:
        """
        Changes below the prefixes arrive in order, a batch in one piece, expiry too; nothing else does.
        """
        await self.backend.put(("a", "before"), b"")
        watch = self.backend.watch([("a",), ("b",)])
        await self.backend.put(("c", "x"), b"hidden")
        first = await self.backend.put(("a", "x"), b"1", self.later(10))
        batch = await self.backend.batch((Put(("b", "y"), b"2"), Delete(("a", "before"))))
        changes = await self.take(watch, 3)
        self.assertEqual(
            [(c.type, c.item.key, c.item.revision) for c in changes],
            [
                (ChangeType.PUT, ("a", "x"), first),
                (ChangeType.PUT, ("b", "y"), batch),
                (ChangeType.DELETE, ("a", "before"), batch),
            ],
        )
        self.time.now += 10
        await self.sweep()
        (gone,) = await self.take(watch, 1)
        self.assertEqual((gone.type, gone.item.key, gone.item.value), (ChangeType.DELETE, ("a", "x"), b"1"))
        waiting = Deferred.fromCoroutine(watch.__anext__())
        watch.close()
        await self.assertFailure(waiting, StopAsyncIteration)

    async def test_watch_resumes(self) -> None:
        """
        A watch from a revision tells what came after it, and fails when that is no longer kept.
        """
        first = await self.backend.put(("a", "x"), b"1")
        await self.backend.put(("a", "x"), b"2")
        await self.backend.put(("a", "x"), b"3")
        watch = self.backend.watch([("a",)], first)
        self.assertEqual([c.item.value for c in await self.take(watch, 2)], [b"2", b"3"])
        lost = self.backend.watch([("a",)], 10**9)
        with self.assertRaises(WatchLost):
            await lost.__anext__()

    async def test_slow_watchers_lose_the_watch(self) -> None:
        """
        A watcher that does not read has bounded memory spent on it, and learns that it missed something.
        """
        self.patch(__import__("teleport_tw.backends.feed").backends.feed, "QUEUE_CHANGES", 4)
        slow, quick = self.backend.watch([("a",)]), self.backend.watch([("a",)])
        for number in range(6):
            await self.backend.put(("a", "x"), str(number).encode())
            await self.take(quick, 1)
        with self.assertRaises(WatchLost):
            await slow.__anext__()

    async def test_close(self) -> None:
        """
        Closing ends watches and refuses further calls, and may be done twice.
        """
        watch = self.backend.watch([("a",)])
        waiting = Deferred.fromCoroutine(watch.__anext__())
        await self.backend.close()
        await self.assertFailure(waiting, StopAsyncIteration)
        self.assertEqual(await self.refused(self.backend.put(("a",), b"")), Kind.CONNECTION_PROBLEM)
        self.assertEqual(await self.refused(self.backend.get(("a",))), Kind.CONNECTION_PROBLEM)
        await self.backend.close()

    async def take(self, watch: Watch, count: int) -> list[Any]:
        """
        The next changes, exactly so many.
        """
        found: list[Any] = []
        while len(found) < count:
            found += await watch.__anext__()
        self.assertEqual(len(found), count)
        return found

    async def value(self, *key: str) -> bytes:
        """
        The value of a key.
        """
        return (await self.backend.get(key)).value

    def later(self, seconds: float) -> Any:
        """
        A moment from now.
        """
        return from_timestamp(self.time.now) + timedelta(seconds=seconds)
