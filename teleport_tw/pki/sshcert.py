"""
SSH certificates: issued with the cluster's extensions, and verified into an L{Identity}.

@see: reference, sections 5.1 and 5.2; OpenSSH's C{PROTOCOL.certkeys}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from ipaddress import ip_address, ip_network
from os import urandom
from secrets import randbits
from uuid import uuid4

from attrs import evolve, field, frozen

from teleport_tw.base.errors import TeleportError, access_denied, bad_parameter
from teleport_tw.base.timing import Duration, format_time, parse_time
from teleport_tw.pki import checks
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.checks import SKEW
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.kept import Kept
from teleport_tw.pki.keys import Keystore, Signer, sign_ssh, ssh_public
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.protocols.ssh.certificate import Certificate, CertificateType, put_options, put_principals
from teleport_tw.protocols.ssh.wire import put_string

JOIN_PRINCIPAL = "-teleport-internal-join"
"""Lets its holder ask to join another's session; never a login, as no login begins with a hyphen."""

NO_LOGIN_PREFIX = "-teleport-nologin-"
"""And a UUID: the only principal of somebody with no login, as a certificate without principals is good for any."""

SOURCE_ADDRESS = "source-address"

_FLAGS: Mapping[str, str] = {
    "permit_x11_forwarding": "permit-X11-forwarding",
    "permit_agent_forwarding": "permit-agent-forwarding",
    "permit_port_forwarding": "permit-port-forwarding",
    "permit_pty": "permit-pty",
    "disallow_reissue": "disallow-reissue",
    "renewable": "renewable",
}
_TEXTS: Mapping[str, str] = {
    "mfa_device": "mfa-verified",
    "login_ip": "login-ip",
    "impersonator": "impersonator",
    "private_key_policy": "private-key-policy",
    "bot_name": "bot-name@goteleport.com",
    "bot_instance": "bot-instance-id@goteleport.com",
}
_ROLES, _TRAITS, _ROUTE = "teleport-roles", "teleport-traits", "teleport-route-to-cluster"
_REQUESTS, _RESOURCES = "teleport-active-requests", "teleport-allowed-resources"
_PREVIOUS, _GENERATION = "prev-identity-expires", "generation"
_LEFT_OUT_OF_OLD = (_ROLES, _TRAITS, _ROUTE, _REQUESTS)
_OURS = frozenset((*_FLAGS.values(), *_TEXTS.values(), *_LEFT_OUT_OF_OLD, _RESOURCES, _PREVIOUS, _GENERATION))
_HOST_ROLE, _HOST_AUTHORITY = "x-teleport-role", "x-teleport-authority"


@frozen
class _Contents:
    """
    The lists of a certificate, written.
    """

    principals: bytes
    critical_options: bytes
    extensions: bytes

    @classmethod
    def of(
        cls, principals: tuple[str, ...], critical_options: Mapping[str, str], extensions: Mapping[str, str]
    ) -> _Contents:
        return cls(put_principals(principals), put_options(critical_options.items()), put_options(extensions.items()))


@frozen
class Issuer:
    """
    An authority that can sign.
    """

    cluster: str
    type: AuthorityType
    _signer: Signer
    _blob: bytes
    _contents: Kept[Identity, _Contents] = field(factory=lambda: Kept(_contents_of), init=False, eq=False, repr=False)

    @classmethod
    def of(cls, authority: Authority, keystore: Keystore) -> Issuer:
        """
        @raise TeleportError: BAD_PARAMETER, it has no SSH key, or its private half is not here.
        """
        if not authority.active.ssh:
            raise bad_parameter(f"the {authority.type.value} authority has no SSH key")
        signer = keystore.signer(authority.active.ssh[0].private)
        return cls(authority.cluster, authority.type, signer, ssh_keys.serialize(ssh_public(signer.public)))

    def sign(
        self,
        key: ssh_keys.PublicKey,
        type_: CertificateType,
        key_id: str,
        contents: _Contents,
        valid_after: datetime,
        valid_before: datetime,
    ) -> bytes:
        """
        @return: the certificate's blob.
        """
        unsigned = Certificate(
            key=key,
            nonce=urandom(32),
            serial=randbits(64),
            type=type_,
            key_id=key_id,
            valid_after=int(valid_after.timestamp()),
            valid_before=int(valid_before.timestamp()),
            signature_key=self._blob,
        )
        covered = certificates.assemble(unsigned, contents.principals, contents.critical_options, contents.extensions)
        return covered + put_string(sign_ssh(self._signer, covered))

    def contents(self, identity: Identity) -> _Contents:
        """
        @return: what a certificate says of the identity; written once for the same object.
        """
        return self._contents.of(identity)


