"""
Signing in and out with a browser, and what a page of somebody else's cannot do meanwhile.
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import Any

from teleport_tw.web.sessions import Sessions
from tests.auth.cluster import PASSWORD, Keys
from tests.web.live import SITE, Browser, LiveCase

WHOLE = ("__Host-session", "__Host-csrf")


class SigningInTests(LiveCase):
    """
    From a password to a list, and back.
    """

    async def test_there_and_back(self) -> None:
        """What the sign-in gives opens the API; signing out closes it, for the cookie and the bearer both."""
        browser, _ = await self.person("alice", "access")
        answer = await browser.ask("GET", f"{SITE}/context")
        self.assertEqual((answer.status, answer.json["userName"]), (200, "alice"))
        before = Browser(self.http, cookies=dict(browser.cookies), bearer=browser.bearer)
        self.assertEqual((await browser.ask("DELETE", "/webapi/sessions/web")).status, 200)
        self.assertNotIn("__Host-session", browser.cookies)
        self.assertEqual((await before.ask("GET", f"{SITE}/context")).status, 401)
        self.assertEqual((await before.ask("POST", "/webapi/sessions/web/renew")).status, 401)

    async def test_cookies(self) -> None:
        """The session's cookie is for this host alone, over TLS alone, and no script reads it."""
        await self.cluster.user("alice", "access")
        totp = await self.cluster.sign_up("alice")
        browser = self.browser()
        await browser.ask("GET", "/web")
        self.assertIn("__Host-csrf", browser.cookies)
        answer = await browser.sign_in("alice", totp.at(int(time.time())))
        attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
        self.assertEqual(attributes, {"path=/", "secure", "httponly", "samesite=lax"})
        self.assertGreater(len(browser.cookies["__Host-session"]), 40)
        self.assertEqual(set(answer.json), {
            "type", "token", "user", "expires_in", "sessionExpires", "sessionInactiveTimeout",
        })  # fmt: skip

    async def test_one_is_not_enough(self) -> None:
        """Neither the cookie without the bearer, nor the bearer without the cookie, nor those of two sessions."""
        alice, _ = await self.person("alice", "access")
        bob, _ = await self.person("bob", "access")
        for cookies, bearer in (
            (alice.cookies, ""),
            ({}, alice.bearer),
            (alice.cookies, bob.bearer),
            ({"__Host-session": "f" * 64}, alice.bearer),
            ({"__Host-session": alice.cookies["__Host-session"][:-1] + "x"}, alice.bearer),
            ({"__Host-session": "../../etc/passwd"}, alice.bearer),
            (alice.cookies, "é"),
            (alice.cookies, alice.bearer + "a"),
        ):
            answer = await self.browser(cookies=dict(cookies), bearer=bearer).ask("GET", f"{SITE}/nodes")
            self.assertEqual(answer.status, 401, (cookies, bearer))
            self.assertNotIn("Traceback", answer.body.decode())
        self.assertEqual((await alice.ask("GET", f"{SITE}/nodes")).status, 200)

    async def test_made_up_cookies_cost_auth_little(self) -> None:
        """Whoever sends one after the other is told to slow down; those who are signed in are not."""
        alice, _ = await self.person("alice", "access")
        for number in range(500):
            made_up = self.browser(cookies={"__Host-session": f"{number:064}"}, bearer=f"{number:064}")
            if (await made_up.ask("GET", f"{SITE}/nodes")).status == 429:
                break
        else:
            self.fail("nobody said stop")
        self.assertEqual((await alice.ask("GET", f"{SITE}/nodes")).status, 200)

    async def test_wrong_proofs(self) -> None:
        """A wrong password, a wrong code and a user that does not exist are told in the same words; codes work once."""
        await self.cluster.user("alice", "access")
        totp = await self.cluster.sign_up("alice")
        code = totp.at(int(time.time()))
        told = set()
        for name, password, shown in (
            ("alice", "wrong password!", code),
            ("alice", PASSWORD.reveal(), "000000"),
            ("mallory", PASSWORD.reveal(), code),
        ):
            browser = self.browser()
            answer = await browser.sign_in(name, shown, password)
            self.assertEqual(answer.status, 403)
            self.assertNotIn("__Host-session", browser.cookies)
            told.add(answer.error)
        self.assertEqual(len(told), 1)
        self.assertEqual((await self.browser().sign_in("alice", code)).status, 200)
        self.assertEqual((await self.browser().sign_in("alice", code)).status, 403)

    async def test_cross_site(self) -> None:
        """Another site's page changes nothing, signs nobody in and gets no bearer, whatever cookies come along."""
        alice, totp = await self.person("alice", "access", "editor")
        user = {"name": "mallory", "roles": ["access"]}
        for headers in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://proxy.example.com"},
            {"Origin": "https://proxy.example.com.evil.example"},
            {"Origin": "https://proxy.example.com:8443"},
            {"Origin": "", "Sec_Fetch_Site": "cross-site"},
            {"Origin": "", "Sec_Fetch_Site": "same-site"},
        ):
            self.assertEqual((await alice.ask("POST", "/webapi/users", user, **headers)).status, 403, headers)
            self.assertEqual((await alice.ask("POST", "/webapi/sessions/web/renew", **headers)).status, 403, headers)
            login = {"user": "alice", "pass": PASSWORD.reveal(), "second_factor_token": totp.at(int(time.time()) + 30)}
            self.assertEqual((await self.browser().ask("POST", "/webapi/sessions/web", login, **headers)).status, 403)
        form = await alice.ask(
            "POST", "/webapi/users", b"name=x&roles=y", Content_Type="application/x-www-form-urlencoded"
        )
        self.assertEqual(form.status, 415)
        self.assertEqual((await alice.ask("POST", "/webapi/users", user)).status, 200)

    async def test_csrf(self) -> None:
        """A bearer is given to who can read the other cookie, and to nobody else."""
        alice, _ = await self.person("alice", "access")
        for token in ("", "x" * 43, alice.cookies["__Host-csrf"][:-1], alice.cookies["__Host-session"]):
            answer = await alice.ask("POST", "/webapi/sessions/web/renew", X_CSRF_Token=token)
            self.assertEqual(answer.status, 403)
        with_nothing = await alice.ask("POST", "/webapi/sessions/web/renew", Authorization="")
        self.assertEqual((with_nothing.status, with_nothing.json["token"]), (200, alice.bearer))

    async def test_bounded(self) -> None:
        """Guesses from one address are counted together; those of others go on."""
        codes = [(await self.browser().sign_in("alice", "123456")).status for _ in range(45)]
        self.assertEqual(codes[-1], 429)
        self.assertLessEqual(codes.count(403), 40)
        other = await self.browser(address="203.0.113.8").ask("POST", "/webapi/mfa/login/begin", {"user": "alice"})
        self.assertEqual(other.status, 200)

    async def test_ended_elsewhere(self) -> None:
        """A sign-in that its user ends from another browser is over; so are all but one when the password changes."""
        one, totp = await self.person("alice", "access")
        two = self.browser()
        self.assertEqual((await two.sign_in("alice", totp.at(int(time.time()) + 30))).status, 200)
        items = (await two.ask("GET", "/webapi/sessions/mine")).json["items"]
        self.assertEqual(sorted(each["current"] for each in items), [False, True])
        (other,) = [each["id"] for each in items if not each["current"]]
        self.assertEqual((await two.ask("DELETE", f"/webapi/sessions/mine/{other}")).status, 200)
        self.assertEqual((await one.ask("GET", f"{SITE}/nodes")).status, 401)
        self.assertEqual((await two.ask("GET", f"{SITE}/nodes")).status, 200)
        self.assertEqual((await two.ask("DELETE", f"/webapi/sessions/mine/{other}")).status, 404)

    async def test_locked(self) -> None:
        """A lock ends what a session may do, at once."""
        alice, _ = await self.person("alice", "access")
        root, _ = await self.person("root", "editor")
        answer = await root.ask("POST", f"{SITE}/locks", {"targets": {"user": "alice"}, "message": "no more"})
        self.assertEqual(answer.status, 200, answer.body)
        refused = await alice.ask("GET", f"{SITE}/context")
        self.assertIn(refused.status, (401, 403))
        self.assertEqual((await root.ask("DELETE", f"{SITE}/locks/{answer.json['name']}")).status, 200)

    async def test_program_beside_the_browser(self) -> None:
        """A program gets certificates for the code that the page gave and its own secret; not for one of them."""
        verifier = "v" * 43
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        alice, totp = await self.person("alice", "access")
        program = self.browser(headers={"Origin": ""})
        asked = {"tls_pub_key": Keys().public.tls.decode(), "code_challenge": challenge}
        begun = await program.ask("POST", "/webapi/login/browser", asked)
        self.assertEqual(begun.status, 200, begun.body)
        id = begun.json["id"]
        self.assertEqual(begun.json["url"], f"https://proxy.example.com:443/web/browser/{id}")
        self.assertEqual((await self.browser().ask("GET", f"/webapi/browser/{id}")).status, 401)
        self.assertEqual((await alice.ask("GET", f"/webapi/browser/{id}")).json["username"], "alice")
        self.assertEqual((await alice.ask("PUT", f"/webapi/browser/{id}", {})).status, 403)
        told = {"scope": "browser", "target": {"kind": "browser", "name": id}}
        self.assertEqual((await alice.ask("POST", "/webapi/mfa/authenticatechallenge", told)).status, 200)
        proof = {"second_factor_token": totp.at(int(time.time()) + 30)}
        approved = await alice.ask("PUT", f"/webapi/browser/{id}", proof)
        self.assertEqual(approved.status, 200, approved.body)
        finish = {"id": id, "code": approved.json["code"], "code_verifier": verifier}
        done = await program.ask("POST", "/webapi/login/browser/finish", finish)
        self.assertEqual(done.status, 200, done.body)
        self.assertTrue(base64.b64decode(done.json["tls"]).startswith(b"-----BEGIN CERTIFICATE"))
        self.assertEqual((await program.ask("POST", "/webapi/login/browser/finish", finish)).status, 403)
        other = (await program.ask("POST", "/webapi/login/browser", asked)).json["id"]
        wrong = {"id": other, "code": "x" * 32, "code_verifier": verifier}
        self.assertEqual((await program.ask("POST", "/webapi/login/browser/finish", wrong)).status, 403)

    async def test_program_without_keys(self) -> None:
        """A program that shows no key is told so."""
        for path, asked in (
            ("/webapi/login/browser", {"code_challenge": "c" * 43}),
            ("/webapi/login/headless", {"user": "alice"}),
        ):
            self.assertEqual((await self.browser().ask("POST", path, asked)).status, 400)

    async def test_a_page_that_only_stands_open(self) -> None:
        """What pages ask by themselves does not show that anybody is there."""
        alice, _ = await self.person("alice", "access")
        asked: list[bool] = []
        inner = self.site.sessions.shown

        async def shown(request: Any, *, active: bool = True) -> Any:
            asked.append(active)
            return await inner(request, active=active)

        self.patch(Sessions, "shown", lambda sessions, request, active=True: shown(request, active=active))
        await alice.ask("GET", f"{SITE}/sessions")
        await alice.ask("GET", f"{SITE}/events/tail")
        await alice.ask("GET", f"{SITE}/nodes", X_Passive="1")
        await alice.ask("GET", f"{SITE}/nodes")
        self.assertEqual(asked, [False, False, False, True])
