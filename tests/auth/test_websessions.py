"""
Sessions on the web, and headless sign-ins.
"""

from __future__ import annotations

import ssl
from datetime import timedelta
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from teleport_tw.api.contract import (
    Api,
    HeadlessRequest,
    IssueRequest,
    LoginRequest,
    MfaAnswer,
    MfaTarget,
    PublicKeys,
    Scope,
    WebSession,
)
from teleport_tw.auth import headless
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import PASSWORD, Keys
from tests.auth.keys import KeyCase, Person
from tests.auth.test_keys import either


class WebSessionTests(KeyCase):
    """
    What stands behind a cookie.
    """

    async def start(self) -> None:
        await super().start()
        self.alice = await self.signed_up("alice")
        self.session = await self.signed_in()

    async def signed_in(self, user_agent: str = "Firefox") -> WebSession:
        request = LoginRequest(
            username="alice",
            password=PASSWORD,
            answer=await self.login_answer(self.alice),
            remote_address="203.0.113.7",
            user_agent=user_agent,
        )
        return await self.proxy.create_web_session(request)

    def identity(self, session: WebSession) -> Identity:
        der = ssl.PEM_cert_to_DER_cert(session.certificates.tls.decode())
        return self.core.signing.identify(der, self.core.now())

    def own(self, session: WebSession) -> Api:
        return self.cluster.auth.api_for(self.identity(session), "203.0.113.7", session.certificates.tls)

    async def test_there_and_back(self) -> None:
        """The proxy gets again what was made: keys that fit the certificates, which are the user's."""
        found = await self.proxy.get_web_session(self.session.id)
        self.assertEqual(evolve(found, idle_timeout=self.session.idle_timeout), self.session)
        identity = self.identity(found)
        self.assertEqual((identity.username, identity.login_ip), ("alice", "203.0.113.7"))
        self.assertEqual(identity.private_key_policy, "web_session")
        key = PrivateKey.load(found.tls_key)
        public = PublicKeys(tls=spki_pem(key.public))
        issued = await self.own(found).issue(IssueRequest(keys=public))
        self.assertTrue(issued.tls)
        self.assertTrue(found.certificates.authorities)

    async def test_nothing_of_use_in_the_store(self) -> None:
        """Who reads the store has neither cookie, nor bearer, nor key."""
        pages = [await self.core.backend.range(("secrets", kind)) for kind in ("web_session", "web_sign_in")]
        items = [item for page in pages for item in page.items]
        self.assertEqual(len(items), 2)
        stored = b"".join(item.value + "/".join(item.key).encode() for item in items)
        for secret in (self.session.id, self.session.bearer):
            self.assertNotIn(secret.reveal().encode(), stored)
        self.assertNotIn(b"PRIVATE KEY", stored)

    async def test_guesses(self) -> None:
        """An id that is wrong learns nothing, however it is wrong; so does who is no proxy."""
        for wrong in ("", "x", "0" * 64, self.session.id.reveal()[:-1] + "g", self.session.sign_in, "é" * 64):
            error = await self.refused(self.proxy.get_web_session(Secret(wrong)))
            self.assertEqual(error.message, "your session is over; sign in again")
            await self.proxy.delete_web_session(Secret(wrong))
        await self.refused(self.own(self.session).get_web_session(self.session.id))
        await self.refused(self.cluster.local(SystemRole.NODE).get_web_session(self.session.id))

    async def test_sign_out(self) -> None:
        """The session is gone for good, once and twice."""
        for _ in range(2):
            await self.proxy.delete_web_session(self.session.id)
        await self.refused(self.proxy.get_web_session(self.session.id))

    async def test_idle(self) -> None:
        """Use keeps it, a page that only looks does not."""
        await self.admin.upsert(
            Resource(
                "cluster_networking_config", "v2", Metadata("cluster-networking-config"), {"web_idle_timeout": "5m"}
            )
        )
        for _ in range(3):
            self.clock.ahead += 240
            await self.proxy.get_web_session(self.session.id)
        for _ in range(2):
            self.clock.ahead += 120
            found = await self.proxy.get_web_session(self.session.id, active=False)
        self.assertEqual(found.idle_timeout, timedelta(minutes=5))
        self.clock.ahead += 120
        error = await self.refused(self.proxy.get_web_session(self.session.id))
        self.assertIn("over", error.message)
        self.clock.ahead = 0
        await self.refused(self.proxy.get_web_session(self.session.id))

    async def test_expiry(self) -> None:
        """It ends with its certificates, used or not."""
        self.clock.ahead = 12 * 3600 - 60
        await self.admin.upsert(
            Resource(
                "cluster_networking_config", "v2", Metadata("cluster-networking-config"), {"web_idle_timeout": "0s"}
            )
        )
        await self.proxy.get_web_session(self.session.id)
        self.clock.ahead = 12 * 3600 + 1
        await self.refused(self.proxy.get_web_session(self.session.id))

    async def test_renewal(self) -> None:
        """The bearer changes after a while, the same for tabs that ask at once; the old one is no more."""
        one = await self.proxy.renew_web_session(self.session.id)
        self.assertEqual(one.bearer, self.session.bearer)
        self.clock.ahead = 301
        one = await self.proxy.renew_web_session(self.session.id)
        self.assertNotEqual(one.bearer, self.session.bearer)
        two = await self.proxy.renew_web_session(self.session.id)
        self.assertEqual((await self.proxy.get_web_session(self.session.id)).bearer, two.bearer)
        self.assertEqual(one.bearer, two.bearer)
        self.assertEqual(two.certificates, self.session.certificates)

    async def test_locks_end_it(self) -> None:
        """On the user, a role, or the key that was used to sign in; at the next request."""
        (device,) = await self.own(self.session).list_devices()
        for name, target in (
            ("u", {"user": "alice"}),
            ("r", {"role": "access"}),
            ("d", {"mfa_device": device.id}),
        ):
            session = await self.signed_in()
            await self.proxy.get_web_session(session.id)
            await self.admin.create(Resource("lock", "v2", Metadata(name), {"target": target}))
            await self.refused(self.proxy.get_web_session(session.id))
            await self.refused(self.signed_in())
            await self.admin.delete("lock", name)
            await self.refused(self.proxy.get_web_session(session.id))

    async def test_a_user_taken_away(self) -> None:
        """Ends the user's sessions."""
        await self.admin.delete("user", "alice")
        await self.refused(self.proxy.get_web_session(self.session.id))

    async def test_sign_ins(self) -> None:
        """A user sees where it is signed in, and ends what it does not know; nobody else's."""
        other = await self.signed_in("Chromium")
        own = self.own(self.session)
        seen = await own.list_sign_ins()
        self.assertEqual([each.user_agent for each in seen], ["Chromium", "Firefox"])
        self.assertEqual([each.id for each in seen], [other.sign_in, self.session.sign_in])
        self.assertNotIn(self.session.id.reveal(), repr(seen))
        bob = await self.signed_up("bob")
        his = await self.sign_in(bob)
        self.assertEqual(await his.list_sign_ins(), ())
        await self.refused(his.delete_sign_in(other.sign_in), Kind.NOT_FOUND)
        await own.delete_sign_in(other.sign_in)
        await self.refused(self.proxy.get_web_session(other.id))
        await self.proxy.get_web_session(self.session.id)
        await self.refused(own.delete_sign_in(other.sign_in), Kind.NOT_FOUND)

    async def test_refused_sign_ins_leave_nothing(self) -> None:
        """Wrong factors make no session; at most thirty are kept."""
        wrong = LoginRequest(username="alice", password=PASSWORD)
        await self.refused(self.proxy.create_web_session(wrong))
        self.assertEqual(len(await self.core.web_sessions.of("alice")), 1)
        for _ in range(31):
            await self.signed_in()
        self.assertEqual(len(await self.core.web_sessions.of("alice")), 30)
        await self.refused(self.proxy.get_web_session(self.session.id))