def issue_user(
    issuer: Issuer,
    identity: Identity,
    public_key: ssh_keys.PublicKey,
    *,
    now: datetime,
    expires: datetime | None = None,
    cert_format: str = "standard",
) -> bytes:
    """
    @param identity: what to certify; C{expires} is needed, C{valid_after} is a minute ago unless set. Its principals
        are the logins; its C{extensions} come from the roles' C{cert_extensions}. Certificates for the same object
        are the quicker made.
    @param expires: in place of the identity's own.
    @param cert_format: C{standard} or C{oldssh}, which leaves out roles, traits, route and requests.
    @return: the certificate's blob; L{line} makes a line of it.
    @raise TeleportError: BAD_PARAMETER, there is no end, or a login or an extension's name is ours.
    """
    if cert_format not in ("standard", "oldssh"):
        raise bad_parameter(f"{cert_format!r} is not a certificate format; write standard or oldssh")
    contents = issuer.contents(identity)
    if cert_format == "oldssh":
        said = {name: value for name, value in _extensions(identity).items() if name not in _LEFT_OUT_OF_OLD}
        contents = evolve(contents, extensions=put_options(said.items()))
    return issuer.sign(
        public_key,
        CertificateType.USER,
        identity.username,
        contents,
        identity.valid_after or now - SKEW,
        _end(expires or identity.expires, now),
    )


def _contents_of(identity: Identity) -> _Contents:
    for login in identity.principals:
        if login.startswith("-") or not login:
            raise bad_parameter(f"{login!r} cannot be a login")
    logins = identity.principals or (NO_LOGIN_PREFIX + str(uuid4()),)
    critical = {}
    if identity.pinned_ip:
        try:
            critical[SOURCE_ADDRESS] = str(ip_network(identity.pinned_ip))
        except ValueError as error:
            raise bad_parameter(f"{identity.pinned_ip!r} is not an IP address to pin") from error
    return _Contents.of((*logins, JOIN_PRINCIPAL), critical, _extensions(identity))


def issue_host(
    issuer: Issuer, identity: Identity, public_key: ssh_keys.PublicKey, *, now: datetime, names: Iterable[str] = ()
) -> bytes:
    """
    @param identity: C{username} C{<uuid>.<cluster>}, its system roles (none for a host outside the cluster) and
        C{expires}; C{principals} join the names.
    @param names: host names and addresses, each as a client would dial it.
    @return: the certificate's blob.
    @raise TeleportError: BAD_PARAMETER, there is no end.
    """
    own = (identity.username, identity.host_id) if identity.is_host else (identity.username,)
    extensions = {_HOST_AUTHORITY: issuer.cluster}
    if identity.system_roles:
        extensions[_HOST_ROLE] = ",".join(role.value for role in identity.system_roles)
    return issuer.sign(
        public_key,
        CertificateType.HOST,
        identity.username,
        _Contents.of(tuple(dict.fromkeys((*own, *identity.principals, *names))), {}, extensions),
        identity.valid_after or now - SKEW,
        _end(identity.expires, now),
    )


def line(blob: bytes, comment: str = "") -> str:
    """
    @return: the certificate as a C{-cert.pub} file has it, without a line feed.
    """
    algorithm = certificates.parse(blob).algorithm
    return str(ssh_keys.AuthorizedLine(algorithm, blob, comment))


def verify_user(
    blob: bytes,
    authorities: Iterable[Authority],
    now: datetime,
    *,
    login: str | None = None,
    source_ip: str | None = None,
    skew: Duration = SKEW,
) -> Identity:
    """
    Verify a user's certificate; that the user holds its key is for the SSH exchange to prove.

    @param authorities: those whose users are believed; only types C{user} and C{openssh} are looked at.
    @param login: must be among the principals; C{None} where no login is asked for, as at the proxy.
    @param source_ip: must be within C{source-address}; a certificate with one is refused when it is not known.
    @return: who it is; C{principals} are logins alone.
    @raise TeleportError: ACCESS_DENIED; C{details} say which check failed.
    """
    certificate, authority = _verify(
        blob, authorities, (AuthorityType.USER, AuthorityType.OPENSSH), CertificateType.USER, now, skew
    )
    for name in certificate.critical_options:
        if name != SOURCE_ADDRESS:
            raise access_denied(details=f"unknown critical option {name!r}")
    if not certificate.principals or (login is not None and login not in certificate.principals):
        raise access_denied(details=f"wrong principal: {login!r} is not among {list(certificate.principals)!r}")
    _check_source(certificate.critical_options.get(SOURCE_ADDRESS), source_ip)
    return _user(certificate, authority)


def verify_host(
    blob: bytes, authorities: Iterable[Authority], hostname: str | None, now: datetime, *, skew: Duration = SKEW
) -> Identity:
    """
    Verify a host's certificate.

    @param authorities: those whose hosts are believed; only type C{host} is looked at.
    @param hostname: what was dialled: a name, address or id; C{None} accepts any host of the cluster.
    @return: who it is; no system role for a host outside the cluster.
    @raise TeleportError: ACCESS_DENIED; C{details} say which check failed.
    """
    certificate, authority = _verify(blob, authorities, (AuthorityType.HOST,), CertificateType.HOST, now, skew)
    checks.check_host(certificate, hostname)
    roles = certificate.extensions.get(_HOST_ROLE, "")
    try:
        system_roles = tuple(map(SystemRole, filter(None, roles.split(","))))
    except ValueError as error:
        raise access_denied(details=f"malformed certificate: {error}") from error
    return evolve(_common(certificate, authority), system_roles=system_roles, principals=certificate.principals)


