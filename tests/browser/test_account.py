"""
Account settings, by somebody who signed up with a passkey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.people import (
    App,
    choose_password,
    is_in,
    keep_codes,
    link,
    sign_out,
    type_password,
    type_recovery,
)
from tests.browser.rig import PHONE, PageTest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ANOTHER = "another horse, another battery"


@pytest.mark.servers
class AccountTests(PageTest):
    """
    C{/web/account}.
    """

    def signed_up(self, user: str) -> Page:
        """
        @return: a window before the account's settings; its passkey answers by itself.
        """
        page = self.window()
        self.authenticator(page)
        page.goto(self.address(link(self.cluster, user)))
        choose_password(page)
        page.get_by_role("button", name="Passkey").click()
        self.codes = keep_codes(page)
        is_in(page, user)
        page.locator(".sidebar .account-button").click()
        page.get_by_role("menuitem", name="Account settings").click()
        page.get_by_text("Recovery codes").wait_for()
        return page

    def focused(self, page: Page, text: str) -> None:
        """
        Waits until what is focused says so.
        """
        page.wait_for_function("text => document.activeElement.textContent.trim() === text", arg=text)

    def confirm(self, page: Page) -> None:
        """
        The key is touched when the page asks who is there.
        """
        page.get_by_role("dialog", name="Confirm that it is you").get_by_role(
            "button", name="Use a key or passkey"
        ).click()

    def test_second_factors(self) -> None:
        """
        An authenticator app is added under a name of its own and removed again; recovery codes are made anew.
        """
        page = self.signed_up("dee")
        self.looks_right(page)
        page.get_by_role("button", name="Add", exact=True).click()
        self.looks_right(page, where="sorts of factors")
        page.get_by_role("button", name="Authenticator app").click()
        page.get_by_label("Name", exact=True).fill("Old phone")
        page.get_by_role("button", name="Continue").click()
        page.get_by_role("dialog", name="Confirm that it is you").wait_for()
        self.looks_right(page, where="confirmation")
        self.confirm(page)
        page.get_by_text("The camera does not work?").click()
        app = App(page.locator(".secret-key code").inner_text().replace(" ", ""))
        self.expected_statuses = {400, 403}
        page.get_by_label("Six digits").fill("000000")
        page.get_by_role("button", name="Add the app").click()
        page.get_by_role("dialog").get_by_role("alert").wait_for()
        self.expected_statuses = set()
        page.get_by_label("Six digits").fill(app.code())
        page.get_by_role("button", name="Add the app").click()
        page.get_by_role("listitem").filter(has_text="Old phone").wait_for()

        page.get_by_role("button", name="Remove Old phone").click()
        self.looks_right(page, where="removal")
        page.get_by_role("button", name="Remove", exact=True).click()
        page.get_by_role("button", name="Use a key or passkey").click()
        page.get_by_text("Old phone has been removed.").wait_for()
        page.get_by_role("button", name="Remove Old phone").wait_for(state="detached")

        page.get_by_role("button", name="New codes").click()
        self.confirm(page)
        page.get_by_role("list", name="Recovery codes").wait_for()
        self.looks_right(page, where="new codes")
        fresh = page.locator(".recovery code").all_inner_texts()
        self.assertFalse(set(fresh) & set(self.codes))

    def test_rename(self) -> None:
        """
        A second factor gets another name, and keeps it; one that another has is not taken.
        """
        page = self.signed_up("renate")
        page.get_by_role("button", name="Rename Passkey").click()
        field = page.get_by_role("dialog").get_by_label("Name")
        self.looks_right(page, where="renaming")
        field.fill(" ")
        self.assertTrue(page.get_by_role("button", name="Rename", exact=True).is_disabled())
        field.fill("My <laptop>")
        field.press("Enter")
        page.get_by_role("button", name="Rename My <laptop>").wait_for()
        page.reload()
        page.get_by_role("button", name="Rename My <laptop>").wait_for()
        (event,) = self.cluster.events("mfa.rename", user="renate")
        self.assertEqual((event["previous_name"], event["mfa_device_name"]), ("Passkey", "My <laptop>"))

    def test_password(self) -> None:
        """
        A new password ends the sign-ins of other browsers, and is the one that counts.
        """
        page = self.signed_up("pat")
        other = self.window()
        other.goto(self.address("/web/login"))
        type_password(other, "pat")
        type_recovery(other, self.codes[0])
        is_in(other, "pat")
        page.reload()
        page.get_by_role("button", name="End", exact=True).wait_for()
        page.get_by_text("never used").wait_for()

        page.get_by_role("button", name="Change password").click()
        page.locator("input[name=password]").fill("not the password")
        page.locator("input[name=new-password]").fill(ANOTHER)
        self.looks_right(page, where="new password")
        self.expected_statuses = {403}
        page.get_by_role("button", name="Save").click()
        self.confirm(page)
        page.get_by_role("alert").get_by_text("old password").wait_for()
        page.locator("input[name=password]").fill("correct horse battery staple")
        page.get_by_role("button", name="Save").click()
        self.confirm(page)
        page.get_by_text("Your password has been changed.").wait_for()
        page.get_by_role("button", name="End", exact=True).wait_for(state="detached")
        page.get_by_text("never used").wait_for(state="detached")

        self.expected_statuses = {401}
        other.goto(self.address("/web/account"))
        other.get_by_role("heading", name="Sign in").wait_for()
        type_password(other, "pat", ANOTHER)
        type_recovery(other, self.codes[1])
        other.get_by_role("heading", name="Account settings").wait_for()

    def test_sign_ins(self) -> None:
        """
        Another browser's sign-in is listed, and ended from here.
        """
        page = self.signed_up("sue")
        other = self.window(PHONE, user_agent="Mozilla/5.0 (Android 16; Mobile; rv:150.0) Gecko/150.0 Firefox/150.0")
        other.goto(self.address("/web/login"))
        type_password(other, "sue")
        type_recovery(other, self.codes[0])
        is_in(other, "sue")
        page.reload()
        page.get_by_text("Firefox on Android").wait_for()
        page.get_by_role("button", name="End", exact=True).click()
        page.get_by_role("button", name="End it").click()
        page.get_by_text("The sign-in has been ended.").wait_for()
        page.get_by_text("Firefox on Android").wait_for(state="detached")
        self.expected_statuses = {401}
        other.goto(self.address("/web/account"))
        other.get_by_role("heading", name="Sign in").wait_for()

    def test_theme(self) -> None:
        """
        A chosen theme outlives a reload and beats the system's.
        """
        page = self.signed_up("art")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.get_by_text("Dark", exact=True).click()
        dark = page.evaluate(ground)
        self.assertNotEqual(light, dark)
        page.reload()
        page.get_by_text("Recovery codes").wait_for()
        self.assertEqual(page.evaluate(ground), dark)
        page.get_by_text("System", exact=True).click()
        self.assertEqual(page.evaluate(ground), light)
        sign_out(page)

    def test_keyboard(self) -> None:
        """
        The account's menu is walked by arrow keys, and a dialog gives the focus back where it was.
        """
        page = self.signed_up("kay")
        page.locator(".sidebar .account-button").focus()
        page.keyboard.press("ArrowDown")
        self.focused(page, "Account settings")
        page.keyboard.press("End")
        self.focused(page, "Sign out")
        page.keyboard.press("Escape")
        self.focused(page, "Kkay")
        page.get_by_role("button", name="Add", exact=True).focus()
        page.keyboard.press("Enter")
        page.get_by_role("dialog").wait_for()
        for _ in range(12):
            page.keyboard.press("Tab")
            inside = "document.activeElement === document.body || document.activeElement.closest('dialog') !== null"
            self.assertTrue(page.evaluate(inside))
        page.keyboard.press("Escape")
        page.get_by_role("dialog").wait_for(state="detached")
        self.focused(page, "Add")
