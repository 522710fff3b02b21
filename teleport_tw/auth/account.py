"""
What users do to their own accounts: devices, recovery codes, the password.

Each takes a fresh second factor, so that who finds a computer unlocked, or a certificate, cannot make the account
theirs. Wrong codes count against the account as failed sign-ins do.
"""

from __future__ import annotations

from datetime import datetime

from attrs import define, evolve

from teleport_tw.api.contract import AccountState, Device, DeviceTicket, DeviceType, MfaAnswer, Scope
from teleport_tw.audit.actor import actor_of
from teleport_tw.auth.core import Core
from teleport_tw.auth.enrolment import FACTORS, check_name, type_of
from teleport_tw.auth.factors import NotProven, Proof, new_recovery_codes, recovery_hash
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.guard import LOCKED
from teleport_tw.auth.password import check_strength
from teleport_tw.base.errors import Kind, TeleportError, access_denied, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.events.kinds import MFAAdd, MFADelete, MFARename, RecoveryCodeGenerated, UserPasswordChange
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.stores.devices import MOST_DEVICES, AnyDevice, KeyDevice, OtpDevice

PURPOSE = "device"
"""Of a ticket for a device."""

FIRST = "first"
"""What a ticket is bound to that took no second factor, as there was none: it is good while there still is none."""

NOT_ACCEPTED = "the second factor was not accepted; try again"
_UNKNOWN = "you have no such device; `tsh mfa ls` lists those you have"
_GONE = "this took too long, or was done already; begin again"


def person(gate: Gate) -> str:
    """
    @return: the name of the user that calls for itself.
    @raise TeleportError: ACCESS_DENIED, it is a host, a bot, or somebody who acts as the user.
    """
    identity = gate.identity
    if identity.is_host or not identity.username:
        raise gate.refuse("only users have accounts", "this is for users who are signed in")
    if identity.impersonator or identity.bot_name or identity.disallow_reissue:
        raise gate.refuse("acts for somebody else", "this certificate is not for managing the account")
    return identity.username


def answers(preference: AuthPreference, devices: tuple[AnyDevice, ...]) -> tuple[AnyDevice, ...]:
    """
    @return: those that the cluster accepts.
    """
    accepted = {type for type, factor in FACTORS.items() if factor in preference.second_factors}
    return tuple(device for device in devices if _type(device) in accepted and not _suspect(device))


def shown(device: AnyDevice) -> Device:
    """
    @return: what its user may see.
    """
    return Device(
        id=device.id,
        name=device.name,
        type=_type(device),
        added=device.added,
        last_used=device.last_used,
        passwordless=isinstance(device, KeyDevice) and device.passwordless,
        suspect=_suspect(device),
    )


def _taken(name: str) -> TeleportError:
    return TeleportError(Kind.ALREADY_EXISTS, f"you have a device named {name!r} already")


def _type(device: AnyDevice) -> DeviceType:
    return DeviceType.TOTP if isinstance(device, OtpDevice) else DeviceType.WEBAUTHN


def _suspect(device: AnyDevice) -> bool:
    return isinstance(device, KeyDevice) and device.suspect


