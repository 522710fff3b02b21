"""
The contract in the same process: second factors, web sessions, headless sign-ins; L{teleport_tw.auth.local} has the
rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define

from teleport_tw.api.contract import (
    AccountState,
    BrowserLogin,
    Certificates,
    Challenge,
    Device,
    DeviceTicket,
    DeviceType,
    HeadlessRequest,
    LoginRequest,
    MfaAnswer,
    MfaNeed,
    MfaTarget,
    PublicKeys,
    Scope,
    SignIn,
    Tap,
    TapRequest,
    WebSession,
)
from teleport_tw.api.factors import NOTHING
from teleport_tw.api.taps import TARGET_KIND
from teleport_tw.auth import attendance, browser, inband
from teleport_tw.auth.account import person
from teleport_tw.auth.bound import Bound
from teleport_tw.auth.headless import target_of
from teleport_tw.auth.login import MAX_USERNAME
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration

_STRANGERS = frozenset({Scope.LOGIN, Scope.PASSWORDLESS})
LOOK_SECONDS = 50.0
"""How long one call waits for the answer to a headless request; under gRPC's own bound."""


@define(eq=False)
class LocalFactors(Bound):
    """
    Implements L{teleport_tw.api.factors.Factors} and what belongs to it.
    """

    async def begin_login(self, username: str, *, passwordless: bool = False, remote_address: str = "") -> Challenge:
        """See the contract."""
        self._require_proxy()
        core = self._core
        preference, now = core.preference(), core.now()
        if passwordless:
            return await core.factors.for_anybody(preference, now)
        if not username or len(username) > MAX_USERNAME:
            raise bad_parameter("name the user to sign in as")
        return await core.factors.for_login(username, preference, now)

    async def begin_setup_device(
        self, token: Secret[str], type: DeviceType, *, passwordless: bool = False
    ) -> DeviceTicket:
        """See the contract."""
        self._require_proxy()
        core = self._core
        return await core.setups.begin_device(token, type, core.preference(), core.now(), passwordless=passwordless)

    async def complete_setup(
        self,
        token: Secret[str],
        password: Secret[str],
        otp: Secret[str] = NOTHING,
        *,
        answer: MfaAnswer | None = None,
        device_name: str = "",
    ) -> tuple[Secret[str], ...]:
        """See the contract."""
        self._require_proxy()
        core = self._core
        shown = answer or MfaAnswer(otp=otp)
        return await core.setups.complete(token, password, shown, device_name, core.preference(), core.now())

    async def create_challenge(self, scope: Scope, target: MfaTarget | None = None) -> Challenge:
        """See the contract."""
        gate, core = self._admit(), self._core
        username = person(gate)
        if scope in _STRANGERS:
            raise bad_parameter("challenges to sign in are begun at the proxy")
        bound = ""
        if scope in (Scope.HEADLESS, Scope.BROWSER):
            if target is None:
                raise bad_parameter("name the request that is to be approved")
            bound = target_of(target.name) if scope is Scope.HEADLESS else browser.target_of(target.name)
        if scope is Scope.SESSION_PRESENCE:
            if target is None:
                raise bad_parameter("name the session in which you are")
            bound = attendance.target_of(target.name)
        if scope is Scope.SESSION and target is not None and target.kind == TARGET_KIND:
            bound = inband.target_of(target.name)
        return await core.factors.for_user(username, scope, core.preference(), core.now(), bound)

    async def mfa_required(self, target: MfaTarget) -> MfaNeed:
        """See the contract."""
        return await self._parts.taps.need(self._admit(), target)

    async def account_state(self) -> AccountState:
        """See the contract."""
        return await self._parts.accounts.state(self._admit())

    async def list_devices(self) -> tuple[Device, ...]:
        """See the contract."""
        return await self._parts.accounts.devices(self._admit())

    async def begin_device(
        self, type: DeviceType, name: str, answer: MfaAnswer | None = None, *, passwordless: bool = False
    ) -> DeviceTicket:
        """See the contract."""
        return await self._parts.accounts.begin_device(self._admit(), type, name, answer, passwordless=passwordless)

    async def add_device(self, ticket: str, answer: MfaAnswer) -> Device:
        """See the contract."""
        return await self._parts.accounts.add_device(self._admit(), ticket, answer)

    async def rename_device(self, id: str, name: str) -> Device:
        """See the contract."""
        return await self._parts.accounts.rename_device(self._admit(), id, name)

    async def delete_device(self, id: str, answer: MfaAnswer) -> None:
        """See the contract."""
        await self._parts.accounts.delete_device(self._admit(), id, answer)

    async def recovery_codes(self, answer: MfaAnswer) -> tuple[Secret[str], ...]:
        """See the contract."""
        return await self._parts.accounts.recovery_codes(self._admit(), answer)

    async def change_password(
        self, old: Secret[str], new: Secret[str], answer: MfaAnswer | None = None, *, sign_in: str = ""
    ) -> None:
        """See the contract."""
        await self._parts.accounts.change_password(self._admit(), old, new, answer, sign_in)

    # --- taps

    async def tap_covered(self, request: TapRequest) -> str:
        """See the contract."""
        return await self._parts.in_band.covered(self._admit(), request)

    async def begin_tap(self, request: TapRequest) -> Tap:
        """See the contract."""
        return await self._parts.in_band.begin(self._admit(), request)

    async def answer_tap(self, id: str, code: Secret[str]) -> str:
        """See the contract."""
        return await self._parts.in_band.answer(self._admit(), id, code)

    async def wait_tap(self, id: str) -> str:
        """See the contract."""
        return await self._parts.in_band.wait(self._admit(), id, LOOK_SECONDS)

    async def prove_presence(self, session: str, answer: MfaAnswer) -> None:
        """See the contract."""
        await self._parts.attendance.prove(self._admit(), session, answer)

    async def seen_present(self, session: str, users: Sequence[str]) -> Mapping[str, float]:
        """See the contract."""
        return await self._parts.attendance.seen(self._admit(), session, users)

    async def get_tap(self, id: str) -> Tap:
        """See the contract."""
        return await self._parts.in_band.get(self._admit(), id)

    async def approve_tap(self, id: str, answer: MfaAnswer) -> None:
        """See the contract."""
        await self._parts.in_band.approve(self._admit(), id, answer)

    # --- web sessions

    async def create_web_session(self, request: LoginRequest) -> WebSession:
        """See the contract."""
        return await self._parts.web.create(self._admit(), request)

    async def get_web_session(self, id: Secret[str], *, active: bool = True) -> WebSession:
        """See the contract."""
        return await self._parts.web.get(self._admit(), id, active=active)

    async def renew_web_session(self, id: Secret[str]) -> WebSession:
        """See the contract."""
        return await self._parts.web.renew(self._admit(), id)

    async def delete_web_session(self, id: Secret[str]) -> None:
        """See the contract."""
        await self._parts.web.delete(self._admit(), id)

    async def list_sign_ins(self) -> tuple[SignIn, ...]:
        """See the contract."""
        return await self._parts.web.sign_ins(self._admit())

    async def delete_sign_in(self, id: str) -> None:
        """See the contract."""
        await self._parts.web.delete_sign_in(self._admit(), id)

    # --- headless

    async def create_headless(
        self, username: str, keys: PublicKeys, remote_address: str = "", user_agent: str = ""
    ) -> HeadlessRequest:
        """See the contract."""
        return await self._parts.headless.create(self._admit(), username, keys, remote_address, user_agent)

    async def get_headless(self, id: str) -> HeadlessRequest:
        """See the contract."""
        return await self._parts.headless.get(self._admit(), id)

    async def answer_headless(self, id: str, approve: bool, answer: MfaAnswer | None = None) -> None:
        """See the contract."""
        await self._parts.headless.answer(self._admit(), id, approve, answer)

    async def wait_headless(self, id: str) -> Certificates:
        """See the contract."""
        while True:
            certificates = await self.look_headless(id)
            if certificates is not None:
                return certificates

    async def look_headless(self, id: str) -> Certificates | None:
        """
        As L{wait_headless}, for so long as one call over gRPC may take.

        @return: C{None} while nobody answered.
        """
        return await self._parts.headless.wait(self._admit(), id, LOOK_SECONDS)

    # --- browser logins

    async def create_browser_login(
        self,
        keys: PublicKeys,
        code_challenge: str,
        *,
        ttl: Duration = NEVER,
        remote_address: str = "",
        user_agent: str = "",
    ) -> BrowserLogin:
        """See the contract."""
        desk = self._parts.browser
        return await desk.create(self._admit(), keys, code_challenge, ttl, remote_address, user_agent)

    async def get_browser_login(self, id: str) -> BrowserLogin:
        """See the contract."""
        return await self._parts.browser.get(self._admit(), id)

    async def approve_browser_login(self, id: str, answer: MfaAnswer | None = None) -> Secret[str]:
        """See the contract."""
        return await self._parts.browser.approve(self._admit(), id, answer)

    async def finish_browser_login(self, id: str, code: Secret[str], verifier: Secret[str]) -> Certificates:
        """See the contract."""
        return await self._parts.browser.finish(self._admit(), id, code, verifier)
