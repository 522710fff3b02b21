"""
How fast the embedded state store is, with a fleet of nodes in it.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from bench.harness import OURS, Row
from teleport_tw.base.loop import install

NODES, QUICK_NODES = 50_000, 2_000
WRITERS = 64
WATCHERS = 20


async def _measure(quick: bool, folder: Path) -> list[tuple[str, float, str]]:
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, gatherResults

    from teleport_tw.backends.sqlite import open_sqlite
    from teleport_tw.resources.nodes import Node
    from teleport_tw.stores.resources import ResourceStore

    backend = open_sqlite(folder / "state", reactor)  # type: ignore[arg-type]
    store, rows = ResourceStore(backend), []
    count = QUICK_NODES if quick else NODES

    async def lane(first: int, last: int) -> None:
        for number in range(first, count if last < 0 else last, WRITERS):
            labels = {"env": "prod" if number % 10 else "dev", "number": str(number)}
            node = Node(name=f"{number:08}", hostname=f"host-{number}", addr="10.0.0.1:22", labels=labels)
            await store.upsert(node.to_resource())

    async def timed(work: Any) -> float:
        started = time.perf_counter()
        await work
        return time.perf_counter() - started

    async def all_lanes(last: int) -> None:
        await gatherResults([Deferred.fromCoroutine(lane(first, last)) for first in range(WRITERS)])

    rows.append((f"writes, {WRITERS} at once, each flushed to disk", count / await timed(all_lanes(-1)), "1/s"))

    async def one_by_one(times: int) -> None:
        for number in range(times):
            await backend.put(("alone", str(number)), b"x" * 300)

    rows.append(("writes, one after the other", 200 / await timed(one_by_one(200)), "1/s"))

    async def read(times: int) -> None:
        for number in range(times):
            await store.get("node", f"{number % count:08}")

    rows.append(("reads, one after the other", 2000 / await timed(read(2000)), "1/s"))

    async def page(**query: Any) -> None:
        await store.list("node", limit=500, **query)

    first = (await store.list("node", limit=500)).next_start
    rows.append((f"page of 500 of {count}, by name", 1000 * await timed(page(start=first)), "ms"))
    rows.append(
        (
            f"page of 500 of {count}, by label",
            1000 * await timed(page(wanted=lambda r: r.metadata.labels["env"] == "dev")),
            "ms",
        )
    )
    rows.append((f"page of 500 of {count}, by host name", 1000 * await timed(page(sort="hostname")), "ms"))
    start = (await store.list("node", limit=500, sort="hostname")).next_start
    rows.append(
        (
            f"page of 500 of {count}, by host name, the next",
            1000 * await timed(page(sort="hostname", start=start)),
            "ms",
        )
    )

    watches = [store.watch(["node"], with_initial=False) for _ in range(WATCHERS)]

    async def follow(watch: Any, changes: int) -> None:
        for _ in range(changes + 1):
            await watch.__anext__()

    async def fan_out(changes: int) -> None:
        followers = [Deferred.fromCoroutine(follow(watch, changes)) for watch in watches]
        await all_lanes(changes)
        await gatherResults(followers)

    rows.append((f"changes told to {WATCHERS} watchers", WATCHERS * 1000 / await timed(fan_out(1000)), "1/s"))
    await backend.close()
    return rows


def run(quick: bool) -> list[Row]:
    """
    @param quick: a smoke run, with a small fleet.
    """
    install()
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    found: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        done = Deferred.fromCoroutine(_measure(quick, Path(folder)))
        done.addCallback(found.extend).addErrback(lambda failure: failure.printTraceback())
        done.addBoth(lambda _: reactor.callLater(0, reactor.stop))  # type: ignore[attr-defined]
        reactor.run()  # type: ignore[attr-defined]
    if not found:
        raise RuntimeError("the store could not be measured")
    return [Row(case, unit, {OURS: [amount]}, more_is_better=unit != "ms") for case, amount, unit in found]
