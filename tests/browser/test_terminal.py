"""
Terminals in the browser: from the list into a shell, tabs, losses, and what programs try to do to the page.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.rig import DESKTOP, PHONE
from tests.browser.terminals import TABS, TerminalTest
from tests.journeys.cluster import until

if TYPE_CHECKING:
    from playwright.sync_api import Page

_PASTE = """text => {
  const data = new DataTransfer();
  data.setData("text/plain", text);
  const event = new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true });
  document.querySelector(".xterm-helper-textarea").dispatchEvent(event);
}"""


@pytest.mark.servers
class TerminalPageTests(TerminalTest):
    """
    One user, one server.
    """

    def test_shell(self) -> None:
        """
        A shell is opened from the list, answers, knows the window's size, and says how it ended; another one follows.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "echo $((6 * 7))")
        self.shows(page, re.compile(r"^42$", re.MULTILINE))
        self.types(page, "stty size")
        before = re.search(r"^(\d+) (\d+)$", self.shows(page, re.compile(r"^\d+ \d+$", re.MULTILINE)), re.MULTILINE)
        page.set_viewport_size({"width": 1000, "height": 600})
        page.keyboard.type("clear; trap 'echo now $(stty size)' WINCH; stty size; :\n")
        found = self.shows(page, re.compile(r"^(now )?\d+ \d+$", re.MULTILINE))
        assert before is not None
        until(
            lambda: self._smaller(self.text(page), int(before[1]), int(before[2])), f"a smaller terminal than {found}"
        )
        self.types(page, "exit 3")
        page.get_by_text("Its exit status was 3.").wait_for()
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")
        self.assertEqual(page.evaluate("document.activeElement.textContent"), "Start again")
        page.keyboard.press("Enter")
        self.types(page, "echo again$((1 + 1))")
        self.shows(page, "again2")

    @staticmethod
    def _smaller(text: str, rows: int, columns: int) -> bool:
        sizes = re.findall(r"^(?:now )?(\d+) (\d+)$", text, re.MULTILINE)
        return any(int(found[0]) < rows and int(found[1]) < columns for found in sizes)

    def test_loss(self) -> None:
        """
        The network goes; what is typed meanwhile arrives once when it is back, in the same shell.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "kept=yes; clear")
        self.shows(page, re.compile(r"^\S.*[$#%>] ?$"))
        self._loses(page)
        page.keyboard.type("echo [$kept$((40 + 2))]")
        page.get_by_text("bytes wait to be sent").wait_for()
        page.context.set_offline(False)
        page.get_by_text("The connection was lost").wait_for(state="hidden")
        page.keyboard.press("Enter")
        text = self.shows(page, "[yes42]")
        self.assertEqual(text.count("[yes42]"), 1)
        self.assertEqual(text.count("echo [$kept$((40 + 2))]"), 1)

    def test_discard(self) -> None:
        """
        What was typed ahead can be taken back.
        """
        page = self.terminal(self.signed_in())
        self._loses(page)
        page.keyboard.type("echo never")
        page.get_by_role("button", name="Discard what I typed").click()
        page.context.set_offline(False)
        page.get_by_text("The connection was lost").wait_for(state="hidden")
        page.locator(".xterm-helper-textarea").focus()
        self.types(page, "echo $((20 + 3))")
        self.assertNotIn("never", self.shows(page, re.compile("^23$", re.MULTILINE)))

    def _loses(self, page: Page) -> None:
        """
        No network, until it is seen. What the browser says of attempts is expected.
        """
        self.ignored = re.compile("ERR_INTERNET_DISCONNECTED")
        page.context.set_offline(True)
        page.get_by_text("The connection was lost").wait_for()

    def test_reload(self) -> None:
        """
        A reload finds the shell again, and what it had shown.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "kept=still; printf '\\033[32mgr%s\\033[m\\n' een")
        self.shows(page, re.compile(r"green\n.*[$#%>] ?$"))
        before = self.text(page)
        page.reload()
        page.get_by_role("tab", name=re.compile("node-1")).wait_for()
        self.waits_for_life(page)
        until(lambda: self.text(page) == before, "the terminal to show what it had shown")
        self.types(page, "echo [$kept]")
        self.shows(page, "[still]")

    def waits_for_life(self, page: Page) -> None:
        """
        Until the session in front is live.
        """
        until(lambda: self.state(page) == "live", "the session to stand")

    def test_tabs(self) -> None:
        """
        A second terminal; the one behind shows that a bell rang; keys go between them and out of them.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "echo first")
        self.shows(page, re.compile("^first$", re.MULTILINE))
        page.get_by_role("button", name="Open another terminal").click()
        page.get_by_role("link", name=re.compile("Another one on")).click()
        self.shows(page, re.compile(r"[$#%>] ?$"))
        tabs = page.get_by_role("tab")
        self.assertEqual(tabs.count(), 2)
        self.types(page, "read x; printf '\\a'; echo rung")
        self.shows(page, "read x")
        page.keyboard.press("Enter")
        page.keyboard.press("Control+Shift+ArrowLeft")
        self.shows(page, re.compile("^first$", re.MULTILINE))
        page.keyboard.press("Control+Shift+ArrowUp")
        self.assertEqual(page.evaluate("document.activeElement.getAttribute('role')"), "tab")
        page.keyboard.press("ArrowRight")
        self.shows(page, "rung")
        page.keyboard.press("Delete")
        tabs.nth(1).wait_for(state="detached")
        page.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Close this terminal").click()
        page.wait_for_url("**/resources")

    def test_search(self) -> None:
        """
        What was shown is found again.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "echo needle; seq 200")
        self.shows(page, re.compile("^200$", re.MULTILINE))
        page.keyboard.press("Control+Shift+F")
        page.get_by_label("Search the terminal").fill("needle")
        page.get_by_text("Not found").wait_for(state="detached")
        page.get_by_label("Search the terminal").fill("nowhere to be seen")
        page.get_by_text("Not found").wait_for()
        page.keyboard.press("Escape")
        self.types(page, "echo $((50 + 5))")
        self.shows(page, re.compile("^55$", re.MULTILINE))

    def test_flood(self) -> None:
        """
        Whatever pours in, the end of it is what is drawn, and a key stops it.
        """
        page = self.terminal(self.signed_in())
        drawn = page.locator(".xterm-rows")
        self.types(page, "seq 200000; echo $((60 + 6))")
        drawn.filter(has_text=re.compile("200000\\s*66")).wait_for()
        self.types(page, "yes pouring")
        drawn.get_by_text("pouring").first.wait_for()
        page.keyboard.press("Control+c")
        self.types(page, "echo it sto''pped")
        drawn.get_by_text("it stopped").wait_for()

    def test_hostile_programs(self) -> None:
        """
        Titles and links that a program makes are text; addresses are shown before they are opened.
        """
        page = self.terminal(self.signed_in())
        said: list[str] = []
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        self.types(page, r"""printf '\e]2;<img src=x onerror=alert(1)>\xe2\x80\xaegnp\a'; echo titled""")
        page.get_by_role("tab", name="<img src=x onerror=alert(1)>\ufffdgnp").wait_for()
        clipboard, links = r"\e]52;c;c3RvbGVu\a", r"\e]8;;%s\e\\%s\e]8;;\e\\ "
        self.types(
            page, f"printf '{clipboard}'; printf '{links}' 'javascript:alert(2)' bad https://a.example/ good; echo"
        )
        text = self.shows(page, "bad good")
        row = next(index for index, line in enumerate(text.splitlines()) if line.startswith("bad good"))
        self._clicks(page, row, 1)
        self._clicks(page, row, 5)
        page.get_by_role("heading", name="Open this address?").wait_for()
        page.get_by_text("https://a.example/", exact=True).wait_for()
        self.looks_right(page, where="a link's question")
        page.get_by_role("button", name="Cancel").click()
        self.assertEqual(said, [])

    def _clicks(self, page: Page, row: int, column: int) -> None:
        """
        On a cell.
        """
        box = page.locator(".xterm-screen").bounding_box()
        rows = page.locator(".xterm-rows > div")
        height = rows.nth(0).bounding_box()
        assert box is not None
        assert height is not None
        width = box["width"] / int(page.evaluate(f"async () => {{{TABS} return tab.screen.terminal.cols; }}"))
        at = (box["x"] + (column + 0.5) * width, box["y"] + (row + 0.5) * height["height"])
        page.mouse.move(*at)
        page.mouse.move(at[0] + 1, at[1])
        page.mouse.click(*at)

    def test_paste(self) -> None:
        """
        Several lines are shown before they run; a part of one is typed as it is.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "bind 'set enable-bracketed-paste off'; echo $((70 + 7))")
        self.shows(page, re.compile("^77$", re.MULTILINE))
        page.evaluate(_PASTE, "echo one$((1))")
        self.shows(page, "echo one$((1))")
        page.keyboard.press("Enter")
        page.evaluate(_PASTE, "echo two$((2))\necho three$((3))\n")
        page.get_by_role("heading", name="Paste 2 lines?").wait_for()
        self.looks_right(page, where="a paste's question")
        self.assertNotIn("two2", self.text(page))
        page.get_by_role("button", name="Paste", exact=True).click()
        self.shows(page, "three3")

    def test_looks(self) -> None:
        """
        Both widths and themes; on a phone the shell is usable, with a bar for keys that phones lack.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "ls --color=always /")
        self.looks_right(page)
        page.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Terminal settings").click()
        self.looks_right(page, where="settings")
        page.get_by_label("Show a bar with more keys").check()
        page.get_by_label("Colours").select_option("solarized-dark")
        page.get_by_role("button", name="Done").click()
        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        page.locator(".xterm-helper-textarea").focus()
        page.keyboard.type("sleep 1000\n")
        page.get_by_role("button", name="Ctrl", exact=True).click()
        page.keyboard.type("c")
        self.types(page, "echo $((80 + 8))")
        self.shows(page, re.compile("^88$", re.MULTILINE))
        self.looks_right(page, where="bar of keys")
        page.set_viewport_size({"width": DESKTOP["width"], "height": DESKTOP["height"]})
        page.reload()
        page.get_by_role("toolbar", name="More keys").wait_for()
        self.waits_for_life(page)

    def test_cursor(self) -> None:
        """
        A cursor that blinks asks for no frames: what comes after a key would wait for them.
        """
        page = self.terminal(self.signed_in())
        self.types(page, "cat")
        page.locator(".xterm-cursor-blink").wait_for()
        for _ in range(2):
            page.locator(".terminal-unlit .xterm-cursor-blink").wait_for()
            self.assertEqual(page.evaluate("document.getAnimations().length"), 0)
            page.locator(".terminal-screen:not(.terminal-unlit) .xterm-cursor-blink").wait_for()

    def test_nobody(self) -> None:
        """
        A server that is not there, or an account that is not allowed, is said in words.
        """
        page = self.signed_in()
        page.goto(self.address("/web/cluster/journey/console/node/no-such-server/root"))
        page.get_by_role("button", name="Start again").wait_for()
        self.looks_right(page, where="no such server")
        page.goto(self.address("/web/cluster/journey/console/node/node-1/nobody-at-all"))
        page.get_by_role("button", name="Start again").wait_for()
