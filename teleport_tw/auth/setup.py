"""
Links that let a user set password and second factor: invites and resets.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta

from attrs import define, evolve

from teleport_tw.api.contract import DeviceTicket, DeviceType, MfaAnswer, SetupPurpose, SetupTicket
from teleport_tw.auth import otp
from teleport_tw.auth.enrolment import Enrolment, check_name, type_of
from teleport_tw.auth.factors import new_recovery_codes, recovery_hash
from teleport_tw.auth.password import Passwords, check_strength
from teleport_tw.backends.interface import Operation
from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration, format_duration
from teleport_tw.events.kinds import (
    Actor,
    Connection,
    MFAAdd,
    RecoveryCodeGenerated,
    ResetPasswordTokenCreate,
    UserPasswordChange,
)
from teleport_tw.events.sink import EventSink
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.stores.credentials import Credentials, Setup, hash_token
from teleport_tw.stores.devices import AnyDevice, OtpDevice
from teleport_tw.stores.resources import ResourceStore
from teleport_tw.stores.websessions import WebSessionStore

DEFAULT_TTL: Mapping[SetupPurpose, Duration] = {
    SetupPurpose.INVITE: timedelta(hours=1),
    SetupPurpose.RESET: timedelta(hours=8),
}
MAX_TTL: Mapping[SetupPurpose, Duration] = {
    SetupPurpose.INVITE: timedelta(hours=48),
    SetupPurpose.RESET: timedelta(hours=24),
}
DEVICE_NAME = "otp-device"
KEY_NAME = "webauthn-device"
PURPOSE = "setup"

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
    enrolment: Enrolment
    sessions: WebSessionStore

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

    async def begin_device(
        self, token: Secret[str], type: DeviceType, preference: AuthPreference, now: datetime, *, passwordless: bool
    ) -> DeviceTicket:
        """
        @raise TeleportError: NOT_FOUND, the link is no good; BAD_PARAMETER, the cluster does not accept that type.
        """
        setup = await self.credentials.setup(token)
        await self.resources.get("user", setup.username)
        return await self.enrolment.offer(
            type,
            "",
            setup.username,
            preference,
            now,
            purpose=PURPOSE,
            target=hash_token(token),
            passwordless=passwordless,
            otp_secret=setup.otp_secret or None,
        )

    async def complete(
        self,
        token: Secret[str],
        password: Secret[str],
        answer: MfaAnswer,
        device_name: str,
        preference: AuthPreference,
        now: datetime,
    ) -> tuple[Secret[str], ...]:
        """
        @return: recovery codes; none where no device was set up.
        @raise TeleportError: BAD_PARAMETER, password, code or key are not good, and the link stays; NOT_FOUND.
        """
        setup = await self.credentials.setup(token)
        username = setup.username
        name = check_name(device_name) if device_name else ""
        if password:
            check_strength(password)
        device, alone = await self._device(token, setup, answer, name, preference, now)
        if not password and not alone:
            check_strength(password)
        await self.resources.get("user", username)
        hashed = await self.passwords.hash(password) if password else ""
        devices = self.enrolment.factors.devices
        operations: list[Operation] = []
        codes: tuple[Secret[str], ...] = ()
        if device is not None:
            codes = new_recovery_codes()
            operations += await devices.removing_all(username)
            operations += devices.adding(username, device)
            operations.append(devices.setting_recovery(username, [recovery_hash(code) for code in codes], now))
        if not await self.credentials.set_up(username, hashed, operations, hash_token(token)):
            raise not_found(_USED)
        await self.sessions.delete_all(username)
        actor = Actor(user=username, kind="human")
        if password:
            self.events.emit(UserPasswordChange(actor=actor))
        if device is not None:
            await self.enrolment.factors.just_set_up(token, username, device, type_of(device), now)
            self.events.emit(
                MFAAdd(
                    actor=actor,
                    mfa_device_name=device.name,
                    mfa_device_uuid=device.id,
                    mfa_device_type=type_of(device),
                )
            )
            self.events.emit(RecoveryCodeGenerated(actor=actor))
        return codes

    async def _device(
        self,
        token: Secret[str],
        setup: Setup,
        answer: MfaAnswer,
        name: str,
        preference: AuthPreference,
        now: datetime,
    ) -> tuple[AnyDevice | None, bool]:
        """
        @return: the new device, and whether it signs in by itself; C{None} where the cluster wants none.
        """
        if answer.webauthn:
            found = await self.enrolment.pending(answer.challenge, PURPOSE, setup.username, hash_token(token), now)
            device = await self.enrolment.accept(found, answer, preference, now) if found is not None else None
            if found is None or device is None:
                raise bad_parameter("this took too long; register your key again")
            return evolve(device, name=name or KEY_NAME), found.passwordless
        if not setup.otp_secret or not ({*preference.second_factors} & {"otp"}):
            if preference.second_factors and not preference.second_factor_optional:
                raise bad_parameter("this cluster wants a security key or passkey; register one first")
            return None, False
        if preference.second_factor_optional and not answer.otp:
            return None, False
        step = otp.matching_step(setup.otp_secret, answer.otp, now.timestamp())
        if step is None:
            raise bad_parameter("the code is wrong; look at your authenticator and your clock, and try again")
        return (
            OtpDevice(
                id=str(uuid.uuid4()), name=name or DEVICE_NAME, secret=setup.otp_secret, last_step=step, added=now
            ),
            False,
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
