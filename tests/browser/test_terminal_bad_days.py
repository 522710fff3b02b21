"""
Terminals when the proxy goes away, and where a server wants a second factor for every session.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.browser.people import choose_password, is_in, keep_codes, link
from tests.browser.terminals import ME, TerminalTest


@pytest.mark.servers
class RestartTests(TerminalTest):
    """
    The proxy, and with it the shell.
    """

    def test_crash(self) -> None:
        """
        The page waits for the proxy, then says that the shell is gone, and shows what did not reach it.
        """
        page = self.terminal(self.signed_in())
        self.ignored = re.compile("ERR_CONNECTION|WebSocket connection|status of 50[0-9]")
        self.cluster.service.kill()
        page.get_by_text("The connection was lost").wait_for()
        page.locator(".xterm-helper-textarea").focus()
        page.keyboard.type("words that <b>nobody</b> read")
        page.get_by_text("bytes wait to be sent").wait_for()
        self.cluster.service.start()
        page.get_by_text("This did not reach the server:").wait_for(timeout=60_000)
        page.get_by_text("words that <b>nobody</b> read", exact=True).wait_for()
        self.looks_right(page, where="what did not arrive")
        page.get_by_role("button", name="Start again").click()
        self.shows(page, re.compile(r"[$#%>] ?$"))
        self.types(page, "echo up$((1 + 1))")
        self.shows(page, "up2")

    def test_stop(self) -> None:
        """
        A proxy that is stopped says so.
        """
        page = self.terminal(self.signed_in())
        self.ignored = re.compile("ERR_CONNECTION|WebSocket connection|status of 50[0-9]")
        self.cluster.service.stop()
        page.get_by_role("button", name="Start again").wait_for()
        self.cluster.service.start()


@pytest.mark.servers
class GuardedTests(TerminalTest):
    """
    A role that asks for a tap with every session.
    """

    def test_tap(self) -> None:
        """
        The page asks, the key answers, the shell opens; so do the files.
        """
        role = {
            "kind": "role",
            "version": "v7",
            "metadata": {"name": "guarded"},
            "spec": {
                "options": {"require_session_mfa": True},
                "allow": {"node_labels": {"*": "*"}, "logins": [ME]},
            },
        }
        path = Path(self.cluster.folder) / "guarded.yaml"
        path.write_text(json.dumps(role))
        self.cluster.tctl("create", "-f", str(path))
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "mia", roles="guarded")))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, "mia")
        page.get_by_role("link", name=re.compile("^Connect to node-1")).click()
        page.get_by_role("heading", name="Confirm that it is you").wait_for()
        self.looks_right(page, where="a second factor for a session")
        page.get_by_role("button", name="Use a key or passkey").click()
        self.shows(page, re.compile(r"[$#%>] ?$"))
        self.types(page, "echo in$((1 + 1))")
        self.shows(page, "in2")
        self.expected_statuses = {412}
        page.get_by_role("button", name="Files", exact=True).click()
        again = page.get_by_role("button", name="Use a key or passkey")
        again.or_(page.get_by_role("button", name="The folder above")).first.wait_for()
        if again.is_visible():
            again.click()
        page.get_by_role("button", name="The folder above").wait_for()
