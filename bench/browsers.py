"""
What a page costs and shows in Chromium, where it is installed, with the page that the proxy serves.

The peer of C{cat} is xterm.js alone on that page: the same bytes from memory, without network, session or recording.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median, quantiles

from bench.chains import Chain
from bench.chromium import Window, chromium
from bench.harness import OURS, Row
from tests.journeys.browser import Browser
from tests.journeys.cluster import Cluster

ALONE = "xterm.js alone"
CHROMIUM = "in Chromium"


def in_chromium(cluster: Cluster, chain: Chain, node: str, files: dict[str, Path], quick: bool) -> list[Row]:
    """
    @param files: to be shown, by what they are; C{plain} is one of them.
    @return: a row for each aim; none without Chromium.
    """
    browser = Browser(cluster)
    authenticator = cluster.sign_up("dave", logins=chain.login)
    browser.sign_in("dave", cluster.next_code(authenticator))
    site = browser.json("GET", "/webapi/find")["cluster_name"]
    with chromium() as page:
        if page is None:
            return []
        rows = [_loads(page, cluster, 2 if quick else 7)]
        page.remember(browser.origin, browser.cookies)
        page.run("() => localStorage.setItem('signed-in', 'yes')")
        page.go(f"{browser.origin}/web/cluster/{site}/console/node/{node}/{chain.login}", ".xterm-helper-textarea")
        page.run(_WATCH)
        page.type("PS1=; echo re''ady")
        _shown(page, "ready")
        rows += _keys(page, 20 if quick else 200)
        for what, file in files.items():
            rows += _cat(page, what, file, 1 if quick else 3)
        rows.append(_interrupted(page, files["plain"], 1 if quick else 3))
        return rows


def _loads(page: Window, cluster: Cluster, rounds: int) -> Row:
    taken = []
    for _ in range(rounds):
        page.forget()
        started = time.perf_counter()
        page.go(f"https://{cluster.proxy}/web/login", "input")
        taken.append((time.perf_counter() - started) * 1e3)
    case = f"sign-in page, ready for typing, {CHROMIUM}"
    return Row(case, "ms", {OURS: taken}, more_is_better=False, aim="<= 1000")


def _keys(page: Window, count: int) -> list[Row]:
    page.run("() => { window.bench.parsed.length = window.bench.drawn.length = 0 }")
    for number in range(count):
        page.press("abcdefghij"[number % 10])
        time.sleep(0.015 + number % 17 / 1000)  # at any moment between two frames
    rows = []
    for what in ("parsed", "drawn"):
        taken = page.run(f"() => window.bench.{what}")
        case = f"keystroke until its echo is {what}, {CHROMIUM}"
        rows.append(Row(case, "ms, half", {OURS: [median(taken)]}, more_is_better=False, aim="<= 10"))
        rows.append(Row(case, "ms, 99 in 100", {OURS: [quantiles(taken, n=100)[98]]}, more_is_better=False))
    page.press("u", control=True)
    return rows


def _cat(page: Window, what: str, file: Path, rounds: int) -> list[Row]:
    size = file.stat().st_size
    ours, alone, longest = [], [], 0.0
    line = file.read_bytes()[:65536].split(b"\n")[0].rstrip(b"\r").decode() + "\r\n"
    for number in range(rounds):
        page.run("() => window.bench.look()")
        started = time.perf_counter()
        page.type(f"clear; cat {file}; echo; echo {what}''done{number}")
        _shown(page, f"{what}done{number}")
        ours.append(size / (time.perf_counter() - started) / 1e6)
        longest = max(longest, page.run("() => window.bench.rest()"))
        alone.append(size / page.run(_ALONE, [line, size]) / 1e3)
    return [
        Row(f"cat of {what} text, shown {CHROMIUM}", "MB/s", {OURS: ours, ALONE: alone}, aim=">= 10"),
        Row(f"longest time without a frame meanwhile, {CHROMIUM}", "ms", {OURS: [longest]}, more_is_better=False),
    ]


def _interrupted(page: Window, file: Path, rounds: int) -> Row:
    """
    From Ctrl-C until the page shows what the shell says to it, while output pours in. The kernel throws away what is
    not read yet: of coloured text it may leave half a control sequence, which swallows what comes next.
    """
    taken = []
    for number in range(rounds):
        page.type(f'(trap : INT; yes "$(head -n 40 {file})"; echo; echo stop""ped{number})')
        time.sleep(1.0)
        started = time.perf_counter()
        page.press("c", control=True)
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
    const { session, screen: { terminal } } = tabs.get().find((each) => each.active);
"""

_WATCH = f"""async () => {{{_TERMINAL}
    await new Promise((live) => {{
        const look = () => session.state === "live" ? live() : setTimeout(look, 10);
        look();
    }});
    terminal.focus();
    const bench = window.bench = {{ longest: 0, parsed: [], drawn: [] }};
    let last = 0;
    const frame = () => {{
        if (!last) return;
        const now = performance.now();
        bench.longest = Math.max(bench.longest, now - last);
        last = now;
        requestAnimationFrame(frame);
    }};
    bench.look = () => {{
        bench.longest = 0;
        last = performance.now();
        requestAnimationFrame(frame);
    }};
    bench.rest = () => {{
        last = 0;
        return bench.longest;
    }};
    let pressed = 0;
    let echoed = 0;
    document.addEventListener("keydown", () => {{ pressed = performance.now(); }}, true);
    terminal.onWriteParsed(() => {{
        if (!pressed) return;
        bench.parsed.push(performance.now() - pressed);
        echoed = pressed;
        pressed = 0;
    }});
    const after = new MessageChannel();
    let drawing = 0;
    after.port1.onmessage = () => bench.drawn.push(performance.now() - drawing);
    terminal.onRender(() => {{
        if (!echoed) return;
        drawing = echoed;
        echoed = 0;
        after.port2.postMessage(null);
    }});
}}"""
"""
Notes the longest time between two frames from C{look} to C{rest}, and asks for none otherwise: an answer to a key would
wait for it. Notes the time from each key to when the terminal has its echo, and to the end of the frame that shows it:
what is posted while a frame is made comes after it.
"""

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


def _shown(page: Window, text: str) -> None:
    """
    Wait until the terminal has a line.
    """
    page.run(
        f"""async (text) => {{{_TERMINAL}
            const there = () => {{
                const {{ active }} = terminal.buffer;
                const end = active.baseY + active.cursorY;
                for (let row = Math.max(0, end - 3); row <= end; row++)
                    if (active.getLine(row)?.translateToString(true) === text) return true;
                return false;
            }};
            await new Promise((resolve) => {{
                if (there()) return resolve();
                const watched = terminal.onWriteParsed(() => {{
                    if (!there()) return;
                    watched.dispose();
                    resolve();
                }});
            }});
        }}""",
        text,
    )
