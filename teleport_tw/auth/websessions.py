"""
Sessions on the web: made at sign-in, shown to the proxy for each of the browser's requests, ended by their user, by
time, by idleness, and by locks.
"""

from __future__ import annotations

import re
import secrets
import ssl
import uuid
from base64 import b64decode, b64encode
from datetime import datetime, timedelta

from attrs import define, evolve

from teleport_tw.api.contract import Certificates, LoginRequest, PublicKeys, SignIn, WebSession
from teleport_tw.auth.account import person
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.login import SignedIn
from teleport_tw.auth.users import UserCertificates
from teleport_tw.base.errors import TeleportError, access_denied, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration, format_time, parse_time
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.clusters import NETWORKING, Networking
from teleport_tw.stores import websessions
from teleport_tw.stores.websessions import StoredSession

OVER = "your session is over; sign in again"
"""Whatever the reason: an id that somebody guessed learns nothing."""

POLICY = "web_session"
"""What certificates say of where their keys are."""

BEARER_AGE: Duration = timedelta(minutes=5)
"""A bearer younger than this is given out again, so that tabs that renew at once agree; the reference's lasts 10."""

MOST_SESSIONS = 30
"""Of one user; the oldest makes room."""

NOTED_EVERY: Duration = timedelta(seconds=30)
"""How exact the time of the last use is kept; a write for each request would be a flood."""

_ID = re.compile(r"[0-9a-f]{64}\Z")


