"""
A moderator in the browser is asked whether they are there, and answers with a passkey.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browser.people import choose_password, is_in, keep_codes, link
from tests.browser.terminals import ME, TerminalTest

if TYPE_CHECKING:
    from playwright.sync_api import Page

_JOINS = {"name": "all", "roles": ["watched"], "kinds": ["ssh"], "modes": ["*"]}
_NEEDS = {"name": "eyes", "filter": 'contains(user.spec.roles, "guard")', "kinds": ["ssh"], "modes": ["moderator"]}
ROLES = {
    "watched": {
        "options": {"require_session_mfa": True},
        "allow": {"logins": [ME], "node_labels": {"*": "*"}, "require_session_join": [_NEEDS]},
    },
    "guard": {"allow": {"join_sessions": [_JOINS]}},
}


@pytest.mark.servers
@pytest.mark.long
class PresenceTests(TerminalTest):
    """
    Alice works, Bob moderates.
    """

    @classmethod
    def setUpClass(cls) -> None:
        """
        Roles of theirs.
        """
        super().setUpClass()
        for name, spec in ROLES.items():
            path = Path(cls.cluster.folder) / f"{name}.yaml"
            path.write_text(json.dumps({"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": spec}))
            cls.cluster.tctl("create", "-f", str(path))

    def signed_up(self, user: str, roles: str) -> Page:
        """
        @return: a window of somebody with a passkey, which is touched whenever it is wanted.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, user, roles=roles, logins=ME)))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, user)
        return page

    def test_asked(self) -> None:
        """
        The card is reached by keys, and gone once the passkey was used; who proved it is not sent out.
        """
        owner = self.signed_up("alice", "watched")
        owner.get_by_role("link", name=re.compile("^Connect to node-1")).click()
        owner.get_by_role("button", name="Use a key or passkey").click()
        self.shows(owner, "Waiting for participants")
        guard = self.signed_up("bob", "access,guard")
        guard.get_by_role("link", name="Active sessions").click()
        guard.get_by_role("button", name=re.compile("^Join ")).first.click()
        guard.get_by_role("menuitem", name=re.compile("^Moderate")).click()
        self.shows(owner, "Everybody required is here")
        card = guard.get_by_role("alert", name="Are you there?")
        card.wait_for(timeout=60_000)
        self.looks_right(guard, where="whether a moderator is there")
        card.focus()
        guard.keyboard.press("Tab")
        guard.keyboard.press("Enter")
        guard.get_by_role("dialog").get_by_role("button", name="Use a key or passkey").click()
        card.wait_for(state="detached")
        self.in_terminal(guard)
        self.assertEqual(owner.get_by_role("alert", name="Are you there?").count(), 0)
        card.wait_for(timeout=60_000)  # half a minute later, when without the proof they would have been sent out
        self.assertEqual((self.state(guard), self.state(owner)), ("live", "live"))
