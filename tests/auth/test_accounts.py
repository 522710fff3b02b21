"""
What users do to their own accounts.
"""

from __future__ import annotations

from datetime import timedelta

import pyotp
from twisted.internet.defer import gatherResults

from teleport_tw.api.contract import DeviceType, LoginRequest, MfaAnswer, MfaTarget, Scope
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from tests.auth.cluster import PASSWORD
from tests.auth.keys import KeyCase
from tests.auth.test_keys import either


class Accounts(KeyCase):
    """
    What users do to their own accounts.
    """

    async def test_a_fresh_factor_is_needed(self) -> None:
        """For each of them, and none but one's own."""
        alice, bob = await self.signed_up("alice"), await self.signed_up("bob")
        api, his = await self.sign_in(alice), await self.sign_in(bob)
        await self.refused(api.begin_device(DeviceType.TOTP, "phone"))
        (device,) = await api.list_devices()
        foreign = await self.proof(bob, his, Scope.MANAGE_DEVICES)
        await self.refused(api.delete_device(device.id, foreign))
        await self.refused(api.change_password(PASSWORD, Secret("another good password")))
        await self.refused(
            his.delete_device(device.id, await self.proof(bob, his, Scope.MANAGE_DEVICES)), Kind.NOT_FOUND
        )
        ticket = await his.begin_device(DeviceType.TOTP, "x", await self.proof(bob, his, Scope.MANAGE_DEVICES))
        await self.refused(api.add_device(ticket.id, MfaAnswer(otp=Secret("000000"))), Kind.NOT_FOUND)
        await self.refused(self.proxy.list_devices())

    async def test_a_first_device_is_the_first(self) -> None:
        """A ticket that took no second factor is good for nothing once its user has one."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        for device in await self.core.devices.all("alice"):
            await self.core.devices.remove("alice", device)
        stolen = await api.begin_device(DeviceType.TOTP, "not hers")
        own = await api.begin_device(DeviceType.TOTP, "phone")
        first = pyotp.TOTP(own.otp_secret.reveal())
        await api.add_device(own.id, self.code(first))
        late = self.code(pyotp.TOTP(stolen.otp_secret.reveal()))
        await self.refused(api.add_device(stolen.id, late), Kind.NOT_FOUND)
        self.assertEqual([each.name for each in await api.list_devices()], ["phone"])

    async def test_the_last_device_stays(self) -> None:
        """While the cluster demands one; of two who remove the last two, one is told."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        (key,) = await api.list_devices()
        error = await self.refused(
            api.delete_device(key.id, await self.proof(alice, api, Scope.MANAGE_DEVICES)), Kind.BAD_PARAMETER
        )
        self.assertIn("last device", error.message)
        await self.add_app(alice, api)
        app = next(each for each in await api.list_devices() if each.type is DeviceType.TOTP)
        one = await self.proof(alice, api, Scope.MANAGE_DEVICES)
        two = await self.proof(alice, api, Scope.MANAGE_DEVICES)
        done = [either(api.delete_device(key.id, one)), either(api.delete_device(app.id, two))]
        self.assertEqual(sum(await gatherResults(done)), 1)
        self.assertEqual(len(await api.list_devices()), 1)

    async def test_the_only_way_in_stays(self) -> None:
        """Who has no password keeps the passkey."""
        alice = await self.signed_up("alice", passwordless=True, password=Secret(""))
        challenge = await self.proxy.begin_login("", passwordless=True)
        login = LoginRequest(username="", answer=self.answer(alice, challenge), keys=alice.keys.public)
        alice.certificates = await self.proxy.login(login)
        api = self.api_of(alice)
        await self.add_app(alice, api)
        key = next(each for each in await api.list_devices() if each.type is DeviceType.WEBAUTHN)
        work = api.delete_device(key.id, await self.proof(alice, api, Scope.MANAGE_DEVICES))
        self.assertIn("set a password", (await self.refused(work, Kind.BAD_PARAMETER)).message)
        proof = await self.proof(alice, api, Scope.MANAGE_DEVICES)
        await api.change_password(Secret(""), Secret("another good password"), proof)
        await api.delete_device(key.id, await self.proof(alice, api, Scope.MANAGE_DEVICES))

    async def test_names(self) -> None:
        """Each of a user's devices has its own."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        proof = await self.proof(alice, api, Scope.MANAGE_DEVICES)
        await self.refused(api.begin_device(DeviceType.TOTP, " blue key ", proof), Kind.ALREADY_EXISTS)
        for name in ("", "  ", "a\x1b[31m", "x" * 65):
            await self.refused(api.begin_device(DeviceType.TOTP, name, proof), Kind.BAD_PARAMETER)

    async def test_rename(self) -> None:
        """It is the same device afterwards, and the log knows both names."""
        alice, bob = await self.signed_up("alice"), await self.signed_up("bob")
        api, his = await self.sign_in(alice), await self.sign_in(bob)
        await self.add_app(alice, api)
        key, app = await api.list_devices()
        renamed = await api.rename_device(key.id, " the one on my ring ")
        self.assertEqual((renamed.id, renamed.name, renamed.type), (key.id, "the one on my ring", key.type))
        self.assertEqual([each.name for each in await api.list_devices()], ["the one on my ring", app.name])
        await self.proxy.login(self.request(alice, await self.login_answer(alice)))
        (event,) = await self.events("mfa.rename")
        self.assertEqual((event["mfa_device_uuid"], event["previous_name"]), (key.id, key.name))
        self.assertEqual(event["mfa_device_name"], "the one on my ring")
        await api.rename_device(key.id, "the one on my ring")
        self.assertEqual(len(await self.events("mfa.rename")), 1)
        await self.refused(api.rename_device(key.id, app.name), Kind.ALREADY_EXISTS)
        await self.refused(his.rename_device(key.id, "mine now"), Kind.NOT_FOUND)
        for name in ("", "  ", "a\x1b[31m", "x" * 65):
            await self.refused(api.rename_device(key.id, name), Kind.BAD_PARAMETER)

    async def test_change_password(self) -> None:
        """With the old one and a factor; other sign-ins end, this one stays."""
        alice = await self.signed_up("alice")
        here = await self.proxy.create_web_session(self.request(alice, await self.login_answer(alice)))
        there = await self.proxy.create_web_session(self.request(alice, await self.login_answer(alice)))
        api = await self.sign_in(alice)
        new = Secret("another good password")
        wrong = api.change_password(
            Secret("wrong horse battery"), new, await self.proof(alice, api, Scope.MANAGE_DEVICES)
        )
        await self.refused(wrong)
        same = api.change_password(PASSWORD, PASSWORD, await self.proof(alice, api, Scope.MANAGE_DEVICES))
        await self.refused(same, Kind.BAD_PARAMETER)
        short = api.change_password(PASSWORD, Secret("short"), await self.proof(alice, api, Scope.MANAGE_DEVICES))
        await self.refused(short, Kind.BAD_PARAMETER)
        proof = await self.proof(alice, api, Scope.MANAGE_DEVICES)
        await api.change_password(PASSWORD, new, proof, sign_in=here.sign_in)
        await self.proxy.get_web_session(here.id)
        await self.refused(self.proxy.get_web_session(there.id))
        await self.refused(self.proxy.login(self.request(alice, await self.login_answer(alice))))
        await self.proxy.login(self.request(alice, await self.login_answer(alice), new))

    async def test_impersonators_keep_out(self) -> None:
        """Who acts as a user does not change the user's account."""
        await self.signed_up("alice")
        core = self.core
        _, user = await core.user("alice")
        from teleport_tw.pki.identity import Identity

        someone = Identity(username="alice", cluster=core.cluster, roles=user.roles, impersonator="bob")
        await self.refused(self.cluster.auth.api_for(someone).list_devices())
        await self.refused(
            self.cluster.auth.api_for(someone).create_challenge(Scope.SESSION, MfaTarget(kind="node", name="x"))
        )

    async def test_tickets_expire(self) -> None:
        """A device that is not finished in time is begun again."""
        alice = await self.signed_up("alice")
        api = await self.sign_in(alice)
        ticket = await api.begin_device(DeviceType.TOTP, "phone", await self.proof(alice, api, Scope.MANAGE_DEVICES))
        wrong = api.add_device(ticket.id, MfaAnswer(otp=Secret("000000")))
        await self.refused(wrong, Kind.BAD_PARAMETER)
        self.clock.ahead = timedelta(minutes=6).total_seconds()
        await self.refused(api.add_device(ticket.id, MfaAnswer(otp=Secret("000000"))), Kind.NOT_FOUND)
