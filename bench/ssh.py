"""
SSH through our proxy, tunnel and agent, beside C{ssh -J} through two C{sshd}: bulk both ways, connecting, keystrokes,
sessions a second and what one costs, and memory for each idle session.

The client is C{ssh} on both sides, with the same cipher (aes128-gcm) and key exchange (curve25519). The servers' time
includes that of the commands they run, such as the login's shell and its start files.
"""

from __future__ import annotations

import os
import pwd
import select
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median, quantiles

from bench.chains import OPENSSH, Chain, have_openssh, openssh, ours
from bench.harness import OURS, Row, several_by_turns

PIECE = 262144
PATIENCE = 60.0


def run(quick: bool) -> list[Row]:
    """
    @return: a row for each aim.
    """
    if not have_openssh():
        raise SystemExit("OpenSSH's client and server are not installed")
    rounds = 1 if quick else 5
    size = 20_000_000 if quick else 300_000_000
    with ExitStack() as stack:
        chain, cluster = stack.enter_context(ours())
        chains = {OURS: chain, OPENSSH: stack.enter_context(openssh(cluster))}
        for each in chains.values():
            _connect(each)
        rows = [
            *_rows("bulk, from the host", chains, lambda each: _down(each, size), rounds),
            *_rows("bulk, to the host", chains, lambda each: _up(each, size), rounds),
            *_rows("connect and true", chains, _connect, 2 if quick else 25),
            Row("the login's shell, part of that", "ms", {OURS: [_shell() for _ in range(5)]}, more_is_better=False),
            *_rows("keystroke and its echo", chains, lambda each: _keys(each, 20 if quick else 300), rounds),
            *_rows(
                "sessions, 4 at a time", chains, lambda each: _sessions(each, 4 if quick else 40), 1 if quick else 3
            ),
        ]
        sizes = {name: _idle(each, 5 if quick else 1000 if name == OURS else 100) for name, each in chains.items()}
        rows.append(
            Row(
                "memory for each idle session",
                "KiB",
                {name: [value] for name, value in sizes.items()},
                more_is_better=False,
            )
        )
    return rows


def _rows(
    case: str, chains: Mapping[str, Chain], measure: Callable[[Chain], Mapping[str, float]], rounds: int
) -> list[Row]:
    contenders = {name: lambda each=each: measure(each) for name, each in chains.items()}
    return [
        Row(case, unit, figures, more_is_better=unit.endswith("/s"))
        for unit, figures in several_by_turns(contenders, rounds).items()
    ]


def _down(chain: Chain, size: int) -> dict[str, float]:
    """
    From the first byte to the last.
    """
    before = chain.cpu()
    with subprocess.Popen(
        chain.ssh(f"head -c {size} /dev/zero"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as ssh:
        assert ssh.stdout is not None
        descriptor = ssh.stdout.fileno()
        got = len(os.read(descriptor, PIECE))
        started = time.perf_counter()
        while piece := os.read(descriptor, PIECE):
            got += len(piece)
        passed = time.perf_counter() - started
    if got != size:
        raise RuntimeError(f"{got} bytes came instead of {size}")
    return {"MB/s": size / passed / 1e6, "servers' s/GB": (chain.cpu() - before) / size * 1e9}


def _up(chain: Chain, size: int) -> dict[str, float]:
    """
    From when the command runs to when it has read everything and ended.
    """
    before = chain.cpu()
    with subprocess.Popen(chain.ssh("echo; cat >/dev/null"), stdout=subprocess.PIPE, stdin=subprocess.PIPE) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdin is not None
        os.read(ssh.stdout.fileno(), 1)
        started = time.perf_counter()
        piece, left = memoryview(bytes(PIECE)), size
        while left:
            left -= os.write(ssh.stdin.fileno(), piece[:left])
        ssh.stdin.close()
        ssh.wait(PATIENCE)
        passed = time.perf_counter() - started
    return {"MB/s": size / passed / 1e6, "servers' s/GB": (chain.cpu() - before) / size * 1e9}


def _connect(chain: Chain) -> dict[str, float]:
    started = time.perf_counter()
    subprocess.run(chain.ssh("true"), check=True, stdin=subprocess.DEVNULL, timeout=PATIENCE)
    return {"ms": (time.perf_counter() - started) * 1e3}


def _shell() -> float:
    """
    What the host's own shell takes to run C{true}: many read a start file when it is SSH that starts them.
    """
    shell = pwd.getpwuid(os.getuid()).pw_shell
    environment = {name: value for name, value in os.environ.items() if name != "SHLVL"}
    started = time.perf_counter()
    subprocess.run([shell, "-c", "true"], check=True, env={**environment, "SSH_CLIENT": "127.0.0.1 1 22"})
    return (time.perf_counter() - started) * 1e3


def _keys(chain: Chain, count: int) -> dict[str, float]:
    """
    One key at a time into a terminal, with pauses as of a fast typist's machine.
    """
    with subprocess.Popen(
        chain.ssh("stty -icanon min 1; echo ready; exec cat >/dev/null", options=["-tt"]),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    ) as ssh:
        assert ssh.stdout is not None
        assert ssh.stdin is not None
        reading, writing, seen, took = ssh.stdout.fileno(), ssh.stdin.fileno(), b"", []
        while b"ready" not in seen:
            seen += _soon(reading)
        for _ in range(count):
            time.sleep(0.01)
            started = time.perf_counter()
            os.write(writing, b"x")
            while b"x" not in _soon(reading):
                pass
            took.append((time.perf_counter() - started) * 1e3)
        ssh.kill()
    return {"ms, median": median(took), "ms, 95 of 100": quantiles(took, n=20)[-1]}


def _soon(descriptor: int) -> bytes:
    if not select.select([descriptor], [], [], PATIENCE)[0]:
        raise RuntimeError("nothing came")
    if not (data := os.read(descriptor, PIECE)):
        raise RuntimeError("the session ended")
    return data


def _sessions(chain: Chain, count: int) -> dict[str, float]:
    """
    Each with a connection of its own, from first to last.
    """
    before, started = chain.cpu(), time.perf_counter()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _connect(chain), range(count)))
    passed = time.perf_counter() - started
    return {"sessions/s": count / passed, "servers' ms for each": (chain.cpu() - before) / count * 1e3}


def _idle(chain: Chain, count: int) -> float:
    """
    Sessions with a terminal, each with a connection of its own.
    """
    before = chain.memory()
    with ExitStack() as stack:
        with ThreadPoolExecutor(8) as pool:
            for ssh in pool.map(lambda _: _open_idle(chain), range(count)):
                stack.callback(ssh.wait)
                stack.callback(ssh.kill)
        return (chain.memory() - before) / count / 1024


def _open_idle(chain: Chain) -> subprocess.Popen[bytes]:
    ssh = subprocess.Popen(
        chain.ssh("echo ready; exec sleep 3600", options=["-tt"]),
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
    )
    assert ssh.stdout is not None
    _soon(ssh.stdout.fileno())
    return ssh
