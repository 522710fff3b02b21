"""
Signing in with password and one-time code.

Whoever guesses learns nothing from answer or time: password and code are both checked, for users who do not exist too,
and every refusal but a lockout has the same text. Failures are counted for names that do not exist as well.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from teleport_tw.api.contract import LoginRequest
from teleport_tw.auth.otp import matching_step
from teleport_tw.auth.password import Passwords
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time
from teleport_tw.events.kinds import Actor, Connection, UserLogin
from teleport_tw.events.sink import EventSink
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.users import Lockout, User
from teleport_tw.stores.credentials import Credentials, OtpDevice
from teleport_tw.stores.resources import ResourceStore

REFUSAL = "invalid username, password or second factor"
LOCKED = "this account is locked after too many failed sign-ins; try again later or ask an administrator"
MAX_USERNAME = 1000
"""Characters, the reference's bound; longer ones are not even looked up."""
MAX_WAITING = 20
"""Attempts for one name that wait for those before them."""

_DECOY = Secret("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")


@define(eq=False)
class Login:
    """
    The ceremony up to the point where the user is known to be the user; certificates are the caller's business.
    """

    resources: ResourceStore
    credentials: Credentials
    passwords: Passwords
    events: EventSink
    _turns: dict[str, DeferredLock] = field(factory=dict, init=False)
    _log = Logger()

    async def check(self, request: LoginRequest, preference: AuthPreference, now: datetime) -> tuple[User, str]:
        """
        @return: the user, and the UUID of the device used; empty where the cluster wants none.
        @raise TeleportError: ACCESS_DENIED, the same text for every reason; LIMIT_EXCEEDED, the account is locked.
        """
        name = request.username
        if not name or len(name) > MAX_USERNAME:
            raise self._refuse(request, "the username is empty or too long")
        if not preference.allow_local_auth:
            raise self._refuse(request, "local sign-in is switched off")
        async with self._turn(name):
            return await self._check(request, preference, now)

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """
        One attempt at a time for each name: of many guesses at once, each finds those before it counted.
        """
        turn = self._turns.setdefault(name, DeferredLock())
        if len(turn.waiting) >= MAX_WAITING:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many sign-ins at once; try again in a few seconds")
        try:
            await turn.acquire()
            try:
                yield
            finally:
                turn.release()
        finally:
            if not turn.locked and not turn.waiting:
                self._turns.pop(name, None)

    async def _check(self, request: LoginRequest, preference: AuthPreference, now: datetime) -> tuple[User, str]:
        name = request.username
        attempts = await self.credentials.attempts(name)
        user = await self._find(name)
        if attempts.locked(now) or (user is not None and _locked_by_admin(user, now)):
            self._tell(request, "the account is locked")
            raise TeleportError(Kind.LIMIT_EXCEEDED, LOCKED)
        stored = await self.credentials.password(name) if user is not None else ""
        good_password = await self.passwords.check(stored, request.password)
        device = await self.credentials.device(name) if user is not None else None
        reason = "" if good_password else "wrong password"
        if user is None or not stored:
            reason = "unknown user" if user is None else "the user has no password"
        device_id = ""
        if preference.second_factors and (device is not None or not preference.second_factor_optional):
            failed = await self._check_code(name, device, request.otp, now, spend=not reason)
            reason = reason or failed
            device_id = device.id if device is not None else ""
        if reason or user is None:
            counted = await self.credentials.failed(name, now)
            if counted.locked_until is not None and user is not None:
                await self._lock(user.name, counted.locked_until, now)
            raise self._refuse(request, reason)
        if attempts.failures or user.lockout.locked:
            await self.credentials.clear_attempts(name)
        return user, device_id

    def succeeded(self, request: LoginRequest, user: User, device_id: str) -> None:
        """
        Tell the audit log; said once the certificates are made.
        """
        self.events.emit(
            UserLogin(
                actor=Actor(user=user.name, roles=user.roles, traits=user.traits, kind="human"),
                connection=Connection(remote=request.remote_address),
                success=True,
                user_agent=request.user_agent,
                mfa_device={"mfa_device_uuid": device_id, "mfa_device_type": "TOTP"} if device_id else {},
            )
        )

    async def _find(self, name: str) -> User | None:
        try:
            resource = await self.resources.find("user", name)
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise
        return User.parse(resource) if resource is not None else None

    async def _check_code(
        self, name: str, device: OtpDevice | None, code: Secret[str], now: datetime, *, spend: bool
    ) -> str:
        """
        @param spend: whether a good code is spent: not with a wrong password, or anybody could spend the user's codes.
        @return: empty, or why it is refused.
        """
        if device is None:
            matching_step(_DECOY, code, now.timestamp())
            return "the user has no second factor"
        step = matching_step(device.secret, code, now.timestamp(), device.last_step)
        if step is None:
            return "wrong or used one-time code"
        if spend and not await self.credentials.use_step(name, device, step):
            return "the one-time code was used at the same time"
        return ""

    async def _lock(self, name: str, until: datetime, now: datetime) -> None:
        text = "too many failed sign-ins"
        lockout = Lockout(locked=True, message=text, since=now, until=until)

        def step(resource: Resource) -> Resource:
            return _with_lockout(resource, lockout)

        await self.resources.change("user", name, step)
        self._log.warn("user {user} is locked until {until}", user=name, until=format_time(until))

    def _refuse(self, request: LoginRequest, reason: str) -> TeleportError:
        self._tell(request, reason)
        return access_denied(REFUSAL, details=reason)

    def _tell(self, request: LoginRequest, reason: str) -> None:
        self._log.info(
            "sign-in of {user} from {address} refused: {reason}",
            user=request.username[:MAX_USERNAME],
            address=request.remote_address,
            reason=reason,
        )
        self.events.emit(
            UserLogin(
                actor=Actor(user=request.username[:MAX_USERNAME], kind="human"),
                connection=Connection(remote=request.remote_address),
                success=False,
                error=reason,
                user_agent=request.user_agent,
            )
        )


def _locked_by_admin(user: User, now: datetime) -> bool:
    """
    Whether C{status.is_locked} holds: it was set, and its end is not past.
    """
    lockout = user.lockout
    return lockout.locked and (lockout.until is None or now < lockout.until)


def _with_lockout(resource: Resource, lockout: Lockout) -> Resource:
    spec = dict(resource.spec)
    status = dict(spec.get("status") or {})
    status |= {
        "is_locked": lockout.locked,
        "locked_message": lockout.message,
        "locked_time": format_time(lockout.since) if lockout.since else "",
        "lock_expires": format_time(lockout.until) if lockout.until else "",
    }
    spec["status"] = {key: value for key, value in status.items() if value != ""}
    return evolve(resource, spec=spec)
