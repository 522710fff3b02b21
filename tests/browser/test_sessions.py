"""
Sessions of others: seen, joined and ended in the browser.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.rig import DESKTOP, PHONE
from tests.browser.terminals import TerminalTest

if TYPE_CHECKING:
    from playwright.sync_api import Page

HELPER = {
    "kind": "role",
    "version": "v7",
    "metadata": {"name": "helper"},
    "spec": {
        "allow": {
            "join_sessions": [
                {
                    "name": "all",
                    "roles": ["*"],
                    "kinds": ["ssh"],
                    "modes": ["observer", "peer", "moderator"],
                }
            ]
        }
    },
}

_WHOLE = """each => {
  const { left, right, top, bottom } = each.getBoundingClientRect();
  const seen = (x, y) => each.contains(document.elementFromPoint(x, y));
  return [left + 2, right - 2].every((x) => seen(x, top + 8) && seen(x, bottom - 8));
}"""


@pytest.mark.servers
class SessionsPageTests(TerminalTest):
    """
    One works, another one helps.
    """

    @classmethod
    def setUpClass(cls) -> None:
        """
        Who may join.
        """
        super().setUpClass()
        path = Path(cls.cluster.folder) / "helper.yaml"
        path.write_text(json.dumps(HELPER))
        cls.cluster.tctl("create", "-f", str(path))

    def test_joined(self) -> None:
        """
        A helper sees the session, watches, works along, and each sees the other's work.
        """
        mine = self.terminal(self.signed_in("alice"))
        self.types(mine, "echo shown $((3 * 41))")
        self.shows(mine, "shown 123")
        helper = self.signed_in("bob", roles="access,helper")
        helper.get_by_role("link", name="Active sessions").click()
        helper.get_by_text(re.compile("alice")).first.wait_for()
        self.looks_right(helper, where="active sessions")
        helper.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        helper.get_by_role("button", name=re.compile("^Join ")).first.click()
        self.assertTrue(helper.get_by_role("menu").evaluate(_WHOLE), "the menu is cut off")
        helper.keyboard.press("Escape")
        helper.set_viewport_size({"width": DESKTOP["width"], "height": DESKTOP["height"]})
        self._joins(helper, "Watch")
        self.shows(helper, "shown 123")
        helper.get_by_text("You are watching.").wait_for()
        mine.get_by_role("list", name="In this session").get_by_text("bob").wait_for()
        self.looks_right(helper, where="watching")
        helper.keyboard.type("not typed")
        self.types(mine, "echo after $((5 * 5))")
        text = self.shows(helper, "after 25")
        self.assertNotIn("not typed", text)
        helper.keyboard.press("Control+Shift+ArrowUp")
        helper.keyboard.press("Delete")
        helper.get_by_role("link", name="Active sessions").click()
        self._joins(helper, "Work along")
        self.shows(helper, "after 25")
        self.types(helper, "echo helped $((6 * 7))")
        self.shows(mine, "helped 42")
        self.looks_right(mine, where="joined")

    def test_moderated(self) -> None:
        """
        A moderator ends somebody's session; the other is told.
        """
        mine = self.terminal(self.signed_in("alice"))
        self.types(mine, "echo ready$((1))")
        self.shows(mine, "ready1")
        helper = self.signed_in("bob", roles="access,helper")
        helper.get_by_role("link", name="Active sessions").click()
        self._joins(helper, "Moderate")
        helper.get_by_role("button", name="End for everybody").click()
        self.looks_right(helper, where="a moderator's question")
        helper.get_by_role("button", name="End the session").click()
        mine.get_by_role("button", name="Start again").wait_for()

    def _joins(self, page: Page, how: str) -> None:
        """
        @param how: the beginning of the choice.
        """
        page.get_by_role("button", name=re.compile("^Join ")).first.click()
        page.get_by_role("menuitem", name=re.compile(f"^{how}")).click()

    def test_nobody(self) -> None:
        """
        Where nobody works, the page says so.
        """
        page = self.signed_in("carl", logins="nobody")
        page.route("**/sessions", lambda route: route.fulfill(body='{"sessions": []}', content_type="application/json"))
        page.get_by_role("link", name="Active sessions").click()
        page.get_by_role("heading", name="Nobody is at work").wait_for()
        self.looks_right(page, where="nobody")
