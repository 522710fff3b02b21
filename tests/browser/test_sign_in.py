"""
From an invite link into the application, and back in with each factor.
"""

from __future__ import annotations

import re

import pytest

from tests.browser.people import (
    choose_password,
    is_in,
    keep_codes,
    link,
    reset_link,
    set_up_app,
    sign_out,
    type_code,
    type_password,
    type_recovery,
)
from tests.browser.rig import PHONE, PageTest
from tests.journeys.cluster import PASSWORD

ANOTHER = "another horse, another battery"


@pytest.mark.servers
class SignInTests(PageTest):
    """
    Links that C{tctl} prints, and the sign-in page.
    """

    def test_passkey(self) -> None:
        """
        A password, a passkey, recovery codes that are kept, and the user is in; later the passkey alone is enough.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "kim")))
        page.get_by_role("heading", name="Welcome, kim").wait_for()
        self.looks_right(page, where="password")
        page.locator("input[name=new-password]").fill("short")
        self.assertTrue(page.get_by_role("button", name="Continue").is_disabled())
        choose_password(page)
        page.get_by_role("button", name="Passkey").wait_for()
        self.looks_right(page, where="choice of a factor")
        page.get_by_role("button", name="Passkey").click()
        page.get_by_role("list", name="Recovery codes").wait_for()
        self.looks_right(page, where="recovery codes")
        self.assertTrue(page.get_by_role("button", name="Go to the cluster").is_disabled())
        self.assertGreater(len(keep_codes(page)), 5)
        is_in(page, "kim")
        self.assertIn("/web/cluster/journey/", page.url)
        sign_out(page)
        page.get_by_role("button", name="Sign in with a passkey").click()
        is_in(page, "kim")

    def test_offered_passkey(self) -> None:
        """
        The browser offers the passkey where the user name is typed, and nothing else needs to be pressed.
        """
        page = self.window(offers=True)
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "olga")))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, "olga")
        page.context.clear_cookies()
        page.evaluate("sessionStorage.clear()")
        self.expected_statuses = {401}
        page.goto(self.address("/web/account"))
        is_in(page, "olga")
        page.get_by_role("heading", name="Account settings").wait_for()
        logins = self.cluster.events("user.login", user="olga")
        self.assertEqual(len(logins), 2)

    def test_no_password(self) -> None:
        """
        A passkey alone is enough from the start; a password can be set later.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "nel")))
        page.get_by_role("button", name="Use a passkey and no password").click()
        keep_codes(page)
        is_in(page, "nel")
        page.goto(self.address("/web/account"))
        page.get_by_role("button", name="Set a password").click()
        page.locator("input[name=new-password]").fill(PASSWORD)
        page.get_by_role("button", name="Save").click()
        page.get_by_role("button", name="Use a key or passkey").click()
        page.get_by_text("Your password has been set.").wait_for()
        page.get_by_role("button", name="Change password").wait_for()

    def test_security_key(self) -> None:
        """
        A key that is a second step only; the next sign-in asks for it without another press.
        """
        page = self.window()
        self.authenticator(page, passkey=False)
        page.goto(self.address(link(self.cluster, "lou")))
        choose_password(page)
        page.get_by_role("button", name=re.compile("^Security key")).click()
        keep_codes(page)
        is_in(page, "lou")
        sign_out(page)
        self.assertEqual(page.get_by_label("User name", exact=True).input_value(), "lou")
        type_password(page, "lou")
        is_in(page, "lou")

    def test_app(self) -> None:
        """
        With an authenticator app: set up, in, out, a wrong password, a wrong code, in again, and by a recovery code.
        """
        page = self.window()
        page.goto(self.address(link(self.cluster, "ann")))
        choose_password(page)
        page.get_by_role("button", name="Authenticator app").click()
        page.get_by_label("Six digits").wait_for()
        self.looks_right(page, where="authenticator app")
        page.get_by_role("button", name="Back").click()
        app = set_up_app(page)
        codes = keep_codes(page)
        is_in(page, "ann")
        sign_out(page)
        self.looks_right(page, where="sign-in")

        self.expected_statuses = {403}
        type_password(page, "ann", "not the password")
        page.get_by_label("Code of your authenticator app").fill("123456")
        page.get_by_role("alert").wait_for()
        self.looks_right(page, where="refusal")
        page.get_by_label("Code of your authenticator app").wait_for()
        page.get_by_role("button", name="Back to name and password").click()
        type_password(page, "ann")
        page.get_by_label("Code of your authenticator app").fill("000000")
        page.get_by_role("alert").wait_for()
        type_code(page, app)
        is_in(page, "ann")
        sign_out(page)

        for works in (True, False):
            type_password(page, "ann")
            type_recovery(page, codes[0])
            if works:
                is_in(page, "ann")
                sign_out(page)
            else:
                page.get_by_role("alert").wait_for()

    def test_reset(self) -> None:
        """
        A reset takes the old password and factors away; the link is good once.
        """
        page = self.window(PHONE)
        path = link(self.cluster, "rob")
        page.goto(self.address(path))
        choose_password(page)
        set_up_app(page)
        keep_codes(page)
        is_in(page, "rob")

        self.expected_statuses = {404}
        page.goto(self.address(path))
        page.get_by_role("heading", name="This link has expired").wait_for()
        self.looks_right(page, where="used link")

        page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
        page.goto(self.address(reset_link(self.cluster, "rob")))
        page.get_by_role("heading", name="A new password for rob").wait_for()
        choose_password(page, ANOTHER)
        set_up_app(page, button="Set the password")
        codes = keep_codes(page)
        is_in(page, "rob")

        self.expected_statuses = {403}
        other = self.window()
        other.goto(self.address("/web/login"))
        for password, works in ((PASSWORD, False), (ANOTHER, True)):
            type_password(other, "rob", password)
            type_recovery(other, codes.pop())
            if works:
                is_in(other, "rob")
            else:
                other.get_by_role("alert").wait_for()
                other.get_by_role("button", name="Back to name and password").click()

    def test_way_back(self) -> None:
        """
        Who is sent to sign in comes back to where they were; who left on purpose begins at the start; another site's
        address is no way back.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "sam")))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, "sam")
        sign_out(page)
        page.goto(self.address("/web/account?from=test"))
        page.get_by_text("go on where you were").wait_for()
        page.get_by_role("button", name="Sign in with a passkey").click()
        page.get_by_role("heading", name="Account settings").wait_for()
        self.assertTrue(page.url.endswith("/web/account?from=test"))
        sign_out(page)
        self.assertEqual(page.url, self.address("/web/login"))
        for evil in ("https://evil.example/web", "//evil.example/web", "/\\evil.example/web", "javascript:alert(1)"):
            page.goto(self.address("/web/login") + "?redirect_uri=" + evil)
            page.get_by_role("button", name="Sign in with a passkey").click()
            is_in(page, "sam")
            self.assertTrue(page.url.startswith(self.address("/web/cluster/journey/")), page.url)
            sign_out(page)

    def test_reload_and_second_tab(self) -> None:
        """
        A reload stays in, and so does another tab of the browser; signing out ends both.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "tab")))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, "tab")
        page.reload()
        is_in(page, "tab")
        other = page.context.new_page()
        other.goto(self.address("/web/account"))
        other.get_by_role("heading", name="Account settings").wait_for()
        other.evaluate("sessionStorage.setItem('shown', 'of tab')")
        sign_out(page)
        self.expected_statuses = {401, 403}
        other.reload()
        other.get_by_role("heading", name="Sign in").wait_for()
        self.assertEqual(other.evaluate("sessionStorage.length"), 0, "what one user saw is not the next one's")

    def test_locked(self) -> None:
        """
        Who is locked reads so, and leaves the browser to the next person.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, "kay")))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        keep_codes(page)
        is_in(page, "kay")
        self.cluster.tctl("lock", "--user=kay", "--message=<b>holiday</b>", "--ttl=10m")
        self.expected_statuses = {403}
        page.reload()
        page.get_by_role("heading", name="You may not enter").wait_for()
        self.assertIn("<b>holiday</b>", page.get_by_role("alert").inner_text())
        self.looks_right(page, where="locked")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_role("heading", name="Sign in").wait_for()
        page.reload()
        page.get_by_role("heading", name="Sign in").wait_for()
        self.assertEqual(page.url, self.address("/web/login"))
