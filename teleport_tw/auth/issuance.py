"""
Who gets which certificate: pure of storage and of permission, which the callers have seen to.

A user's certificate lasts as long as the least of what was asked for, the roles allow, and the cluster allows;
one derived from another never lasts longer than that.
"""

from __future__ import annotations

import re
import uuid
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from ssl import DER_cert_to_PEM_cert

from attrs import evolve, frozen
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from teleport_tw.api.contract import (
    Certificates,
    DatabaseCertificate,
    DatabaseCertRequest,
    HostIssueRequest,
    PublicKeys,
)
from teleport_tw.auth.signing import Signing
from teleport_tw.base.errors import RemoteProtocolError, TeleportError, access_denied, bad_parameter
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.checks import SKEW
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import load_public
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.nodes import Node

HOST_TTL: Duration = timedelta(days=30)
"""Of a member's own certificates; renewed long before."""
SESSION_TTL: Duration = timedelta(hours=12)
"""The cluster's default where the settings name none."""
MIN_TTL: Duration = timedelta(minutes=1)
MAX_TTL: Duration = timedelta(hours=30)
"""The reference's bounds of a user's certificate; an administrator's C{auth sign} may go further."""
MAX_SIGN_TTL: Duration = timedelta(days=3650)
"""Of what an administrator signs: no longer than an authority lives."""

STAND_IN_TTL: Duration = timedelta(hours=24)
"""Of the certificate with which a proxy stands in for a server whose sessions it records."""

DATABASE_TTL: Duration = timedelta(hours=24)
"""Of what an agent shows a database; it is kept and used for every session of a user until then."""

MAX_DATABASE_USER = 255
"""Characters of a database user; the longest that a database allows are 128."""

MAX_NAME = 253
"""Characters of a host name, RFC 1035."""
_NAME = re.compile(r"[A-Za-z0-9_.:-]+\Z")
_EXTENSION_IP = ("127.0.0.1", "::1")


@frozen(kw_only=True)
class UserGrant:
    """
    What one user's roles come to, as far as certificates say it.

    @ivar identity: everything the certificates carry but the dates.
    @ivar max_ttl: of the roles; zero where they name none.
    @ivar cert_format: C{standard} or C{oldssh}.
    """

    identity: Identity
    max_ttl: Duration = NEVER
    cert_format: str = "standard"


def lifetime(asked: Duration, *bounds: Duration, longest: Duration = MAX_TTL) -> Duration:
    """
    @param asked: zero for as long as possible.
    @param bounds: zero for none.
    @return: the least of them, at least a minute.
    @raise TeleportError: BAD_PARAMETER, a negative duration was asked for.
    """
    if asked < NEVER:
        raise bad_parameter("the lifetime of a certificate must not be negative")
    least = min((span for span in (asked, *bounds) if span > NEVER), default=longest)
    return max(min(least, longest), MIN_TTL)


def issue_user(
    signing: Signing, grant: UserGrant, keys: PublicKeys, *, now: datetime, expires: datetime
) -> Certificates:
    """
    @param expires: decided before; see L{lifetime}.
    @raise TeleportError: BAD_PARAMETER, no key was given or one is not usable.
    """
    ssh_key = _ssh_key(keys.ssh)
    if ssh_key is None and not keys.tls:
        raise bad_parameter("no public key was given to certify")
    identity = grant.identity
    ssh = tls = b""
    if ssh_key is not None:
        issuer = signing.ssh(AuthorityType.USER)
        blob = sshcert.issue_user(issuer, identity, ssh_key, now=now, expires=expires, cert_format=grant.cert_format)
        ssh = _line(blob)
    if keys.tls:
        tls = pem(x509.issue_user(signing.x509(AuthorityType.USER), identity, keys.tls, now=now, expires=expires))
    return Certificates(ssh=ssh, tls=tls, authorities=signing.public, cluster=identity.cluster)


