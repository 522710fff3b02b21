"""
Whoever has just set up a device behind a link is signed in by it, once and soon.
"""

from __future__ import annotations

import ssl

import pyotp
from twisted.internet.defer import gatherResults

from teleport_tw.api.contract import DeviceType, LoginRequest, MfaAnswer, SetupPurpose
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.stores.devices import OtpDevice
from tests.auth.cluster import PASSWORD
from tests.auth.keys import ORIGIN, KeyCase
from tests.auth.test_keys import either
from tests.doubles.authenticator import Authenticator


class SetUpTests(KeyCase):
    """
    C{create_web_session} with the link in place of an answer.
    """

    async def set_up(self, name: str, *, app: bool = False) -> Secret[str]:
        """
        @return: the link's token, spent.
        """
        await self.cluster.user(name, "access", logins=("root",))
        ticket = await self.admin.create_setup(name, SetupPurpose.INVITE, NEVER)
        if app:
            code = Secret(pyotp.TOTP(ticket.otp_secret.reveal()).now())
            await self.proxy.complete_setup(ticket.token, PASSWORD, code)
        else:
            offer = await self.proxy.begin_setup_device(ticket.token, DeviceType.WEBAUTHN)
            assert offer.webauthn is not None
            registered = Authenticator(ORIGIN).register(offer.webauthn)
            answer = MfaAnswer(webauthn=registered, challenge=offer.id)
            await self.proxy.complete_setup(ticket.token, PASSWORD, answer=answer)
        return ticket.token

    def asked(self, name: str, token: Secret[str], password: Secret[str] = PASSWORD) -> LoginRequest:
        return LoginRequest(username=name, password=password, answer=MfaAnswer(challenge=token.reveal()))

    async def test_signed_in(self) -> None:
        """With either sort of device; the log names it as the factor that was shown."""
        for name, app in (("alice", False), ("bob", True)):
            token = await self.set_up(name, app=app)
            session = await self.proxy.create_web_session(self.asked(name, token))
            self.assertEqual(session.username, name)
            event = (await self.events("user.login"))[-1]
            self.assertEqual((event["user"], event["success"]), (name, True))
            self.assertEqual(event["mfa_device"]["mfa_device_type"], "TOTP" if app else "WebAuthn")

    async def test_once(self) -> None:
        """Of several who try at once, one is let in; none later."""
        token = await self.set_up("alice")
        tries = [either(self.proxy.create_web_session(self.asked("alice", token))) for _ in range(4)]
        self.assertEqual(sorted(await gatherResults(tries)), [False, False, False, True])
        await self.refused(self.proxy.create_web_session(self.asked("alice", token)))

    async def test_soon(self) -> None:
        """Not after a minute."""
        token = await self.set_up("alice")
        self.clock.ahead += 61
        await self.refused(self.proxy.create_web_session(self.asked("alice", token)))

    async def test_password(self) -> None:
        """The link alone is worth nothing, and with a wrong password it is spent."""
        token = await self.set_up("alice")
        await self.refused(self.proxy.create_web_session(self.asked("alice", token, Secret("not the password"))))
        await self.refused(self.proxy.create_web_session(self.asked("alice", token)))

    async def test_another_user(self) -> None:
        """It is good for its own user."""
        token = await self.set_up("alice")
        await self.set_up("bob")
        await self.refused(self.proxy.create_web_session(self.asked("bob", token)))

    async def test_not_before(self) -> None:
        """A link that was not used yet signs nobody in, nor does any other challenge."""
        await self.set_up("alice")
        fresh = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        challenge = await self.proxy.begin_login("alice")
        for id in (fresh.token.reveal(), challenge.id, "", "x" * 500):
            await self.refused(self.proxy.create_web_session(self.asked("alice", Secret(id))))

    async def test_nothing_else(self) -> None:
        """It proves nothing where a change of the account asks for a second factor."""
        token = await self.set_up("alice")
        session = await self.proxy.create_web_session(self.asked("alice", token))
        await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        der = ssl.PEM_cert_to_DER_cert(session.certificates.tls.decode())
        identity = self.core.signing.identify(der, self.core.now())
        api = self.cluster.auth.api_for(identity, "", session.certificates.tls)
        device = OtpDevice(id="d", name="d", secret=Secret("A" * 32), last_step=0, added=self.core.now())
        fresh = Secret("f" * 32)
        await self.core.setups.enrolment.factors.just_set_up(fresh, "alice", device, "TOTP", self.core.now())
        answer = MfaAnswer(challenge=fresh.reveal())
        await self.refused(api.recovery_codes(answer))
        await self.refused(api.begin_device(DeviceType.TOTP, "mine", answer))
        await self.proxy.create_web_session(self.asked("alice", fresh))
