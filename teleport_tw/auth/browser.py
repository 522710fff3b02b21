"""
Signing in a program by the browser beside it: C{tsh login --browser}.

Three things come together, each known to one party: the program's secret, of which auth has the hash from the start;
the code, which only the approving page gets and sends to the program's own port; and the keys, to which the
certificates are made. Who sends a stranger a link gets no code; who steals a code has no secret.

@see: RFC 7636 (proof key for code exchange), from which the binding is taken
"""

from __future__ import annotations

import hmac
import re
import secrets
from base64 import b64decode, b64encode, urlsafe_b64encode
from datetime import timedelta
from hashlib import sha256

from attrs import define, evolve

from teleport_tw.api.contract import BrowserLogin, Certificates, MfaAnswer, PublicKeys, Scope
from teleport_tw.auth import issuance
from teleport_tw.auth.account import Accounts, person
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.users import UserCertificates
from teleport_tw.backends.interface import Condition
from teleport_tw.base.errors import Kind, TeleportError, access_denied, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, format_duration, format_time, parse_duration, parse_time
from teleport_tw.events.kinds import Actor, Connection, UserLogin
from teleport_tw.pki.identity import SystemRole
from teleport_tw.stores import layout, records

WAITS: Duration = timedelta(minutes=5)
"""From the program's start to the certificates."""

REFUSED = "this sign-in was not approved, took too long, or was finished already; begin again"

_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
"""SHA-256 in base64url."""


def target_of(id: str) -> str:
    """
    @return: what a challenge for this request is bound to.
    """
    return f"browser/{id}"


@define(eq=False)
class BrowserDesk:
    """
    Keeps requests until they are finished.
    """

    core: Core
    users: UserCertificates
    accounts: Accounts

    async def create(
        self, gate: Gate, keys: PublicKeys, challenge: str, ttl: Duration, address: str, user_agent: str
    ) -> BrowserLogin:
        """See the contract."""
        self._require_proxy(gate)
        issuance.check_keys(keys)
        if not _CHALLENGE.match(challenge):
            raise bad_parameter("code_challenge must be SHA-256 in base64url, 43 characters")
        now = self.core.now()
        made = BrowserLogin(
            id=secrets.token_hex(16),
            address=address,
            user_agent=user_agent[:512],
            created=now,
            expires=now + WAITS,
        )
        fields = {
            "ssh_key": b64encode(keys.ssh).decode("ascii"),
            "tls_key": b64encode(keys.tls).decode("ascii"),
            "challenge": challenge,
            "ttl": format_duration(ttl),
            "address": address,
            "user_agent": made.user_agent,
            "created": format_time(now),
            "expires": format_time(made.expires),
        }
        await self.core.backend.create(layout.browser_login_key(made.id), records.encode(fields), made.expires)
        return made

    async def get(self, gate: Gate, id: str) -> BrowserLogin:
        """See the contract."""
        person(gate)
        return _shown(id, await self._waiting(id))

    async def approve(self, gate: Gate, id: str, answer: MfaAnswer | None) -> Secret[str]:
        """See the contract."""
        username, core = person(gate), self.core
        if gate.identity.previous_identity_expires is not None:
            raise gate.refuse("a session's certificate approves nobody", "this certificate is for one session")
        fields = await self._waiting(id)
        device, end = "", gate.identity.expires
        if answer is not None:
            device = (await self.accounts.prove(username, answer, Scope.BROWSER, target_of(id))).device
            gate.check_locks(evolve(gate.identity, mfa_device=device))
            end = None
        elif await core.devices.all(username) or await core.login.factors_wanted(username, core.preference()):
            raise access_denied("approving takes your second factor")
        code = Secret(secrets.token_hex(32))
        said = {
            "username": username,
            "device": device,
            "end": format_time(end) if end is not None else "",
            "code": _hash(code),
        }
        approved = False

        def step(before: records.Fields | None) -> records.Change:
            nonlocal approved
            approved = before is not None and "username" not in before
            if before is None:
                return records.Change(None)
            return records.Change({**before, **said} if approved else before, parse_time(fields["expires"]))

        await records.change(core.backend, layout.browser_login_key(id), step)
        if not approved:
            raise TeleportError(Kind.COMPARE_FAILED, "this request was approved already")
        return code

    async def finish(self, gate: Gate, id: str, code: Secret[str], verifier: Secret[str]) -> Certificates:
        """See the contract."""
        self._require_proxy(gate)
        core, now = self.core, self.core.now()
        fields = await self._find(id)
        if fields is None or "username" not in fields:
            raise gate.refuse("a browser login that is unknown or not approved", REFUSED)
        try:
            await core.backend.delete(layout.browser_login_key(id), Condition.PRESENT)
        except TeleportError as error:
            raise gate.refuse("a browser login was finished twice", REFUSED) from error
        proof = urlsafe_b64encode(sha256(verifier.reveal().encode("utf-8", "surrogateescape")).digest()).rstrip(b"=")
        good = hmac.compare_digest(proof, str(fields["challenge"]).encode()) and hmac.compare_digest(
            _hash(code).encode(), str(fields["code"]).encode()
        )
        if not good:
            self._tell(fields, error="wrong code or verifier")
            raise gate.refuse("wrong code or verifier of a browser login", REFUSED)
        certificates = await self.users.beside_browser(
            fields["username"],
            PublicKeys(ssh=b64decode(fields["ssh_key"]), tls=b64decode(fields["tls_key"])),
            now,
            ttl=parse_duration(fields["ttl"]),
            end=parse_time(fields["end"]) if fields["end"] else None,
            address=fields["address"],
            user_agent=fields["user_agent"],
        )
        self._tell(fields)
        return certificates

    async def _waiting(self, id: str) -> records.Fields:
        fields = await self._find(id)
        if fields is None:
            raise not_found("there is no such request; it may have ended")
        return fields

    async def _find(self, id: str) -> records.Fields | None:
        try:
            fields = await records.read(self.core.backend, layout.browser_login_key(id))
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise
        return fields if fields is not None and self.core.now() < parse_time(fields["expires"]) else None

    def _require_proxy(self, gate: Gate) -> None:
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("sign-in by the browser is asked for by proxies")

    def _tell(self, fields: records.Fields, error: str = "") -> None:
        self.core.events.emit(
            UserLogin(
                actor=Actor(user=fields["username"], kind="human"),
                connection=Connection(remote=fields["address"]),
                success=not error,
                error=error,
                user_agent=fields["user_agent"],
                mfa_device={"mfa_device_uuid": fields["device"]} if fields["device"] else {},
            )
        )


def _hash(code: Secret[str]) -> str:
    return sha256(b"browser " + code.reveal().encode("utf-8", "surrogateescape")).hexdigest()


def _shown(id: str, fields: records.Fields) -> BrowserLogin:
    return BrowserLogin(
        id=id,
        address=fields["address"],
        user_agent=fields["user_agent"],
        created=parse_time(fields["created"]),
        expires=parse_time(fields["expires"]),
    )
