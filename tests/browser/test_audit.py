"""
The audit log in the browser: filtered, read, followed, taken along; and shown without harm.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.browser.administrators import SITE, AdminTest

NASTY = "<img src=x onerror=alert(1)>\u202egpj\x1b[31m"


@pytest.mark.servers
class AuditTests(AdminTest):
    """
    C{/web/cluster/journey/audit}.
    """

    def test_filtered_and_read(self) -> None:
        """By kind, by user, by a text; an event is shown whole; the address keeps all of it."""
        page = self.administrator("/audit")
        page.get_by_role("button", name="ana signed in").first.wait_for()
        self.looks_right(page)
        page.get_by_role("button", name="Filter").click()
        page.get_by_role("button", name="Accounts", exact=True).click()
        page.get_by_role("button", name="ana signed in").first.wait_for(state="detached")
        page.get_by_label("Names of events").fill("user.log")
        page.get_by_role("option", name="user.login").click()
        page.get_by_role("button", name="ana signed in").first.wait_for()
        self.looks_right(page, where="filters")
        page.get_by_role("button", name="ana signed in").first.click()
        detail = page.get_by_role("complementary", name="Event")
        detail.get_by_text('"event":').wait_for()
        self.looks_right(page, where="one event")
        page.keyboard.press("Escape")
        detail.wait_for(state="detached")
        page.keyboard.press("Enter")
        detail.wait_for()
        detail.get_by_role("button", name="Only this user").click()
        page.get_by_text("User: ana").wait_for()
        page.reload()
        page.get_by_text("User: ana").wait_for()
        page.get_by_role("searchbox").fill("no such thing")
        page.get_by_text("Nothing fits").wait_for()
        page.get_by_role("button", name="Drop the filters").click()
        page.get_by_role("button", name="ana signed in").first.wait_for()
        page.get_by_label("Period").select_option("custom")
        page.get_by_label("From").fill("2001-01-01T00:00:00")
        page.get_by_label("To").fill("2001-01-02T00:00:00")
        page.get_by_role("button", name="Show", exact=True).click()
        page.get_by_text("Nothing happened in this period").wait_for()
        self.looks_right(page, where="an empty period")

    def test_followed(self) -> None:
        """What happens appears by itself, and what somebody wrote into it is text."""
        page = self.administrator("/audit?live=yes")
        page.get_by_text("New events appear on top").wait_for()
        body = {"targets": {"user": "mallory"}, "message": NASTY}
        other = self.administrator("/locks")
        other.evaluate(
            """async ([path, body]) => {
              const main = document.querySelector("script[type=module]").src;
              const { api } = await import(new URL("./api.js", main));
              await api.post(path, body);
            }""",
            ["/webapi/sites/-current-/locks", body],
        )
        page.get_by_role("button", name="A lock was put by ana").wait_for()
        page.get_by_role("button", name="A lock was put by ana").click()
        detail = page.get_by_role("complementary", name="Event")
        detail.get_by_text("mallory").first.wait_for()
        self.assertNotIn("\u202e", detail.inner_text())
        self.assertEqual(page.locator("img").count(), 0)
        self.looks_right(page, where="live")

    def test_exported(self) -> None:
        """What the filters leave, as a table and as JSON."""
        page = self.administrator("/audit?types=user.login")
        page.get_by_role("button", name="ana signed in").first.wait_for()
        for name in ("CSV", "JSON"):
            page.get_by_role("button", name="Export").click()
            with page.expect_download() as begun:
                page.get_by_role("menuitem", name=name).click()
            text = Path(begun.value.path()).read_text()
            if name == "CSV":
                found = {row["event"] for row in csv.DictReader(text.splitlines())}
            else:
                found = {json.loads(line)["event"] for line in text.splitlines()}
            self.assertEqual(found, {"user.login"}, name)

    def test_somebody_without_rights(self) -> None:
        """Who may not read the log reads why."""
        self.cluster.tctl("get", "role/requester")
        page = self.signed_in("req", roles="requester", logins="req")
        self.assertEqual(page.get_by_role("link", name="Audit log").count(), 0)
        self.expected_statuses = {403}
        page.goto(self.address(SITE + "/audit"))
        page.get_by_role("alert").wait_for()
        self.looks_right(page, where="no rights")
