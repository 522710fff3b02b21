"""
Pages of administrators: users, roles, tokens, locks, and a server that is added.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, ClassVar

import pytest

from tests.browser.administrators import SITE, AdminTest
from tests.browser.people import choose_password, is_in, keep_codes
from tests.browser.rig import PATIENCE_MS
from tests.journeys.cluster import Service, free_ports, until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from playwright.sync_api import Page

HTML = "<img src=x onerror=alert(1)>"


def words(page: Page, label: str, *texts: str) -> None:
    """
    Fill a field of several words.
    """
    page.get_by_label(re.compile(f"^{label}")).focus()
    for text in texts:
        page.keyboard.type(text)
        page.keyboard.press("Enter")


@pytest.mark.servers
class AdminTests(AdminTest):
    """
    C{/web/cluster/journey/…}.
    """

    def test_users(self) -> None:
        """A user is invited by a link that works, changed, given a new way in, and deleted by typing the name."""
        page = self.administrator("/users")
        page.get_by_role("cell", name="ana").first.wait_for()
        self.looks_right(page)
        page.get_by_role("button", name="Add a user").click()
        page.get_by_label("User name").fill("bob")
        words(page, "Roles", "access", "no-such-role")
        words(page, "Accounts on servers", "bob", "web")
        self.looks_right(page, where="a new user")
        page.get_by_role("button", name="Add the user").click()
        url = page.get_by_role("dialog").locator(".code code").inner_text()
        self.looks_right(page, where="the invite link")
        page.get_by_role("button", name="Done").click()
        page.get_by_role("cell", name="bob, web").wait_for()

        other = self.window()
        self.authenticator(other)
        other.goto(url)
        choose_password(other)
        other.get_by_role("button", name="Passkey").click()
        keep_codes(other)
        is_in(other, "bob")

        page.get_by_role("button", name="What to do with bob").click()
        page.get_by_role("menuitem", name="Edit").click()
        words(page, "Roles", "auditor")
        page.get_by_role("button", name="Save").click()
        page.get_by_role("row").filter(has_text="bob").get_by_text("auditor").wait_for()
        page.get_by_role("button", name="What to do with bob").click()
        page.get_by_role("menuitem", name="Reset sign-in").click()
        page.get_by_role("button", name="Make a link").click()
        self.assertIn("/web/reset/", page.get_by_role("dialog").locator(".code code").inner_text())
        page.get_by_role("button", name="Done").click()

        page.get_by_role("button", name="What to do with bob").click()
        page.get_by_role("menuitem", name="Delete").click()
        sure = page.get_by_role("button", name="Delete the user")
        page.get_by_role("dialog").get_by_role("textbox").fill("bo")
        self.assertTrue(sure.is_disabled())
        page.get_by_role("dialog").get_by_role("textbox").fill("bob")
        self.looks_right(page, where="before a user is deleted")
        sure.click()
        page.get_by_role("row").filter(has_text="bob").wait_for(state="detached")

    def test_roles(self) -> None:
        """A role is made in the form, broken and mended as YAML, and deleted; the system's own is marked."""
        page = self.administrator("/roles")
        page.get_by_role("row").filter(has_text="auditor").get_by_text("Preset").wait_for()
        self.looks_right(page)
        page.get_by_role("link", name="New role").click()
        page.get_by_label("Name", exact=True).fill("web-dev")
        words(page, "Accounts", "dev")
        page.get_by_role("button", name="All of them").first.click()
        page.get_by_role("button", name="Add a rule").click()
        words(page, "these resources", "session")
        self.looks_right(page, where="the form of a role")
        page.get_by_role("tab", name="YAML").click()
        text = page.get_by_label("The role as YAML")
        until(lambda: "web-dev" in text.input_value(), "the form as YAML")
        whole = text.input_value()
        text.fill(whole.replace("max_session_ttl: 8h", "max_session_ttl: soon"))
        number = whole.splitlines().index("    max_session_ttl: 8h") + 1
        page.get_by_role("button", name=f"Line {number}").click()
        self.assertEqual(page.evaluate("getSelection().toString()"), "    max_session_ttl: soon")
        self.assertTrue(page.get_by_role("button", name="Make the role").is_disabled())
        self.looks_right(page, where="YAML with a mistake")
        text.fill(whole.replace("8h", "7h"))
        page.get_by_text("It can be saved as it is").wait_for()
        page.get_by_role("button", name="Make the role").click()
        page.get_by_role("heading", name="web-dev").wait_for()
        made = json.loads(self.cluster.tctl("get", "role/web-dev", "--format=json"))[0]["spec"]
        self.assertEqual((made["allow"]["logins"], made["options"]["max_session_ttl"]), (["dev"], "7h"))
        self.assertEqual(made["allow"]["rules"], [{"resources": ["session"], "verbs": ["list", "read"]}])
        page.goto(self.address(SITE + "/roles"))
        page.get_by_role("button", name="What to do with web-dev").click()
        page.get_by_role("menuitem", name="Delete").click()
        page.get_by_role("dialog").get_by_role("textbox").fill("web-dev")
        page.get_by_role("button", name="Delete the role").click()
        page.get_by_role("row").filter(has_text="web-dev").wait_for(state="detached")

    def test_menu_at_the_end_of_the_window(self) -> None:
        """A menu that has no room below its button opens above it, all of it in sight."""
        page = self.administrator("/roles")
        button = page.get_by_role("button", name=re.compile("^What to do with ")).nth(5)
        box = button.bounding_box()
        assert box is not None
        page.set_viewport_size({"width": 1440, "height": int(box["y"] + box["height"]) + 20})
        button.click()
        last = page.get_by_role("menuitem").last
        shown = last.bounding_box()
        assert shown is not None
        self.assertLess(shown["y"] + shown["height"], box["y"])
        self.assertGreater((page.get_by_role("menuitem").first.bounding_box() or box)["y"], 0)

    def test_tokens(self) -> None:
        """A token is shown once, then masked, then revoked."""
        page = self.administrator("/tokens?add=token")
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Databases").check()
        dialog.get_by_label("Only once").check()
        self.looks_right(page, where="a new token")
        dialog.get_by_role("button", name="Make the token").click()
        token = dialog.locator(".code code").first.inner_text()
        self.looks_right(page, where="the token")
        dialog.get_by_role("button", name="Done").click()
        row = page.get_by_role("row").filter(has_text=token[-4:])
        row.get_by_text("Once").wait_for()
        self.assertNotIn(token, page.content())
        self.looks_right(page)
        row.get_by_role("button", name="Revoke").click()
        page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        row.wait_for(state="detached")

    def test_locks(self) -> None:
        """A user is locked from the list of users, with words that are shown as they are, and let in again."""
        self.cluster.tctl("users", "add", "carl", "--roles=access")
        page = self.administrator("/users")
        page.get_by_role("button", name="What to do with carl").click()
        page.get_by_role("menuitem", name="Lock").click()
        self.assertEqual(page.get_by_label("User name").input_value(), "carl")
        page.get_by_label("Message").fill(HTML)
        page.get_by_label("It lasts").select_option("8h")
        self.looks_right(page, where="a new lock")
        page.get_by_role("dialog").get_by_role("button", name="Lock", exact=True).click()
        row = page.get_by_role("row").filter(has_text="carl")
        row.get_by_text(HTML).wait_for()
        self.looks_right(page)
        (lock,) = json.loads(self.cluster.tctl("get", "lock", "--format=json"))
        self.assertEqual(lock["spec"]["target"], {"user": "carl"})
        row.get_by_role("button", name=re.compile("^Lift")).click()
        page.get_by_role("dialog").get_by_role("button", name="Lift the lock").click()
        page.get_by_text("Nothing is locked").wait_for()
        self.looks_right(page, where="no locks")

    def test_a_server_is_added(self) -> None:
        """The command is shown, the page turns green when a host has joined by its token, and leads to a terminal."""
        page = self.administrator("/resources")
        page.get_by_role("link", name="Add a server").click()
        dialog = page.get_by_role("dialog", name="Add a server")
        command = dialog.locator(".code code").inner_text()
        token = re.search(r"--token=(\w+)", command)
        assert token is not None
        self.assertIn(f"--ca-pin={self.cluster.pin}", command)
        dialog.get_by_text("Waiting for the server to join").wait_for()
        self.looks_right(page, where="before the server")
        agent = Service(self.cluster.folder / "web-1", "teleport-agent", self._agent(token[1]), "--ssh")
        self.cluster.agents.append(agent)
        agent.start()
        dialog.get_by_text("web-1 is part of the cluster").wait_for(timeout=2 * PATIENCE_MS)
        dialog.get_by_role("link", name="Open a terminal").wait_for()
        self.looks_right(page, where="the server is there")
        dialog.get_by_role("link", name="Open a terminal").click()
        self.shows(page, re.compile(r"[$#%>] ?$"))

    def _agent(self, token: str) -> Mapping[str, Any]:
        (diag,) = free_ports(1)
        return {
            "version": "v3",
            "teleport": {
                "nodename": "web-1",
                "data_dir": str(self.cluster.folder / "web-1" / "data"),
                "diag_addr": f"127.0.0.1:{diag}",
                "proxy_server": self.cluster.proxy,
                "ca_pin": self.cluster.pin,
                "join_params": {"method": "token", "token_name": token},
            },
            "auth_service": {"enabled": False},
            "proxy_service": {"enabled": False},
            "ssh_service": {"enabled": True},
        }

    def test_somebody_without_rights(self) -> None:
        """Who administers nothing is offered none of it, and told why by a page that is opened all the same."""
        page = self.someone("/resources")
        page.get_by_role("heading", name="Resources").wait_for()
        for name in ("Users", "Roles", "Join tokens", "Locks"):
            self.assertEqual(page.get_by_role("link", name=name, exact=True).count(), 0, name)
        self.expected_statuses = {403}
        page.goto(self.address(SITE + "/users"))
        page.get_by_role("alert").wait_for()
        self.assertTrue(page.get_by_role("button", name="Add a user").is_disabled())
        self.looks_right(page, where="users for somebody without rights")


@pytest.mark.servers
class SecondFactorTests(AdminTest):
    """
    Where changes of the cluster need a second factor.
    """

    authentication: ClassVar[Mapping[str, Any]] = {
        "second_factors": ["webauthn"],
        "webauthn": {"rp_id": "localhost"},
    }

    def test_a_change_is_confirmed(self) -> None:
        """The page asks for the key and repeats the change; closing the question changes nothing."""
        page = self.window()
        self.authenticator(page)
        made = json.loads(self.cluster.tctl("users", "add", "root", "--roles=editor", "--format=json"))
        page.goto(made["url"])
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, "root")
        page.goto(self.address(SITE + "/locks?new=user&value=eve"))
        self.expected_statuses = {403}
        lock = page.get_by_role("dialog", name="New lock").get_by_role("button", name="Lock", exact=True)
        lock.click()
        confirm = page.get_by_role("dialog", name="Confirm that it is you")
        confirm.get_by_role("button", name="Close").click()
        confirm.wait_for(state="detached")
        self.assertEqual(json.loads(self.cluster.tctl("get", "lock", "--format=json")), [])
        lock.click()
        confirm.get_by_role("button", name="Use a key or passkey").click()
        page.get_by_role("row").filter(has_text="eve").wait_for()
