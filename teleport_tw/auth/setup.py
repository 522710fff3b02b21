"""
Links that let a user set password and second factor: invites and resets.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import define

from teleport_tw.api.contract import SetupPurpose, SetupTicket
from teleport_tw.auth import otp
from teleport_tw.auth.password import Passwords, check_strength
from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration, format_duration
from teleport_tw.events.kinds import Actor, Connection, MFAAdd, ResetPasswordTokenCreate, UserPasswordChange
from teleport_tw.events.sink import EventSink
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.stores.credentials import Credentials, OtpDevice, Setup, hash_token
from teleport_tw.stores.resources import ResourceStore

DEFAULT_TTL: Mapping[SetupPurpose, Duration] = {
    SetupPurpose.INVITE: timedelta(hours=1),
    SetupPurpose.RESET: timedelta(hours=8),
}
MAX_TTL: Mapping[SetupPurpose, Duration] = {
    SetupPurpose.INVITE: timedelta(hours=48),
    SetupPurpose.RESET: timedelta(hours=24),
}
DEVICE_NAME = "otp-device"

_USED = "this link is not valid any more; ask your administrator for a new one"


@define(eq=False)
class Setups:
    """
    Makes links, shows what they are for, and spends them once.
    """

    cluster: str
    resources: ResourceStore
    credentials: Credentials
    passwords: Passwords
    events: EventSink

    async def create(
        self,
        actor: Actor,
        username: str,
        purpose: SetupPurpose,
        ttl: Duration,
        preference: AuthPreference,
        now: datetime,
        remote: str = "",
    ) -> SetupTicket:
        """
        @param remote: where the actor is; empty where nobody knows.
        @raise TeleportError: NOT_FOUND, there is no such user; BAD_PARAMETER, the time is out of bounds.
        """
        longest = MAX_TTL[purpose]
        span = ttl if ttl != NEVER else DEFAULT_TTL[purpose]
        if not NEVER < span <= longest:
            raise bad_parameter(f"the link may last {format_duration(longest)} at most")
        await self.resources.get("user", username)
        if purpose is SetupPurpose.RESET:
            await self.credentials.forget(username)
        token = Secret(secrets.token_hex(16))
        wants_code = "otp" in preference.second_factors
        setup = Setup(
            username=username,
            purpose=purpose.value,
            expires=now + span,
            otp_secret=otp.new_secret() if wants_code else Secret(""),
        )
        await self.credentials.create_setup(token, setup)
        self.events.emit(
            ResetPasswordTokenCreate(
                actor=actor,
                connection=Connection(remote=remote) if remote else None,
                name=username,
                ttl=span,
                expires=setup.expires,
            )
        )
        return self._ticket(token, setup)

    async def get(self, token: Secret[str]) -> SetupTicket:
        """
        @raise TeleportError: NOT_FOUND, unknown, used or expired.
        """
        return self._ticket(token, await self.credentials.setup(token))

    async def complete(self, token: Secret[str], password: Secret[str], code: Secret[str], now: datetime) -> None:
        """
        @raise TeleportError: BAD_PARAMETER, the password or code is not good, and the link stays; NOT_FOUND.
        """
        setup = await self.credentials.setup(token)
        check_strength(password)
        device: OtpDevice | None = None
        if setup.otp_secret:
            step = otp.matching_step(setup.otp_secret, code, now.timestamp())
            if step is None:
                raise bad_parameter("the code is wrong; look at your authenticator and your clock, and try again")
            device = OtpDevice(id=str(uuid.uuid4()), name=DEVICE_NAME, secret=setup.otp_secret, last_step=step)
        await self.resources.get("user", setup.username)
        hashed = await self.passwords.hash(password)
        if not await self.credentials.set_up(setup.username, hashed, device, hash_token(token)):
            raise not_found(_USED)
        actor = Actor(user=setup.username, kind="human")
        self.events.emit(UserPasswordChange(actor=actor))
        if device is not None:
            self.events.emit(
                MFAAdd(actor=actor, mfa_device_name=device.name, mfa_device_uuid=device.id, mfa_device_type="TOTP")
            )

    def _ticket(self, token: Secret[str], setup: Setup) -> SetupTicket:
        secret = setup.otp_secret
        return SetupTicket(
            token=token,
            username=setup.username,
            purpose=SetupPurpose(setup.purpose),
            expires=setup.expires,
            otp_secret=secret,
            otp_uri=otp.uri(secret, setup.username, self.cluster) if secret else Secret(""),
        )