class HeadlessTests(KeyCase):
    """
    A program waits, a person approves.
    """

    async def start(self) -> None:
        await super().start()
        self.alice = await self.signed_up("alice")
        self.api = await self.sign_in(self.alice)
        self.keys = Keys()

    async def asked(self, name: str = "alice") -> HeadlessRequest:
        return await self.proxy.create_headless(name, self.keys.public, "198.51.100.9", "tsh")

    async def approval(self, person: Person, api: Api, id: str, **lies: Any) -> MfaAnswer:
        return await self.proof(person, api, Scope.HEADLESS, MfaTarget(kind="headless", name=id), **lies)

    async def test_approved(self) -> None:
        """What waits gets certificates of a minute for its own keys, once; the log tells each step."""
        request = await self.asked()
        waiting = Deferred.fromCoroutine(self.proxy.wait_headless(request.id))
        seen = await self.api.get_headless(request.id)
        self.assertEqual((seen.address, seen.user_agent, seen.state), ("198.51.100.9", "tsh", "pending"))
        await self.api.answer_headless(request.id, True, await self.approval(self.alice, self.api, request.id))
        certificates = await waiting
        der = ssl.PEM_cert_to_DER_cert(certificates.tls.decode())
        identity = self.core.signing.identify(der, self.core.now())
        (device,) = await self.api.list_devices()
        self.assertEqual((identity.username, identity.mfa_device), ("alice", device.id))
        self.assertEqual(identity.login_ip, "198.51.100.9")
        assert identity.expires is not None
        self.assertLessEqual(identity.expires, self.core.now() + timedelta(minutes=1))
        self.assertTrue(identity.disallow_reissue)
        await self.refused(self.proxy.wait_headless(request.id))
        codes = [each["code"] for each in await self.events("user.login") if each["method"] == "headless"]
        self.assertEqual(sorted(codes), ["T1012I", "T1013I"])

    async def test_denied(self) -> None:
        """A no needs no key, and is final."""
        request = await self.asked()
        await self.api.answer_headless(request.id, False)
        proof = await self.approval(self.alice, self.api, request.id)
        await self.refused(self.api.answer_headless(request.id, True, proof), Kind.COMPARE_FAILED)
        error = await self.refused(self.proxy.wait_headless(request.id))
        self.assertIn("denied", error.message)
        codes = [each["code"] for each in await self.events("user.login") if each["method"] == "headless"]
        self.assertIn("T1014W", codes)

    async def test_by_another_user(self) -> None:
        """A request is its user's; to others it is not there. An answer is for one request."""
        bob = await self.signed_up("bob")
        his = await self.sign_in(bob)
        request, other = await self.asked(), await self.asked()
        await self.refused(his.get_headless(request.id), Kind.NOT_FOUND)
        proof = await self.approval(bob, his, request.id)
        await self.refused(his.answer_headless(request.id, True, proof), Kind.NOT_FOUND)
        await self.refused(his.answer_headless(request.id, False), Kind.NOT_FOUND)
        proof = await self.approval(self.alice, self.api, other.id)
        await self.refused(self.api.answer_headless(request.id, True, proof))
        for answer in (
            None,
            await self.proof(self.alice, self.api, Scope.SESSION),
            MfaAnswer(recovery=self.alice.codes[0]),
            MfaAnswer(otp=Secret("123456")),
        ):
            await self.refused(self.api.answer_headless(request.id, True, answer))
        await self.refused(self.api.create_challenge(Scope.HEADLESS), Kind.BAD_PARAMETER)

    async def test_time(self) -> None:
        """A request that nobody answers ends; so does the wait."""
        request = await self.asked()
        self.clock.ahead = 181
        await self.refused(self.proxy.wait_headless(request.id))
        await self.refused(self.api.get_headless(request.id), Kind.NOT_FOUND)

    async def test_one_taker(self) -> None:
        """Of two who wait for the same one gets it."""
        request = await self.asked()
        await self.api.answer_headless(request.id, True, await self.approval(self.alice, self.api, request.id))
        done = await gatherResults([either(self.proxy.wait_headless(request.id)) for _ in range(3)])
        self.assertEqual(sum(done), 1)

    async def test_bounds(self) -> None:
        """Nobody is flooded with requests; names that nobody has are taken like others."""
        for number in range(headless.MOST_WAITING):
            await self.proxy.create_headless("nobody", self.keys.public, f"192.0.2.{number}", "tsh")
        await self.refused(self.asked("nobody"), Kind.LIMIT_EXCEEDED)
        for name in ("", "x" * 300, "a\x00b"):
            await self.refused(self.asked(name), Kind.BAD_PARAMETER)
        await self.refused(self.proxy.create_headless("alice", PublicKeys()), Kind.BAD_PARAMETER)
        await self.refused(self.api.create_headless("alice", self.keys.public))
        await self.refused(self.api.wait_headless((await self.asked()).id))

    async def test_locked(self) -> None:
        """A user locked after the approval gets nothing."""
        request = await self.asked()
        await self.api.answer_headless(request.id, True, await self.approval(self.alice, self.api, request.id))
        await self.admin.create(Resource("lock", "v2", Metadata("l"), {"target": {"user": "alice"}}))
        await self.refused(self.proxy.wait_headless(request.id))

    async def test_a_stranger_fills_no_places(self) -> None:
        """
        Who names somebody again and again is told to wait, from all addresses of a network; the user is let in from
        another.
        """
        for number in range(headless.MOST_OF_NETWORK):
            await self.proxy.create_headless("alice", self.keys.public, f"2001:db8::{number}", "tsh")
        asked = self.proxy.create_headless("alice", self.keys.public, "2001:db8::ffff", "tsh")
        await self.refused(asked, Kind.LIMIT_EXCEEDED)
        await self.proxy.create_headless("bob", self.keys.public, "2001:db8::ffff", "tsh")
        request = await self.asked()
        self.assertEqual((await self.api.get_headless(request.id)).address, "198.51.100.9")

    async def test_switched_off(self) -> None:
        """By the cluster's word, and without keys."""
        await self.set_policy(second_factors=["webauthn"], allow_headless=False)
        await self.refused(self.asked())
        await self.set_policy(second_factors=["otp"])
        await self.refused(self.asked())


