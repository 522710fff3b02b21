"""
Security keys, passkeys, codes and recovery codes: signing in, and every way to cheat.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from teleport_tw.api.contract import DeviceType, LoginRequest, MfaAnswer, Scope, SetupPurpose
from teleport_tw.auth.login import REFUSAL
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from tests.auth.cluster import PASSWORD, Keys
from tests.auth.keys import ORIGIN, KeyCase, Person
from tests.doubles.authenticator import UP, UV, Authenticator


def either(work: Any) -> Deferred[bool]:
    """
    Fires with whether it was done, C{False} where it was refused.
    """
    done = Deferred.fromCoroutine(work)
    return done.addCallbacks(lambda _: True, lambda failure: failure.trap(TeleportError) and False)


class SigningIn(KeyCase):
    """
    With password and key.
    """

    async def refused_login(self, person: Person, answer: MfaAnswer | None, password: Secret[str] = PASSWORD) -> str:
        error = await self.refused(self.proxy.login(self.request(person, answer, password)))
        self.assertEqual(error.message, REFUSAL)
        return error.details

    async def test_from_the_invite_to_a_certificate(self) -> None:
        """A key is set up by the link, and signs in beside the password; the log names it."""
        alice = await self.signed_up("alice")
        self.assertEqual(len(alice.codes), 10)
        api = await self.sign_in(alice)
        (device,) = await api.list_devices()
        self.assertEqual((device.name, device.type, device.passwordless), ("blue key", DeviceType.WEBAUTHN, False))
        self.assertIsNotNone(device.last_used)
        (event,) = [each for each in await self.events("user.login") if each["success"]]
        self.assertEqual(event["mfa_device"]["mfa_device_uuid"], device.id)
        self.assertEqual([each["mfa_device_name"] for each in await self.events("mfa.add")], ["blue key"])
        self.assertTrue(await self.events("recovery_code.generated"))
        (said,) = await self.events("mfa_auth_challenge.validate")
        self.assertEqual((said["success"], said["challenge_scope"]), (True, "login"))

    async def test_password_alone_and_key_alone(self) -> None:
        """Neither is enough."""
        alice = await self.signed_up("alice")
        self.assertIn("no second factor", await self.refused_login(alice, None))
        answer = await self.login_answer(alice)
        self.assertIn("wrong password", await self.refused_login(alice, answer, Secret("wrong horse battery")))
        self.assertIn("challenge", await self.refused_login(alice, await self.login_answer(alice), Secret("")))

    async def test_replay(self) -> None:
        """An assertion is good once, whoever saw it; of two at once one wins."""
        alice = await self.signed_up("alice")
        answer = await self.login_answer(alice)
        results = await gatherResults([either(self.proxy.login(self.request(alice, answer))) for _ in range(4)])
        self.assertEqual(sum(results), 1)
        self.assertIn("challenge is unknown", await self.refused_login(alice, answer))

    async def test_lies(self) -> None:
        """Another page, another domain, another challenge, a frame, nobody there: refused."""
        alice = await self.signed_up("alice")
        for lies, reason in (
            ({"origin": "https://evil.example.net"}, "Invalid origin"),
            ({"origin": "https://proxy.example.com:8443"}, "Invalid origin"),
            ({"origin": "https://app.proxy.example.com"}, "Invalid origin"),
            ({"origin": "http://proxy.example.com"}, "Invalid origin"),
            ({"origin": "https://proxy.example.com@evil.example.net"}, "Invalid origin"),
            ({"rp_id": "evil.example.net"}, "Wrong RP ID"),
            ({"challenge": "AAAAAAAAAAAAAAAAAAAAAAAA"}, "Wrong challenge"),
            ({"type": "webauthn.create"}, "Incorrect type"),
            ({"cross_origin": True}, "another site"),
            ({"flags": 0}, "User Present"),
            ({"user_handle": b"somebody else"}, "names another user"),
        ):
            answer = await self.login_answer(alice, **lies)  # type: ignore[arg-type]  # each lie has its own type
            self.assertIn(reason, await self.refused_login(alice, answer), str(lies))
            await self.core.credentials.clear_attempts("alice")
        forged = await self.login_answer(alice)
        said = {**forged.webauthn, "response": {**forged.webauthn["response"], "signature": "AAAA"}}
        self.assertIn("Invalid signature", await self.refused_login(alice, evolve(forged, webauthn=said)))

    async def test_garbage(self) -> None:
        """Whatever is sent instead of an assertion, the answer is the same."""
        alice = await self.signed_up("alice")
        good = (await self.login_answer(alice)).webauthn
        for garbage in (
            {"id": 1},
            {"rawId": "!!"},
            {**good, "rawId": "AAAA"},
            {**good, "response": []},
            {**good, "response": {**good["response"], "authenticatorData": "AA"}},
            {**good, "response": {**good["response"], "clientDataJSON": "bnVsbA"}},
            {**good, "x": "y" * 40_000},
        ):
            challenge = await self.proxy.begin_login("alice")
            await self.refused_login(alice, MfaAnswer(webauthn=garbage, challenge=challenge.id))
            await self.core.credentials.clear_attempts("alice")

    async def test_somebody_elses_key(self) -> None:
        """A key signs in its own user alone, and challenges are each for one name."""
        alice, bob = await self.signed_up("alice"), await self.signed_up("bob")
        challenge = await self.proxy.begin_login("alice")
        assert challenge.webauthn is not None
        hers = alice.key.credentials[0]
        his = bob.key.credentials[0]
        his.rp_id = hers.rp_id
        answer = MfaAnswer(webauthn=bob.key.sign(challenge.webauthn, credential=his), challenge=challenge.id)
        self.assertIn("not one of the user's", await self.refused_login(alice, answer))
        answer = await self.login_answer(bob)
        self.assertIn("something else", await self.refused_login(alice, answer))

    async def test_challenge_expires(self) -> None:
        """After five minutes it is worth nothing."""
        alice = await self.signed_up("alice")
        answer = await self.login_answer(alice)
        self.clock.ahead = 301
        self.assertIn("expired", await self.refused_login(alice, answer))

    async def test_challenge_of_another_purpose(self) -> None:
        """What was signed to remove a device does not sign in, and the other way round."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        answer = await self.proof(alice, api, Scope.MANAGE_DEVICES)
        self.assertIn("something else", await self.refused_login(alice, answer))
        await self.refused(api.recovery_codes(await self.login_answer(alice)))
        await self.refused(api.recovery_codes(await self.proof(alice, api, Scope.ADMIN_ACTION)))

    async def test_a_copied_key(self) -> None:
        """Once two of a key's kind were used, it is marked and refused, even where it counts on rightly."""
        alice = await self.signed_up("alice")
        twin = alice.key.copy()
        api = await self.sign_in(alice)
        mallory = evolve(alice, key=twin)
        self.assertIn("went back", await self.refused_login(mallory, await self.login_answer(mallory)))
        (device,) = await api.list_devices()
        self.assertTrue(device.suspect)
        challenge = await self.proxy.begin_login("alice")
        assert challenge.webauthn is not None
        answer = MfaAnswer(
            webauthn=alice.key.sign(challenge.webauthn, credential=alice.key.credentials[0]), challenge=challenge.id
        )
        self.assertIn("copy of the key", await self.refused_login(alice, answer))
        failed = [each for each in await self.events("mfa_auth_challenge.validate") if not each["success"]]
        self.assertTrue(any("copy of it" in each["error"] for each in failed))

    async def test_passkeys_that_count_nothing(self) -> None:
        """A counter that stays zero is no sign of a copy."""
        alice = await self.signed_up("alice")
        alice.key.step = 0
        alice.key.credentials[0].count = 0
        (device,) = await self.core.devices.all("alice")
        await self.core.devices.used("alice", device, evolve(device, count=0))  # type: ignore[call-arg]  # a key
        for _ in range(2):
            await self.sign_in(alice)

    async def test_begin_login_is_no_oracle(self) -> None:
        """Names that nobody has are asked for a key like any other: always the same for a name."""
        await self.signed_up("alice")
        await self.cluster.user("bob", "access")
        found = {}
        for name in ("alice", "bob", "nobody"):
            first, second = [await self.proxy.begin_login(name) for _ in range(2)]
            assert first.webauthn is not None
            assert second.webauthn is not None
            self.assertEqual(first.otp, True)
            self.assertEqual(first.webauthn["allowCredentials"], second.webauthn["allowCredentials"])
            self.assertNotEqual(first.webauthn["challenge"], second.webauthn["challenge"])
            found[name] = first.webauthn
        shapes = {
            name: ({*options}, [(len(each["id"]), {*each}) for each in options["allowCredentials"]])
            for name, options in found.items()
        }
        self.assertEqual(shapes["alice"], shapes["nobody"])
        self.assertEqual(shapes["bob"], shapes["nobody"])
        self.assertNotEqual(found["bob"]["allowCredentials"], found["nobody"]["allowCredentials"])

    async def test_only_proxies_begin(self) -> None:
        """A signed-in user cannot ask in anybody's name."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        await self.refused(api.begin_login("bob"))
        await self.refused(api.create_challenge(Scope.LOGIN), Kind.BAD_PARAMETER)
        await self.refused(api.create_web_session(self.request(alice, None)))
        await self.refused(self.proxy.create_challenge(Scope.SESSION))

    async def test_several_devices(self) -> None:
        """Two keys and two apps, each signs in; a code counts once, of whichever app."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        one, two = await self.add_app(alice, api, "phone"), await self.add_app(alice, api, "tablet")
        for totp in (one, two):
            answer = self.code(totp)
            await self.proxy.login(self.request(alice, answer))
            self.assertIn("used", await self.refused_login(alice, answer))
        again = Authenticator(ORIGIN)
        ticket = await api.begin_device(
            DeviceType.WEBAUTHN, "spare", await self.proof(alice, api, Scope.MANAGE_DEVICES)
        )
        assert ticket.webauthn is not None
        self.assertEqual(len(ticket.webauthn["excludeCredentials"]), 1)
        await api.add_device(ticket.id, MfaAnswer(webauthn=again.register(ticket.webauthn)))
        spare = evolve(alice, key=again)
        await self.proxy.login(self.request(spare, await self.login_answer(spare)))
        self.assertEqual([each.name for each in await api.list_devices()], ["blue key", "phone", "tablet", "spare"])

    async def test_recovery_codes(self) -> None:
        """Each signs in once, beside the password; however it is written. New ones end the old."""
        alice = await self.signed_up("alice")
        code = Secret(alice.codes[0].reveal().upper().replace("-", " "))
        answer = MfaAnswer(recovery=code)
        self.assertIn("wrong password", await self.refused_login(alice, answer, Secret("wrong horse battery")))
        results = await gatherResults([either(self.proxy.login(self.request(alice, answer))) for _ in range(3)])
        self.assertEqual(sum(results), 1)
        self.assertIn("recovery", await self.refused_login(alice, answer))
        self.assertIn("recovery", await self.refused_login(alice, MfaAnswer(recovery=Secret("aaaa-bbbb-cccc-dddd"))))
        used = await self.events("recovery_code.used")
        self.assertEqual(sum(each["success"] for each in used), 1)
        await self.core.credentials.clear_attempts("alice")
        api = await self.sign_in(alice)
        self.assertEqual((await api.account_state()).recovery_codes, 9)
        new = await api.recovery_codes(MfaAnswer(recovery=alice.codes[1]))
        self.assertEqual(len({code.reveal() for code in new} - {code.reveal() for code in alice.codes}), 10)
        self.assertIn("recovery", await self.refused_login(alice, MfaAnswer(recovery=alice.codes[2])))
        await self.proxy.login(self.request(alice, MfaAnswer(recovery=new[0])))

    async def test_guessing_codes_with_a_certificate(self) -> None:
        """Who stole a certificate cannot guess codes past the bound either."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        await self.add_app(alice, api)
        for _ in range(5):
            await self.refused(api.recovery_codes(MfaAnswer(otp=Secret("000000"))))
        await self.refused(api.recovery_codes(MfaAnswer(otp=Secret("000000"))), Kind.LIMIT_EXCEEDED)
        await self.refused(self.proxy.login(self.request(alice, await self.login_answer(alice))), Kind.LIMIT_EXCEEDED)

    async def test_policy(self) -> None:
        """What the cluster does not accept any more does not sign in."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        totp = await self.add_app(alice, api)
        await self.set_policy(second_factors=["webauthn"])
        self.assertFalse((await self.proxy.begin_login("alice")).otp)
        self.assertIn("not accepted", await self.refused_login(alice, self.code(totp)))
        await self.set_policy(second_factors=["otp"])
        answer = await self.proxy.begin_login("alice")
        self.assertIsNone(answer.webauthn)
        await self.set_policy(second_factors=["otp", "webauthn"])
        waiting = await self.login_answer(alice)
        await self.set_policy(second_factors=["otp"])
        self.assertIn("does not accept keys", await self.refused_login(alice, waiting))


