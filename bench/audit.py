"""
What auditing costs: events from emit to acknowledged, recording beside a relay, and finding things again.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import Clock

from bench.harness import OURS, Row
from teleport_tw.api.contract import EventQuery
from teleport_tw.audit.emitter import Emitter
from teleport_tw.audit.log import AuditLog
from teleport_tw.audit.spool import Spool
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import format_time
from teleport_tw.events import kinds
from teleport_tw.recordings.recorder import Recorder

WORDS = ("nginx", "postgres", "kernel", "backup", "deploy", "restart", "needle", "mount")


def sample(number: int, moment: datetime) -> dict[str, Any]:
    """
    @return: an event of ordinary size as the emitter sends it.
    """
    event = kinds.Exec(
        actor=kinds.Actor(user=f"user{number % 500}", login="root", roles=("access", "editor"), kind="human"),
        connection=kinds.Connection(remote=f"10.0.{number % 250}.7:52100", local="10.1.0.1:3022"),
        server=kinds.Server(id=f"node-{number % 5000}", hostname=f"host{number % 5000}", labels={"env": "prod"}),
        session=kinds.Session(id=f"session-{number // 20}"),
        command=f"/usr/bin/{WORDS[number % len(WORDS)]} --run {number}",
        exit_code="0",
    )
    head = {
        "event": event.NAME,
        "code": event.code,
        "time": format_time(moment),
        "uid": f"u{number}",
        "ei": number % 20,
    }
    return {**event.fields(), **head, "cluster_name": "example"}


async def emitting(directory: Path, threads: Threads, reactor: Any, count: int) -> dict[str, Any]:
    """
    Emitter, spool and log in one process, as C{teleport} has them.
    """
    log = AuditLog(directory / "log", Ed25519PrivateKey.generate(), threads, clock=reactor)
    await log.start()
    emitter = Emitter("example", Spool(directory / "spool"), log.emit, threads, reactor)
    await emitter.start()
    actor, server = kinds.Actor(user="alice", roles=("access",)), kinds.Server(id="n1", hostname="h")
    spent, started = 0.0, time.perf_counter()
    for done in range(0, count, 500):
        before = time.perf_counter()
        for number in range(done, done + 500):
            emitter.emit(kinds.Exec(actor=actor, server=server, command=f"true {number}"))
        spent += time.perf_counter() - before
        await emitter.flush()
    seconds = time.perf_counter() - started
    await emitter.close()
    await log.close()
    return {
        "events_per_second_acknowledged": round(count / seconds),
        "emit_microseconds": round(spent / count * 1e6, 1),
    }


async def recording(directory: Path, threads: Threads, reactor: Any, megabytes: int) -> dict[str, Any]:
    """
    Bulk output, and a minute of somebody typing.
    """
    line = b"drwxr-xr-x 2 root root 4096 Jan  1 00:00 some-directory-%06d\r\n"
    writes = [
        b"".join(line % (number * 60 + step) for step in range(60)) for number in range(megabytes * 1_000_000 // 3700)
    ]
    recorder = await Recorder.open("bulk", {}, directory, clock=reactor, threads=threads)
    spent, started = 0.0, time.perf_counter()
    for number, data in enumerate(writes):
        before = time.perf_counter()
        recorder.print(data)
        spent += time.perf_counter() - before
        if number % 200 == 199:
            await recorder.flush()
    await recorder.close()
    seconds, total = time.perf_counter() - started, sum(map(len, writes))
    clock = Clock()
    typing = await Recorder.open("typing", {}, directory, clock=clock, threads=threads)
    for second in range(60):
        for key in range(4):
            typing.print(b"abcd"[key : key + 1])
        if second % 5 == 4:
            typing.print(b"\r\n" + line % second * 10 + b"user@host:~$ ")
        clock.advance(1.0)
        await typing.flush()
    await typing.close()
    return {
        "megabytes_per_second": round(total / seconds / 1e6, 1),
        "print_microseconds": round(spent / len(writes) * 1e6, 2),
        "bulk_ratio": round(total / (directory / "bulk.rec").stat().st_size, 1),
        "bytes_per_typing_minute": (directory / "typing.rec").stat().st_size,
    }


async def searching(directory: Path, threads: Threads, count: int) -> dict[str, Any]:
    """
    A log of C{count} events, and questions to it.
    """
    log = AuditLog(directory / "log", Ed25519PrivateKey.generate(), threads)
    await log.start()
    begin, started = datetime(2026, 1, 1, tzinfo=UTC), time.perf_counter()
    for first in range(0, count, 5000):
        await log.emit([sample(number, begin + timedelta(seconds=number)) for number in range(first, first + 5000)])
    filled = time.perf_counter() - started
    middle = begin + timedelta(seconds=count // 2)
    found: dict[str, Any] = {"stored_per_second": round(count / filled)}
    for name, query in {
        "newest_page_ms": EventQuery(descending=True, limit=100),
        "time_range_ms": EventQuery(since=middle, until=middle + timedelta(hours=1), limit=100),
        "user_ms": EventQuery(users=("user77",), limit=100),
        "session_ms": EventQuery(session=f"session-{count // 50}"),
        "common_word_ms": EventQuery(text="needle", limit=100),
        "rare_word_ms": EventQuery(text=f"run {count - 7}", limit=100),
    }.items():
        found[name] = round(
            statistics.median([await _timed(lambda query=query: log.search(query)) for _ in range(5)]), 2
        )
    found["verify_seconds"] = round(await _timed(log.verify) / 1000, 2)
    found["index_bytes_per_event"] = round((directory / "log" / "index.sqlite").stat().st_size / count)
    await log.close()
    return found


async def _timed(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    await work()
    return (time.perf_counter() - started) * 1000


async def measure(reactor: Any, quick: bool) -> dict[str, Any]:
    """
    @return: all figures.
    """
    threads = Threads(reactor, reactor.getThreadPool())
    with tempfile.TemporaryDirectory(prefix="bench-audit-") as scratch:
        base = Path(scratch)
        return {
            "emit": await emitting(base / "emit", threads, reactor, 5_000 if quick else 50_000),
            "record": await recording(base / "spool", threads, reactor, 10 if quick else 200),
            "search": await searching(base / "search", threads, 50_000 if quick else 1_000_000),
        }


UNITS = {
    "events_per_second_acknowledged": "events/s",
    "stored_per_second": "events/s",
    "megabytes_per_second": "MB/s",
    "bulk_ratio": "times smaller",
    "emit_microseconds": "µs",
    "print_microseconds": "µs",
    "bytes_per_typing_minute": "bytes",
    "index_bytes_per_event": "bytes",
    "verify_seconds": "s",
}
MORE_IS_BETTER = ("events/s", "MB/s", "times smaller")


def run(quick: bool) -> list[Row]:
    """
    Measure in a reactor of our own.

    @param quick: small numbers, for a smoke run.
    """
    from teleport_tw.base.loop import install, new_loop

    install(new_loop)
    from twisted.internet import reactor

    figures: dict[str, Any] = {}
    failures: list[Any] = []

    def begin() -> None:
        work = Deferred.fromCoroutine(measure(reactor, quick))
        work.addCallbacks(figures.update, failures.append)
        work.addBoth(lambda _: IReactorCore(reactor).stop())

    IReactorCore(reactor).callWhenRunning(begin)
    IReactorCore(reactor).run()
    if failures:
        failures[0].raiseException()
    rows = []
    for part, values in figures.items():
        for name, value in values.items():
            unit = UNITS.get(name, "ms")
            more = unit in MORE_IS_BETTER
            rows.append(Row(f"{part}: {name.replace('_', ' ')}", unit, {OURS: [float(value)]}, more_is_better=more))
    return rows
