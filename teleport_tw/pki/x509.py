"""
TLS certificates: issued, and verified into an L{Identity}; L{teleport_tw.pki.subject} knows what their names say.

Leaves are signed by an authority's own certificate directly, so a chain is the leaf and a root that is trusted already;
whatever else a peer sends is not looked at. What a certificate may say follows from the type of the authority that
signed it: a C{user} authority cannot make a host.

@see: RFC 5280
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import ip_address
from secrets import randbits

from attrs import field, frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from teleport_tw.base.errors import access_denied, bad_parameter
from teleport_tw.base.timing import Duration, format_time
from teleport_tw.pki import der
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.kept import Kept
from teleport_tw.pki.keys import Keystore, Signer, load_public, spki
from teleport_tw.pki.subject import COMMON_NAME, ORGANIZATION, UNREADABLE, holder_of, host_attributes, user_attributes

SKEW: Duration = timedelta(minutes=1)
"""How far two clocks of a cluster may be apart."""

API_DOMAIN = "teleport.cluster.local"
"""In every host certificate, so that clients can verify whatever address they dialled."""

_LEAF = der.extension("2.5.29.19", der.sequence(), critical=True)
_KEY_USAGE = der.extension("2.5.29.15", der.bit_string(b"\x80", 7), critical=True)
_RSA_KEY_USAGE = der.extension("2.5.29.15", der.bit_string(b"\xa0", 5), critical=True)
_CLIENT = der.oid("1.3.6.1.5.5.7.3.2")
_SERVER = der.oid("1.3.6.1.5.5.7.3.1")
_CLIENT_USAGE = der.extension("2.5.29.37", der.sequence(_CLIENT))
_BOTH_USAGES = der.extension("2.5.29.37", der.sequence(_SERVER, _CLIENT))


class Wanted(Enum):
    """
    Whom a peer must prove to be.
    """

    USER = "user"
    HOST = "host"
    ANY = "any"


class Side(Enum):
    """
    Which end of a TLS connection shows the certificate.
    """

    CLIENT = "client"
    SERVER = "server"


def encoded_cluster(cluster: str) -> str:
    """
    @return: the server name that selects a cluster: C{<hex of its name>.teleport.cluster.local}.
    """
    return f"{cluster.encode('utf-8').hex()}.{API_DOMAIN}"


@frozen
class Issuer:
    """
    An authority that can sign, with all that is the same in each of its certificates written beforehand.
    """

    cluster: str
    type: AuthorityType
    _signer: Signer
    _name: bytes
    _algorithm: bytes
    _key_identifier: bytes
    _subjects: Kept[Identity, bytes] = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        cluster = self.cluster  # and not self, which would then never be freed
        kept: Kept[Identity, bytes] = Kept(lambda identity: der.name(user_attributes(identity, cluster)))
        object.__setattr__(self, "_subjects", kept)

    @classmethod
    def of(cls, authority: Authority, keystore: Keystore) -> Issuer:
        """
        @raise TeleportError: BAD_PARAMETER, it has no TLS key, or its private half is not here.
        """
        if not authority.active.tls:
            raise bad_parameter(f"the {authority.type.value} authority has no TLS key")
        key = authority.active.tls[0]
        signer = keystore.signer(key.private)
        digest = key.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
        return cls(
            authority.cluster,
            authority.type,
            signer,
            key.certificate.subject.public_bytes(),
            der.signature_algorithm(signer.public),
            der.extension("2.5.29.35", der.sequence(der.tlv(0x80, digest))),
        )

    def subject(self, identity: Identity) -> bytes:
        """
        @return: DER of the name of a user; written once for the same object.
        """
        return self._subjects.of(identity)

    def sign(
        self, subject: bytes, public: bytes, valid_after: datetime, valid_before: datetime, extensions: bytes
    ) -> bytes:
        """
        @param subject: DER of the name.
        @param public: SubjectPublicKeyInfo, DER.
        @return: the certificate, DER.
        """
        body = der.to_be_signed(
            serial=randbits(126) | 1 << 126,
            algorithm=self._algorithm,
            issuer=self._name,
            valid_after=valid_after,
            valid_before=valid_before,
            subject=subject,
            spki=public,
            extensions=extensions + self._key_identifier,
        )
        return der.sequence(body, self._algorithm, der.bit_string(self._signer.sign(body)))


def issue_user(
    issuer: Issuer, identity: Identity, public_key: bytes, *, now: datetime, expires: datetime | None = None
) -> bytes:
    """
    @param identity: what to certify; C{expires} is needed, C{valid_after} is a minute ago unless set, and the cluster
        becomes the issuer's. Certificates for the same object are the quicker made.
    @param expires: in place of the identity's own.
    @param public_key: SubjectPublicKeyInfo, PEM or DER.
    @return: the certificate, DER.
    @raise TeleportError: BAD_PARAMETER, the key is not usable or there is no end.
    """
    public = load_public(public_key)
    usage = _RSA_KEY_USAGE if isinstance(public, rsa.RSAPublicKey) else _KEY_USAGE
    extensions = usage + _LEAF + _CLIENT_USAGE
    valid_after, valid_before = identity.valid_after or now - SKEW, _end(expires or identity.expires, now)
    return issuer.sign(issuer.subject(identity), spki(public), valid_after, valid_before, extensions)


def issue_host(
    issuer: Issuer, identity: Identity, public_key: bytes, *, now: datetime, names: Iterable[str] = ()
) -> bytes:
    """
    @param identity: C{username} C{<uuid>.<cluster>}, its system roles, and C{expires}; C{principals} join the names.
    @param names: host names and IP addresses; the id is added. Auth alone also gets the API domain and the cluster's
        own name: clients verify auth by them, and no other host may stand in for it.
    @return: the certificate, DER, for both sides of TLS.
    @raise TeleportError: BAD_PARAMETER, the key or a name is not usable, or there is no role or end.
    """
    if not identity.system_roles:
        raise bad_parameter("a host certificate needs a system role")
    attributes = host_attributes(identity, issuer.cluster)
    own = [identity.username, identity.host_id]
    if SystemRole.AUTH in identity.system_roles:
        own += [API_DOMAIN, encoded_cluster(issuer.cluster)]
    listed = dict.fromkeys((*own, *identity.principals, *names))
    return _issue_server(
        issuer, attributes, listed, public_key, identity.valid_after or now - SKEW, _end(identity.expires, now)
    )


def issue_server(issuer: Issuer, names: Sequence[str], public_key: bytes, *, now: datetime, expires: datetime) -> bytes:
    """
    A certificate for a server outside the cluster, such as a database (C{tctl auth sign --format=db}).

    @param names: host names and IP addresses; the first is the common name.
    @return: the certificate, DER.
    """
    if not names:
        raise bad_parameter("a server certificate needs a name")
    attributes = [(ORGANIZATION, issuer.cluster), (COMMON_NAME, names[0])]
    return _issue_server(issuer, attributes, dict.fromkeys(names), public_key, now - SKEW, expires)


def issue_client(issuer: Issuer, name: str, public_key: bytes, *, now: datetime, expires: datetime) -> bytes:
    """
    A certificate for a client of a server outside the cluster: an agent that is a database's user.

    @param name: the common name and the whole subject: MongoDB and MySQL compare all of it (C{CN=alice}).
    @return: the certificate, DER.
    """
    public = load_public(public_key)
    usage = _RSA_KEY_USAGE if isinstance(public, rsa.RSAPublicKey) else _KEY_USAGE
    subject = der.name(((COMMON_NAME, name),))
    return issuer.sign(subject, spki(public), now - SKEW, expires, usage + _LEAF + _CLIENT_USAGE)


def _issue_server(
    issuer: Issuer,
    attributes: Sequence[tuple[str, str]],
    names: Iterable[str],
    public_key: bytes,
    valid_after: datetime,
    valid_before: datetime,
) -> bytes:
    public = load_public(public_key)
    usage = _RSA_KEY_USAGE if isinstance(public, rsa.RSAPublicKey) else _KEY_USAGE
    alternative = der.extension("2.5.29.17", der.sequence(*map(_general_name, filter(None, names))))
    extensions = usage + _LEAF + _BOTH_USAGES + alternative
    return issuer.sign(der.name(attributes), spki(public), valid_after, valid_before, extensions)


def to_pem(certificate: bytes) -> bytes:
    """
    @param certificate: DER.
    """
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def verify(
    chain: Sequence[bytes],
    authorities: Iterable[Authority],
    now: datetime,
    *,
    wanted: Wanted = Wanted.USER,
    side: Side = Side.CLIENT,
    skew: Duration = SKEW,
) -> Identity:
    """
    Verify a certificate a peer has shown, and that the TLS handshake proved it holds the key of.

    @param chain: DER, the peer's own first; the rest is not needed.
    @param authorities: those whose users and hosts are believed, in both key sets.
    @param now: aware.
    @param skew: allowed beyond both ends of the validity.
    @return: who it is.
    @raise TeleportError: ACCESS_DENIED; C{details} say which check failed.
    """
    if not chain:
        raise access_denied(details="no certificate")
    authorities = tuple(authorities)
    seen = _seen.get((chain[0], side))
    if seen is not None and any(seen.is_of(authority) for authority in authorities):
        _check_root(seen.root, now, skew)
        _check_times(seen.certificate, now, skew)
        identity = seen.identity
    else:
        identity = _verified(chain[0], authorities, now, side, skew)
    if wanted is not Wanted.ANY and identity.is_host is not (wanted is Wanted.HOST):
        raise access_denied(details=f"wrong certificate type: a {wanted.value} is wanted here")
    return identity


@frozen
class _Seen:
    """
    A certificate that was verified: what of that would come out the same again.

    @ivar root: that has signed it.
    @ivar authority: type and cluster of the authority whose root that was.
    """

    certificate: x509.Certificate
    root: x509.Certificate
    authority: tuple[AuthorityType, str]
    identity: Identity

    def is_of(self, authority: Authority) -> bool:
        """
        @return: whether it would be found to be this authority's.
        """
        return (authority.type, authority.cluster) == self.authority and self.root in authority.trusted_tls


MAX_SEEN = 1000
MAX_SEEN_BYTES = 8 << 10
"""Of one of them; those with many traits are verified each time."""
_seen: dict[tuple[bytes, Side], _Seen] = {}


def _verified(shown: bytes, authorities: Iterable[Authority], now: datetime, side: Side, skew: Duration) -> Identity:
    try:
        certificate = x509.load_der_x509_certificate(shown)
        if shown[-len(certificate.signature) - 1]:  # outside what is signed, and read leniently by the library
            raise access_denied(details="malformed certificate: its signature has unused bits")
        authority, root = _issuing(certificate, authorities, now, skew)
        _check_times(certificate, now, skew)
        _check_uses(certificate, side)
        identity = holder_of(certificate, authority)
    except UNREADABLE as error:
        raise access_denied(details=f"malformed certificate: {error}") from error
    if len(shown) <= MAX_SEEN_BYTES:
        if len(_seen) >= MAX_SEEN:
            _seen.pop(next(iter(_seen)), None)
        _seen[shown, side] = _Seen(certificate, root, (authority.type, authority.cluster), identity)
    return identity


def identity_of(certificate: bytes, authority: Authority) -> Identity:
    """
    Read a certificate that was verified before, or that is one's own, without verifying it.

    @param certificate: DER.
    @param authority: the one that signed; its type decides how the subject is read.
    @raise TeleportError: ACCESS_DENIED, the certificate cannot be read.
    """
    try:
        return holder_of(x509.load_der_x509_certificate(certificate), authority)
    except UNREADABLE as error:
        raise access_denied(details=f"malformed certificate: {error}") from error


def _issuing(
    certificate: x509.Certificate, authorities: Iterable[Authority], now: datetime, skew: Duration
) -> tuple[Authority, x509.Certificate]:
    named = False
    for authority in authorities:
        if authority.type not in (AuthorityType.USER, AuthorityType.HOST):
            continue
        for root in authority.trusted_tls:
            if root.subject != certificate.issuer:
                continue
            named = True
            try:
                certificate.verify_directly_issued_by(root)
            except (InvalidSignature, TypeError, ValueError):
                continue
            _check_root(root, now, skew)
            return authority, root
    raise access_denied(
        details="tampered signature: it is not the named authority's" if named else "wrong authority: it is not trusted"
    )


def _check_root(root: x509.Certificate, now: datetime, skew: Duration) -> None:
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    if not constraints.ca or now > root.not_valid_after_utc + skew:
        raise access_denied(details="wrong authority: its own certificate cannot sign any more")


def _check_times(certificate: x509.Certificate, now: datetime, skew: Duration) -> None:
    if now + skew < certificate.not_valid_before_utc:
        raise access_denied(details=f"not yet valid: from {format_time(certificate.not_valid_before_utc)}")
    if now - skew > certificate.not_valid_after_utc:
        raise access_denied(details=f"expired: at {format_time(certificate.not_valid_after_utc)}")


_KNOWN = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectAlternativeName.oid,
    }
)


def _check_uses(certificate: x509.Certificate, side: Side) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _KNOWN:
            raise access_denied(details=f"unknown critical extension {extension.oid.dotted_string}")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound as error:
        raise access_denied(details="wrong certificate type: it does not say what it is for") from error
    purpose = ExtendedKeyUsageOID.CLIENT_AUTH if side is Side.CLIENT else ExtendedKeyUsageOID.SERVER_AUTH
    if constraints.ca:
        raise access_denied(details="wrong certificate type: an authority's, not a holder's")
    if not usage.digital_signature or purpose not in purposes:
        raise access_denied(details=f"wrong certificate type: it is not for a TLS {side.value}")


def _end(expires: datetime | None, now: datetime) -> datetime:
    if expires is None or expires <= now:
        raise bad_parameter("a certificate needs an end in the future")
    return expires


def _general_name(text: str) -> bytes:
    try:
        return der.tlv(0x87, ip_address(text).packed)
    except ValueError:
        pass
    try:
        return der.tlv(0x82, text.encode("ascii"))
    except UnicodeEncodeError as error:
        raise bad_parameter(f"{text!r} is not a host name; write international names in their ASCII form") from error