class Passwordless(KeyCase):
    """
    With a passkey alone.
    """

    async def passkey(self, person: Person, **lies: Any) -> MfaAnswer:
        return self.answer(person, await self.proxy.begin_login("", passwordless=True), **lies)

    async def login(self, person: Person, answer: MfaAnswer) -> Any:
        return await self.proxy.login(LoginRequest(username="", answer=answer, keys=person.keys.public))

    async def test_a_passkey_alone(self) -> None:
        """It knows its user, who needs no password, from the invite on."""
        alice = await self.signed_up("alice", passwordless=True, password=Secret(""))
        certificates = await self.login(alice, await self.passkey(alice))
        self.assertTrue(certificates.tls)
        alice.certificates = certificates
        api = self.api_of(alice)
        self.assertFalse((await api.account_state()).password)
        await self.refused(self.proxy.login(self.request(alice, await self.login_answer(alice), Secret(""))))

    async def test_lies(self) -> None:
        """No PIN, another's name, a key that was added for less: refused."""
        alice = await self.signed_up("alice", passwordless=True)
        bob = await self.signed_up("bob")
        for lies in ({"flags": UP}, {"user_handle": b"x" * 32}, {"user_handle": b""}):
            await self.refused(self.login(alice, await self.passkey(alice, **lies)))  # type: ignore[arg-type]  # as above
        handle = bob.key.credentials[0].user_handle
        self.assertNotEqual(handle, alice.key.credentials[0].user_handle)
        await self.refused(self.login(alice, await self.passkey(alice, user_handle=handle)))
        bob.key.credentials[0].resident = True
        await self.refused(self.login(bob, await self.passkey(bob)))
        answer = await self.passkey(alice)
        await self.login(alice, answer)
        await self.refused(self.login(alice, answer))
        stale = await self.login_answer(alice, user_handle=alice.key.credentials[0].user_handle)
        await self.refused(self.login(alice, stale))
        wrong_name = LoginRequest(username="bob", answer=await self.passkey(alice), keys=alice.keys.public)
        await self.refused(self.proxy.login(wrong_name))

    async def test_switched_off(self) -> None:
        """Where the cluster does not allow it, it is neither begun nor finished nor set up."""
        alice = await self.signed_up("alice", passwordless=True)
        answer = await self.passkey(alice)
        await self.set_policy(second_factors=["otp", "webauthn"], allow_passwordless=False)
        await self.refused(self.proxy.begin_login("", passwordless=True), Kind.BAD_PARAMETER)
        await self.refused(self.login(alice, answer))
        ticket = await self.admin.create_setup("alice", SetupPurpose.RESET, NEVER)
        await self.refused(
            self.proxy.begin_setup_device(ticket.token, DeviceType.WEBAUTHN, passwordless=True), Kind.BAD_PARAMETER
        )

    async def test_locked(self) -> None:
        """A locked account is locked for passkeys too."""
        alice = await self.signed_up("alice", passwordless=True)
        for _ in range(5):
            await self.refused(self.cluster.sign_in("alice", "000000", Keys()))
        await self.refused(self.login(alice, await self.passkey(alice)), Kind.LIMIT_EXCEEDED)


