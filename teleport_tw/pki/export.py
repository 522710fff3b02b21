"""
An authority's public keys, as the programs that must trust it read them (C{tctl auth export}).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from cryptography.hazmat.primitives.serialization import Encoding

from teleport_tw.base.errors import bad_parameter
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.trust import authorized_authority, bundle, host_patterns, known_hosts, pin


def _pem(authority: Authority) -> bytes:
    return bundle([authority])


def _der(authority: Authority) -> bytes:
    return authority.trusted_tls[0].public_bytes(Encoding.DER)


def _authorized(authority: Authority) -> bytes:
    return authorized_authority(authority).encode()


FORMATS: Mapping[str, tuple[str, Callable[[Authority], bytes]]] = {
    "user": ("user", _authorized),
    "host": ("host", lambda authority: known_hosts(authority).encode()),
    "openssh": ("openssh", _authorized),
    "tls-host": ("host", _pem),
    "tls-user": ("user", _pem),
    "tls-user-der": ("user", _der),
    "windows": ("user", _der),
    "db": ("db", _pem),
    "db-der": ("db", _der),
    "db-client": ("db_client", _pem),
    "db-client-der": ("db_client", _der),
}
"""What can be asked for: the authority it is of, and how it is written."""


def authority_of(form: str) -> str:
    """
    @param form: one of L{FORMATS}.
    @return: the authority's type.
    @raise TeleportError: BAD_PARAMETER, naming those there are.
    """
    if form not in FORMATS:
        raise bad_parameter(f"{form!r} cannot be exported; there are {', '.join(FORMATS)}")
    return FORMATS[form][0]


def export(authority: Authority, form: str, proxy_hosts: Iterable[str] = ()) -> bytes:
    """
    @param proxy_hosts: names of the cluster's proxies, which C{known_hosts} lines then cover too.
    @param authority: of the type that L{authority_of} says.
    @return: C{known_hosts} lines for C{host}, C{authorized_keys} lines for C{user} and C{openssh}, PEM or DER for the
        rest. Both key sets, while it rotates; DER holds the signing one only.
    """
    authority_of(form)
    if form == "host":
        return known_hosts(authority, host_patterns(authority.cluster, proxy_hosts)).encode()
    return FORMATS[form][1](authority)


def fingerprints(authority: Authority) -> tuple[str, ...]:
    """
    @return: pins of the TLS keys.
    """
    return tuple(map(pin, authority.trusted_tls))
