"""
Seeking in a recording: what was drawn once is kept.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.administrators import SITE, AdminTest
from tests.browser.rig import PATIENCE_MS
from tests.journeys.cluster import until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

_KEPT = r"""async () => {
  const { Terminal } = await import("@xterm/xterm");
  const main = document.querySelector("script[type=module]").src;
  const { kept, restored } = await import(new URL("./player/kept.js", main));
  const pieces = [
    "hello ", "\r\n", "\n\n\n\n", "\t", "qqq", "x".repeat(60), "漢字", "e\u0301", "\x0e", "\x0f",
    "\x1b7", "\x1b8", "\x1bH", "\x1bM", "\x1b(0", "\x1b(B",
    ...["31m", "0m", "48;2;1;2;3m", "4:3m", "?1049h", "?1049l", "3;7r", "5;5H", "2J", "K", "4h", "4l", "?6h", "?6l"],
    ...["2L", "3P", "?7l", "?7h", "3b", "?25l", "?25h", "S", "20h"],
  ].map((piece) => (/^[?0-9;:]*[A-Za-z]$/.test(piece) ? `\x1b[${piece}` : piece));
  let seed = 7;
  const chosen = () => pieces[(seed = (seed * 48271) % 2147483647) % pieces.length];
  const some = (count) => Array.from({ length: count }, chosen).join("");
  const made = () => new Terminal({ cols: 40, rows: 10, scrollback: 0, allowProposedApi: true });
  const write = (terminal, data) => new Promise((done) => terminal.write(data, done));
  const seen = ({ _core: { buffers } }) =>
    JSON.stringify([buffers.active === buffers.alt, ...[buffers.normal, buffers.alt].map((buffer) => [
      buffer.x, buffer.y, buffer.scrollTop, buffer.scrollBottom, buffer.savedX, buffer.savedY,
      Array.from({ length: buffer.lines.length }, (_, row) => {
        const line = buffer.lines.get(row);
        return [line.isWrapped, line.translateToString(), Array.from(line._data)];
      }),
    ])]);
  const wrong = [];
  for (let round = 0; round < 60; round++) {
    const [before, between, after] = [some(40), some(20), some(40)];
    const straight = made();
    await write(straight, before);
    const state = kept(straight);
    const other = made();
    await write(other, between + "\x18\x1bc");
    if (state) restored(other, state);
    const same = state && seen(straight) === seen(other);
    await Promise.all([write(straight, after), write(other, after)]);
    if (!same || seen(straight) !== seen(other)) wrong.push(before);
  }
  const half = made();
  await write(half, "\x1b[3");
  return { wrong, half: kept(half), other: kept({}) };
}"""
"""Screens of random output are kept and put back; then both go on with the same."""


@pytest.mark.servers
class PlayerTests(AdminTest):
    """
    One session, with more output than lies between two screens that are kept.
    """

    def test_back_to_a_screen_that_was_kept(self) -> None:
        """
        What was drawn once need not come again: a seek back asks for the output behind a kept screen.
        """
        page = self.administrator("/resources")
        self.terminal(page)
        self.types(page, "seq -f '%.0f is a number on a line of its own' 1 20000; sleep 7; seq 7; echo do''ne; exit")
        (end,) = until(lambda: self.cluster.events("session.end"), "the end of the session")
        asked: list[dict[str, int]] = []

        def noted(payload: str | bytes) -> None:
            found = re.search(rb'\{"at":.*?\}', payload if isinstance(payload, bytes) else payload.encode())
            if found is not None:
                asked.append(json.loads(found[0]))

        page.on("websocket", lambda socket: socket.on("framesent", noted))
        held: list[Route] = []
        page.route("**/app/player/screen.js", lambda route: held.append(route))
        page.goto(self.address(f"{SITE}/session/{end['sid']}"))
        line = page.get_by_role("slider", name="Place in the recording")
        page.locator("[role=slider]:not([aria-valuemax='0'])").wait_for()
        line.press("End")
        # Somebody is quicker than what draws.
        page.wait_for_timeout(1000)
        self.assertEqual(len(asked), 1)
        (drawing,) = held
        drawing.continue_()
        self._pictures(page, "done")
        line.press("ArrowLeft")
        self._pictures(page, "20000 is a number")
        self.assertNotIn("done", self._picture(page))
        self.assertGreater(asked[-1]["from"], 256 * 1024)
        line.press("End")
        self._pictures(page, "done")

    def test_kept_screens(self) -> None:
        """Put back, a screen is what it was, and goes on as it would have."""
        found = self.administrator("/recordings").evaluate(_KEPT)
        self.assertEqual(found, {"wrong": [], "half": None, "other": None})

    def _picture(self, page: Page) -> str:
        return "\n".join(page.locator(".player-picture .xterm-rows > div").all_inner_texts()).replace("\xa0", " ")

    def _pictures(self, page: Page, text: str) -> None:
        until(lambda: text in self._picture(page), f"{text} in the player", PATIENCE_MS / 1000)