class SettingUp(KeyCase):
    """
    Keys registered by a link.
    """

    async def test_bad_registrations(self) -> None:
        """A key that registers for another page, domain, challenge or with another algorithm is not taken."""
        await self.cluster.user("alice", "access")
        ticket = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        for lies in (
            {"origin": "https://evil.example.net"},
            {"rp_id": "evil.example.net"},
            {"challenge": "AAAAAAAAAAAAAAAAAAAAAAAA"},
            {"type": "webauthn.get"},
            {"cross_origin": True},
            {"algorithm": -65535},
            {"flags": UV},
        ):
            offer = await self.proxy.begin_setup_device(ticket.token, DeviceType.WEBAUTHN)
            assert offer.webauthn is not None
            made = Authenticator(ORIGIN).register(offer.webauthn, **lies)
            answer = MfaAnswer(webauthn=made, challenge=offer.id)
            await self.refused(self.proxy.complete_setup(ticket.token, PASSWORD, answer=answer), Kind.BAD_PARAMETER)
        await self.proxy.get_setup(ticket.token)
        self.assertEqual(await self.core.devices.all("alice"), ())

    async def test_a_ticket_of_another_link(self) -> None:
        """What one invite began, another does not finish."""
        await self.cluster.user("alice", "access")
        await self.cluster.user("bob", "access")
        hers = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        his = await self.admin.create_setup("bob", SetupPurpose.INVITE, NEVER)
        offer = await self.proxy.begin_setup_device(his.token, DeviceType.WEBAUTHN)
        assert offer.webauthn is not None
        answer = MfaAnswer(webauthn=Authenticator(ORIGIN).register(offer.webauthn), challenge=offer.id)
        await self.refused(self.proxy.complete_setup(hers.token, PASSWORD, answer=answer), Kind.BAD_PARAMETER)

    async def test_a_password_is_needed_without_a_passkey(self) -> None:
        """An empty one is refused where the key does not sign in by itself."""
        error = await self.refused(self.signed_up("alice", password=Secret("")), Kind.BAD_PARAMETER)
        self.assertIn("too short", error.message)

    async def test_somebody_elses_credential(self) -> None:
        """A credential id that is taken is not registered again, for whomever."""
        alice = await self.signed_up("alice")
        await self.cluster.user("bob", "access")
        ticket = await self.admin.create_setup("bob", SetupPurpose.INVITE, NEVER)
        offer = await self.proxy.begin_setup_device(ticket.token, DeviceType.WEBAUTHN)
        assert offer.webauthn is not None
        made = Authenticator(ORIGIN).register(offer.webauthn, credential_id=alice.key.credentials[0].id)
        answer = MfaAnswer(webauthn=made, challenge=offer.id)
        await self.refused(self.proxy.complete_setup(ticket.token, PASSWORD, answer=answer), Kind.ALREADY_EXISTS)
        await self.sign_in(alice)

    async def test_a_reset_ends_everything(self) -> None:
        """Old key, old password, old recovery codes, sessions on the web."""
        alice = await self.signed_up("alice")
        session = await self.proxy.create_web_session(self.request(alice, await self.login_answer(alice)))
        waiting = await self.login_answer(alice)
        await self.admin.create_setup("alice", SetupPurpose.RESET, NEVER)
        await self.refused(self.proxy.get_web_session(session.id))
        await self.refused(self.proxy.login(self.request(alice, waiting)))
        await self.refused(self.proxy.login(self.request(alice, MfaAnswer(recovery=alice.codes[0]))))
        self.assertIsNone(await self.core.devices.by_credential(alice.key.credentials[0].id))

    async def test_the_domain_stays(self) -> None:
        """Once a key is registered, another proxy's name does not change the domain; before, there must be one."""
        await self.signed_up("alice")
        await self.core.resources.delete("proxy", "11111111-0000-4000-8000-000000000001")
        challenge = await self.proxy.begin_login("alice")
        assert challenge.webauthn is not None
        self.assertEqual(challenge.webauthn["rpId"], "proxy.example.com")

    async def test_no_domain_yet(self) -> None:
        """Without one, codes still do, and keys say what to set."""
        await self.core.resources.delete("proxy", "11111111-0000-4000-8000-000000000001")
        challenge = await self.proxy.begin_login("alice")
        self.assertEqual((challenge.otp, challenge.webauthn), (True, None))
        error = await self.refused(self.proxy.begin_login("", passwordless=True), Kind.BAD_PARAMETER)
        self.assertIn("webauthn.rp_id", error.message)
