"""
Signed-in people before terminals: windows that know their user, and what a terminal shows.
"""

from __future__ import annotations

import os
import pwd
import re
from typing import TYPE_CHECKING, Any, ClassVar

from tests.browser.people import choose_password, is_in, keep_codes, link
from tests.browser.rig import PATIENCE_MS, PageTest
from tests.journeys.cluster import until

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

ME = pwd.getpwuid(os.getuid()).pw_name
"""The account on the server: that of whoever runs the tests, which exists and needs no rights to become."""

TABS = """
const main = document.querySelector("script[type=module]").src;
const { tabs } = await import(new URL("./terminal/tabs.js", main));
const tab = tabs.get().find((each) => each.active);
"""

_TEXT = f"""async () => {{{TABS}
  if (!tab) return "";
  const {{ active }} = tab.screen.terminal.buffer;
  let text = "";
  for (let row = 0; row < active.length; row++) {{
    const line = active.getLine(row);
    text += (line.isWrapped || !row ? "" : "\\n") + line.translateToString(true);
  }}
  return text;
}}"""


class TerminalTest(PageTest):
    """
    People sign up once for all tests of a class.
    """

    _profiles: ClassVar[dict[str, Any]]

    @classmethod
    def setUpClass(cls) -> None:
        """
        Nobody is there yet.
        """
        super().setUpClass()
        cls._profiles = {}

    def setUp(self) -> None:
        """
        Nothing is expected on the console.
        """
        super().setUp()
        self.ignored: re.Pattern[str] | None = None

    def _heard(self, message: ConsoleMessage) -> None:
        if self.ignored is None or not self.ignored.search(message.text):
            super()._heard(message)

    def signed_in(self, user: str = "alice", *, roles: str = "access", logins: str = ME, **options: Any) -> Page:
        """
        @return: a window of the user's, with the first page.
        """
        if user not in self._profiles:
            page = self.window()
            self.authenticator(page)
            page.goto(self.address(link(self.cluster, user, roles=roles, logins=logins)))
            choose_password(page)
            page.get_by_role("button", name="Passkey").click()
            keep_codes(page)
            is_in(page, user)
            self._profiles[user] = page.context.storage_state()
            page.context.close()
        page = self.window(storage_state=self._profiles[user], **options)
        page.goto(self.address())
        is_in(page, user)
        return page

    def terminal(self, page: Page, host: str = "node-1") -> Page:
        """
        From the list of servers into a shell.

        @return: the same page.
        """
        page.get_by_role("link", name=re.compile(f"^Connect to {host}")).click()
        self.shows(page, re.compile(r"[$#%>] ?$"))
        return page

    def text(self, page: Page) -> str:
        """
        @return: everything that the terminal has shown, lines joined where they were only wrapped.
        """
        return str(page.evaluate(_TEXT)).rstrip("\n")

    def shows(self, page: Page, wanted: str | re.Pattern[str]) -> str:
        """
        Waits until the terminal shows something.

        @return: all of its text.
        """
        pattern = re.compile(re.escape(wanted)) if isinstance(wanted, str) else wanted
        try:
            until(
                lambda: pattern.search(self.text(page)), f"the terminal to show {pattern.pattern}", PATIENCE_MS / 1000
            )
        except AssertionError as error:
            raise AssertionError(f"{error}; it shows:\n{self.text(page)}") from None
        return self.text(page)

    def types(self, page: Page, command: str) -> None:
        """
        A line, by keys.
        """
        page.keyboard.type(command)
        page.keyboard.press("Enter")

    def in_terminal(self, page: Page) -> None:
        """
        Waits until keys go to the terminal.
        """
        page.wait_for_function("() => document.activeElement.classList.contains('xterm-helper-textarea')")

    def state(self, page: Page) -> str:
        """
        @return: of the session in front.
        """
        return str(page.evaluate(f"async () => {{{TABS} return tab?.session.state ?? '';}}"))
