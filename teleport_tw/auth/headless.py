"""
Headless sign-in: a program at a machine without a browser waits; its user approves on the web, with a key.

What comes out lasts a minute and is for the keys that the waiting program showed at the start, so that a link to the
request is of use to nobody but its user, and only to say yes or no.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from attrs import define, evolve
from twisted.internet.task import deferLater

from teleport_tw.api.contract import Certificates, HeadlessRequest, MfaAnswer, PublicKeys, Scope
from teleport_tw.auth import issuance
from teleport_tw.auth.account import Accounts, person
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.users import UserCertificates
from teleport_tw.base.addresses import network_of
from teleport_tw.base.errors import Kind, TeleportError, access_denied, bad_parameter, not_found
from teleport_tw.base.timing import Duration
from teleport_tw.events.kinds import Actor, Connection, UserLogin
from teleport_tw.pki.identity import SystemRole
from teleport_tw.stores.headless import APPROVED, DENIED, PENDING, StoredHeadless

WAITS: Duration = timedelta(minutes=3)
"""The reference's: a request that nobody answers ends."""

MOST_OF_NETWORK = 5
"""That wait and name one user, from one network: a stranger who names somebody fills these and no others."""

MOST_WAITING = 200
"""That wait and name one user, from everywhere; what they take in the store is bounded so."""

LOOK_SECONDS = 0.5
"""Between two looks at a request that somebody waits for; another auth may have taken the answer."""

MAX_USERNAME = 255


def target_of(id: str) -> str:
    """
    @return: what a challenge for this request is bound to.
    """
    return f"headless/{id}"


@define(eq=False)
class HeadlessDesk:
    """
    Keeps requests and their answers.
    """

    core: Core
    users: UserCertificates
    accounts: Accounts

    async def create(
        self, gate: Gate, username: str, keys: PublicKeys, remote_address: str, user_agent: str
    ) -> HeadlessRequest:
        """See the contract."""
        self._require_proxy(gate)
        core, now = self.core, self.core.now()
        preference = core.preference()
        if not (preference.allow_local_auth and preference.allow_headless and "webauthn" in preference.second_factors):
            raise gate.refuse("headless sign-in is switched off", "this cluster does not allow headless sign-in")
        issuance.check_keys(keys)
        if not username or len(username) > MAX_USERNAME:
            raise bad_parameter("name the user to sign in as")
        waiting = await core.headless.waiting(username)
        if waiting[network_of(remote_address)] >= MOST_OF_NETWORK or waiting.total() >= MOST_WAITING:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many headless requests wait already; try again in minutes")
        stored = StoredHeadless(
            id=str(uuid.uuid4()),
            username=username,
            ssh_key=keys.ssh,
            tls_key=keys.tls,
            address=remote_address,
            user_agent=user_agent[:512],
            created=now,
            expires=now + WAITS,
        )
        await core.headless.create(stored)
        self._tell(stored, "requested", success=True)
        return _shown(stored)

    async def get(self, gate: Gate, id: str) -> HeadlessRequest:
        """See the contract."""
        return _shown(await self._own(gate, id))

    async def answer(self, gate: Gate, id: str, approve: bool, answer: MfaAnswer | None) -> None:
        """See the contract."""
        stored = await self._own(gate, id)
        device = ""
        if approve:
            if answer is None:
                raise access_denied("approving takes your security key or passkey")
            device = (await self.accounts.prove(stored.username, answer, Scope.HEADLESS, target_of(id))).device
            gate.check_locks(evolve(gate.identity, mfa_device=device))
        if not await self.core.headless.answer(stored, APPROVED if approve else DENIED, device):
            raise TeleportError(Kind.COMPARE_FAILED, "this request was answered already, or nobody waits any more")
        if not approve:
            self._tell(stored, "denied", success=False, error="the user denied it")

    async def _own(self, gate: Gate, id: str) -> StoredHeadless:
        username = person(gate)
        stored = await self.core.headless.get(id)
        if stored is None or stored.username != username or stored.expires <= self.core.now():
            raise not_found("there is no such request; it may have ended")
        return stored

    async def wait(self, gate: Gate, id: str, seconds: float) -> Certificates | None:
        """
        @param seconds: look no longer than this.
        @return: C{None} while nobody answered.
        @raise TeleportError: ACCESS_DENIED, denied, or nobody answered in time.
        """
        self._require_proxy(gate)
        core = self.core
        until = core.now() + timedelta(seconds=seconds)
        while True:
            stored = await core.headless.get(id)
            now = core.now()
            if stored is None or stored.expires <= now:
                raise gate.refuse("a headless request without an answer", "nobody approved the request in time")
            if stored.state != PENDING:
                break
            if now >= until:
                return None
            await deferLater(core.clock, LOOK_SECONDS)
        if not await core.headless.take(stored):
            raise gate.refuse("a headless request was taken twice", "this request was used already")
        if stored.state == DENIED:
            raise gate.refuse("a headless request was denied", "the request was denied")
        certificates = await self.users.headless(stored, now)
        self._tell(stored, "approved", success=True)
        return certificates

    def _require_proxy(self, gate: Gate) -> None:
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("headless sign-in is asked for by proxies")

    def _tell(self, stored: StoredHeadless, stage: str, *, success: bool, error: str = "") -> None:
        self.core.events.emit(
            UserLogin(
                actor=Actor(user=stored.username, kind="human"),
                connection=Connection(remote=stored.address),
                method="headless",
                stage=stage,
                success=success,
                error=error,
                user_agent=stored.user_agent,
                mfa_device={"mfa_device_uuid": stored.device} if stored.device else {},
            )
        )


def _shown(stored: StoredHeadless) -> HeadlessRequest:
    return HeadlessRequest(
        id=stored.id,
        username=stored.username,
        address=stored.address,
        user_agent=stored.user_agent,
        created=stored.created,
        expires=stored.expires,
        state=stored.state,
    )