@define(eq=False)
class Accounts:
    """
    Serves every user its own.
    """

    core: Core

    async def prove(self, username: str, answer: MfaAnswer, scope: Scope, target: str = "") -> Proof:
        """
        @raise TeleportError: ACCESS_DENIED, the same text for every reason; LIMIT_EXCEEDED, the account is locked.
        """
        core, now = self.core, self.core.now()
        async with core.guard.turn(username):
            user = await core.guard.find(username)
            if user is None:
                raise access_denied(NOT_ACCEPTED, details="the user is gone")
            if await core.guard.locked(username, user, now):
                raise TeleportError(Kind.LIMIT_EXCEEDED, LOCKED)
            try:
                return await core.factors.verify(username, answer, scope, core.preference(), now, target=target)
            except NotProven as error:
                if error.guess:
                    await core.guard.failed(username, user, now)
                raise access_denied(NOT_ACCEPTED, details=str(error)) from error

    async def state(self, gate: Gate) -> AccountState:
        """See the contract."""
        username = person(gate)
        return AccountState(
            password=bool(await self.core.credentials.password(username)),
            recovery_codes=await self.core.devices.recovery_left(username),
        )

    async def devices(self, gate: Gate) -> tuple[Device, ...]:
        """See the contract."""
        return tuple(map(shown, await self.core.devices.all(person(gate))))

    async def begin_device(
        self, gate: Gate, type: DeviceType, name: str, answer: MfaAnswer | None, *, passwordless: bool
    ) -> DeviceTicket:
        """See the contract."""
        username, core = person(gate), self.core
        plain = check_name(name)
        devices = await core.devices.all(username)
        if any(device.name == plain for device in devices):
            raise _taken(plain)
        if len(devices) >= MOST_DEVICES:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"you have {MOST_DEVICES} devices; remove one first")
        if devices:
            if answer is None:
                raise access_denied("a second factor is needed to add another device")
            await self.prove(username, answer, Scope.MANAGE_DEVICES)
        return await core.enrolment.offer(
            type,
            plain,
            username,
            core.preference(),
            core.now(),
            purpose=PURPOSE,
            target="" if devices else FIRST,
            passwordless=passwordless,
        )

    async def add_device(self, gate: Gate, ticket: str, answer: MfaAnswer) -> Device:
        """See the contract."""
        username, core = person(gate), self.core
        devices = await core.devices.all(username)
        if len(devices) >= MOST_DEVICES:
            raise TeleportError(Kind.LIMIT_EXCEEDED, f"you have {MOST_DEVICES} devices; remove one first")
        pending = await core.enrolment.pending(ticket, PURPOSE, username, "", core.now())
        if pending is None and not devices:
            pending = await core.enrolment.pending(ticket, PURPOSE, username, FIRST, core.now())
        if pending is None:
            raise not_found(_GONE)
        device = await core.enrolment.accept(pending, answer, core.preference(), core.now())
        if device is None:
            raise not_found(_GONE)
        try:
            await core.devices.add(username, device)
        except TeleportError as error:
            if error.kind is not Kind.ALREADY_EXISTS:
                raise
            raise TeleportError(Kind.ALREADY_EXISTS, "this key is registered already") from error
        gate.tell(
            MFAAdd(
                actor=actor_of(gate.identity),
                mfa_device_name=device.name,
                mfa_device_uuid=device.id,
                mfa_device_type=type_of(device),
            )
        )
        return shown(device)

    async def rename_device(self, gate: Gate, id: str, name: str) -> Device:
        """See the contract."""
        username, core = person(gate), self.core
        plain = check_name(name)
        devices = await core.devices.all(username)
        device = next((each for each in devices if each.id == id), None)
        if device is None:
            raise not_found(_UNKNOWN)
        if device.name == plain:
            return shown(device)
        if any(each.name == plain for each in devices):
            raise _taken(plain)
        if not await core.devices.rename(username, device.id, plain):
            raise not_found(_UNKNOWN)
        gate.tell(
            MFARename(
                actor=actor_of(gate.identity),
                mfa_device_name=plain,
                mfa_device_uuid=device.id,
                mfa_device_type=type_of(device),
                previous_name=device.name,
            )
        )
        return shown(evolve(device, name=plain))

    async def delete_device(self, gate: Gate, id: str, answer: MfaAnswer) -> None:
        """See the contract."""
        username, core = person(gate), self.core
        await self.prove(username, answer, Scope.MANAGE_DEVICES)
        devices = await core.devices.all(username)
        device = next((each for each in devices if each.id == id), None)
        if device is None:
            raise not_found(_UNKNOWN)
        preference = core.preference()
        left = answers(preference, tuple(each for each in devices if each is not device))
        if preference.second_factors and not preference.second_factor_optional and not left:
            raise bad_parameter("this is your last device, and the cluster demands one; add another one first")
        alone = tuple(each for each in left if isinstance(each, KeyDevice) and each.passwordless)
        if not alone and not await core.credentials.password(username):
            raise bad_parameter("without this key you could not sign in; set a password or add another passkey first")
        try:
            await core.devices.remove(username, device, alone or left)
        except TeleportError as error:
            if error.kind in (Kind.NOT_FOUND, Kind.COMPARE_FAILED):
                raise TeleportError(Kind.COMPARE_FAILED, "your devices changed meanwhile; look again") from error
            raise
        await core.challenges.forget(username)
        gate.tell(
            MFADelete(
                actor=actor_of(gate.identity),
                mfa_device_name=device.name,
                mfa_device_uuid=device.id,
                mfa_device_type=type_of(device),
            )
        )

    async def recovery_codes(self, gate: Gate, answer: MfaAnswer) -> tuple[Secret[str], ...]:
        """See the contract."""
        username, core = person(gate), self.core
        await self.prove(username, answer, Scope.MANAGE_DEVICES)
        codes = new_recovery_codes()
        await core.devices.set_recovery(username, [recovery_hash(code) for code in codes], core.now())
        gate.tell(RecoveryCodeGenerated(actor=actor_of(gate.identity)))
        return codes

    async def change_password(
        self, gate: Gate, old: Secret[str], new: Secret[str], answer: MfaAnswer | None, keep: str
    ) -> None:
        """See the contract."""
        username, core, now = person(gate), self.core, self.core.now()
        check_strength(new)
        async with core.guard.turn(username):
            user = await core.guard.find(username)
            if user is None:
                raise access_denied(details="the user is gone")
            if await core.guard.locked(username, user, now):
                raise TeleportError(Kind.LIMIT_EXCEEDED, LOCKED)
            reason = await self._why_not(username, old, answer, now)
            if reason is not None:
                if reason.guess:
                    await core.guard.failed(username, user, now)
                raise access_denied("the old password or the second factor is wrong", details=str(reason))
            await core.guard.succeeded(username, user)
        if old == new:
            raise bad_parameter("the new password is the old one; choose another")
        await core.credentials.set_password(username, await core.passwords.hash(new))
        await core.web_sessions.delete_all(username, but=keep)
        gate.tell(UserPasswordChange(actor=actor_of(gate.identity)))

    async def _why_not(
        self, username: str, old: Secret[str], answer: MfaAnswer | None, now: datetime
    ) -> NotProven | None:
        core, preference = self.core, self.core.preference()
        stored = await core.credentials.password(username)
        good = await core.passwords.check(stored, old) if stored else not old
        reason = None if good else NotProven("wrong password", guess=True)
        devices = await core.devices.all(username)
        if answer is None and (not stored or devices or await core.login.factors_wanted(username, preference)):
            return reason or NotProven("no second factor was given")
        if answer is not None:
            try:
                await core.factors.verify(username, answer, Scope.MANAGE_DEVICES, preference, now, spend=reason is None)
            except NotProven as error:
                return reason or error
        return reason
