"""
The command line: how long C{tsh} takes to say something, and C{tsh ssh HOST true} beside C{ssh -J} through two C{sshd}.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from bench.chains import NODE, OPENSSH, Chain, have_openssh, openssh, ours
from bench.harness import OURS, ROOT, Row, by_turns
from tests.journeys.cluster import Cluster

BARE = "python -c pass"
_TSH = "from teleport_tw.clients.tsh.main import main; main()"


def run(quick: bool) -> list[Row]:
    """
    @return: milliseconds of each command, from its start to its end.
    """
    rounds = 1 if quick else 25
    with ExitStack() as stack:
        chain, cluster = stack.enter_context(ours())
        cluster.log_in("bob", cluster.sign_up("bob", logins=chain.login))
        rows = [
            _row(f"tsh {name}", {OURS: _tsh(cluster, name), BARE: _timed([sys.executable, "-c", "pass"])}, rounds)
            for name in ("version", "status", "ls")
        ]
        ways = {OURS: _tsh(cluster, "ssh", f"{chain.login}@{NODE}", "true")}
        if have_openssh():
            ways[OPENSSH] = _true(stack.enter_context(openssh(cluster)))
            ways["ssh -J through our proxy"] = _true(chain)
        rows.append(_row("ssh, a command that does nothing", ways, rounds))
    return rows


def _row(case: str, ways: Mapping[str, Callable[[], float]], rounds: int) -> Row:
    if rounds > 1:  # the first finds cold caches
        for way in ways.values():
            way()
    return Row(case, "ms", by_turns(ways, rounds), more_is_better=False)


def _tsh(cluster: Cluster, *words: str) -> Callable[[], float]:
    home = {"TELEPORT_HOME": str(cluster.home), "HOME": str(cluster.folder), "PYTHONPATH": str(ROOT)}
    return _timed([sys.executable, "-c", _TSH, *words], **home)


def _true(chain: Chain) -> Callable[[], float]:
    return _timed(chain.ssh("true"))


def _timed(command: list[str], **environment: str) -> Callable[[], float]:
    def measure() -> float:
        started = time.perf_counter()
        subprocess.run(
            command,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **environment},
            timeout=60,
        )
        return (time.perf_counter() - started) * 1e3

    return measure
