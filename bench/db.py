"""
Databases through our proxy, tunnel and agent, with TLS on every leg and every statement told of, beside pgbouncer and
haproxy.

The clients are each database's own (C{pgbench}, C{psql}, C{redis-benchmark}, C{mysqlslap}), with certificate files and
nothing of ours between them and the proxy. See L{bench.databases} for what each way encrypts.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial

from bench.databases import UNAUDITED, Way, World, world
from bench.harness import OURS, Row, by_turns, tool
from tests.peers.postgres import Postgres
from tests.peers.process import Missing
from tests.peers.redis import Redis

PATIENCE = 600.0
QUIET_SECONDS = 15.0
BULK = "bulk"


def run(quick: bool) -> list[Row]:
    """
    @return: a row for each aim.
    """
    try:
        Postgres.require()
        Redis.require()
    except Missing as reason:
        raise SystemExit(str(reason)) from None
    rounds, seconds = (1, 1) if quick else (3, 5)
    with world() as all_of:
        pgbench = Postgres.program("pgbench")
        _make(all_of, pgbench, rows=20_000 if quick else 1_000_000)
        rows = _transactions(all_of, pgbench, rounds, seconds, quick)
        rows += _bulk(all_of, rounds)
        rows.append(_slow_reader(all_of, pgbench, seconds))
        rows += _redis(all_of, 20_000 if quick else 200_000, rounds)
        if all_of.mariadb is not None and tool("mysqlslap"):
            rows += _mariadb(all_of, 500 if quick else 10_000, rounds)
        rows += _idle(all_of, quick)
    return rows


def _on(all_of: World, *protocols: str) -> dict[str, Way]:
    return {name: way for name, way in all_of.ways.items() if set(protocols) <= set(way.ports)}


def _turns(case: str, unit: str, ways: Mapping[str, Way], measure: Callable[[Way], float], rounds: int) -> Row:
    def undisturbed(way: Way) -> float:
        _quiet(ways)
        return measure(way)

    figures = by_turns({name: partial(undisturbed, way) for name, way in ways.items()}, rounds)
    return Row(case, unit, figures, more_is_better=unit.endswith("/s"))


def _quiet(ways: Mapping[str, Way]) -> None:
    """
    Wait until nobody works off what he put aside, such as auth its index: that would be at the next one's cost.
    """
    limit = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < limit:
        before = sum(way.cpu() for way in ways.values())
        time.sleep(0.3)
        if sum(way.cpu() for way in ways.values()) - before <= 0.03:
            return


def _costs(ways: Mapping[str, Way], measure: Callable[[Way], float], seconds: int, rounds: int) -> Row:
    """
    @param measure: transactions a second.
    @return: what each costs all of a way's processes, until they are quiet again.
    """

    def cost(way: Way) -> float:
        before = way.cpu()
        count = measure(way) * seconds
        _quiet(ways)
        return (way.cpu() - before) / count * 1e6

    return _turns("processor time of a transaction, 8 clients, simple", "µs", ways, cost, rounds)


# --- PostgreSQL -------------------------------------------------------------------------------------------------


def _make(all_of: World, pgbench: str, rows: int) -> None:
    """
    pgbench's tables, and one of C{rows} thousand-byte rows.
    """
    postgres = all_of.postgres
    postgres.run(
        pgbench, "-i", "-q", "-h", str(postgres.folder), "-p", str(postgres.port), "-U", "postgres", "postgres"
    )
    postgres.sql(
        f"create unlogged table {BULK} as select repeat('x', 998) as line from generate_series(1, {rows});"
        f"create unlogged table sink (line text); vacuum freeze {BULK};"
    )


def _pgbench(way: Way, *, program: str, words: Sequence[str], seconds: int) -> float:
    for longer in (seconds, 20 * seconds):  # a busy machine may still be connecting when a short run ends
        done = subprocess.run(
            [program, "-n", "-T", str(longer), *words],
            env=way.postgres(),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        found = re.search(r"^tps = ([0-9.]+)", done.stdout, re.MULTILINE)
        if not done.returncode and found is not None:
            return float(found[1])
    raise RuntimeError(f"pgbench {words}: {done.stdout}{done.stderr}")


def _transactions(all_of: World, pgbench: str, rounds: int, seconds: int, quick: bool) -> list[Row]:
    ways = _on(all_of, "postgres")
    rows = []
    for clients in (8,) if quick else (1, 8, 32):
        for mode in ("simple",) if quick else ("simple", "extended", "prepared"):
            words = ("-S", "-M", mode, "-c", str(clients))
            case = f"pgbench -S, {clients} clients, {mode}"
            row = _turns(case, "tx/s", ways, partial(_pgbench, program=pgbench, words=words, seconds=seconds), rounds)
            rows.append(row)
            if clients == 1:
                late = {name: [1e3 / each for each in figures] for name, figures in row.figures.items()}
                rows.append(Row(f"latency, 1 client, {mode}", "ms", late, more_is_better=False))
    measure = partial(_pgbench, program=pgbench, seconds=seconds)
    rows.append(_costs(ways, partial(measure, words=("-S", "-c", "8")), seconds, 1))
    rows.append(_turns("TPC-B, 8 clients", "tx/s", ways, partial(measure, words=("-c", "8")), rounds))
    # pgbench waits for each connection, and so needs a thread a client
    again = partial(measure, words=("-S", "-C", "-c", "8", "-j", "8"))
    rows.append(_turns("new sessions (pgbench -S -C), 8 clients", "sessions/s", ways, again, rounds))
    return rows


def _bulk(all_of: World, rounds: int) -> list[Row]:
    ways = {name: way for name, way in _on(all_of, "postgres").items() if name != UNAUDITED}
    size = int(all_of.postgres.sql(f"select count(*) * 999 from {BULK}"))
    return [
        _turns(f"COPY out, {size / 1e6:.0f} MB", "MB/s", ways, lambda way: _copy_out(way, size), rounds),
        _turns(f"COPY in, {size / 1e6:.0f} MB", "MB/s", ways, lambda way: _copy_in(way, size), rounds),
    ]


def _psql(*words: str) -> list[str]:
    return [tool("psql") or "psql", "-X", "-q", *words]


def _copy_out(way: Way, size: int) -> float:
    started = time.perf_counter()
    subprocess.run(
        _psql("-c", f"copy {BULK} to stdout"),
        env=way.postgres(),
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=PATIENCE,
    )
    return size / (time.perf_counter() - started) / 1e6


def _copy_in(way: Way, size: int) -> float:
    line = b"x" * 998 + b"\n"
    block, count = line * 1000, size // 999_000
    started = time.perf_counter()
    with subprocess.Popen(
        _psql("-c", "begin", "-c", "truncate sink", "-c", "copy sink from stdin", "-c", "commit"),
        env=way.postgres(),
        stdin=subprocess.PIPE,
    ) as psql:
        assert psql.stdin is not None
        for _ in range(count):
            psql.stdin.write(block)
        psql.stdin.close()
        if psql.wait(PATIENCE):
            raise RuntimeError("psql failed")
    return count * len(block) / (time.perf_counter() - started) / 1e6


def _slow_reader(all_of: World, pgbench: str, seconds: int) -> Row:
    """
    Others' transactions while somebody has asked for everything and reads nothing, beside what they are without him.
    """
    way = all_of.ways[OURS]
    measure = partial(_pgbench, way, program=pgbench, words=("-S", "-c", "8"), seconds=seconds)
    alone = measure()
    before = way.memory()
    with subprocess.Popen(
        _psql("-c", f"copy (select b.line from {BULK} b, generate_series(1, 10000)) to stdout"),
        env=way.postgres(),
        stdout=subprocess.PIPE,
    ) as psql:
        assert psql.stdout is not None
        os.read(psql.stdout.fileno(), 1)
        psql.send_signal(signal.SIGSTOP)
        beside = measure()
        grown = way.memory() - before
        psql.kill()
    return Row(
        f"pgbench beside one that never reads (+{grown / 1024:.0f} KiB)", "tx/s", {OURS: [beside], "alone": [alone]}
    )


# --- Redis, MariaDB -----------------------------------------------------------------------------------------------


def _redis(all_of: World, count: int, rounds: int) -> list[Row]:
    ways = _on(all_of, "redis")

    def ask(way: Way, *, test: str, depth: int) -> float:
        number = str(count * depth // 16)
        done = subprocess.run(
            [
                *(tool("redis-benchmark") or "", *way.redis()),
                *("-t", test, "-P", str(depth), "-c", "8", "-n", number, "--csv"),
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        found = [line for line in csv.reader(done.stdout.splitlines()) if line and line[0].lower() == test]
        if not found:
            raise RuntimeError(f"redis-benchmark: {done.stdout}{done.stderr}")
        return float(found[0][1])

    return [
        _turns(
            f"redis-benchmark {test} -P {depth}, 8 clients",
            "commands/s",
            ways,
            partial(ask, test=test, depth=depth),
            rounds,
        )
        for test, depth in (("get", 1), ("get", 16), ("set", 16))
    ]


def _mariadb(all_of: World, count: int, rounds: int) -> list[Row]:
    def ask(way: Way) -> float:
        done = subprocess.run(
            [
                tool("mysqlslap") or "",
                *way.mysql(),
                "--concurrency=8",
                f"--number-of-queries={count}",
                "--create-schema=test",
                "--query=select 1",
                "--csv",
            ],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"mysqlslap: {done.stdout}{done.stderr}")
        return count / float(done.stdout.strip().split(",")[2])

    return [_turns("mysqlslap, 8 clients", "queries/s", _on(all_of, "mysql"), ask, rounds)]


# --- idle sessions ------------------------------------------------------------------------------------------------


def _idle(all_of: World, quick: bool) -> list[Row]:
    rows = []
    for protocol, count, begin in (("postgres", 200, _postgres_session), ("redis", 2000, _redis_session)):
        ways = {name: way for name, way in _on(all_of, protocol).items() if name != UNAUDITED}
        if protocol == "postgres":  # haproxy's clients do not speak TLS, which this does
            ways.pop("haproxy", None)
        number = 10 if quick else count
        figures = {name: [_held(way, protocol, number, begin)] for name, way in ways.items()}
        rows.append(Row(f"memory for each of {number} idle sessions, {protocol}", "KiB", figures, more_is_better=False))
    return rows


def _held(way: Way, protocol: str, count: int, begin: Callable[[Way, ssl.SSLContext], socket.socket]) -> float:
    certificate, key, authority = way.certificates[protocol]
    context = ssl.create_default_context(cafile=str(authority))
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    with ExitStack() as stack:
        stack.enter_context(begin(way, context))
        before = way.memory()
        for _ in range(count):
            stack.enter_context(begin(way, context))
        return (way.memory() - before) / count / 1024


def _postgres_session(way: Way, context: ssl.SSLContext) -> socket.socket:
    bare = socket.create_connection(("127.0.0.1", way.ports["postgres"]), PATIENCE)
    bare.sendall(struct.pack(">II", 8, 80877103))
    if bare.recv(1) != b"S":
        raise RuntimeError("no TLS")
    secure = context.wrap_socket(bare, server_hostname="localhost")
    body = struct.pack(">I", 196608) + b"user\0bench\0database\0postgres\0\0"
    secure.sendall(struct.pack(">I", len(body) + 4) + body)
    seen = b""
    while not (seen.endswith(b"Z\0\0\0\5I")):
        piece = secure.recv(65536)
        if not piece:
            raise RuntimeError(f"the session ended: {seen!r}")
        seen += piece
    return secure


def _redis_session(way: Way, context: ssl.SSLContext) -> socket.socket:
    bare = socket.create_connection(("127.0.0.1", way.ports["redis"]), PATIENCE)
    secure = context.wrap_socket(bare, server_hostname="localhost")
    secure.sendall(b"AUTH bench benchmark\r\n")
    with suppress(TimeoutError):
        if secure.recv(100) != b"+OK\r\n":
            raise RuntimeError("the session ended")
    return secure
