"""
Whom the proxy lets in: authorities and locks as the local copy has them now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.access.locks import Lock, Subject, refusal
from teleport_tw.api.contract import Watched
from teleport_tw.api.mirror import Mirror
from teleport_tw.base.addresses import same_address
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.base.timing import from_timestamp
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.x509 import Wanted, verify
from teleport_tw.resources.roles_options import Strictness

KINDS = (
    "cert_authority",
    "node",
    "db_server",
    "role",
    "lock",
    "cluster_auth_preference",
    "cluster_networking_config",
    "session_recording_config",
)
"""What the proxy keeps a copy of."""


@define(eq=False)
class Doorkeeper:
    """
    Reads certificates and looks for locks.

    @ivar copy: watches L{KINDS}.
    """

    copy: Mirror
    clock: IReactorTime
    _authorities: tuple[Authority, ...] | None = field(default=None, init=False)
    _locks: tuple[Lock, ...] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.copy.subscribe(self._changed)

    def _changed(self, news: Watched) -> None:
        kind = news.resource.kind if news.resource is not None else ""
        if kind in ("cert_authority", ""):
            self._authorities = None
        if kind in ("lock", ""):
            self._locks = None

    def now(self) -> datetime:
        """
        @return: aware UTC.
        """
        return from_timestamp(self.clock.seconds())

    def authorities(self, *types: AuthorityType) -> Sequence[Authority]:
        """
        @param types: only these; all without.
        """
        if self._authorities is None:
            self._authorities = tuple(map(Authority.parse, self.copy.list("cert_authority")))
        return [authority for authority in self._authorities if not types or authority.type in types]

    def host(self, transport: Any) -> Identity:
        """
        @param transport: TLS, with a client certificate.
        @raise TeleportError: ACCESS_DENIED, it is no host of this cluster, or a lock is on it.
        """
        identity = verify(_chain(transport), self.authorities(AuthorityType.HOST), self.now(), wanted=Wanted.HOST)
        self.admit(identity)
        return identity

    def user(self, transport: Any, usage: str = "") -> Identity:
        """
        @param transport: TLS, with a client certificate.
        @param usage: what it is shown for; one that is restricted to something else is not good for it.
        @raise TeleportError: ACCESS_DENIED, it is no user of this cluster, or not from here, or a lock is on them.
        """
        identity = verify(_chain(transport), self.authorities(AuthorityType.USER), self.now(), wanted=Wanted.USER)
        if identity.usage and usage not in identity.usage:
            raise access_denied(details=f"the certificate is for {', '.join(identity.usage)} alone")
        if identity.pinned_ip and not same_address(identity.pinned_ip, transport.getPeer().host):
            raise access_denied(details=f"source address: the certificate is pinned to {identity.pinned_ip}")
        self.admit(identity)
        return identity

    def admit(self, identity: Identity, login: str = "") -> None:
        """
        @raise TeleportError: ACCESS_DENIED, with the lock's message.
        """
        if self._locks is None:
            self._locks = tuple(map(Lock.parse, self.copy.list("lock")))
        subject = Subject(
            user="" if identity.is_host else identity.username,
            roles=identity.roles,  # type: ignore[arg-type]  # mypy misreads frozenset as converter
            login=login,
            mfa_device=identity.mfa_device,
            access_requests=identity.active_requests,  # type: ignore[arg-type]  # as above
            server_id=identity.host_id,
            bot_instance_id=identity.bot_instance,
        )
        why = refusal(self._locks, subject, self.now(), mode=self._mode(), fresh_at=self.now() - self.copy.age())
        if why:
            raise access_denied(why, details=why)

    def _mode(self) -> Strictness:
        try:
            spec = self.copy.get("cluster_auth_preference", "cluster-auth-preference").spec
        except TeleportError:
            return Strictness.BEST_EFFORT
        return Strictness.STRICT if spec.get("locking_mode") == "strict" else Strictness.BEST_EFFORT


def _chain(transport: Any) -> list[bytes]:
    shown = transport.getPeerCertificate()
    return [shown] if shown else []
