"""
What a page costs and shows in Chromium, where it and Playwright are installed, with the page that the proxy serves.

The peer of C{cat} is xterm.js alone on that page: the same bytes from memory, without network, session or recording.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.chains import Chain
from bench.harness import OURS, Row, tool
from tests.browser.people import is_in, type_password
from tests.journeys.cluster import Cluster

PATIENCE = 120.0
ALONE = "xterm.js alone"
CHROMIUM = "in Chromium"


@contextmanager
def window(cluster: Cluster) -> Iterator[Any]:
    """
    @return: a page of Chromium; None where there is none.
    """
    executable = tool("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        executable = None
    if executable is None:
        yield None
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            context = browser.new_context(ignore_https_errors=True, viewport={"width": 1440, "height": 900})
            context.set_default_timeout(PATIENCE * 1e3)
            yield context.new_page()
        finally:
            browser.close()


def in_chromium(cluster: Cluster, chain: Chain, node: str, files: dict[str, Path], quick: bool) -> list[Row]:
    """
    @param files: to be shown, by what they are.
    @return: a row for each aim; none without Chromium.
    """
    authenticator = cluster.sign_up("dave", logins=chain.login)
    code = cluster.next_code(authenticator)
    with window(cluster) as page:
        if page is None:
            return []
        rows = [_loads(page, cluster, 2 if quick else 7)]
        type_password(page, "dave")
        page.get_by_label("Code of your authenticator app").fill(code)
        is_in(page, "dave")
        page.goto(f"https://{cluster.proxy}/web/cluster/{_cluster_name(page)}/console/node/{node}/{chain.login}")
        page.locator(".xterm-helper-textarea").wait_for(state="attached")
        page.evaluate(_WATCH)
        page.keyboard.type("PS1=; echo re''ady\n")
        _shown(page, "ready")
        rows += _keys(page, 20 if quick else 200)
        for what, file in files.items():
            rows += _cat(page, what, file, 1 if quick else 3)
        rows.append(_interrupted(page, next(iter(files.values())), 1 if quick else 3))
        return rows


def _loads(page: Any, cluster: Cluster, rounds: int) -> Row:
    taken = []
    for _ in range(rounds):
        page.context.clear_cookies()
        started = time.perf_counter()
        page.goto(f"https://{cluster.proxy}/web/login")
        page.locator("input").first.wait_for()
        taken.append((time.perf_counter() - started) * 1e3)
    case = f"sign-in page, ready for typing, {CHROMIUM}"
    return Row(case, "ms", {OURS: taken}, more_is_better=False, aim="<= 1000")


def _keys(page: Any, count: int) -> list[Row]:
    for number in range(count):
        page.keyboard.press("abcdefghij"[number % 10])
        page.wait_for_timeout(15)
    taken = page.evaluate("window.bench.taken")
    page.keyboard.press("Control+u")
    case = f"keystroke and its echo, {CHROMIUM}"
    return [
        Row(case, "ms, half", {OURS: [median(taken)]}, more_is_better=False, aim="<= 10"),
        Row(case, "ms, 99 in 100", {OURS: [quantiles(taken, n=100)[98]]}, more_is_better=False),
    ]


def _cat(page: Any, what: str, file: Path, rounds: int) -> list[Row]:
    size = file.stat().st_size
    ours, alone, longest = [], [], 0.0
    line = file.read_bytes()[:65536].split(b"\n")[0].rstrip(b"\r").decode() + "\r\n"
    for number in range(rounds):
        page.evaluate("window.bench.longest = 0")
        started = time.perf_counter()
        page.keyboard.type(f"clear; cat {file}; echo; echo {what}''done{number}\n")
        _shown(page, f"{what}done{number}")
        ours.append(size / (time.perf_counter() - started) / 1e6)
        longest = max(longest, page.evaluate("window.bench.longest"))
        alone.append(size / page.evaluate(_ALONE, [line, size]) / 1e3)
    return [
        Row(f"cat of {what} text, shown {CHROMIUM}", "MB/s", {OURS: ours, ALONE: alone}, aim=">= 10"),
        Row(f"longest time without a frame meanwhile, {CHROMIUM}", "ms", {OURS: [longest]}, more_is_better=False),
    ]


def _interrupted(page: Any, file: Path, rounds: int) -> Row:
    """
    From Ctrl-C until the page shows what the shell says to it, while output pours in.
    """
    taken = []
    for number in range(rounds):
        page.keyboard.type(f'(trap : INT; yes "$(head -n 40 {file})"; echo; echo stop""ped{number})\n')
        page.wait_for_timeout(1000)
        started = time.perf_counter()
        page.keyboard.press("Control+c")
        _shown(page, f"stopped{number}")
        taken.append((time.perf_counter() - started) * 1e3)
    return Row(
        f"Ctrl-C while output pours in, until it shows, {CHROMIUM}",
        "ms",
        {OURS: taken},
        more_is_better=False,
        aim="<= 200",
    )


_TERMINAL = """
    const main = document.querySelector("script[type=module]").src;
    const { tabs } = await import(new URL("./terminal/tabs.js", main));
    const { terminal } = tabs.get().find((each) => each.active).screen;
"""

_WATCH = f"""async () => {{{_TERMINAL}
    const bench = window.bench = {{ longest: 0, taken: [] }};
    let last = performance.now();
    const frame = () => {{
        const now = performance.now();
        bench.longest = Math.max(bench.longest, now - last);
        last = now;
        requestAnimationFrame(frame);
    }};
    requestAnimationFrame(frame);
    let pressed = 0;
    document.addEventListener("keydown", () => {{ pressed = performance.now(); }}, true);
    terminal.onWriteParsed(() => {{
        if (pressed) bench.taken.push(performance.now() - pressed);
        pressed = 0;
    }});
}}"""
"""Notes the longest time between two frames, and the time from each key to when the terminal has its echo."""


_ALONE = f"""async ([line, size]) => {{{_TERMINAL}
    const {{ Terminal }} = await import("@xterm/xterm");
    const {{ cols, rows, options }} = terminal;
    const other = new Terminal({{ cols, rows, scrollback: options.scrollback, fontSize: options.fontSize }});
    const place = document.createElement("div");
    place.style = "position: fixed; inset: 0; z-index: 99";
    document.body.append(place);
    other.open(place);
    const bytes = new TextEncoder().encode(line.repeat(Math.ceil(393216 / line.length)));
    const began = performance.now();
    for (let left = size; left > 0; left -= bytes.length)
        await new Promise((written) => other.write(bytes.subarray(0, left), written));
    const took = performance.now() - began;
    other.dispose();
    place.remove();
    terminal.focus();
    return took;
}}"""
"""Writes so many bytes to a terminal of its own."""


def _shown(page: Any, text: str) -> None:
    """
    Wait until the terminal has a line.
    """
    page.evaluate(
        f"""async (text) => {{{_TERMINAL}
            const there = () => {{
                const {{ active }} = terminal.buffer;
                for (let row = Math.max(0, active.length - 200); row < active.length; row++)
                    if (active.getLine(row).translateToString(true) === text) return true;
                return false;
            }};
            await new Promise((resolve) => {{
                const look = () => there() ? resolve() : setTimeout(look, 10);
                look();
            }});
        }}""",
        text,
    )


def _cluster_name(page: Any) -> str:
    found: str = page.evaluate(
        "fetch('/webapi/find').then((answer) => answer.json()).then((told) => told.cluster_name)"
    )
    return found
