"""
Chromium with nothing looking on: the commands we send it, and no report of what it does.

Playwright has Chromium report every frame of a WebSocket, in base64, through two processes; with 50 MB going to a page
that is a third of all work on two cores. Here only what is asked for is done.

@see: U{https://chromedevtools.github.io/devtools-protocol/}
"""

from __future__ import annotations

import json
import socket
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

from attrs import define

from bench.harness import program, tool
from tests.journeys.browser import Socket
from tests.journeys.cluster import until

PATIENCE = 60.0

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--mute-audio",
    "--ignore-certificate-errors",
    "--window-size=1440,900",
    "--remote-debugging-address=127.0.0.1",
    "--remote-debugging-port=0",
)


@define(eq=False)
class Window:
    """
    One page.
    """

    socket: Socket
    _asked: int = 0

    def ask(self, method: str, **told: Any) -> dict[str, Any]:
        """
        @return: what Chromium answers.
        """
        self._asked += 1
        self.socket.send(json.dumps({"id": self._asked, "method": method, "params": told}).encode(), 1)
        while True:
            message = self.socket.message()
            if message is None:
                raise ConnectionError("Chromium is gone")
            answer = json.loads(message)
            if answer.get("id") == self._asked:
                break
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    def run(self, function: str, *arguments: Any) -> Any:
        """
        @param function: a JavaScript function, which may be an asynchronous one.
        @return: what it returned.
        """
        call = f"({function})({', '.join(map(json.dumps, arguments))})"
        told = self.ask("Runtime.evaluate", expression=call, awaitPromise=True, returnByValue=True, userGesture=True)
        if "exceptionDetails" in told:
            raise RuntimeError(str(told["exceptionDetails"]))
        return told["result"].get("value")

    def go(self, address: str, selector: str) -> None:
        """
        To a page, until it has something.
        """
        self.ask("Page.navigate", url=address)
        there = "(at, selector) => location.href === at && Boolean(document.querySelector(selector))"
        deadline = time.monotonic() + PATIENCE
        while not self._safely(there, address, selector):
            if time.monotonic() > deadline:
                raise RuntimeError(f"no {selector} at {address}: {self.run('() => document.body.innerText')}")
            time.sleep(0.002)

    def _safely(self, function: str, *arguments: Any) -> Any:
        try:
            return self.run(function, *arguments)
        except RuntimeError:  # one page goes, another comes
            return None

    def forget(self) -> None:
        """
        Who was signed in is not any more.
        """
        self.ask("Storage.clearCookies")

    def remember(self, origin: str, cookies: CookieJar) -> None:
        """
        @param cookies: of somebody who is signed in there.
        """
        told = [{"name": each.name, "value": each.value, "url": origin, "secure": True} for each in cookies]
        self.ask("Storage.setCookies", cookies=told)

    def press(self, key: str, code: int = 0, *, control: bool = False) -> None:
        """
        @param code: the key's C{keyCode}, which is that of its letter.
        """
        virtual = code or ord(key.upper())
        told = {"key": key, "windowsVirtualKeyCode": virtual, "modifiers": 2 if control else 0}
        text = {} if control else {"text": key if code != 13 else "\r"}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **told, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **told)

    def type(self, text: str) -> None:
        """
        All at once, and the key I{Enter} at the end.
        """
        self.ask("Input.insertText", text=text)
        self.press("Enter", 13)


@contextmanager
def chromium() -> Iterator[Window | None]:
    """
    @return: an empty page; None where there is no Chromium.
    """
    executable = tool("chromium")
    if executable is None:
        yield None
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        told = Path(folder) / "DevToolsActivePort"
        with program(executable, *_FLAGS, f"--user-data-dir={folder}", "about:blank"):
            until(lambda: told.exists() and told.read_text().count("\n"), "Chromium")
            port = int(told.read_text().split("\n")[0])
            pages = until(lambda: [each for each in _pages(port) if each["type"] == "page"], "a page of Chromium")
            path = pages[0]["webSocketDebuggerUrl"].partition(f":{port}")[2]
            raw = socket.create_connection(("127.0.0.1", port), PATIENCE)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Window(Socket(raw, path, {"Host": f"127.0.0.1:{port}"}))


def _pages(port: int) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        found: list[dict[str, Any]] = json.load(answer)
    return found
