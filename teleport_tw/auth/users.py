"""
Certificates for users: what their roles come to, who may ask, and what the audit log hears.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256

from attrs import define, evolve, field

from teleport_tw.access.checker import Checker
from teleport_tw.api.contract import (
    Certificates,
    IssueRequest,
    LoginRequest,
    MfaAnswer,
    OpenSSHIssueRequest,
    PublicKeys,
)
from teleport_tw.audit.actor import actor_of, identity_fields
from teleport_tw.auth import databases, issuance
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.issuance import UserGrant
from teleport_tw.auth.login import SignedIn
from teleport_tw.auth.taps import NEEDED, Taps
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter
from teleport_tw.base.timing import Duration, format_time
from teleport_tw.events.kinds import CertCreate, Connection
from teleport_tw.pki import sshcert
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.nodes import all_labels
from teleport_tw.resources.roles import Principal, Role
from teleport_tw.resources.roles_options import SessionMFA
from teleport_tw.resources.users import User
from teleport_tw.stores.headless import StoredHeadless

MFA_TTL: Duration = timedelta(minutes=1)
"""The reference's, of a certificate that a second factor was shown for: time to connect, and no more."""

AGENTLESS_TTL: Duration = timedelta(minutes=10)
"""Of what a proxy shows a stock sshd; the session goes on past it."""


MAX_GRANTS = 1000
"""Kept for who asks again."""


