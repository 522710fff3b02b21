"""
What one identity may do; every refusal keeps its reason for the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve
from twisted.logger import Logger

from teleport_tw.access import impersonation, locks
from teleport_tw.access.checker import Checker
from teleport_tw.access.sessions import join_modes
from teleport_tw.auth import builtin
from teleport_tw.auth.core import Core
from teleport_tw.base.addresses import same_address
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.events.kinds import Connection, Event
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import all_labels
from teleport_tw.resources.roles import Role, Target
from teleport_tw.resources.sessions import Session

TARGETS: Mapping[str, Target] = {
    "node": Target.NODE,
    "app": Target.APP,
    "app_server": Target.APP,
    "db": Target.DATABASE,
    "db_server": Target.DATABASE,
    "kube_cluster": Target.KUBERNETES,
    "kube_server": Target.KUBERNETES,
    "windows_desktop": Target.DESKTOP,
}


@define(eq=False)
class Gate:
    """
    Checks for one identity; asks nothing of the disk.

    @ivar address: where it calls from; empty where nobody knows.
    @ivar holder: a digest of the certificate shown; empty where nobody knows.
    """

    core: Core
    identity: Identity
    address: str = ""
    holder: str = ""
    _log = Logger()

    @property
    def checker(self) -> Checker:
        """
        Of the identity's roles.
        """
        return self.core.checker(self.identity)

    def is_a(self, *roles: SystemRole) -> bool:
        """
        @return: whether the identity is one of these; the local administrator and auth itself are everything.
        """
        return any(role in (SystemRole.ADMIN, SystemRole.AUTH, *roles) for role in self.identity.system_roles)

    def admit(self) -> None:
        """
        Asked before anything else: is the identity still good?

        @raise TeleportError: ACCESS_DENIED, expired, locked, or nobody.
        """
        identity = self.identity
        if identity.expires is not None and identity.expires < self.core.now():
            raise self.refuse("the certificate has expired")
        if identity.usage:
            raise self.refuse(f"the certificate is for {', '.join(identity.usage)} alone")
        if identity.pinned_ip and not (self.address and same_address(identity.pinned_ip, self.address)):
            raise self.refuse(f"the certificate is pinned to {identity.pinned_ip}, not {self.address or 'unknown'}")
        self.check_locks(identity)

    def check_locks(self, identity: Identity, *, login: str = "", join_token: str = "") -> None:
        """
        @param login: the account on a host, where one is asked for.
        @raise TeleportError: ACCESS_DENIED with the lock's message, which is meant for its target.
        """
        try:
            in_store = self.core.locks()
        except TeleportError as error:
            if self.is_a():
                return  # who else could mend it
            raise self.refuse(f"a lock cannot be read, so nobody is let in: {error.message}") from error
        if not in_store:
            return
        subject = locks.Subject(
            user="" if identity.is_host else identity.username,
            roles=identity.roles,  # type: ignore[arg-type]  # the converter takes any iterable
            mfa_device=identity.mfa_device,
            access_requests=identity.active_requests,  # type: ignore[arg-type]  # as above
            server_id=identity.host_id,
            bot_instance_id=identity.bot_instance,
            login=login,
            join_token=join_token,
        )
        lock = locks.hitting(in_store, subject, self.core.now())
        if lock is not None:
            raise self.refuse(lock.refusal, lock.refusal)

    def require(self, kind: str, verb: str, resource: Resource | None = None) -> None:
        """
        @param resource: what it is about, for rules with C{where}.
        @raise TeleportError: ACCESS_DENIED.
        """
        reason = self.why_not(kind, verb, resource)
        if reason:
            raise self.refuse(reason, f"access denied: you may not {verb} {kind}")

    def may(self, kind: str, verb: str, resource: Resource | None = None) -> bool:
        """
        @return: the same as an answer.
        """
        return not self.why_not(kind, verb, resource)

    def why_not(self, kind: str, verb: str, resource: Resource | None = None) -> str:
        """
        @return: empty when it may.
        """
        identity = self.identity
        if identity.is_host:
            if builtin.system_allows(identity.system_roles, kind, verb):
                return ""
            return f"{'/'.join(role.value for role in identity.system_roles)} may not {verb} {kind}"
        if not identity.username:
            return "nobody is signed in"
        if builtin.everyone_may(kind, verb):
            return ""
        context = {"resource": resource.to_json()} if resource is not None else None
        decision = self.checker.rule(kind, verb, context)
        return "" if decision.allowed else decision.reason

    def may_some(self, kind: str, verb: str) -> bool:
        """
        @return: whether some resource of the kind might be allowed; items are then asked about one by one.
        """
        if self.identity.is_host or builtin.everyone_may(kind, verb):
            return self.may(kind, verb)
        return bool(self.identity.username) and self.checker.may_list(kind, verb)

    def reaches(self, resource: Resource) -> bool:
        """
        @return: whether the identity's roles let it reach a target, as any principal; whether a host may see it.
        """
        if self.identity.is_host:
            return builtin.system_allows(self.identity.system_roles, resource.kind, builtin.READ_NO_SECRETS)
        target = TARGETS.get(resource.kind)
        return target is not None and self.checker.target(target, all_labels(resource)).allowed

    def sees(self, tracker: Resource) -> bool:
        """
        @param tracker: a session that runs.
        @return: whether the identity takes part in it, or may join it by a role's C{join_sessions}.
        """
        identity = self.identity
        if identity.is_host or not identity.username:
            return False
        try:
            session = Session.parse(tracker)
        except TeleportError:
            return False
        if identity.username in (session.host_user, *(each.user for each in session.participants)):
            return True
        try:
            owner = self.core.known.get("user", session.host_user).spec.get("roles")
        except TeleportError:
            return False
        names = tuple(map(str, owner)) if isinstance(owner, list | tuple) else ()
        return bool(join_modes(self.checker.roles, names, session.session_kind))

    def check_impersonation(self, user: Resource, roles: tuple[Role, ...]) -> None:
        """
        @param roles: those of the user whose certificate is asked for.
        @raise TeleportError: ACCESS_DENIED.
        """
        decision = impersonation.may_impersonate(self.checker, user, roles)
        if not decision.allowed:
            raise self.refuse(decision.reason)

    def tell(self, event: Event) -> None:
        """
        Put an event of this caller's doing into the log, with where it called from.
        """
        if self.address and getattr(event, "connection", self) is None:
            event = evolve(event, connection=Connection(remote=self.address))  # type: ignore[misc]  # every kind is one of attrs
        self.core.events.emit(event)

    def refuse(self, reason: str, message: str = "access denied") -> TeleportError:
        """
        Log a refusal.

        @return: to be raised.
        """
        self._log.info("{user} was refused: {reason}", user=self.identity.username or "nobody", reason=reason)
        return access_denied(message, details=reason)
