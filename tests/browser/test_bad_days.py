"""
What the page does when the proxy is away, and what it shows of names that are meant ill.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.people import choose_password, is_in, keep_codes, link
from tests.browser.rig import PageTest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.mark.servers
class BadDayTests(PageTest):
    """
    A cluster with a message of the day, restarted while a page is open.
    """

    auth_service = {"message_of_the_day": "All you do here is kept.\n<script>alert(1)</script>"}

    def signed_up(self, user: str) -> Page:
        """
        @return: a window of somebody with a passkey, who came in by the message of the day.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, user)))
        page.get_by_role("button", name="I have read this").click()
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        return page

    def test_message_of_the_day(self) -> None:
        """
        It is read before signing in, as text.
        """
        page = self.window()
        page.goto(self.address())
        page.get_by_text("<script>alert(1)</script>").wait_for()
        self.looks_right(page, where="message of the day")
        page.get_by_role("button", name="I have read this").click()
        page.get_by_label("User name", exact=True).wait_for()

    def test_proxy_away(self) -> None:
        """
        While it is away the page says so; when it is back, it goes on by itself, still signed in.
        """
        page = self.signed_up("ida")
        is_in(page, "ida")
        self.expected_texts = {"ERR_CONNECTION", "ERR_SOCKET", "ERR_EMPTY_RESPONSE", "WebSocket", "ERR_NETWORK"}
        self.expected_statuses = {401, 403, 502, 503}
        self.cluster.service.stop()
        self.addCleanup(lambda: self.cluster.service.process or self.cluster.service.start())
        page.locator(".sidebar .account-button").click()
        page.get_by_role("menuitem", name="Account settings").click()
        page.get_by_text("The cluster does not answer").first.wait_for()
        self.cluster.service.start()
        page.get_by_role("button", name="Remove Passkey").wait_for()
        page.get_by_text("The cluster does not answer").first.wait_for(state="detached")
        is_in(page, "ida")

    def test_addresses(self) -> None:
        """
        An address that means nothing says so, and leads back.
        """
        page = self.signed_up("eve")
        is_in(page, "eve")
        for path in ("/web/nothing", "/web/cluster", "/web/cluster/journey/%3Cimg%20src=x%20onerror=alert(1)%3E"):
            page.goto(self.address(path))
            page.get_by_role("heading", name="There is no such page").wait_for()
        self.looks_right(page)
        page.get_by_role("link", name="To the start").click()
        page.wait_for_url("**/web/cluster/journey/**")