def _verify(
    blob: bytes,
    authorities: Iterable[Authority],
    types: tuple[AuthorityType, ...],
    wanted: CertificateType,
    now: datetime,
    skew: Duration,
) -> tuple[Certificate, Authority]:
    trusted = [authority for authority in authorities if authority.type in types]

    def believed(key: ssh_keys.PublicKey) -> Authority | None:
        return next((authority for authority in trusted if key in authority.trusted_ssh), None)

    return checks.check(blob, wanted, believed, now, skew)


def _check_source(allowed: str | None, source_ip: str | None) -> None:
    if allowed is None:
        return
    if source_ip is None:
        raise access_denied(details="source address: the certificate is pinned and the address not known")
    try:
        address = ip_address(source_ip)
        mapped = getattr(address, "ipv4_mapped", None)
        networks = [ip_network(text.strip(), strict=False) for text in allowed.split(",")]
    except ValueError as error:
        raise access_denied(details=f"source address: {error}") from error
    if not any((mapped or address) in network for network in networks):
        raise access_denied(details=f"source address: {source_ip} is not within {allowed}")


def _common(certificate: Certificate, authority: Authority) -> Identity:
    return Identity(
        username=certificate.key_id,
        cluster=authority.cluster,
        valid_after=checks.moment(certificate.valid_after),
        expires=checks.moment(certificate.valid_before),
    )


def _user(certificate: Certificate, authority: Authority) -> Identity:
    said = certificate.extensions
    if not certificate.key_id:
        raise access_denied(details="malformed certificate: it names no user")
    pinned = certificate.critical_options.get(SOURCE_ADDRESS, "")
    try:
        roles = json.loads(said.get(_ROLES, "{}")).get("roles", ())
        traits = json.loads(said.get(_TRAITS, "{}"))
        requests = json.loads(said.get(_REQUESTS, "{}")).get("access_requests", ())
        previous = said.get(_PREVIOUS, "")
        return evolve(
            _common(certificate, authority),
            **{member: name in said for member, name in _FLAGS.items()},  # type: ignore[arg-type] # all these are bool
            **{member: said[name] for member, name in _TEXTS.items() if name in said},  # type: ignore[arg-type] # str
            principals=tuple(name for name in certificate.principals if not name.startswith("-teleport-")),
            roles=_texts(roles),
            traits={str(key): _texts(values) for key, values in traits.items()},
            route_to_cluster=said.get(_ROUTE, ""),
            active_requests=_texts(requests),
            allowed_resources=_texts(json.loads(said.get(_RESOURCES, "[]"))),
            previous_identity_expires=parse_time(previous) if previous else None,
            generation=int(said.get(_GENERATION, "0")),
            pinned_ip=pinned.removesuffix("/32").removesuffix("/128"),
            extensions={name: value for name, value in said.items() if name not in _OURS},
        )
    except (ValueError, AttributeError, TypeError, RecursionError, TeleportError) as error:
        raise access_denied(details=f"malformed certificate: an extension cannot be read: {error}") from error


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise ValueError("a list of texts is expected")
    return tuple(values)


def _extensions(identity: Identity) -> dict[str, str]:
    for name in identity.extensions:
        if name in _OURS or not name:
            raise bad_parameter(f"cert_extensions cannot set {name!r}, which the cluster sets itself")
    said: dict[str, str] = dict(identity.extensions)
    said |= {name: "" for member, name in _FLAGS.items() if getattr(identity, member)}
    said |= {name: value for member, name in _TEXTS.items() if (value := getattr(identity, member))}
    if identity.roles:
        said[_ROLES] = json.dumps({"version": "v1", "roles": identity.roles})
    if identity.traits:
        said[_TRAITS] = json.dumps({key: list(values) for key, values in identity.traits.items()})
    if identity.route_to_cluster:
        said[_ROUTE] = identity.route_to_cluster
    if identity.active_requests:
        said[_REQUESTS] = json.dumps({"access_requests": identity.active_requests})
    if identity.allowed_resources:
        said[_RESOURCES] = json.dumps(identity.allowed_resources)
    if identity.previous_identity_expires is not None:
        said[_PREVIOUS] = format_time(identity.previous_identity_expires)
    if identity.generation:
        said[_GENERATION] = str(identity.generation)
    return said


def _end(expires: datetime | None, now: datetime) -> datetime:
    if expires is None or expires <= now:
        raise bad_parameter("a certificate needs an end in the future")
    return expires
