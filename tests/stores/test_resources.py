"""
One repository for every kind: revisions, pages, orders, watches.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Change, Page, Watched
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import from_timestamp
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.stores.resources import PAGE, ResourceStore

T = TypeVar("T")


def node(name: str, *, sub_kind: str = "", labels: dict[str, str] | None = None, **spec: Any) -> Resource:
    """
    A small node.
    """
    metadata = Metadata(name=name, labels=labels or {})
    return Resource(kind="node", version="v2", sub_kind=sub_kind, metadata=metadata, spec=spec)


class StoreCase(SynchronousTestCase):
    """
    A store over memory, with the clock in hand.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.store = ResourceStore(MemoryBackend(self.clock))

    def run_now(self, work: Coroutine[Deferred[Any], Any, T]) -> T:
        """
        What the work gives without waiting.
        """
        return self.successResultOf(Deferred.fromCoroutine(work))

    def refused(self, work: Coroutine[Deferred[Any], Any, Any]) -> Kind:
        """
        The kind of the error the work ends in.
        """
        return self.failureResultOf(Deferred.fromCoroutine(work), TeleportError).value.kind

    def pages(self, **query: Any) -> list[list[str]]:
        """
        The names on all pages of nodes.
        """
        found, start = [], ""
        while True:
            page: Page = self.run_now(self.store.list("node", start=start, **query))
            found.append([item.name for item in page.items])
            if not page.next_start:
                return found
            start = page.next_start


class WriteTests(StoreCase):
    """
    Create, upsert, update and delete.
    """

    def test_stored_as_written(self) -> None:
        """
        What comes out is what went in, with a revision.
        """
        expires = from_timestamp(self.clock.seconds() + 60)
        resource = Resource(
            kind="node",
            version="v2",
            sub_kind="openssh",
            metadata=Metadata(name="a", description="d", labels={"env": "prod"}, expires=expires),
            spec={"addr": "10.0.0.1:22", "list": [1, True, None, "ü"]},
            status={"ok": True},
        )
        stored = self.run_now(self.store.create(resource))
        self.assertEqual(stored.with_revision(""), resource)
        self.assertEqual(self.run_now(self.store.get("node", "a")), stored)
        self.assertEqual(self.run_now(self.store.get("node", "a", sub_kind="openssh")), stored)
        self.assertEqual(self.refused(self.store.get("node", "a", sub_kind="teleport")), Kind.NOT_FOUND)
        self.clock.advance(60)
        self.assertEqual(self.refused(self.store.get("node", "a")), Kind.NOT_FOUND)
        self.assertIsNone(self.run_now(self.store.find("node", "a")))

    def test_create_refuses_what_exists(self) -> None:
        """
        C{create} never overwrites; C{upsert} does.
        """
        self.run_now(self.store.create(node("a")))
        self.assertEqual(self.refused(self.store.create(node("a"))), Kind.ALREADY_EXISTS)
        self.run_now(self.store.upsert(node("a", addr="new")))
        self.assertEqual(self.run_now(self.store.get("node", "a")).spec, {"addr": "new"})

    def test_lost_update_is_refused(self) -> None:
        """
        Of two who read the same revision, the second to write learns of the first.
        """
        read = self.run_now(self.store.create(node("a")))
        self.run_now(self.store.update(read))
        self.assertEqual(self.refused(self.store.update(read)), Kind.COMPARE_FAILED)
        self.assertEqual(self.refused(self.store.update(node("a"))), Kind.BAD_PARAMETER)
        self.assertEqual(self.refused(self.store.update(read.with_revision("9' OR 1"))), Kind.COMPARE_FAILED)
        self.assertEqual(self.refused(self.store.delete("node", "a", revision=read.revision)), Kind.COMPARE_FAILED)
        self.assertEqual(self.refused(self.store.update(node("b").with_revision("1"))), Kind.NOT_FOUND)

    def test_delete(self) -> None:
        """
        A deleted resource is gone, and deleting it again says so.
        """
        self.run_now(self.store.create(node("a")))
        self.run_now(self.store.delete("node", "a"))
        self.assertEqual(self.refused(self.store.delete("node", "a")), Kind.NOT_FOUND)

    def test_names_do_not_reach_other_kinds(self) -> None:
        """
        A name with the separator of keys, a dot path or a huge length is refused.
        """
        for name in ("", "..", "a\x00b", "a\nb", "x" * 600, "\ud800"):
            self.assertEqual(self.refused(self.store.create(node(name))), Kind.BAD_PARAMETER, name)

    def test_authorities_are_named_within_their_type(self) -> None:
        """
        Two authorities of one cluster stand side by side.
        """
        for sub_kind in ("host", "user"):
            self.run_now(
                self.store.create(
                    Resource(kind="cert_authority", version="v2", sub_kind=sub_kind, metadata=Metadata(name="c"))
                )
            )
        self.assertEqual(self.run_now(self.store.get("cert_authority", "c", sub_kind="user")).sub_kind, "user")
        page = self.run_now(self.store.list("cert_authority", limit=1))
        self.assertEqual([item.sub_kind for item in page.items], ["host"])
        page = self.run_now(self.store.list("cert_authority", limit=1, start=page.next_start))
        self.assertEqual([item.sub_kind for item in page.items], ["user"])

    def test_change_repeats_after_a_lost_race(self) -> None:
        """
        A step sees the newest state even when somebody writes between.
        """
        self.run_now(self.store.create(node("a", count=0)))
        meddled = []

        def step(resource: Resource) -> Resource:
            if not meddled:
                meddled.append(self.run_now(self.store.upsert(node("a", count=41))))
            return node("a", count=resource.spec["count"] + 1).with_revision(resource.revision)

        self.assertEqual(self.run_now(self.store.change("node", "a", step)).spec, {"count": 42})


