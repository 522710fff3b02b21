"""
May this user come in here: from a certificate to an L{AuthorizedTarget}.

Nothing a proxy says counts beyond the client's address. The agent verifies the user's own certificate, looks at locks,
fetches the roles by the names in the certificate, and decides again. Each refusal has a reason of its own for the
administrator; the user reads that access is denied, and by which lock where it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import define, evolve, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.access import hostusers, locks, sessions
from teleport_tw.access import options as merging
from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision
from teleport_tw.access.hostusers import HostUser
from teleport_tw.access.locks import Subject
from teleport_tw.access.options import MergedOptions
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.timing import from_timestamp
from teleport_tw.dial.lifetime import Terms
from teleport_tw.dial.tapping import SecondFactorMissing
from teleport_tw.dial.view import View
from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity
from teleport_tw.resources.roles_options import DeviceTrust, SessionMFA, Strictness

_DER_SEQUENCE = 0x30

MFA_NEEDED = (
    "access denied: this session needs a second factor; connect with tsh or on the web, which ask for it, "
    "after adding a device with `tsh mfa add`"
)

NOT_JOINED = (
    "sessions that the proxy records cannot be joined; sessions that others have to watch need a cluster that records "
    "at the servers (session_recording: node)"
)


@frozen(kw_only=True)
class AuthorizedTarget:
    """
    A user who may use this host as one login; only L{Admission} makes it.

    @ivar certificate: SSH blob or DER, as it was verified.
    @ivar client_ip: empty where it is not known.
    @ivar host_user: the Unix user to make for the session; C{None} for none.
    @ivar joins_only: they came to join another's session, and may do nothing else; C{login} is no account then.
    """

    identity: Identity
    login: str
    certificate: bytes
    client_ip: str
    checker: Checker
    host_user: HostUser | None
    terms: Terms
    joins_only: bool = False

    @property
    def options(self) -> MergedOptions:
        """
        What the user's roles say together.
        """
        return self.checker.options


def checker_of(view: View, identity: Identity) -> Checker:
    """
    @return: decides by the roles that the certificate names, as the cluster has them now.
    @raise TeleportError: ACCESS_DENIED, one of them is not there.
    """
    wanted = str(view.preference().require_session_mfa).upper()
    return Checker.for_identity(
        view.roles(identity.roles),
        username=identity.username,
        traits=identity.traits,
        cluster_mfa=SessionMFA.YES if wanted == "TRUE" else SessionMFA.__members__.get(wanted, SessionMFA.NO),
    )


def terms_of(view: View, identity: Identity, checker: Checker, *, server_id: str, login: str = "") -> Terms:
    """
    @param server_id: of the host that serves, which locks may name.
    @return: on which a connection of this user goes on.
    """
    preference, options, networking = view.preference(), checker.options, view.networking()
    strict = preference.locking_mode == Strictness.STRICT.value or options.lock is Strictness.STRICT
    subject = Subject(
        user=identity.username,
        roles=frozenset(identity.roles),  # type: ignore[arg-type] # attrs tells no type of C{frozenset}
        login=login,
        mfa_device=identity.mfa_device,
        access_requests=frozenset(identity.active_requests),  # type: ignore[arg-type] # the same
        server_id=server_id,
        bot_instance_id=identity.bot_instance,
    )
    ends = preference.disconnect_expired_cert or options.disconnect_expired_cert
    return Terms(
        subject=subject,
        locking=Strictness.STRICT if strict else Strictness.BEST_EFFORT,
        expires=identity.previous_identity_expires or identity.expires if ends else None,
        idle_timeout=options.idle_timeout(networking.client_idle_timeout),
        idle_message=networking.idle_timeout_message,
    )


def refuse_locked(view: View, terms: Terms, now: datetime) -> None:
    """
    @raise TeleportError: ACCESS_DENIED, a lock hits, or locks cannot be read.
    """
    try:
        known = view.locks()
    except TeleportError as error:
        raise access_denied(details=f"a lock cannot be read: {error.message}") from error
    text = locks.refusal(known, terms.subject, now, mode=terms.locking, fresh_at=view.locks_fresh_at(now))
    if text:
        raise TeleportError(Kind.ACCESS_DENIED, text, details=text)


def refuse_lacking(decision: Decision, identity: Identity) -> None:
    """
    @raise TeleportError: ACCESS_DENIED, the session needs a second factor or a device that the certificate lacks.
    @raise SecondFactorMissing: the former, and nothing else.
    """
    if decision.mfa > SessionMFA.YES and not identity.private_key_policy.startswith("hardware_key"):
        raise access_denied(
            "access denied: this session needs a private key that is kept in hardware",
            details=f"{decision.mfa.name.lower()} asked for, the key's policy is {identity.private_key_policy!r}",
        )
    human = not identity.bot_name
    if decision.device_trust is DeviceTrust.REQUIRED or (
        decision.device_trust is DeviceTrust.REQUIRED_FOR_HUMANS and human
    ):
        raise access_denied("access denied: this session needs a trusted device", details="no trusted device")
    if decision.mfa is not SessionMFA.NO and not identity.mfa_device:
        raise SecondFactorMissing(Kind.ACCESS_DENIED, MFA_NEEDED, details="no MFA in certificate")


@define(eq=False)
class Admission:
    """
    Decides for one host.

    @ivar host_id: what locks call C{server_id}.
    @ivar labels: the host's own, static and dynamic, at the time of asking.
    @ivar joining: whether sessions can be joined here. Where they cannot, who must be watched is not let in.
    """

    view: View
    clock: IReactorTime
    host_id: str
    labels: Callable[[], Mapping[str, str]]
    joining: bool = False

    def admit(self, certificate: bytes, login: str, client_ip: str, mfa_device: str = "") -> AuthorizedTarget:
        """
        @param certificate: the user's SSH certificate blob, or X.509 in DER; that the user holds the key is proved
            elsewhere.
        @param login: the Unix login asked for.
        @param mfa_device: that proved who the user is in the middle of this login, as auth says.
        @raise TeleportError: ACCESS_DENIED; the reason is in C{details}.
        """
        now = from_timestamp(self.clock.seconds())
        identity = self._identity(certificate, login, client_ip, now)
        if mfa_device:
            identity = evolve(identity, mfa_device=mfa_device)
        checker = checker_of(self.view, identity)
        terms = terms_of(self.view, identity, checker, server_id=self.host_id, login=login)
        refuse_locked(self.view, terms, now)
        self._check_requested(identity)
        if not self.joining and (login == sshcert.JOIN_PRINCIPAL or sessions.moderated(checker.roles, "ssh")):
            raise access_denied(NOT_JOINED, details="sessions cannot be joined here")
        if login == sshcert.JOIN_PRINCIPAL:
            return self._admit_to_join(identity, certificate, client_ip, checker, terms)
        labels = self.labels()
        decision = checker.login_to_node(labels, login)
        if not decision.allowed:
            raise access_denied(f"access denied to {login} connecting to this host", details=decision.reason)
        refuse_lacking(decision, identity)
        return AuthorizedTarget(
            identity=identity,
            login=login,
            certificate=certificate,
            client_ip=client_ip,
            checker=checker,
            host_user=hostusers.host_user(checker, labels),
            terms=terms,
        )

    def _admit_to_join(
        self, identity: Identity, certificate: bytes, client_ip: str, checker: Checker, terms: Terms
    ) -> AuthorizedTarget:
        """
        Which sessions, and how, is decided when one is asked for: by its owner, not by the labels of this host.
        """
        asked = merging.strongest_mfa(
            [checker.cluster_mfa, *(role.options.require_session_mfa for role in checker.roles)]
        )
        refuse_lacking(
            Decision(
                allowed=True,
                reason="came to join",
                mfa=asked,
                device_trust=merging.strictest_devices(role.options.device_trust_mode for role in checker.roles),
            ),
            identity,
        )
        return AuthorizedTarget(
            identity=identity,
            login=sshcert.JOIN_PRINCIPAL,
            certificate=certificate,
            client_ip=client_ip,
            checker=checker,
            host_user=None,
            terms=terms,
            joins_only=True,
        )

    def _identity(self, certificate: bytes, login: str, client_ip: str, now: datetime) -> Identity:
        authorities = self.view.authorities(AuthorityType.USER)
        if certificate[:1] != bytes((_DER_SEQUENCE,)):
            return sshcert.verify_user(certificate, authorities, now, login=login, source_ip=client_ip or None)
        identity = x509.verify([certificate], authorities, now, wanted=x509.Wanted.USER)
        if identity.pinned_ip and identity.pinned_ip != client_ip:
            raise access_denied(details=f"source address: {client_ip!r} is not {identity.pinned_ip}")
        if login not in identity.principals:
            raise access_denied(details=f"wrong principal: {login!r} is not in the certificate")
        return identity

    def _check_requested(self, identity: Identity) -> None:
        if identity.allowed_resources:
            own = f"/{self.view.cluster}/node/{self.host_id}"
            if own not in identity.allowed_resources:
                raise access_denied(details=f"the access request is for other resources than {own}")