@define(eq=False)
class WebSessionDesk:
    """
    Hands them out.
    """

    core: Core
    users: UserCertificates

    async def create(self, gate: Gate, request: LoginRequest) -> WebSession:
        """See the contract."""
        self._require_proxy(gate)
        core, now = self.core, self.core.now()
        tls, ssh = PrivateKey.generate_tls(), PrivateKey.generate_ssh()
        public = PublicKeys(ssh=ssh_keys.format_line(ssh.ssh_public).encode(), tls=spki_pem(tls.public))
        seen: list[tuple[SignedIn, datetime]] = []
        certificates = await self.users.signed_in(
            gate, evolve(request, keys=public), POLICY, lambda who, until: seen.append((who, until))
        )
        ((signed_in, expires),) = seen
        session = WebSession(
            id=Secret(secrets.token_hex(32)),
            bearer=Secret(secrets.token_hex(32)),
            username=signed_in.user.name,
            certificates=certificates,
            tls_key=tls.pem(),
            ssh_key=ssh.openssh_pem(),
            sign_in=str(uuid.uuid4()),
            created=now,
            expires=expires,
            idle_timeout=self._idle(),
        )
        stored = StoredSession(
            username=session.username,
            public_id=session.sign_in,
            mfa_device=signed_in.device,
            created=now,
            last_used=now,
            expires=expires,
            address=request.remote_address,
            user_agent=request.user_agent[:512],
            sealed=_sealed(session, now),
        )
        older = await core.web_sessions.of(session.username)
        for each in older[MOST_SESSIONS - 1 :]:
            await core.web_sessions.delete_of(session.username, each.public_id)
        await core.web_sessions.create(session.id, stored, self._forgotten(stored, now))
        return session

    async def get(self, gate: Gate, id: Secret[str], *, active: bool) -> WebSession:
        """See the contract."""
        self._require_proxy(gate)
        stored, session, _ = await self._open(gate, id)
        now = self.core.now()
        if active and now - stored.last_used >= NOTED_EVERY:
            await self.core.web_sessions.used(id, now, self._forgotten(stored, now))
        return session

    async def renew(self, gate: Gate, id: Secret[str]) -> WebSession:
        """See the contract."""
        self._require_proxy(gate)
        stored, session, made = await self._open(gate, id)
        now = self.core.now()
        sealed = b""
        if now - made >= BEARER_AGE:
            session = evolve(session, bearer=Secret(secrets.token_hex(32)))
            sealed = _sealed(session, now)
        if not await self.core.web_sessions.used(id, now, self._forgotten(stored, now), sealed):
            raise access_denied(OVER, details="the session ended meanwhile")
        return session

    async def delete(self, gate: Gate, id: Secret[str]) -> None:
        """See the contract."""
        self._require_proxy(gate)
        if _ID.match(id.reveal()):
            await self.core.web_sessions.delete(id)

    async def sign_ins(self, gate: Gate) -> tuple[SignIn, ...]:
        """See the contract."""
        now = self.core.now()
        return tuple(
            SignIn(
                id=each.public_id,
                created=each.created,
                last_used=each.last_used,
                expires=each.expires,
                address=each.address,
                user_agent=each.user_agent,
            )
            for each in await self.core.web_sessions.of(person(gate))
            if not self._why_over(each, now)
        )

    async def delete_sign_in(self, gate: Gate, id: str) -> None:
        """See the contract."""
        if not await self.core.web_sessions.delete_of(person(gate), id):
            raise not_found("you have no such sign-in; it may have ended already")

    async def _open(self, gate: Gate, id: Secret[str]) -> tuple[StoredSession, WebSession, datetime]:
        """
        @return: as kept, as handed out, and when the bearer was made.
        @raise TeleportError: ACCESS_DENIED; what cannot be used any more is gone from then on.
        """
        core, now = self.core, self.core.now()
        stored = await core.web_sessions.get(id) if _ID.match(id.reveal()) else None
        if stored is None:
            raise gate.refuse("no such session", OVER)
        why = self._why_over(stored, now)
        if not why:
            fields = websessions.unseal(id, stored.sealed)
            certificates = Certificates(
                ssh=b64decode(fields["ssh"]),
                tls=b64decode(fields["tls"]),
                authorities=core.signing.public,
                cluster=core.cluster,
            )
            why = await self._why_locked(stored, certificates.tls, now)
        if why:
            await core.web_sessions.delete(id)
            raise gate.refuse(f"the session of {stored.username}: {why}", OVER)
        session = WebSession(
            id=id,
            bearer=Secret(fields["bearer"]),
            username=stored.username,
            certificates=certificates,
            tls_key=Secret(b64decode(fields["tls_key"])),
            ssh_key=Secret(b64decode(fields["ssh_key"])),
            sign_in=stored.public_id,
            created=stored.created,
            expires=stored.expires,
            idle_timeout=self._idle(),
        )
        return stored, session, parse_time(fields["bearer_made"])

    def _why_over(self, stored: StoredSession, now: datetime) -> str:
        idle = self._idle()
        if stored.expires <= now:
            return "it has expired"
        if idle != NEVER and now - stored.last_used > idle + NOTED_EVERY:
            return "it was idle for too long"
        return ""

    async def _why_locked(self, stored: StoredSession, certificate: bytes, now: datetime) -> str:
        try:
            der = ssl.PEM_cert_to_DER_cert(certificate.decode("ascii"))
            identity: Identity = self.core.signing.identify(der, now, certificate)
            await self.core.user(stored.username)
            Gate(self.core, identity).check_locks(evolve(identity, mfa_device=stored.mfa_device))
        except TeleportError as error:
            return error.details or error.message
        return ""

    def _idle(self) -> Duration:
        return Networking.parse(self.core.singleton(NETWORKING)).web_idle_timeout

    def _forgotten(self, stored: StoredSession, now: datetime) -> datetime:
        idle = self._idle()
        return stored.expires if idle == NEVER else min(stored.expires, now + idle + 2 * NOTED_EVERY)

    def _require_proxy(self, gate: Gate) -> None:
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("sessions on the web are asked for by proxies")


def _sealed(session: WebSession, made: datetime) -> bytes:
    fields = {
        "bearer": session.bearer.reveal(),
        "bearer_made": format_time(made),
        "tls": b64encode(session.certificates.tls).decode("ascii"),
        "ssh": b64encode(session.certificates.ssh).decode("ascii"),
        "tls_key": b64encode(session.tls_key.reveal()).decode("ascii"),
        "ssh_key": b64encode(session.ssh_key.reveal()).decode("ascii"),
    }
    return websessions.seal(session.id, fields)
