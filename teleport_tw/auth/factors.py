"""
Second factors: what is asked of a user, and whether the answer is good.

Every way in goes through L{SecondFactors.verify}: signing in, a session that asks for a tap, an administrator's change,
a device added or removed. A challenge is for one user, one purpose and, where it is for one thing, that thing; the
store hands it to the first answer alone, right or wrong. A code counts once, for its step and those before it. A key
whose signature counter goes back has a twin somewhere: it is marked and refused from then on.

@see: WebAuthn section 7.2 step 22 on counters; RFC 6238 section 5.2 on codes
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from attrs import define, evolve, frozen
from twisted.logger import Logger

from teleport_tw.api.contract import Challenge, MfaAnswer, Scope
from teleport_tw.auth.attestation import Makers
from teleport_tw.auth.otp import matching_step
from teleport_tw.auth.webauthn import (
    BadAnswer,
    Origins,
    RelyingParty,
    check_rp_id,
    decoy,
    is_domain,
    named,
    public_hosts,
)
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration
from teleport_tw.events.kinds import (
    Actor,
    MFAAuthChallengeCreate,
    MFAAuthChallengeValidate,
    RecoveryCodeUsed,
)
from teleport_tw.events.sink import EventSink
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.servers import Server
from teleport_tw.stores.challenges import Challenges, Pending
from teleport_tw.stores.credentials import hash_token
from teleport_tw.stores.devices import AnyDevice, Devices, KeyDevice, OtpDevice

CHALLENGE_TTL: Duration = Duration(minutes=5)
"""The reference's: time enough to find the key."""

SET_UP = "set up"
SET_UP_TTL: Duration = Duration(minutes=1)
"""From the end of a set-up to the sign-in that follows it, which the same proxy asks for in the same breath."""

_CODES = frozenset(
    {
        Scope.LOGIN,
        Scope.BROWSER,
        Scope.SESSION,
        Scope.SESSION_PRESENCE,
        Scope.ADMIN_ACTION,
        Scope.MANAGE_DEVICES,
    }
)
"""Scopes that an authenticator app's code is good for."""
_RECOVERY = frozenset({Scope.LOGIN, Scope.MANAGE_DEVICES})
"""Scopes that a recovery code is good for: getting in, and mending the account."""

RECOVERY_CODES = 10
RECOVERY_BYTES = 10
"""Of each code: 80 bits, so that the plain hash which alone is kept cannot be guessed."""

_DECOY = Secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")


class NotProven(Exception):
    """
    The answer is not good; the text is for the log and the audit trail.

    @ivar guess: whether it may have been a guess, which counts against the account.
    """

    def __init__(self, reason: str, *, guess: bool = False) -> None:
        super().__init__(reason)
        self.guess = guess


@frozen(kw_only=True)
class Proof:
    """
    A second factor that was shown; only L{SecondFactors} makes it.

    @ivar device: UUID; for a recovery code, C{recovery-code}.
    @ivar webauthn: whether it was a key.
    """

    device: str
    name: str
    webauthn: bool
    type: str

    @property
    def facts(self) -> Mapping[str, str]:
        """
        As events name it.
        """
        return {"mfa_device_uuid": self.device, "mfa_device_name": self.name, "mfa_device_type": self.type}


