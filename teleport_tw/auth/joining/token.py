"""
Joining with a shared secret.

The host is told one thing whatever was wrong: a stranger who guesses tokens learns nothing. The audit log has the
reason. A host may not take the id of another one, be that alive or away; whoever has a good token is told so.
"""

from __future__ import annotations

import hmac
import uuid

from attrs import define

from teleport_tw.api.contract import Certificates, Joined, JoinRequest
from teleport_tw.auth import builtin, issuance
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.joining.hosts import KNOWN, KnownHosts, note
from teleport_tw.auth.joining.names import CertifiedNames
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.events.kinds import Connection, InstanceJoin
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.tokens import Token

REFUSAL = "the join token is not valid, or does not allow this; ask your administrator for a new one"

_JOINABLE = frozenset(SystemRole) - {SystemRole.ADMIN, SystemRole.AUTH, SystemRole.BOT}
"""Whoever is auth may do everything, so nobody becomes it by a token: auth services share the store and its keys."""


@define(eq=False)
class TokenJoining:
    """
    The ceremony.
    """

    core: Core

    async def join(self, request: JoinRequest, *, own: bool = False) -> Certificates:
        """
        @param own: the caller has proved that the id is its own: a service in auth's process, a host with its
            certificate.
        @raise TeleportError: ACCESS_DENIED, the same text for every reason but one: ALREADY_EXISTS, the token is good
            and the id is another's.
        """
        core, now = self.core, self.core.now()
        method = "token"
        try:
            token = await self._find(request)
            method = token.join_method
            await self._check(request, token)
            hosts = KnownHosts(core.backend)
            if not own:
                await self._check_id(request, hosts)
            asked = issuance.host_names((request.node_name, *request.addresses), request.host_id, core.cluster)
            issuance.check_keys(request.keys)
            if not await core.credentials.use_token(token.name, token.max_uses, token.expires):
                raise access_denied(details="every use of the token is spent")
            await hosts.claim(request.host_id, request.role, request.token, request.node_name, now, own=own)
            certified = CertifiedNames(core.backend, core.resources, core.cluster)
            certificates = issuance.issue_member(
                core.signing,
                cluster=core.cluster,
                host_id=request.host_id,
                roles=(request.role,),
                names=await certified.owned(request.host_id, (request.role,), asked, now),
                keys=request.keys,
                now=now,
            )
        except TeleportError as error:
            if error.kind is Kind.ALREADY_EXISTS:
                self._tell(request, method, f"{error.message}: {error.details}")
                raise
            if error.kind not in (Kind.ACCESS_DENIED, Kind.BAD_PARAMETER, Kind.NOT_FOUND):
                raise
            reason = error.details or error.message
            self._tell(request, method, reason)
            raise access_denied(REFUSAL, details=reason) from error
        joined = Joined(host_id=request.host_id, node_name=request.node_name, role=request.role, at=now)
        await note(core.backend, request.token, joined)
        self._tell(request, method, "")
        return certificates

    async def _find(self, request: JoinRequest) -> Token:
        given = request.token.reveal()
        for token in self.core.static_tokens:
            if hmac.compare_digest(token.name.encode(), given.encode("utf-8", "replace")):
                return token
        try:
            return Token.parse(await self.core.resources.get("token", given))
        except TeleportError as error:
            if error.kind in (Kind.NOT_FOUND, Kind.BAD_PARAMETER):
                raise access_denied(details="there is no such token, or it has expired") from error
            raise

    async def _check(self, request: JoinRequest, token: Token) -> None:
        core = self.core
        if token.join_method != "token":
            raise access_denied(details=f"the token is for method {token.join_method}, not for its secret")
        if token.expires is not None and token.expires <= core.now():
            raise access_denied(details="the token has expired")
        if request.role not in _JOINABLE or request.role.value not in token.roles:
            raise access_denied(details=f"the token does not allow the role {request.role.value}")
        try:
            canonical = str(uuid.UUID(request.host_id)) == request.host_id
        except ValueError:
            canonical = False
        if not canonical:
            raise access_denied(details=f"{request.host_id[:64]!r} is not the id of a host")
        who = Identity(username=f"{request.host_id}.{core.cluster}", system_roles=(request.role,))
        Gate(core, who).check_locks(who, join_token=token.name)

    async def _check_id(self, request: JoinRequest, hosts: KnownHosts) -> None:
        await hosts.check(request.host_id, request.role, request.token)
        for kind in ("auth_server", *builtin.PRESENCE.get(request.role, ())):
            if await self.core.resources.find(kind, request.host_id) is not None:
                raise TeleportError(Kind.ALREADY_EXISTS, KNOWN, details=f"a live {kind} has it")

    def _tell(self, request: JoinRequest, method: str, reason: str) -> None:
        self.core.events.emit(
            InstanceJoin(
                connection=Connection(remote=request.remote_address),
                host_id=request.host_id,
                node_name=request.node_name,
                role=request.role.value,
                roles=(request.role.value,),
                method=method,
                token_name=request.token.reveal(),
                success=not reason,
                error=reason,
            )
        )
