"""
What is checked of an SSH certificate, and nothing more: whoever holds the keys that may have signed it needs no X.509,
which takes long to load for a client that starts for one command.

@see: OpenSSH's C{PROTOCOL.certkeys}
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from teleport_tw.base.errors import RemoteProtocolError, access_denied
from teleport_tw.base.timing import Duration, format_time, from_timestamp
from teleport_tw.pki.keys import verify_ssh
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.protocols.ssh.certificate import Certificate, CertificateType

SKEW: Duration = timedelta(minutes=1)
"""How far two clocks of a cluster may be apart."""

T = TypeVar("T")


def check(
    blob: bytes,
    wanted: CertificateType,
    believed: Callable[[ssh_keys.PublicKey], T | None],
    now: datetime,
    skew: Duration = SKEW,
) -> tuple[Certificate, T]:
    """
    Type, signature and time; what the certificate says is for the caller to judge, critical options with it.

    @param believed: whose key this is, if certificates signed by it count.
    @return: the certificate, and what C{believed} answered.
    @raise TeleportError: ACCESS_DENIED; C{details} say which check failed.
    """
    try:
        certificate = certificates.parse(blob)
        signed_by = certificate.authority
    except RemoteProtocolError as error:
        raise access_denied(details=f"malformed certificate: {error}") from error
    if certificate.type is not wanted:
        raise access_denied(details=f"wrong certificate type: {certificate.type.name.lower()} certificate")
    authority = believed(signed_by)
    if authority is None:
        fingerprint = ssh_keys.fingerprint(certificate.signature_key)
        raise access_denied(details=f"wrong authority: {fingerprint} is not trusted for a {wanted.name.lower()}")
    if not verify_ssh(signed_by, certificate.signature, certificate.tbs):
        raise access_denied(details="tampered signature: it does not match the certificate")
    seconds, allowed = now.timestamp(), skew.total_seconds()
    if seconds + allowed < certificate.valid_after:
        raise access_denied(details=f"not yet valid: from {_shown(certificate.valid_after)}")
    if seconds - allowed >= certificate.valid_before:
        raise access_denied(details=f"expired: at {_shown(certificate.valid_before)}")
    return certificate, authority


def check_host(certificate: Certificate, hostname: str | None) -> None:
    """
    @param certificate: a host's, checked by L{check}.
    @param hostname: what was dialled: a name, address or id; C{None} accepts any host.
    @raise TeleportError: ACCESS_DENIED, it is another host, or the certificate is limited in a way we do not know.
    """
    for name in certificate.critical_options:
        raise access_denied(details=f"unknown critical option {name!r}")
    names = [principal.lower() for principal in certificate.principals]
    if not names or (hostname is not None and hostname.lower().rstrip(".") not in names):
        raise access_denied(details=f"wrong principal: {hostname!r} is not among {list(certificate.principals)!r}")


def moment(seconds: int) -> datetime | None:
    """
    @param seconds: of a certificate's validity.
    @return: aware UTC; C{None} for a time beyond the calendar, which stands for no end.
    """
    return from_timestamp(seconds) if seconds < datetime.max.replace(tzinfo=UTC).timestamp() else None


def _shown(seconds: int) -> str:
    known = moment(seconds)
    return format_time(known) if known else "never"


def read_known_hosts(text: str) -> tuple[tuple[tuple[str, ...], ssh_keys.PublicKey], ...]:
    """
    @param text: a C{known_hosts} file; lines without C{@cert-authority}, and those that cannot be read, are left out.
    @return: host patterns and the key trusted for them, in order.
    """
    found = []
    for line in text.splitlines():
        words = line.split(None, 2)
        if len(words) == 3 and words[0] == "@cert-authority":
            try:
                key = ssh_keys.parse(ssh_keys.parse_line(words[2]).blob)
            except RemoteProtocolError:
                continue
            found.append((tuple(words[1].split(",")), key))
    return tuple(found)