@define(eq=False)
class UserCertificates:
    """
    Issues them.
    """

    core: Core
    taps: Taps
    _grants: dict[object, tuple[User, Checker, UserGrant]] = field(factory=dict, init=False)

    async def login(self, gate: Gate, request: LoginRequest) -> Certificates:
        """
        @raise TeleportError: ACCESS_DENIED, LIMIT_EXCEEDED; see the contract.
        """
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("sign-in is asked for by proxies")
        return await self.signed_in(gate, request)

    async def signed_in(
        self,
        gate: Gate,
        request: LoginRequest,
        policy: str = "none",
        seen: Callable[[SignedIn, datetime], None] | None = None,
    ) -> Certificates:
        """
        Sign in, and certificates for the request's keys.

        @param gate: a proxy's.
        @param policy: where the private keys are.
        @param seen: told who it was and when the certificates end.
        """
        core = self.core
        now = core.now()
        preference = core.preference()
        signed_in = await core.login.check(request, preference, now)
        user = signed_in.user
        checker = await self._checker(user)
        identity = Identity(
            username=user.name,
            cluster=core.cluster,
            roles=user.roles,
            traits=user.traits,
            mfa_device="",
            login_ip=request.remote_address,
            route_to_cluster=request.route_to_cluster or core.cluster,
            private_key_policy=policy,
        )
        Gate(core, identity).check_locks(evolve(identity, mfa_device=signed_in.device))
        granted = self._grant(checker, identity)
        span = issuance.lifetime(request.ttl or preference.default_session_ttl, granted.max_ttl)
        certificates = self._issue(gate, granted, request.keys, now, now + span, request.user_agent)
        if seen is not None:
            seen(signed_in, now + span)
        core.login.succeeded(request, signed_in)
        return certificates

    async def issue(self, gate: Gate, request: IssueRequest, shown: MfaAnswer | None = None) -> Certificates:
        """
        @param shown: a second factor that came with the call; certificates of others take an administrator's.
        @raise TeleportError: ACCESS_DENIED; NOT_FOUND, there is no such user.
        """
        caller = gate.identity
        if not request.username or (request.username == caller.username and not caller.is_host):
            return await self._reissue(gate, request)
        core = self.core
        now = core.now()
        resource, user = await core.user(request.username)
        checker = await self._checker(user)
        identity = Identity(
            username=user.name,
            cluster=core.cluster,
            roles=user.roles,
            traits=user.traits,
            route_to_cluster=request.route_to_cluster or core.cluster,
            login_ip=request.remote_address,
        )
        if request.database is not None:
            route = await databases.checked_route(gate, checker, core.resources, request.database)
            identity = evolve(identity, database=route, usage=(databases.USAGE,))
        if gate.is_a():
            granted = self._granted(user, checker, identity)
            span = issuance.lifetime(request.ttl or granted.max_ttl, longest=issuance.MAX_SIGN_TTL)
        else:
            if caller.is_host or caller.disallow_reissue:
                raise gate.refuse("may not ask for certificates of others")
            gate.check_impersonation(resource, checker.roles)
            await self.taps.check_admin(gate, shown)
            derived = evolve(
                identity, impersonator=caller.username, disallow_reissue=True, login_ip=caller.login_ip
            )  # where it is used from is not the caller's to say
            granted = self._granted(user, checker, derived)
            span = issuance.lifetime(request.ttl or core.preference().default_session_ttl, granted.max_ttl)
        Gate(core, identity).check_locks(identity)
        return self._issue(gate, granted, request.keys, now, now + span)

    async def _reissue(self, gate: Gate, request: IssueRequest) -> Certificates:
        """
        The caller's own again, narrowed, with the roles it has and no later end.
        """
        caller, core = gate.identity, self.core
        if caller.is_host or not caller.username:
            raise bad_parameter("name the user whose certificates are wanted")
        if caller.disallow_reissue:
            raise gate.refuse("the certificate does not allow further ones")
        if caller.usage:
            raise gate.refuse("the certificate is restricted to one use")
        if caller.previous_identity_expires is not None:
            raise gate.refuse("the certificate is for one session")
        now = core.now()
        checker = core.checker(caller)
        wanted = evolve(caller, route_to_cluster=request.route_to_cluster or caller.route_to_cluster, extensions={})
        if request.database is not None:
            route = await databases.checked_route(gate, checker, core.resources, request.database)
            wanted = evolve(wanted, database=route, usage=(databases.USAGE,))
        end = caller.expires or now
        if request.target is not None:
            device = await self.taps.proven(gate, request.target, request.answer)
            wanted = evolve(wanted, mfa_device=device, previous_identity_expires=end)
            granted = self._grant(checker, wanted)
            return self._issue(gate, granted, request.keys, now, min(now + MFA_TTL, end))
        granted = self._grant(checker, wanted)
        span = issuance.lifetime(request.ttl, granted.max_ttl)
        return self._issue(gate, granted, request.keys, now, min(now + span, end))

    async def headless(self, request: StoredHeadless, now: datetime) -> Certificates:
        """
        For a program elsewhere, approved by the user a moment ago.

        @raise TeleportError: ACCESS_DENIED, the user is locked; NOT_FOUND, gone.
        """
        core = self.core
        _, user = await core.user(request.username)
        checker = await self._checker(user)
        identity = Identity(
            username=user.name,
            cluster=core.cluster,
            roles=user.roles,
            traits=user.traits,
            mfa_device=request.device,
            login_ip=request.address,
            route_to_cluster=core.cluster,
            disallow_reissue=True,
        )
        who = Gate(core, identity, request.address)
        who.check_locks(identity)
        keys = PublicKeys(ssh=request.ssh_key, tls=request.tls_key)
        return self._issue(who, self._grant(checker, identity), keys, now, now + MFA_TTL, request.user_agent)

    async def beside_browser(
        self,
        username: str,
        keys: PublicKeys,
        now: datetime,
        *,
        ttl: Duration,
        end: datetime | None,
        address: str,
        user_agent: str,
    ) -> Certificates:
        """
        For a program whose user approved it at the browser.

        @param end: no later; C{None} where the user answered with a second factor.
        @raise TeleportError: ACCESS_DENIED, the user is locked; NOT_FOUND, gone.
        """
        core = self.core
        _, user = await core.user(username)
        checker = await self._checker(user)
        identity = Identity(
            username=user.name,
            cluster=core.cluster,
            roles=user.roles,
            traits=user.traits,
            login_ip=address,
            route_to_cluster=core.cluster,
        )
        who = Gate(core, identity, address)
        who.check_locks(identity)
        granted = self._grant(checker, identity)
        expires = now + issuance.lifetime(ttl or core.preference().default_session_ttl, granted.max_ttl)
        return self._issue(who, granted, keys, now, min(expires, end) if end is not None else expires, user_agent)

    async def issue_openssh(self, gate: Gate, request: OpenSSHIssueRequest) -> bytes:
        """
        @raise TeleportError: ACCESS_DENIED, the user's certificate is not good, or its roles do not reach the node.
        """
        if not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("certificates for agentless nodes are asked for by proxies")
        core, now = self.core, self.core.now()
        try:
            line = ssh_keys.parse_line(request.user_certificate.decode("ascii", "replace"))
            pinned = certificates.parse(line.blob).critical_options.get(sshcert.SOURCE_ADDRESS, "")
        except RemoteProtocolError as error:
            raise bad_parameter(f"the user's certificate cannot be read: {error}") from error
        # What the openssh authority signed is for stock servers: it does not beget further certificates.
        authority = core.signing.authority(AuthorityType.USER)
        # Where the user is, the proxy alone can see, and has compared.
        source = pinned.partition(",")[0].partition("/")[0] or None
        user = sshcert.verify_user(line.blob, (authority,), now, source_ip=source)
        who = Gate(core, user)
        who.check_locks(user, login=request.login)
        node = await core.resources.get("node", request.node)
        if node.sub_kind not in ("openssh", "openssh-ec2-ice"):
            raise bad_parameter(f"node {request.node!r} is not agentless")
        decision = who.checker.login_to_node(all_labels(node), request.login)
        if not decision.allowed:
            raise who.refuse(decision.reason)
        asked = decision.mfa is not SessionMFA.NO or core.preference().demands_session_mfa
        if asked and not user.mfa_device:
            # Answered at the proxy, which asked auth, which knows.
            user = evolve(user, mfa_device=await self._proven_at(who, line.blob, request.node))
            who.check_locks(user, login=request.login)
        certificate = issuance.issue_agentless(
            core.signing, user, request.login, request.ssh_key, now=now, ttl=AGENTLESS_TTL
        )
        core.events.emit(
            CertCreate(actor=actor_of(user, request.login), cert_type="openssh", identity=identity_fields(user))
        )
        return certificate

    async def _proven_at(self, who: Gate, certificate: bytes, node: str) -> str:
        holder = sha256(certificate).hexdigest()
        device = await self.taps.covering(evolve(who, holder=holder), who.identity.username, node=node)
        if not device:
            raise who.refuse("no second factor in the certificate", NEEDED)
        return device

    async def _checker(self, user: User) -> Checker:
        """
        For the user's roles as they are stored now, which may be newer than what is known in memory.

        @raise TeleportError: BAD_PARAMETER, one is missing: a certificate with fewer roles than the user has would
            also lack their denials.
        """
        identity = Identity(username=user.name, roles=user.roles, traits=user.traits)
        if all(self.core.role(name) is not None for name in user.roles):
            return self.core.checker(identity)
        found = []
        for name in user.roles:
            try:
                found.append(Role.parse(await self.core.resources.get("role", name)))
            except TeleportError as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise
                raise bad_parameter(
                    f"role {name!r} of user {user.name!r} does not exist; `tctl get roles` lists what there is"
                ) from error
        return Checker.for_identity(found, username=user.name, traits=user.traits)

    def _granted(self, user: User, checker: Checker, identity: Identity) -> UserGrant:
        """
        L{_grant} for a user as stored: the same object while user, roles and request are the same.
        """
        key = (
            id(user),
            id(checker),
            identity.login_ip,
            identity.route_to_cluster,
            identity.database,
            identity.impersonator,
        )
        kept = self._grants.get(key)
        if kept is None:
            if len(self._grants) >= MAX_GRANTS:
                del self._grants[next(iter(self._grants))]
            # Holds user and checker, so that their ids stay their own.
            kept = self._grants[key] = (user, checker, self._grant(checker, identity))
        return kept[2]

    def _grant(self, checker: Checker, identity: Identity) -> UserGrant:
        options = checker.options
        filled = evolve(
            identity,
            valid_after=None,
            expires=None,
            principals=checker.logins(),
            permit_x11_forwarding=options.permit_x11_forwarding,
            permit_agent_forwarding=options.forward_agent,
            permit_port_forwarding=options.port_forwarding,
            permit_pty=True,
            pinned_ip=identity.login_ip if options.pin_source_ip else "",
            kubernetes_users=checker.names(Principal.KUBERNETES_USERS),
            kubernetes_groups=checker.names(Principal.KUBERNETES_GROUPS),
            db_users=checker.names(Principal.DB_USERS),
            db_names=checker.names(Principal.DB_NAMES),
            extensions={extension.name: extension.value for extension in options.cert_extensions},
        )
        return UserGrant(identity=filled, max_ttl=options.max_session_ttl, cert_format=options.cert_format.value)

    def _issue(
        self, gate: Gate, granted: UserGrant, keys: PublicKeys, now: datetime, expires: datetime, user_agent: str = ""
    ) -> Certificates:
        certificates = issuance.issue_user(self.core.signing, granted, keys, now=now, expires=expires)
        identity = granted.identity
        remote = identity.login_ip if gate.identity.is_host else gate.address or identity.login_ip
        gate.tell(
            CertCreate(
                actor=actor_of(identity),
                connection=Connection(remote=remote) if remote else None,
                identity={**identity_fields(identity), "expires": format_time(expires)},
                user_agent=user_agent,
            )
        )
        return certificates
