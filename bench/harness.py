"""
What every benchmark needs: turns, medians, ratios, a table, JSON, and programs started beside us.

A benchmark is a module C{bench/<name>.py} with C{run(quick: bool) -> list[Row]}. Contenders take turns, round after
round, so that a machine which grows slower meanwhile is as slow for each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import field, frozen

ROOT = Path(__file__).parents[1]
OURS = "ours"


@frozen
class Row:
    """
    One case, measured for each contender.

    @ivar case: what was done.
    @ivar unit: of the figures.
    @ivar figures: for each contender one figure a round; L{OURS} is ours.
    @ivar more_is_better: False for times and costs.
    @ivar aim: what it should be, in words; empty for none.
    """

    case: str
    unit: str
    figures: Mapping[str, list[float]]
    more_is_better: bool = field(default=True, kw_only=True)
    aim: str = field(default="", kw_only=True)

    def median(self, contender: str) -> float:
        """
        @return: the middle figure.
        """
        return statistics.median(self.figures[contender])

    def ratio(self, contender: str) -> float:
        """
        @return: how many times better ours is than C{contender}; below 1, it is worse; zero where one of them did
            nothing at all, which is no comparison.
        """
        ours, theirs = self.median(OURS), self.median(contender)
        if not ours or not theirs:
            return 0.0
        return ours / theirs if self.more_is_better else theirs / ours


def by_turns(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """
    Let each contender run once a round; who begins changes from round to round.
    """
    figures: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            figures[name].append(contenders[name]())
    return figures


def several_by_turns(
    contenders: Mapping[str, Callable[[], Mapping[str, float]]], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """
    As L{by_turns}, for measurements that give several figures at once.

    @return: for each figure's name, what L{Row} takes.
    """
    found: dict[str, dict[str, list[float]]] = {}
    names = list(contenders)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            for figure, value in contenders[name]().items():
                found.setdefault(figure, {other: [] for other in names})[name].append(value)
    return found


def table(rows: list[Row]) -> str:
    """
    @return: medians for people, each peer with its ratio.
    """
    lines = []
    for row in rows:
        others = [name for name in row.figures if name != OURS]
        peers = "   ".join(f"{name} {row.median(name):,.4g} (x{row.ratio(name):.2f})" for name in others)
        aim = f"aim {row.aim:<8}" if row.aim else ""
        lines.append(f"{row.case:<44} {row.unit:<12} {OURS} {row.median(OURS):>10,.4g}   {aim:<14}{peers}".rstrip())
    at = machine()
    lines.append(f"{at['processor']}, {at['cores']} cores, {at['system']}, Python {at['python']}, load {at['load']}")
    return "\n".join([*lines, "x is how many times better ours is; below 1, worse."]) + "\n"


def as_json(rows: list[Row]) -> str:
    """
    @return: everything, for machines.
    """
    found = [
        {
            "case": row.case,
            "unit": row.unit,
            "more_is_better": row.more_is_better,
            "figures": {name: list(values) for name, values in row.figures.items()},
            "medians": {name: row.median(name) for name in row.figures},
            "ratios": {name: row.ratio(name) for name in row.figures if name != OURS},
        }
        for row in rows
    ]
    return json.dumps({"machine": machine(), "rows": found}, indent=2)


def machine() -> dict[str, Any]:
    """
    @return: processor, cores, system and how busy it is: without them figures say nothing.
    """
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    system = os.uname()
    return {
        "processor": models[0] if models else system.machine,
        "cores": os.cpu_count(),
        "system": f"{system.sysname} {system.release}",
        "python": sys.version.split()[0],
        "load": round(os.getloadavg()[0], 1),
    }


def tool(name: str) -> str | None:
    """
    @return: where a program is, also one that only root's path has; None where it is not installed.
    """
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin:/usr/local/sbin")


def free_port() -> int:
    """
    @return: a TCP port free a moment ago, for programs that cannot choose one themselves.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def wait_for_port(port: int, seconds: float = 20) -> None:
    """
    Wait until somebody listens on loopback.
    """
    limit = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.02)


@contextmanager
def program(*command: str, ready: str | None = None) -> Iterator[tuple[subprocess.Popen[str], re.Match[str] | None]]:
    """
    Run a program beside us, ended by SIGTERM.

    @param ready: a pattern of the line on standard output by which it says that it is ready.
    @return: the program and the match.
    """
    running = subprocess.Popen(
        command,
        stdout=subprocess.PIPE if ready else subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    match = None
    try:
        if ready is not None and running.stdout is not None:
            for line in running.stdout:
                match = re.search(ready, line)
                if match:
                    break
            else:
                raise RuntimeError(f"{command} ended before it was ready")
        yield running, match
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(10)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
        if running.stdout is not None:
            running.stdout.close()


def part(*arguments: str, ready: str = r"ready (\d+)") -> Any:
    """
    @return: L{program} for one of L{bench.parts}; the match holds its port.
    """
    return program(sys.executable, "-m", "bench.parts", *arguments, ready=ready)


def cpu_seconds(pid: int) -> float:
    """
    @return: what a process has used of the processor so far, in user and system mode.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(kind: str, port: int, *, seconds: float, connections: int, ca: str | None = None) -> dict[str, float]:
    """
    Put a load on a port.

    @param kind: C{echo}, small questions and answers; C{bulk}, a download.
    @param ca: speak TLS and trust this file.
    @return: C{count} of answers, C{bytes}, C{seconds}.
    """
    command = [sys.executable, "-m", "bench.parts", "load", kind, str(port), str(seconds), str(connections)]
    if ca is not None:
        command.append(ca)
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    answer: dict[str, float] = json.loads(done.stdout)
    return answer
