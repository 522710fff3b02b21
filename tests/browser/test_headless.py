"""
The pages that sign in a program elsewhere: on a machine without a browser, or beside it.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest

from teleport_tw.base.timing import utc_now
from tests.auth.cluster import Keys
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
class ApprovalTests(PageTest):
    """
    Real requests, as C{tsh} makes them.
    """

    authentication = {**PageTest.authentication, "headless": True}

    def setUp(self) -> None:
        """
        Somebody with a passkey is signed in.
        """
        super().setUp()
        self.page = self.window()
        self.authenticator(self.page)
        user = self.id().rpartition("_")[2]
        self.page.goto(self.address(link(self.cluster, user)))
        choose_password(self.page)
        self.page.get_by_role("button", name="Passkey").click()
        keep_codes(self.page)
        is_in(self.page, user)
        self.user = user

    def ask(self, path: str, **body: str) -> dict[str, Any]:
        """
        @return: what the proxy answers a program.
        """
        answer = self.page.request.post(self.address(path), data=body)
        self.assertEqual(answer.status, 200, answer.text())
        said: dict[str, Any] = answer.json()
        return said

    def keys(self) -> dict[str, str]:
        """
        @return: a program's public keys.
        """
        keys = Keys().public
        return {"ssh_pub_key": keys.ssh.decode(), "tls_pub_key": keys.tls.decode()}

    def test_headless(self) -> None:
        """
        It is approved with the key, and the program has its certificates.
        """
        begun = self.ask("/webapi/login/headless", user=self.user, **self.keys())
        self.page.goto(begun["url"])
        self.page.get_by_text(self.client_address).first.wait_for()
        self.looks_right(self.page)
        self.page.get_by_role("button", name="Approve").click()
        self.page.get_by_role("button", name="Use a key or passkey").click()
        self.page.get_by_role("heading", name="Approved").wait_for()
        self.assertTrue(self.ask("/webapi/login/headless/finish", id=begun["id"])["tls"])

    def test_browser(self) -> None:
        """
        The code goes to the program's port on this machine; with the program's own secret it is worth certificates.
        """
        secret = "s" * 43
        proof = urlsafe_b64encode(sha256(secret.encode()).digest()).decode().rstrip("=")
        begun = self.ask("/webapi/login/browser", code_challenge=proof, **self.keys())
        codes: list[str] = []

        def program(route: Route) -> None:
            codes.extend(parse_qs(urlsplit(route.request.url).query)["code"])
            route.fulfill(body="You can close this page.", content_type="text/plain")

        self.page.route("http://127.0.0.1:45678/callback*", program)
        self.page.goto(begun["url"])
        self.page.get_by_role("heading", name="The link is incomplete").wait_for()
        self.page.goto(begun["url"] + "?port=45678")
        self.page.get_by_text("Did you start it?").wait_for()
        self.looks_right(self.page)
        self.page.get_by_role("button", name="Approve").click()
        self.page.get_by_role("button", name="Use a key or passkey").click()
        self.page.get_by_text("You can close this page.").wait_for()
        answer = self.ask("/webapi/login/browser/finish", id=begun["id"], code=codes[0], code_verifier=secret)
        self.assertTrue(answer["tls"])


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