@define(eq=False)
class SecondFactors:
    """
    Asks and checks.

    @ivar proxies: those that are alive, whose pages may ask for keys.
    """

    cluster: str
    devices: Devices
    challenges: Challenges
    events: EventSink
    proxies: Callable[[], Awaitable[Sequence[Resource]]]
    _log = Logger()

    async def relying_party(self, preference: AuthPreference) -> RelyingParty:
        """
        @raise TeleportError: BAD_PARAMETER, nobody said for which domain, and no proxy has told a public name.
        """
        addresses = [address for each in await self.proxies() for address in Server.parse(each).public_addrs]
        known = public_hosts(addresses)
        first = next((host for host, _ in known if is_domain(host)), "")
        rp_id = preference.webauthn_rp_id or await self.devices.kept_rp_id() or first
        return RelyingParty(
            name=self.cluster,
            origins=Origins(rp_id=check_rp_id(rp_id), known=frozenset(known)),
            makers=Makers.of(preference.attestation_allowed, preference.attestation_denied),
        )

    # --- challenges

    async def for_login(self, username: str, preference: AuthPreference, now: datetime) -> Challenge:
        """
        For a name that somebody typed. Names that nobody has, and users without keys, are asked for the credential of
        nobody, so that the answer tells none from the other.
        """
        webauthn = "webauthn" in preference.second_factors
        otp = "otp" in preference.second_factors
        if not webauthn:
            return _challenge(now, otp=otp)
        try:
            party = await self.relying_party(preference)
        except TeleportError:
            if not otp:
                raise
            return _challenge(now, otp=True)
        keys = _keys(await self.devices.all(username))
        allowed = [(key.credential_id, key.transports) for key in keys]
        nobody = decoy(await self.devices.cluster_secret(), username)
        if keys:
            self._tell_created(username, Scope.LOGIN)
        return await self._begin(party, Scope.LOGIN, username, allowed or [nobody], now, otp=otp)

    async def for_anybody(self, preference: AuthPreference, now: datetime) -> Challenge:
        """
        For a passkey, which knows its user.

        @raise TeleportError: BAD_PARAMETER, the cluster does not allow it.
        """
        if not passwordless_allowed(preference):
            raise bad_parameter("this cluster does not allow signing in without a password")
        return await self._begin(await self.relying_party(preference), Scope.PASSWORDLESS, "", (), now, otp=False)

    async def for_user(
        self, username: str, scope: Scope, preference: AuthPreference, now: datetime, target: str = ""
    ) -> Challenge:
        """
        For a user who is signed in.

        @raise TeleportError: BAD_PARAMETER, none of the user's devices can answer.
        """
        devices = await self.devices.all(username)
        otp = "otp" in preference.second_factors and scope in _CODES
        otp = otp and any(isinstance(device, OtpDevice) for device in devices)
        keys = _keys(devices) if "webauthn" in preference.second_factors else ()
        if not otp and not keys:
            wanted = "second factor" if scope in _CODES else "security key or passkey"
            raise bad_parameter(f"you have no {wanted} that this cluster accepts; add one with `tsh mfa add`")
        self._tell_created(username, scope)
        if not keys:
            return _challenge(now, otp=True)
        allowed = [(key.credential_id, key.transports) for key in keys]
        return await self._begin(
            await self.relying_party(preference), scope, username, allowed, now, otp=otp, target=target
        )

    async def _begin(
        self,
        party: RelyingParty,
        scope: Scope,
        username: str,
        allowed: Sequence[tuple[bytes, Sequence[str]]],
        now: datetime,
        *,
        otp: bool,
        target: str = "",
    ) -> Challenge:
        alone = scope is Scope.PASSWORDLESS
        options, challenge = party.begin_assertion(allowed, verified=alone)
        made = _challenge(now, otp=otp)
        await self.challenges.put(
            Pending(
                id=made.id,
                purpose=scope.value,
                username=username,
                expires=made.expires,
                challenge=challenge,
                target=target,
            )
        )
        return evolve(made, webauthn=options)

    # --- answers

    async def verify(
        self,
        username: str,
        answer: MfaAnswer,
        scope: Scope,
        preference: AuthPreference,
        now: datetime,
        *,
        target: str = "",
        spend: bool = True,
        known: bool = True,
    ) -> Proof:
        """
        @param spend: whether a good code is spent: not with a wrong password, or anybody could spend the user's codes.
        @param known: whether there is such a user, of whom the log is told.
        @raise NotProven: for every reason there is.
        """
        try:
            if answer.webauthn:
                proof = await self._key(username, answer, scope, preference, now, target, spend)
            elif answer.recovery:
                proof = await self._recovery(username, answer.recovery, scope, spend)
            elif not answer.otp and answer.challenge and scope is Scope.LOGIN:
                proof = await self._set_up(username, Secret(answer.challenge), now)
            elif not answer.otp:
                raise NotProven("no second factor was given", guess=True)
            else:
                proof = await self._code(username, answer.otp, scope, preference, now, spend)
        except NotProven as error:
            if known:
                self._tell(username, scope, None, str(error))
            raise
        if spend:
            self._tell(username, scope, proof, "")
        return proof

    async def verify_alone(self, answer: MfaAnswer, preference: AuthPreference, now: datetime) -> tuple[str, Proof]:
        """
        A passkey instead of a name and a password.

        @return: the user, and the proof.
        @raise NotProven: for every reason there is.
        """
        pending = await self._taken(answer.challenge, Scope.PASSWORDLESS, "", "", now)
        try:
            said = named(answer.webauthn)
        except BadAnswer as error:
            raise NotProven(str(error)) from error
        found = await self.devices.by_credential(said.credential_id)
        if found is None:
            raise NotProven("nobody has this key")
        username, device = found
        try:
            if not device.passwordless:
                raise NotProven("the key was not added for signing in without a password")
            if not said.user_handle or said.user_handle != await self.devices.known_handle(username):
                raise NotProven("the key names another user than it belongs to")
            proof = await self._checked(username, device, pending, answer, preference, now, alone=True, spend=True)
        except NotProven as error:
            self._tell(username, Scope.PASSWORDLESS, None, str(error))
            raise
        self._tell(username, Scope.PASSWORDLESS, proof, "")
        return username, proof

    async def _taken(self, id: str, scope: Scope, username: str, target: str, now: datetime) -> Pending:
        pending = await self.challenges.take(id) if id else None
        if pending is None or pending.expires <= now:
            raise NotProven("the challenge is unknown, expired, or was answered before")
        if pending.purpose != scope.value or pending.username != username or pending.target != target:
            raise NotProven("the challenge was made for something else")
        return pending

    async def _key(
        self,
        username: str,
        answer: MfaAnswer,
        scope: Scope,
        preference: AuthPreference,
        now: datetime,
        target: str,
        spend: bool,
    ) -> Proof:
        pending = await self._taken(answer.challenge, scope, username, target, now)
        if "webauthn" not in preference.second_factors:
            raise NotProven("the cluster does not accept keys")
        try:
            said = named(answer.webauthn)
        except BadAnswer as error:
            raise NotProven(str(error)) from error
        for device in await self.devices.all(username):
            if isinstance(device, KeyDevice) and device.credential_id == said.credential_id:
                break
        else:
            raise NotProven("the key is not one of the user's")
        if said.user_handle and said.user_handle != await self.devices.known_handle(username):
            raise NotProven("the key names another user than it belongs to")
        return await self._checked(username, device, pending, answer, preference, now, alone=False, spend=spend)

    async def _checked(
        self,
        username: str,
        device: KeyDevice,
        pending: Pending,
        answer: MfaAnswer,
        preference: AuthPreference,
        now: datetime,
        *,
        alone: bool,
        spend: bool,
    ) -> Proof:
        if device.suspect:
            raise NotProven("there seems to be a copy of the key; it has to be removed")
        party = await self.relying_party(preference)
        try:
            shown = party.check_assertion(pending.challenge, answer.webauthn, device, verified=alone)
        except BadAnswer as error:
            raise NotProven(str(error)) from error
        if (device.count or shown.count) and shown.count <= device.count:
            await self.devices.suspect(username, device)
            self._log.warn(
                "the counter of key {name} of {user} went back from {before} to {now}: there may be a copy of it",
                name=device.name,
                user=username,
                before=device.count,
                now=shown.count,
            )
            raise NotProven(
                f"the counter of key {device.name!r} went back from {device.count} to {shown.count}: "
                "there may be a copy of it"
            )
        if spend and not await self.devices.used(username, device, evolve(device, count=shown.count, last_used=now)):
            raise NotProven("the key was used at the same time")
        return Proof(device=device.id, name=device.name, webauthn=True, type="WebAuthn")

    async def _code(
        self, username: str, code: Secret[str], scope: Scope, preference: AuthPreference, now: datetime, spend: bool
    ) -> Proof:
        if "otp" not in preference.second_factors or scope not in _CODES:
            raise NotProven("a code is not accepted here")
        found: tuple[OtpDevice, int] | None = None
        apps = [device for device in await self.devices.all(username) if isinstance(device, OtpDevice)]
        for device in apps:
            step = matching_step(device.secret, code, now.timestamp(), device.last_step)
            if step is not None and found is None:
                found = device, step
        if not apps:
            matching_step(_DECOY, code, now.timestamp())
            raise NotProven("the user has no authenticator app", guess=True)
        if found is None:
            raise NotProven("wrong or used one-time code", guess=True)
        device, step = found
        if spend and not await self.devices.used(username, device, evolve(device, last_step=step, last_used=now)):
            raise NotProven("the one-time code was used at the same time")
        return Proof(device=device.id, name=device.name, webauthn=False, type="TOTP")

    async def _recovery(self, username: str, code: Secret[str], scope: Scope, spend: bool) -> Proof:
        if scope not in _RECOVERY:
            raise NotProven("a recovery code is not accepted here")
        good = await self.devices.use_recovery(username, recovery_hash(code), spend=spend)
        actor = Actor(user=username, kind="human")
        if not good:
            self.events.emit(RecoveryCodeUsed(actor=actor, success=False, error="wrong or used recovery code"))
            raise NotProven("wrong or used recovery code", guess=True)
        if spend:
            self.events.emit(RecoveryCodeUsed(actor=actor, success=True))
        return Proof(device="recovery-code", name="recovery code", webauthn=False, type="recovery-code")

    async def just_set_up(self, token: Secret[str], username: str, device: AnyDevice, type: str, now: datetime) -> None:
        """
        A device was shown to work behind a link. For L{SET_UP_TTL} the proxy that saw it can sign its user in with link
        and password, in place of another answer; once.

        @param token: of the link.
        """
        await self.challenges.put(
            Pending(
                id=hash_token(token),
                purpose=SET_UP,
                username=username,
                expires=now + SET_UP_TTL,
                target=device.id,
                name=device.name,
                type=type,
            )
        )

    async def _set_up(self, username: str, token: Secret[str], now: datetime) -> Proof:
        found = await self.challenges.take(hash_token(token))
        if found is None or found.purpose != SET_UP or found.username != username or found.expires <= now:
            raise NotProven("no device was set up by that link a moment ago", guess=True)
        return Proof(device=found.target, name=found.name, webauthn=found.type != "TOTP", type=found.type)

    # --- what the log hears

    def _tell_created(self, username: str, scope: Scope) -> None:
        self.events.emit(MFAAuthChallengeCreate(actor=Actor(user=username, kind="human"), challenge_scope=scope.value))

    def _tell(self, username: str, scope: Scope, proof: Proof | None, error: str) -> None:
        self.events.emit(
            MFAAuthChallengeValidate(
                actor=Actor(user=username, kind="human"),
                challenge_scope=scope.value,
                success=proof is not None,
                error=error,
                mfa_device=proof.facts if proof is not None else {},
            )
        )


def passwordless_allowed(preference: AuthPreference) -> bool:
    """
    @return: whether a passkey alone signs in.
    """
    return preference.allow_local_auth and preference.allow_passwordless and "webauthn" in preference.second_factors


def new_recovery_codes() -> tuple[Secret[str], ...]:
    """
    @return: as people write them down: C{mfza-6t2k-qo3d-7ncp}.
    """
    made = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode("ascii").lower()
        made.append(Secret("-".join(text[at : at + 4] for at in range(0, len(text), 4))))
    return tuple(made)


def recovery_hash(code: Secret[str]) -> str:
    """
    @param code: as written down; case, spaces and hyphens do not matter.
    @return: what is kept of it.
    """
    plain = "".join(code.reveal().lower().replace("-", " ").split())
    return sha256(b"recovery " + plain.encode("utf-8", "surrogateescape")).hexdigest()


def _keys(devices: Sequence[AnyDevice]) -> tuple[KeyDevice, ...]:
    return tuple(device for device in devices if isinstance(device, KeyDevice) and not device.suspect)


def _challenge(now: datetime, *, otp: bool) -> Challenge:
    return Challenge(id=secrets.token_hex(16), otp=otp, expires=now + CHALLENGE_TTL)
