"""
The page that approves a sign-in of a machine without a browser; the requests themselves are made up here.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from teleport_tw.base.timing import utc_now
from tests.browser.people import choose_password, is_in, keep_codes, link
from tests.browser.rig import PageTest

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

REQUEST = "6f3f1d0e-3a4b-4b7e-9d57-0c8f0c1b7a11"


@pytest.mark.servers
class HeadlessTests(PageTest):
    """
    C{/web/headless/:id}.
    """

    def signed_up(self, user: str) -> Page:
        """
        @return: a window of somebody with a passkey.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, user)))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, user)
        return page

    def asked(self, page: Page, seconds: float, agent: str = "tsh/1.0") -> list[Any]:
        """
        A request that waits.

        @param seconds: until it ends.
        @return: what the page answers goes in here.
        """
        now = utc_now()
        facts = {
            "id": REQUEST,
            "username": "whoever",
            "address": "198.51.100.7",
            "userAgent": agent,
            "created": now.isoformat(),
            "expires": (now + timedelta(seconds=seconds)).isoformat(),
            "state": "pending",
        }
        answers: list[Any] = []

        def answer(route: Route) -> None:
            if route.request.method == "PUT":
                answers.append(json.loads(route.request.post_data or ""))
                route.fulfill(json={})
            else:
                route.fulfill(json=facts)

        page.route(f"**/webapi/headless/{REQUEST}", answer)
        return answers

    def test_denied(self) -> None:
        """
        No needs no key; what the asking program says of itself is shown as text.
        """
        page = self.signed_up("hal")
        answers = self.asked(page, 180, "<img src=x onerror=alert(1)>")
        page.goto(self.address(f"/web/headless/{REQUEST}"))
        page.get_by_text("198.51.100.7").wait_for()
        page.get_by_text("<img src=x onerror=alert(1)>").wait_for()
        self.looks_right(page)
        page.get_by_role("button", name="Deny").click()
        page.get_by_role("heading", name="Denied").wait_for()
        self.assertEqual(answers, [{"action": "denied"}])

    def test_expired(self) -> None:
        """
        What nobody answered in time cannot be approved.
        """
        page = self.signed_up("het")
        self.asked(page, -1)
        page.goto(self.address(f"/web/headless/{REQUEST}"))
        page.get_by_role("heading", name="Too late").wait_for()
        self.assertEqual(page.get_by_role("button", name="Approve").count(), 0)

    def test_unknown(self) -> None:
        """
        Another user's request, or none, is none.
        """
        page = self.signed_up("hex")
        self.expected_statuses = {404}
        page.goto(self.address(f"/web/headless/{REQUEST}"))
        page.get_by_role("heading", name="There is no such request").wait_for()
        self.looks_right(page)


@pytest.mark.servers
class AppOnlyTests(PageTest):
    """
    A cluster that knows authenticator apps and nothing else.
    """

    authentication = {"second_factors": ["otp"]}

    def test_one_way(self) -> None:
        """
        There is nothing to choose: the password is followed by the app.
        """
        page = self.window()
        page.goto(self.address(link(self.cluster, "otto")))
        self.assertEqual(page.get_by_role("button", name="Use a passkey and no password").count(), 0)
        choose_password(page)
        page.get_by_label("Six digits").wait_for()
        page.goto(self.address("/web/login"))
        page.get_by_label("User name", exact=True).wait_for()
        self.assertEqual(page.get_by_role("button", name="Sign in with a passkey").count(), 0)
