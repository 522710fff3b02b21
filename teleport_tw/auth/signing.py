"""
The cluster's authorities, ready to sign and to verify.

Parsing a key costs a thousand times what a lookup costs, so what each authority needs is made once and again when the
authority changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from attrs import define, field
from cryptography.hazmat.primitives.serialization import Encoding

from teleport_tw.base.errors import TeleportError, not_found
from teleport_tw.pki import sshcert, trust, x509
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.keys import Keystore
from teleport_tw.resources.metadata import Resource

NEEDED = (
    AuthorityType.HOST,
    AuthorityType.USER,
    AuthorityType.DB,
    AuthorityType.DB_CLIENT,
    AuthorityType.OPENSSH,
    AuthorityType.JWT,
)
"""What a cluster has from its first start on."""

MAX_KNOWN = 4096
"""Certificates whose verification is remembered."""


@define(eq=False)
class Signing:
    """
    All authorities of this cluster with their private halves.

    @ivar changed: called after each change with the new public halves.
    """

    keystore: Keystore
    _authorities: dict[AuthorityType, Authority] = field(factory=dict, init=False)
    _ssh: dict[AuthorityType, sshcert.Issuer] = field(factory=dict, init=False)
    _x509: dict[AuthorityType, x509.Issuer] = field(factory=dict, init=False)
    _public: tuple[Resource, ...] = field(default=(), init=False)
    _known: dict[bytes, Identity] = field(factory=dict, init=False)
    _listeners: list[Callable[[], None]] = field(factory=list, init=False)

    def load(self, authorities: Iterable[Authority]) -> None:
        """
        @param authorities: every one of the cluster; those left out are forgotten.
        """
        self._authorities = {authority.type: authority for authority in authorities}
        self._ssh.clear()
        self._x509.clear()
        self._known.clear()
        self._public = tuple(authority.public().resource for authority in self._authorities.values())
        for listener in tuple(self._listeners):
            listener()

    def on_change(self, listener: Callable[[], None]) -> None:
        """
        @param listener: called after each L{load}.
        """
        self._listeners.append(listener)

    @property
    def public(self) -> tuple[Resource, ...]:
        """
        The C{cert_authority} resources that everybody may have; the same tuple until something changes.
        """
        return self._public

    @property
    def authorities(self) -> tuple[Authority, ...]:
        """
        For verifying.
        """
        return tuple(self._authorities.values())

    def authority(self, type_: AuthorityType) -> Authority:
        """
        @raise TeleportError: NOT_FOUND.
        """
        try:
            return self._authorities[type_]
        except KeyError as error:
            raise not_found(f"this cluster has no {type_.value} authority") from error

    def ssh(self, type_: AuthorityType) -> sshcert.Issuer:
        """
        @return: signs SSH certificates.
        """
        issuer = self._ssh.get(type_)
        if issuer is None:
            issuer = self._ssh[type_] = sshcert.Issuer.of(self.authority(type_), self.keystore)
        return issuer

    def x509(self, type_: AuthorityType) -> x509.Issuer:
        """
        @return: signs X.509 certificates.
        """
        issuer = self._x509.get(type_)
        if issuer is None:
            issuer = self._x509[type_] = x509.Issuer.of(self.authority(type_), self.keystore)
        return issuer

    def roots(self, *types: AuthorityType) -> bytes:
        """
        @return: the certificates of the types' trusted keys, PEM one after the other.
        """
        certificates = (root for type_ in types for root in self.authority(type_).trusted_tls)
        return b"".join(root.public_bytes(Encoding.PEM) for root in certificates)

    def pins(self) -> tuple[str, ...]:
        """
        @return: of the host authority's TLS keys.
        """
        return trust.pins(self.authority(AuthorityType.HOST))

    def recall(self, shown: bytes, now: datetime) -> Identity | None:
        """
        @param shown: a certificate in whatever form L{identify} was told to remember it by.
        @return: who it is, when that was verified before and still holds.
        """
        known = self._known.get(shown)
        return known if known is not None and known.expires is not None and now <= known.expires else None

    def identify(self, certificate: bytes, now: datetime, remember_as: bytes = b"") -> Identity:
        """
        @param certificate: DER, of a user or host, whose key the peer was seen to hold.
        @param remember_as: another form of it, for L{recall}.
        @raise TeleportError: ACCESS_DENIED; C{details} say which check failed.
        """
        key = remember_as or certificate
        known = self.recall(key, now)
        if known is not None:
            return known
        identity = x509.verify([certificate], self.authorities, now, wanted=x509.Wanted.ANY)
        if len(self._known) >= MAX_KNOWN:
            self._known.pop(next(iter(self._known)))
        self._known[key] = identity
        return identity


def refusal(error: TeleportError) -> str:
    """
    @return: the reason of a refusal, for the log and the audit event.
    """
    return error.details or error.message
