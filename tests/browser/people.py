"""
People before the browser: what they type and touch, by what the pages say.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pyotp
from attrs import define

from tests.journeys.cluster import PASSWORD, Cluster, until

if TYPE_CHECKING:
    from playwright.sync_api import Page


def link(cluster: Cluster, user: str, *, roles: str = "access", logins: str = "root") -> str:
    """
    A user who is invited.

    @return: the path of the invite link.
    """
    made = json.loads(cluster.tctl("users", "add", user, f"--roles={roles}", f"--logins={logins}", "--format=json"))
    return "/web/invite/" + str(made["url"]).rpartition("/")[2]


def reset_link(cluster: Cluster, user: str) -> str:
    """
    @return: the path of a link that takes password and factors anew.
    """
    made = json.loads(cluster.tctl("users", "reset", user, "--format=json"))
    return "/web/reset/" + str(made["url"]).rpartition("/")[2]


@define
class App:
    """
    An authenticator app, which never shows the same code twice to the same user.

    @ivar secret: base32.
    """

    secret: str
    _shown: int = 0

    def code(self) -> str:
        """
        @return: one that was not used yet; waits for it where it must.
        """
        until(lambda: self._step() > self._shown, "the authenticator app's next code")
        self._shown = max(self._step(), self._shown + 1) if self._shown else int(time.time()) // 30
        return str(pyotp.TOTP(self.secret).at(self._shown * 30))

    @staticmethod
    def _step() -> int:
        """
        @return: the newest that is accepted: that of the next half minute already is.
        """
        return int(time.time()) // 30 + 1


def choose_password(page: Page, password: str = PASSWORD, *, button: str = "Continue") -> None:
    """
    The first step behind a link.
    """
    page.locator("input[name=new-password]").fill(password)
    page.get_by_role("button", name=button).click()


def set_up_app(page: Page, *, button: str = "Create the account") -> App:
    """
    The second step with an authenticator app.
    """
    page.get_by_role("button", name="Authenticator app").click()
    page.get_by_text("The camera does not work?").click()
    app = App(page.locator(".secret-key code").inner_text().replace(" ", ""))
    page.get_by_label("Six digits").fill(app.code())
    page.get_by_role("button", name=button).click()
    return app


def keep_codes(page: Page) -> list[str]:
    """
    The recovery codes are kept, and on.

    @return: the codes.
    """
    page.get_by_role("list", name="Recovery codes").wait_for()
    codes = page.locator(".recovery code").all_inner_texts()
    page.get_by_label("I have kept these codes").check()
    page.get_by_role("button", name="Go to the cluster").click()
    return codes


def type_password(page: Page, user: str, password: str = PASSWORD) -> None:
    """
    The first step of signing in.
    """
    page.get_by_label("User name", exact=True).fill(user)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def type_code(page: Page, app: App) -> None:
    """
    The second, which is sent as soon as it is whole.
    """
    page.get_by_label("Code of your authenticator app").fill(app.code())


def type_recovery(page: Page, code: str) -> None:
    """
    The second step by a recovery code.
    """
    page.get_by_role("button", name="Use a recovery code").click()
    page.get_by_label("Recovery code").fill(code)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page) -> None:
    """
    By the menu of the account, in a wide window.
    """
    page.locator(".sidebar .account-button").click()
    page.get_by_role("menuitem", name="Sign out").click()
    page.get_by_role("heading", name="Sign in").wait_for()


def is_in(page: Page, user: str) -> None:
    """
    Waits until the application shows who is signed in.
    """
    page.get_by_role("button", name=user).first.wait_for()
