"""
A browser's terminal: output and keystrokes through a WebSocket, proxy, tunnel and agent, memory for each, and what
pages cost before that.

The peer is C{websocketd} from Debian, which gives a page C{ssh -tt} through two C{sshd}: the same hops,
without sign-in, recording or log. Our client speaks TLS, as browsers do; the peer's does not. What Chromium shows is
measured by L{bench.browsers}.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Protocol

from attrs import define

from bench.browsers import in_chromium
from bench.chains import NODE, Chain, have_openssh, memory_of, openssh, ours
from bench.chromium import chromium
from bench.harness import OURS, ROOT, Row, free_port, program, several_by_turns, tool, wait_for_port
from tests.journeys.browser import Browser, Socket, Terminal
from tests.journeys.cluster import Cluster, Service, until

PEER = "websocketd"
PATIENCE = 120.0
NEAR = 64
"""Bytes within which the end of output is looked for: a shell may have said something after it."""


class Page(Protocol):
    """
    Somebody's terminal.
    """

    def type(self, data: bytes) -> None:
        """
        Send keys.
        """
        ...

    def until(self, text: bytes) -> bytes:
        """
        Wait for output, and forget what came up to it.
        """
        ...

    def drain(self, end: bytes) -> None:
        """
        Take in output up to its end, and keep none of it.
        """
        ...

    def close(self) -> None:
        """
        Leave.
        """
        ...


@define(eq=False)
class Ours:
    """
    A terminal of ours.
    """

    terminal: Terminal

    def type(self, data: bytes) -> None:
        """See L{Page.type}."""
        self.terminal.type(data)

    def until(self, text: bytes) -> bytes:
        """See L{Page.until}."""
        return self.terminal.until(text)

    def drain(self, end: bytes) -> None:
        """See L{Page.drain}."""
        shown = self.terminal.shown
        while end not in shown[-NEAR:]:
            del shown[:-NEAR]
            self.terminal.read()
        shown.clear()

    def stay(self) -> None:
        """
        Answer before it is asked for, as a page does that is looked at later: who is silent is taken for gone.
        """
        self.terminal.socket.send(b"", 10)

    def close(self) -> None:
        """See L{Page.close}."""
        self.terminal.socket.close()


@define(eq=False)
class Theirs:
    """
    A page of websocketd's.
    """

    socket: Socket
    shown: bytearray

    def type(self, data: bytes) -> None:
        """See L{Page.type}."""
        self.socket.send(data)

    def _more(self) -> bytes:
        message = self.socket.message()
        if not isinstance(message, bytes):
            raise RuntimeError(f"it ended: {message!r}")
        return message

    def until(self, text: bytes) -> bytes:
        """See L{Page.until}."""
        while text not in self.shown:
            self.shown += self._more()
        end = self.shown.index(text) + len(text)
        found = bytes(self.shown[:end])
        del self.shown[:end]
        return found

    def drain(self, end: bytes) -> None:
        """See L{Page.drain}."""
        while end not in self.shown[-NEAR:]:
            del self.shown[:-NEAR]
            self.shown += self._more()
        self.shown.clear()

    def close(self) -> None:
        """See L{Page.close}."""
        self.socket.close()


Open = Callable[[], Page]


def run(quick: bool) -> list[Row]:
    """
    @return: a row for each aim.
    """
    if not have_openssh():
        raise SystemExit("OpenSSH's client and server are not installed")
    rounds = 1 if quick else 3
    size = 5_000_000 if quick else 50_000_000
    rows: list[Row] = []
    with ExitStack() as stack:
        chain, cluster = stack.enter_context(ours())
        browser = Browser(cluster)
        authenticator = cluster.sign_up("carol", logins=chain.login)
        browser.sign_in("carol", cluster.next_code(authenticator))
        node = browser.nodes()[NODE]
        file = cluster.folder / "long"
        line = b"".join(b"%c[3%dm%07d " % (27, number % 8, number) for number in range(8)) + b"the quick brown fox\r\n"
        file.write_bytes((line * (size // len(line) + 1))[:size])
        plain = cluster.folder / "plain"
        words = b" ".join(b"%07d" % number for number in range(8)) + b" the quick brown fox\n"
        plain.write_bytes((words * (size // len(words) + 1))[:size])

        def opened() -> Ours:
            return Ours(browser.terminal(node, chain.login))

        pages: dict[str, Open] = {OURS: opened}
        if tool("websocketd"):
            pages[PEER] = stack.enter_context(_websocketd(stack.enter_context(openssh(cluster))))
        for each in pages.values():
            _opened(each)
        rows += _rows("a terminal opened, to its prompt", pages, _opened, 2 if quick else 15)
        rows += _rows("cat, to a client without a screen", pages, lambda each: _cat(each, file, size), rounds)
        rows += _rows("keystroke and its echo", pages, lambda each: _keys(each, 20 if quick else 300), rounds)
        rows.append(_idle(cluster.service, opened, 10 if quick else 200))
        rows += in_chromium(cluster, chain, node, {"coloured": file, "plain": plain}, quick)
        rows.append(_sent(browser))
    return [*rows, _list(quick)]


def _rows(
    case: str, pages: Mapping[str, Open], measure: Callable[[Open], Mapping[str, float]], rounds: int
) -> list[Row]:
    contenders = {name: lambda each=each: measure(each) for name, each in pages.items()}
    return [
        Row(case, unit, figures, more_is_better=unit.endswith("/s"))
        for unit, figures in several_by_turns(contenders, rounds).items()
    ]


@contextmanager
def _quiet(opened: Open) -> Iterator[Page]:
    """
    With a shell that shows neither prompt nor keys.
    """
    page = opened()
    try:
        page.type(b"PS1=; stty -echo; echo re''ady\r")
        page.until(b"ready\r\n")
        yield page
    finally:
        page.close()


def _opened(opened: Open) -> dict[str, float]:
    started = time.perf_counter()
    with _quiet(opened):
        return {"ms": (time.perf_counter() - started) * 1e3}


def _cat(opened: Open, file: Path, size: int) -> dict[str, float]:
    with _quiet(opened) as page:
        started = time.perf_counter()
        page.type(f"cat {file}; echo al''l\r".encode())
        page.drain(b"\nall\r\n")
        return {"MB/s": size / (time.perf_counter() - started) / 1e6}


def _keys(opened: Open, count: int) -> dict[str, float]:
    taken = []
    with _quiet(opened) as page:
        page.type(b"stty raw; echo go''on; cat\r")
        page.until(b"goon\n")
        for number in range(count):
            key = b"abcdefghij"[number % 10 : number % 10 + 1]
            started = time.perf_counter()
            page.type(key)
            page.until(key)
            taken.append((time.perf_counter() - started) * 1e3)
            time.sleep(0.005)
    return {"ms, half of them": median(taken), "ms, 99 in 100": quantiles(taken, n=100)[98]}


def _idle(service: Service, opened: Callable[[], Ours], count: int) -> Row:
    """
    What the proxy (with auth in its process) grows by.
    """
    assert service.process is not None
    warm = [opened() for _ in range(3)]
    before = memory_of(service.process.pid)
    pages = []
    for number in range(count):
        pages.append(opened())
        if number % 10 == 9:
            for page in warm + pages:
                page.stay()
    for page in pages:
        page.type(b"echo re''ady\r")
        page.until(b"ready\r\n")
    grown = (memory_of(service.process.pid) - before) / count / 1024
    for page in warm + pages:
        page.close()
    case = f"memory for each of {count} open terminals, in the proxy"
    return Row(case, "KiB", {OURS: [grown]}, more_is_better=False, aim="<= 300")


@contextmanager
def _websocketd(chain: Chain) -> Iterator[Open]:
    port = free_port()
    daemon = tool("websocketd") or "websocketd"
    ssh = chain.ssh(options=("-tt",))
    with program(daemon, f"--port={port}", "--address=127.0.0.1", "--binary=true", "--loglevel=error", *ssh):
        wait_for_port(port)

        def opened() -> Page:
            raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Theirs(Socket(raw, "/", {"Host": "localhost"}), bytearray())

        yield opened


# --- pages


def _sent(browser: Browser) -> Row:
    """
    Everything that the first page needs, as it is on the way.
    """
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    total = 0
    for path in _first_load(browser.cluster):
        with socket.create_connection(("127.0.0.1", browser.cluster.web)) as raw, context.wrap_socket(raw) as stream:
            stream.sendall(
                f"GET {path} HTTP/1.1\r\nHost: {browser.cluster.proxy}\r\nAccept-Encoding: gzip, br\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            while data := stream.recv(65536):
                total += len(data)
    return Row("first load, compressed, with headers", "KB", {OURS: [total / 1e3]}, more_is_better=False, aim="<= 350")


def _first_load(cluster: Cluster) -> list[str]:
    found = ["/web/login"]
    with chromium() as page:
        if page is not None:
            page.go(f"https://{cluster.proxy}/web/login", "input")
            told = page.run("() => performance.getEntriesByType('resource').map((each) => each.name)")
            found += [address.removeprefix(f"https://{cluster.proxy}") for address in told]
    return list(dict.fromkeys(path for path in found if path.startswith("/")))


# --- lists


def _list(quick: bool) -> Row:
    """
    As a page asks, sorted and searched, with the time that HTTP takes.
    """
    count = 2_000 if quick else 50_000
    cluster = Cluster(roles=("auth", "proxy"))
    try:
        cluster.start()
        authenticator = cluster.sign_up("carol", logins="root")
        code = cluster.next_code(authenticator)
        cluster.service.stop()
        path = cluster.folder / "data" / "backend" / "sqlite.db"
        subprocess.run([sys.executable, "-m", "bench.parts", "nodes", str(path), str(count)], check=True, cwd=ROOT)
        cluster.service.start()
        browser = Browser(cluster)
        browser.sign_in("carol", code)
        place = "/webapi/sites/-current-/nodes"
        until(lambda: browser.json("GET", f"{place}?limit=1")["totalCount"] >= count, "all nodes")
        asked = ("limit=50", "limit=50&sort=hostname:desc", "limit=50&search=host-12", "limit=50&search=nothing")
        taken = []
        for _ in range(2 if quick else 10):
            for query in asked:
                started = time.perf_counter()
                browser.json("GET", f"{place}?{query}")
                taken.append((time.perf_counter() - started) * 1e3)
        case = f"a page of 50 of {count} servers, 99 in 100"
        return Row(case, "ms", {OURS: [quantiles(taken, n=100)[98]]}, more_is_better=False, aim="<= 100")
    finally:
        cluster.close()