def host_names(names: Iterable[str], host_id: str, cluster: str) -> tuple[str, ...]:
    """
    The names that a host may have in its certificate beside its own id.

    A host says itself how it is called. It may not take another host's id, nor a name under which auth itself is known,
    nor a wildcard, since clients would then believe it to be those.

    @raise TeleportError: BAD_PARAMETER, naming the wrong one.
    """
    good: dict[str, None] = {}
    for name in names:
        plain = name.strip().lower().rstrip(".")
        if not plain:
            continue
        if len(plain) > MAX_NAME or not _NAME.match(plain):
            raise bad_parameter(f"{name[:80]!r} is not a host name or address")
        first = plain.removesuffix(f".{cluster.lower()}")
        if plain == x509.API_DOMAIN or plain.endswith(f".{x509.API_DOMAIN}"):
            raise bad_parameter(f"{plain!r} is a name of the cluster's own")
        if _is_uuid(first) and first != host_id.lower():
            raise bad_parameter(f"{plain!r} is the id of another host")
        good[plain] = None
    return tuple(good)


def with_twin(name: str, cluster: str) -> tuple[str, ...]:
    """
    @return: the name, and for a single label the same within the cluster, as which hosts are reached too.
    """
    return (name,) if "." in name or ":" in name else (name, f"{name}.{cluster.lower()}")


def check_keys(keys: PublicKeys) -> None:
    """
    Asked before anything is spent on a certificate.

    @raise TeleportError: BAD_PARAMETER, no key was given or one is not usable.
    """
    if _ssh_key(keys.ssh) is None and not keys.tls:
        raise bad_parameter("no public key was given to certify")
    if keys.tls:
        load_public(keys.tls)


def issue_member(
    signing: Signing,
    *,
    cluster: str,
    host_id: str,
    roles: tuple[SystemRole, ...],
    names: Iterable[str],
    keys: PublicKeys,
    now: datetime,
    ttl: Duration = HOST_TTL,
) -> Certificates:
    """
    Certificates for a host of the cluster.

    @param names: seen by L{host_names}; single labels get a twin with the cluster's name.
    """
    listed: dict[str, None] = {}
    for name in names:
        listed |= dict.fromkeys(with_twin(name, cluster))
    listed |= dict.fromkeys(("localhost", *_EXTENSION_IP))
    identity = Identity(
        username=f"{host_id}.{cluster}",
        cluster=cluster,
        system_roles=roles,
        principals=tuple(listed),
        valid_after=now - SKEW,
        expires=now + ttl,
    )
    ssh_key = _ssh_key(keys.ssh)
    if ssh_key is None and not keys.tls:
        raise bad_parameter("no public key was given to certify")
    ssh = tls = b""
    if ssh_key is not None:
        blob = sshcert.issue_host(signing.ssh(AuthorityType.HOST), identity, ssh_key, now=now)
        ssh = _line(blob)
    if keys.tls:
        tls = pem(x509.issue_host(signing.x509(AuthorityType.HOST), identity, keys.tls, now=now))
    return Certificates(ssh=ssh, tls=tls, authorities=signing.public, host_id=host_id, cluster=cluster)


def issue_outsider(signing: Signing, request: HostIssueRequest, *, cluster: str, now: datetime) -> Certificates:
    """
    Certificates for a host that is no member: C{tctl auth sign --host}, a database, a stock OpenSSH server.

    @raise TeleportError: BAD_PARAMETER, no principal, no key, or an unknown authority.
    """
    if not request.principals:
        raise bad_parameter("a host certificate needs at least one name")
    if request.authority not in ("host", "db"):
        raise bad_parameter(f"{request.authority!r} is not an authority for hosts; write host or db")
    names = host_names(request.principals, "", cluster)
    expires = now + lifetime(request.ttl, longest=MAX_SIGN_TTL)
    ssh_key = _ssh_key(request.keys.ssh)
    ssh = tls = b""
    if ssh_key is not None:
        if request.authority != "host":
            raise bad_parameter(f"the {request.authority} authority signs no SSH certificates")
        identity = Identity(
            username=names[0], cluster=cluster, principals=names, valid_after=now - SKEW, expires=expires
        )
        blob = sshcert.issue_host(signing.ssh(AuthorityType.HOST), identity, ssh_key, now=now)
        ssh = _line(blob)
    if request.keys.tls:
        issuer = signing.x509(AuthorityType(request.authority))
        tls = pem(x509.issue_server(issuer, names, request.keys.tls, now=now, expires=expires))
    if not ssh and not tls:
        raise bad_parameter("no public key was given to certify")
    return Certificates(ssh=ssh, tls=tls, authorities=signing.public, cluster=cluster)


