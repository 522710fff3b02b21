"""
Signing in: with password and second factor, or with a passkey alone.

Whoever guesses learns nothing from answer or time: password and second factor are both checked, for users who do not
exist too, and every refusal but a lockout has the same text. Failures are counted for names that do not exist as well;
a passkey that fails is not counted, for it cannot be guessed, and anybody may learn its id.
"""

from __future__ import annotations

from datetime import datetime

from attrs import define, frozen
from twisted.logger import Logger

from teleport_tw.api.contract import LoginRequest, MfaAnswer, Scope
from teleport_tw.auth.factors import NotProven, Proof, SecondFactors, passwordless_allowed
from teleport_tw.auth.guard import LOCKED, Guard
from teleport_tw.auth.password import Passwords
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.events.kinds import Actor, Connection, UserLogin
from teleport_tw.events.sink import EventSink
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.resources.users import User
from teleport_tw.stores.credentials import Credentials

REFUSAL = "invalid username, password or second factor"
MAX_USERNAME = 1000
"""Characters, the reference's bound; longer ones are not even looked up."""


@frozen
class SignedIn:
    """
    Who it is, as only L{Login} can say.

    @ivar proof: of the second factor; C{None} where the cluster wants none.
    """

    user: User
    proof: Proof | None

    @property
    def device(self) -> str:
        """
        UUID of the device used, empty without one.
        """
        return self.proof.device if self.proof is not None else ""


@define(eq=False)
class Login:
    """
    The ceremony up to the point where the user is known to be the user; certificates are the caller's business.
    """

    guard: Guard
    credentials: Credentials
    passwords: Passwords
    factors: SecondFactors
    events: EventSink
    _log = Logger()

    async def check(self, request: LoginRequest, preference: AuthPreference, now: datetime) -> SignedIn:
        """
        @raise TeleportError: ACCESS_DENIED, the same text for every reason; LIMIT_EXCEEDED, the account is locked.
        """
        name = request.username
        if not preference.allow_local_auth:
            raise self._refuse(request, "local sign-in is switched off")
        if request.answer is not None and request.answer.webauthn and not request.password:
            return await self._check_passkey(request, request.answer, preference, now)
        if not name or len(name) > MAX_USERNAME:
            raise self._refuse(request, "the username is empty or too long")
        async with self.guard.turn(name):
            return await self._check(request, preference, now)

    async def _check_passkey(
        self, request: LoginRequest, answer: MfaAnswer, preference: AuthPreference, now: datetime
    ) -> SignedIn:
        if not passwordless_allowed(preference):
            raise self._refuse(request, "signing in without a password is switched off")
        try:
            name, proof = await self.factors.verify_alone(answer, preference, now)
        except NotProven as error:
            raise self._refuse(request, str(error)) from error
        user = await self.guard.find(name)
        if user is None or request.username not in ("", name):
            raise self._refuse(request, "the key belongs to another user")
        if await self.guard.locked(name, user, now):
            self._tell(request, "the account is locked")
            raise TeleportError(Kind.LIMIT_EXCEEDED, LOCKED)
        return SignedIn(user, proof)

    async def _check(self, request: LoginRequest, preference: AuthPreference, now: datetime) -> SignedIn:
        name = request.username
        user = await self.guard.find(name)
        if await self.guard.locked(name, user, now):
            self._tell(request, "the account is locked")
            raise TeleportError(Kind.LIMIT_EXCEEDED, LOCKED)
        stored = await self.credentials.password(name) if user is not None else ""
        good_password = await self.passwords.check(stored, request.password)
        reason = "" if good_password else "wrong password"
        if user is None or not stored:
            reason = "unknown user" if user is None else "the user has no password"
        proof: Proof | None = None
        if await self.factors_wanted(name, preference):
            try:
                proof = await self.factors.verify(
                    name,
                    request.answer or MfaAnswer(otp=request.otp),
                    Scope.LOGIN,
                    preference,
                    now,
                    spend=not reason,
                    known=user is not None,
                )
            except NotProven as error:
                reason = reason or str(error)
        if reason or user is None:
            await self.guard.failed(name, user, now)
            raise self._refuse(request, reason)
        await self.guard.succeeded(name, user)
        return SignedIn(user, proof)

    async def factors_wanted(self, name: str, preference: AuthPreference) -> bool:
        """
        @return: whether a password alone is too little for this name.
        """
        if not preference.second_factors:
            return False
        return not preference.second_factor_optional or bool(await self.factors.devices.all(name))

    def succeeded(self, request: LoginRequest, signed_in: SignedIn, method: str = "local") -> None:
        """
        Tell the audit log; said once the certificates are made.
        """
        user, proof = signed_in.user, signed_in.proof
        self.events.emit(
            UserLogin(
                actor=Actor(user=user.name, roles=user.roles, traits=user.traits, kind="human"),
                connection=Connection(remote=request.remote_address),
                method=method,
                success=True,
                user_agent=request.user_agent,
                mfa_device=proof.facts if proof is not None else {},
            )
        )

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