class PageTests(StoreCase):
    """
    Lists in pages.
    """

    def test_pages_by_name(self) -> None:
        """
        Pages hold each name once, in order, either way round.
        """
        for name in ("b", "a", "c", "ä", "aa"):
            self.run_now(self.store.create(node(name)))
        self.assertEqual(self.pages(limit=2), [["a", "aa"], ["b", "c"], ["ä"]])
        self.assertEqual(self.pages(limit=2, sort="-name"), [["ä", "c"], ["b", "aa"], ["a"]])
        self.assertEqual(self.pages(limit=5), [["a", "aa", "b", "c", "ä"]])

    def test_filter_fills_its_page(self) -> None:
        """
        A filter reads on until its page is full, over more items than the backend gives at once.
        """
        for number in range(PAGE + 20):
            self.run_now(self.store.create(node(f"{number:04}", odd=bool(number % 2))))
        pages = self.pages(limit=100, wanted=lambda r: r.spec["odd"])
        self.assertEqual([len(page) for page in pages], [100, 100, 60])
        self.assertEqual(pages[2][-1], f"{PAGE + 19:04}")

    @given(st.lists(st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=2)), max_size=12), st.booleans())
    def test_pages_by_field(self, values: list[Any], descending: bool) -> None:
        """
        Whatever the values, pages by a field together are the one sorted list.
        """
        self.setUp()
        for number, value in enumerate(values):
            self.run_now(self.store.create(node(f"{number:02}", addr=value)))
        sort = "-addr" if descending else "addr"
        names = [name for page in self.pages(limit=3, sort=sort) for name in page]
        self.assertEqual([names], self.pages(sort=sort))
        self.assertEqual(len(set(names)), len(values))
        texts = [values[int(name)] for name in names if isinstance(values[int(name)], str)]
        self.assertEqual(texts, sorted(texts, reverse=descending))

    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=30))
    def test_an_order_is_remembered_and_stays_true(self, writes: list[tuple[int, int]]) -> None:
        """
        After every write and removal, an order and a filtered one are what sorting all of it gives.
        """
        self.setUp()
        truth: dict[str, int] = {}
        for number, value in writes:
            name = str(number)
            if value == 0 and name in truth:
                self.run_now(self.store.delete("node", name))
                del truth[name]
            else:
                self.run_now(self.store.upsert(node(name, addr=value)))
                truth[name] = value
            wanted = sorted(truth, key=lambda each: (truth[each], each))
            self.assertEqual([name for page in self.pages(limit=2, sort="addr") for name in page], wanted)
            odd = [each for each in wanted if truth[each] % 2]
            pages = self.pages(limit=2, sort="addr", wanted=lambda r: r.spec["addr"] % 2)
            self.assertEqual([name for page in pages for name in page], odd)

    def test_forged_starts_are_refused(self) -> None:
        """
        A start that is no start of ours is a bad parameter and no crash.
        """
        self.run_now(self.store.create(node("a", addr=1)))
        for start in ("x", "e30=", "WzEsMl0=", "WzFd", "WzEsIngiLCJ5Il0=", "!!"):
            for sort in ("name", "addr"):
                self.assertEqual(
                    self.refused(self.store.list("node", sort=sort, start=start)), Kind.BAD_PARAMETER, start
                )

    def test_every(self) -> None:
        """
        All of a kind, narrowed to a sub_kind.
        """
        for name, sub_kind in (("a", "openssh"), ("b", ""), ("c", "openssh")):
            self.run_now(self.store.create(node(name, sub_kind=sub_kind)))

        async def names() -> list[str]:
            return [resource.name async for resource in self.store.every("node", sub_kind="openssh")]

        self.assertEqual(self.run_now(names()), ["a", "c"])
        self.assertEqual(self.pages(sub_kind="openssh"), [["a", "c"]])