class WebSessionsOverRpc(KeyCase):
    """
    The same for a proxy on another host.
    """

    listen = True

    async def test_there_and_back(self) -> None:
        """Sessions and headless requests travel whole."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        keys = Keys()
        from teleport_tw.auth import issuance

        member = issuance.issue_member(
            self.core.signing,
            cluster="example.com",
            host_id="22222222-0000-4000-8000-000000000001",
            roles=(SystemRole.PROXY,),
            names=(),
            keys=keys.public,
            now=self.core.now(),
        )
        proxy = self.cluster.over_rpc(member, keys)
        challenge = await proxy.begin_login("alice")
        login = evolve(self.request(alice, self.answer(alice, challenge)), keys=PublicKeys())
        session = await proxy.create_web_session(login)
        found = await proxy.get_web_session(session.id)
        self.assertEqual((found.bearer, found.tls_key), (session.bearer, session.tls_key))
        self.assertEqual((await proxy.renew_web_session(session.id)).sign_in, session.sign_in)
        own = self.cluster.over_rpc(alice.certificates, alice.keys)
        self.assertEqual([each.id for each in await own.list_sign_ins()], [session.sign_in])
        await own.delete_sign_in(session.sign_in)
        await self.refused(proxy.get_web_session(session.id))
        await proxy.delete_web_session(session.id)
        request = await proxy.create_headless("alice", keys.public, "198.51.100.9", "tsh")
        waiting = Deferred.fromCoroutine(proxy.wait_headless(request.id))
        self.assertEqual((await own.get_headless(request.id)).state, "pending")
        target = MfaTarget(kind="headless", name=request.id)
        await own.answer_headless(request.id, True, await self.proof(alice, api, Scope.HEADLESS, target))
        self.assertTrue((await waiting).ssh)
