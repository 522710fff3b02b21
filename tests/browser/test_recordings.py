"""
Recordings: found, played, searched, taken along; and a session that goes on, followed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.administrators import SITE, AdminTest
from tests.browser.rig import PATIENCE_MS
from tests.journeys.cluster import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

HTML = "<i>needle</i>"


@pytest.mark.servers
class RecordingTests(AdminTest):
    """
    One session is recorded, by the browser's own terminal.
    """

    _recorded: str = ""

    def recorded(self, page: Page) -> str:
        """
        @return: id of a session that is over.
        """
        cls = type(self)
        if not cls._recorded:
            page.goto(self.address(f"{SITE}/resources"))
            self.terminal(page)
            self.types(page, "echo find the nee''dle")
            self.shows(page, "find the needle")
            self.types(
                page, f"echo '{HTML}'; printf '\\033]0;title\\007\\033[31mred\\033[0m\\n'; sleep 4; echo at last"
            )
            self.shows(page, re.compile("^at last", re.MULTILINE))
            self.types(page, "exit")
            (end,) = until(lambda: self.cluster.events("session.end"), "the end of the session")
            cls._recorded = str(end["sid"])
        return cls._recorded

    def picture(self, page: Page) -> str:
        """
        @return: what the player shows.
        """
        return "\n".join(page.locator(".player-picture .xterm-rows > div").all_inner_texts())

    def pictures(self, page: Page, text: str) -> None:
        """
        Waits until the player shows something.
        """
        until(lambda: text in self.picture(page).replace("\xa0", " "), f"{text} in the player", PATIENCE_MS / 1000)

    def now(self, page: Page) -> int:
        """
        @return: where the player is, in seconds.
        """
        return int(page.get_by_role("slider", name="Place in the recording").get_attribute("aria-valuenow") or "-1")

    def test_played(self) -> None:
        """From the list into the player: by keys to the end and the beginning, by a text to where it was."""
        page = self.administrator("/recordings")
        self.recorded(page)
        page.goto(self.address(f"{SITE}/recordings"))
        play = page.get_by_role("link", name="Play the session of ana")
        play.wait_for()
        self.looks_right(page)
        play.click()
        page.get_by_role("heading", name=re.compile("^ana as .* on node-1$")).wait_for()
        line = page.get_by_role("slider", name="Place in the recording")
        line.press("End")
        self.pictures(page, "at last")
        self.pictures(page, HTML)
        whole = self.now(page)
        self.assertGreaterEqual(whole, 4)
        self.assertEqual(page.title(), page.get_by_role("heading", level=1).inner_text() + " · journey")
        line.press("Home")
        until(lambda: self.now(page) < whole, "the beginning")
        page.keyboard.press("Tab")
        page.get_by_role("button", name="Pause (space)").or_(
            page.get_by_role("button", name=re.compile("^Play"))
        ).wait_for()
        page.get_by_label("Search in this recording").fill("NEEDLE")
        hits = page.locator(".player-hits li")
        hits.first.wait_for()
        marks = page.locator(".timeline-mark.is-hit")
        self.assertGreaterEqual(hits.count(), 2)
        self.assertGreaterEqual(marks.count(), 1)
        page.get_by_role("button", name=re.compile("find the needle$")).last.click()
        self.pictures(page, "find the needle")
        self.assertNotIn("at last", self.picture(page))
        self.looks_right(page, where="the player")
        page.get_by_label("Search in this recording").fill("not there at all")
        page.get_by_text("Not in this recording").wait_for()

    def test_speed_and_silence(self) -> None:
        """Silences are skipped and time runs faster, by buttons and by keys."""
        page = self.administrator("/recordings")
        page.goto(self.address(f"{SITE}/session/{self.recorded(page)}"))
        page.get_by_role("button", name="Pause (space)").wait_for()
        page.locator("h1").click()
        page.keyboard.press(" ")
        page.get_by_role("button", name="Play (space)").wait_for()
        page.get_by_role("slider").press("Home")
        self.assertEqual(self.now(page), 0)
        page.get_by_role("button", name="Skip silence").click()
        page.get_by_role("button", name=re.compile("^1. speed")).click()
        page.get_by_role("menuitem", name=re.compile("^8")).click()
        page.get_by_role("button", name="Play (space)").click()
        self.pictures(page, "at last")
        page.get_by_role("button", name="Play again (space)").wait_for()

    def test_downloaded(self) -> None:
        """As asciicast, by the browser itself."""
        page = self.administrator("/recordings")
        page.goto(self.address(f"{SITE}/session/{self.recorded(page)}"))
        page.get_by_role("button", name="Download").click()
        with page.expect_download() as begun:
            page.get_by_role("menuitem", name="Asciicast").click()
        lines = Path(begun.value.path()).read_text().splitlines()
        self.assertEqual(json.loads(lines[0])["version"], 2)
        self.assertIn("needle", "".join(json.loads(line)[2] for line in lines[1:]))

    def test_searched_by_what_was_shown(self) -> None:
        """The list finds a text on any screen and leads to where it stood; what is not there is said."""
        page = self.administrator("/recordings")
        self.recorded(page)
        page.goto(self.address(f"{SITE}/recordings"))
        page.get_by_text("Content", exact=True).click()
        page.get_by_role("searchbox").fill("needle")
        page.wait_for_url(re.compile("search=needle"))
        found = page.get_by_role("link", name=re.compile("find the needle$")).last

        def there() -> bool:
            if not found.count():
                page.reload()
                page.get_by_text("On no screen").or_(found).first.wait_for()
            return bool(found.count())

        until(there, "the index of what was shown")
        self.looks_right(page, where="found in recordings")
        found.click()
        self.pictures(page, "find the needle")
        page.go_back()
        page.get_by_role("searchbox").fill("nothing of the kind")
        page.get_by_text("On no screen").wait_for()

    def test_not_to_be_had(self) -> None:
        """A recording that is not there is said to be none."""
        page = self.administrator("/session/11111111-2222-3333-4444-555555555555")
        page.get_by_text("This recording cannot be shown").wait_for(timeout=3 * PATIENCE_MS)
        self.looks_right(page, where="no recording")
