"""
The subject of a TLS certificate: who holds it, written as the attributes of a name and read out of them again.

Where a certificate lists several of a thing, its attribute stands several times; what has no flat form is JSON.

@see: reference, section 5.3 (subject attributes and OIDs)
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from attrs import evolve
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from teleport_tw.base.errors import TeleportError, access_denied, bad_parameter
from teleport_tw.base.timing import format_time, parse_time
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import Identity, RouteToDatabase, SystemRole

COMMON_NAME, ORGANIZATION = "2.5.4.3", "2.5.4.10"
_L, _STREET, _OU, _POSTAL = "2.5.4.7", "2.5.4.9", "2.5.4.11", "2.5.4.17"
_CLUSTER, _REQUESTS, _RESOURCES = "1.3.9999.1.7", "1.3.9999.2.8", "1.3.9999.2.10"
_PREVIOUS, _SYSTEM_ROLES = "1.3.9999.2.12", "1.3.9999.2.11"

_TEXTS: Mapping[str, str] = {
    "route_to_cluster": _STREET,
    "cluster": _CLUSTER,
    "mfa_device": "1.3.9999.1.8",
    "login_ip": "1.3.9999.1.9",
    "private_key_policy": "1.3.9999.1.15",
    "kubernetes_cluster": "1.3.9999.1.3",
    "impersonator": "1.3.9999.2.7",
    "pinned_ip": "1.3.9999.2.15",
    "bot_name": "1.3.9999.2.18",
    "bot_instance": "1.3.9999.2.20",
}
_LISTS: Mapping[str, str] = {
    "roles": ORGANIZATION,
    "principals": _L,
    "usage": _OU,
    "kubernetes_users": "1.3.9999.1.1",
    "kubernetes_groups": "1.3.9999.1.2",
    "db_names": "1.3.9999.2.5",
    "db_users": "1.3.9999.2.6",
}
_FLAGS: Mapping[str, str] = {"disallow_reissue": "1.3.9999.2.9", "renewable": "1.3.9999.1.13"}
_GENERATION = "1.3.9999.1.14"
_DATABASE: Mapping[str, str] = {
    "service": "1.3.9999.2.1",
    "protocol": "1.3.9999.2.2",
    "username": "1.3.9999.2.3",
    "database": "1.3.9999.2.4",
}
_DATABASE_ROLES = "1.3.9999.2.19"

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What the library raises, as it reads part after part, for a certificate that is none."""


def user_attributes(identity: Identity, cluster: str) -> list[tuple[str, str]]:
    """
    @param cluster: that of the issuer, in place of the identity's.
    @return: dotted OID and value of each attribute of a user's subject, in order.
    """
    shown = [(COMMON_NAME, identity.username)]
    for member, dotted in _LISTS.items():
        shown += [(dotted, value) for value in getattr(identity, member)]
    if identity.traits:
        shown.append((_POSTAL, json.dumps({key: list(values) for key, values in identity.traits.items()})))
    for member, dotted in _TEXTS.items():
        value = cluster if member == "cluster" else getattr(identity, member)
        if value:
            shown.append((dotted, value))
    shown += [(dotted, "true") for member, dotted in _FLAGS.items() if getattr(identity, member)]
    if identity.generation:
        shown.append((_GENERATION, str(identity.generation)))
    if identity.previous_identity_expires is not None:
        shown.append((_PREVIOUS, format_time(identity.previous_identity_expires)))
    if identity.active_requests:
        shown.append((_REQUESTS, json.dumps(identity.active_requests)))
    if identity.allowed_resources:
        shown.append((_RESOURCES, json.dumps(identity.allowed_resources)))
    if identity.database is not None:
        route = identity.database
        shown += [(dotted, text) for member, dotted in _DATABASE.items() if (text := getattr(route, member))]
        shown += [(_DATABASE_ROLES, role) for role in route.roles]
    return shown


def host_attributes(identity: Identity, cluster: str) -> list[tuple[str, str]]:
    """
    @param identity: with one system role at least.
    @return: as L{user_attributes}, for a host.
    """
    first, *others = identity.system_roles
    shown = [(COMMON_NAME, identity.username), (ORGANIZATION, first.value), (_CLUSTER, cluster)]
    return shown + [(_SYSTEM_ROLES, role.value) for role in others]


def holder_of(certificate: x509.Certificate, authority: Authority) -> Identity:
    """
    @param certificate: verified, or one's own.
    @param authority: the one that signed; its type decides how the subject is read.
    @return: whose it is.
    @raise TeleportError: ACCESS_DENIED, the subject is not one that this authority may have signed.
    @raise Exception: one of L{UNREADABLE}; it is malformed.
    """
    values: dict[str, list[str]] = {}
    for attribute in certificate.subject:
        values.setdefault(attribute.oid.dotted_string, []).append(str(attribute.value))

    def one(dotted: str) -> str:
        listed = values.get(dotted, [""])
        if len(listed) != 1:
            raise ValueError(f"subject has {dotted} twice")
        return listed[0]

    common = Identity(
        username=one(COMMON_NAME),
        cluster=authority.cluster,
        valid_after=certificate.not_valid_before_utc,
        expires=certificate.not_valid_after_utc,
    )
    if one(_CLUSTER) not in ("", authority.cluster):
        raise access_denied(details="wrong authority: it signed for another cluster")
    if not common.username:
        raise ValueError("subject has no name")
    if authority.type is AuthorityType.HOST:
        roles = tuple(map(SystemRole, (*values.get(ORGANIZATION, ()), *values.get(_SYSTEM_ROLES, ()))))
        if not roles:
            raise access_denied(details="wrong certificate type: a host without a system role")
        return evolve(common, system_roles=roles, principals=_alternative_names(certificate))
    texts = {member: one(dotted) for member, dotted in _TEXTS.items() if member != "cluster"}
    database = {member: one(dotted) for member, dotted in _DATABASE.items()}
    previous, generation = one(_PREVIOUS), one(_GENERATION)
    try:
        return evolve(
            common,
            **{member: text for member, text in texts.items() if text},  # type: ignore[arg-type] # all these are str
            **{member: tuple(values.get(dotted, ())) for member, dotted in _LISTS.items()},  # type: ignore[arg-type]
            **{member: one(dotted) == "true" for member, dotted in _FLAGS.items()},  # type: ignore[arg-type]
            traits={key: tuple(listed) for key, listed in json.loads(one(_POSTAL) or "{}").items()},
            previous_identity_expires=parse_time(previous) if previous else None,
            generation=int(generation or 0),
            active_requests=tuple(json.loads(one(_REQUESTS) or "[]")),
            allowed_resources=tuple(json.loads(one(_RESOURCES) or "[]")),
            database=(
                RouteToDatabase(**database, roles=tuple(values.get(_DATABASE_ROLES, ())))
                if database["service"]
                else None
            ),
        )
    except (AttributeError, TypeError, TeleportError) as error:
        raise ValueError(f"subject cannot be read: {error}") from error


def route_of(certificate: x509.Certificate) -> RouteToDatabase | None:
    """
    @param certificate: one's own.
    @return: the database it is for.
    """
    try:
        said = {each.oid.dotted_string: str(each.value) for each in certificate.subject}
        roles = tuple(str(each.value) for each in certificate.subject if each.oid.dotted_string == _DATABASE_ROLES)
    except UNREADABLE as error:
        raise bad_parameter(f"the certificate cannot be read: {error}") from error
    found = {member: said.get(dotted, "") for member, dotted in _DATABASE.items()}
    return RouteToDatabase(**found, roles=roles) if found["service"] else None


def _alternative_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)
