"""
A new device, from the first offer until it was seen to work: the part that sign-up and a signed-in user share.
"""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime

from attrs import define, evolve

from teleport_tw.api.contract import DeviceTicket, DeviceType, MfaAnswer
from teleport_tw.auth import otp
from teleport_tw.auth.factors import CHALLENGE_TTL, SecondFactors, passwordless_allowed
from teleport_tw.auth.webauthn import BadAnswer
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.events.kinds import Actor, MFAAdd
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.stores.challenges import Pending
from teleport_tw.stores.devices import AnyDevice, KeyDevice, OtpDevice

MAX_NAME = 64
"""Characters; it stands in tables."""

FACTORS = {DeviceType.TOTP: "otp", DeviceType.WEBAUTHN: "webauthn"}
"""What a cluster's C{second_factors} calls them."""


def check_name(name: str) -> str:
    """
    @return: without surrounding space.
    @raise TeleportError: BAD_PARAMETER, empty, too long, or not to be shown.
    """
    plain = name.strip()
    if not plain or len(plain) > MAX_NAME or not plain.isprintable():
        raise bad_parameter(f"a device's name has 1 to {MAX_NAME} characters that can be printed")
    return plain


@define(eq=False)
class Enrolment:
    """
    Offers and takes in devices.
    """

    cluster: str
    factors: SecondFactors

    async def offer(
        self,
        type: DeviceType,
        name: str,
        username: str,
        preference: AuthPreference,
        now: datetime,
        *,
        purpose: str,
        target: str = "",
        passwordless: bool = False,
        otp_secret: Secret[str] | None = None,
    ) -> DeviceTicket:
        """
        @param purpose: who begins it; only the same finishes it.
        @param otp_secret: one that was shown before; by default a new one.
        @raise TeleportError: BAD_PARAMETER, the cluster does not accept that type.
        """
        if FACTORS[type] not in preference.second_factors:
            wanted = ", ".join(preference.second_factors) or "no second factor"
            raise bad_parameter(f"this cluster does not accept {type.value} devices; it accepts {wanted}")
        if passwordless and (type is not DeviceType.WEBAUTHN or not passwordless_allowed(preference)):
            raise bad_parameter("this cluster does not allow signing in without a password, or not with this device")
        id, expires = secrets.token_hex(16), now + CHALLENGE_TTL
        pending = Pending(
            id=id,
            purpose=purpose,
            username=username,
            expires=expires,
            target=target,
            type=type.value,
            name=name,
            passwordless=passwordless,
        )
        if type is DeviceType.TOTP:
            secret = otp_secret or otp.new_secret()
            await self.factors.challenges.put(evolve(pending, secret=secret))
            shown = otp.uri(secret, username, self.cluster)
            return DeviceTicket(id=id, otp_secret=secret, otp_uri=shown, expires=expires)
        devices = self.factors.devices
        party = await self.factors.relying_party(preference)
        existing = [device for device in await devices.all(username) if isinstance(device, KeyDevice)]
        options, challenge = party.begin_registration(
            handle=await devices.handle(username), username=username, existing=existing, passwordless=passwordless
        )
        await self.factors.challenges.put(evolve(pending, challenge=challenge))
        return DeviceTicket(id=id, webauthn=options, expires=expires)

    async def pending(self, id: str, purpose: str, username: str, target: str, now: datetime) -> Pending | None:
        """
        @return: C{None} where it is unknown, expired, or somebody else's.
        """
        found = await self.factors.challenges.look(id) if id else None
        if found is None or found.expires <= now or found.purpose != purpose:
            return None
        return found if (found.username, found.target) == (username, target) else None

    async def accept(
        self, pending: Pending, answer: MfaAnswer, preference: AuthPreference, now: datetime
    ) -> AnyDevice | None:
        """
        @return: the device, not yet stored; C{None} when somebody else was faster with the same ticket.
        @raise TeleportError: BAD_PARAMETER, the device did not show that it works. A wrong code may be tried again; a
            key's answer is good for one try.
        """
        id = str(uuid.uuid4())
        if pending.type == DeviceType.TOTP.value:
            step = otp.matching_step(pending.secret, answer.otp, now.timestamp())
            if step is None:
                raise bad_parameter("the code is wrong; look at your authenticator and your clock, and try again")
            if await self.factors.challenges.take(pending.id) is None:
                return None
            return OtpDevice(id=id, name=pending.name, secret=pending.secret, last_step=step, added=now)
        if await self.factors.challenges.take(pending.id) is None:
            return None
        party = await self.factors.relying_party(preference)
        try:
            made = party.finish_registration(pending.challenge, answer.webauthn, now, passwordless=pending.passwordless)
        except BadAnswer as error:
            self.factors.events.emit(
                MFAAdd(
                    actor=Actor(user=pending.username, kind="human"),
                    mfa_device_name=pending.name,
                    mfa_device_uuid=id,
                    mfa_device_type="WebAuthn",
                    success=False,
                    error=str(error),
                )
            )
            raise bad_parameter(f"the key's answer cannot be accepted: {error}; begin again") from error
        await self._keep_domain(party.origins.rp_id)
        return KeyDevice(
            id=id,
            name=pending.name,
            credential=made.data,
            credential_id=made.credential_id,
            count=made.count,
            transports=made.transports,
            passwordless=pending.passwordless,
            added=now,
        )

    async def _keep_domain(self, rp_id: str) -> None:
        """
        Keys are bound to the domain, so it is not guessed again once there is one.
        """
        if await self.factors.devices.kept_rp_id() != rp_id:
            await self.factors.devices.keep_rp_id(rp_id)


def type_of(device: AnyDevice) -> str:
    """
    @return: as events name it.
    """
    return "TOTP" if isinstance(device, OtpDevice) else "WebAuthn"