def issue_database(signing: Signing, request: DatabaseCertRequest, *, now: datetime) -> DatabaseCertificate:
    """
    A certificate with which an agent becomes one user of a database.

    @raise TeleportError: BAD_PARAMETER, no user is named, or the key is not one that databases understand.
    """
    user = request.username
    if not user or len(user) > MAX_DATABASE_USER or any(ord(each) < 0x20 for each in user):
        raise bad_parameter("a certificate for a database names a database user")
    if not isinstance(load_public(request.key), rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise bad_parameter("a certificate for a database needs an RSA or EC key")
    expires = now + lifetime(request.ttl, longest=DATABASE_TTL)
    issued = x509.issue_client(signing.x509(AuthorityType.DB_CLIENT), user, request.key, now=now, expires=expires)
    return DatabaseCertificate(certificate=pem(issued), roots=signing.roots(AuthorityType.DB))


def issue_stand_in(
    signing: Signing, request: HostIssueRequest, node: Node, *, cluster: str, now: datetime
) -> Certificates:
    """
    A certificate for a proxy that ends users' SSH on a server's behalf: SSH alone, for this server's names alone.

    @param node: as it is registered.
    @raise TeleportError: BAD_PARAMETER, something else was asked for; ACCESS_DENIED, a name is not the server's.
    """
    ssh_key = _ssh_key(request.keys.ssh)
    if ssh_key is None or request.keys.tls or request.authority != "host":
        raise bad_parameter("for a registered server a proxy gets an SSH host certificate and nothing else")
    names = host_names(request.principals, node.name, cluster)
    foreign = sorted({*names} - {*node.names(cluster)})
    if foreign or not names:
        raise access_denied(details=f"{', '.join(foreign) or 'nothing'} is no name of node {node.name!r}")
    identity = Identity(
        username=names[0],
        cluster=cluster,
        principals=names,
        valid_after=now - SKEW,
        expires=now + lifetime(request.ttl, STAND_IN_TTL),
    )
    blob = sshcert.issue_host(signing.ssh(AuthorityType.HOST), identity, ssh_key, now=now)
    ssh = sshcert.line(blob).encode("ascii") + b"\n"
    return Certificates(ssh=ssh, authorities=signing.public, cluster=cluster)


def issue_agentless(
    signing: Signing, user: Identity, login: str, ssh_key: bytes, *, now: datetime, ttl: Duration
) -> bytes:
    """
    A certificate of the C{openssh} authority, for a proxy that connects to a stock sshd on the user's behalf.

    @param user: verified from the user's own certificate; the new one lasts no longer.
    @return: the line.
    """
    key = _ssh_key(ssh_key)
    if key is None:
        raise bad_parameter("no public key was given to certify")
    expires = min(now + ttl, user.expires) if user.expires is not None else now + ttl
    identity = evolve(
        user,
        principals=(login,),
        valid_after=now - SKEW,
        expires=expires,
        permit_pty=True,
        pinned_ip="",  # sshd sees the proxy's address; the proxy has compared the user's
    )
    blob = sshcert.issue_user(signing.ssh(AuthorityType.OPENSSH), identity, key, now=now)
    return _line(blob)


def pem(certificate: bytes) -> bytes:
    """
    @param certificate: DER.
    """
    return DER_cert_to_PEM_cert(certificate).encode("ascii")


def _line(blob: bytes) -> bytes:
    """
    @param blob: made here, so it begins with its algorithm's name and need not be read again.
    """
    length = int.from_bytes(blob[:4], "big")
    return blob[4 : 4 + length] + b" " + b64encode(blob) + b"\n"


def _ssh_key(line: bytes) -> ssh_keys.PublicKey | None:
    if not line.strip():
        return None
    try:
        parsed = ssh_keys.parse_line(line.decode("ascii").strip())
        return ssh_keys.parse(parsed.blob)
    except (RemoteProtocolError, UnicodeDecodeError, TeleportError) as error:
        raise bad_parameter(f"the SSH public key cannot be read: {error}") from error


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