class WatchTests(StoreCase):
    """
    What is there, then news.
    """

    def test_initial_then_news(self) -> None:
        """
        A watch tells what is there, says INIT, and then tells each change of its kinds, expiry too.
        """
        self.run_now(self.store.create(node("a", sub_kind="openssh")))
        watch = self.store.watch(["node", "user"])

        def turn() -> Watched:
            return self.run_now(watch.__anext__())

        told = turn()
        self.assertEqual((told.change, told.resource and told.resource.name), (Change.PUT, "a"))
        self.assertEqual(turn(), Watched(Change.INIT))
        self.run_now(self.store.create(Resource(kind="user", version="v2", metadata=Metadata(name="alice"))))
        self.run_now(self.store.create(Resource(kind="role", version="v7", metadata=Metadata(name="hidden"))))
        self.run_now(self.store.delete("node", "a"))
        self.assertEqual(turn().resource.name, "alice")  # type: ignore[union-attr]
        gone = Resource(kind="node", version="", sub_kind="openssh", metadata=Metadata(name="a"))
        self.assertEqual(turn(), Watched(Change.DELETE, gone))
        waiting = Deferred.fromCoroutine(watch.__anext__())
        self.assertNoResult(waiting)
        watch.close()
        self.failureResultOf(waiting, StopAsyncIteration)

    def test_writes_during_the_list_are_not_told_backwards(self) -> None:
        """
        What the list shows already newer is not told again as it was before.
        """
        watch = self.store.watch(["node"])
        self.run_now(self.store.create(node("a", n=1)))
        self.run_now(self.store.upsert(node("a", n=2)))
        told = [self.run_now(watch.__anext__()) for _ in range(2)]
        self.assertEqual([w.resource and w.resource.spec for w in told], [{"n": 2}, None])
        waiting = Deferred.fromCoroutine(watch.__anext__())
        self.assertNoResult(waiting)
        self.run_now(self.store.upsert(node("a", n=3)))
        self.assertEqual(self.successResultOf(waiting).resource.spec, {"n": 3})  # type: ignore[union-attr]
