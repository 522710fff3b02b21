"""
Whom to trust, in the forms that programs want: CA pins, bundles, C{known_hosts} lines, TLS contexts.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from teleport_tw.base.errors import access_denied, bad_parameter
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.protocols.ssh import keys as ssh_keys

CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
"""Of TLS 1.2; those of TLS 1.3 are all fit and stay as OpenSSL has them."""

SUITES = {
    f"tls-{exchange}-with-{cipher}": f"{exchange.upper()}-{name}"
    for exchange in ("ecdhe-rsa", "ecdhe-ecdsa")
    for cipher, name in (
        ("aes-128-gcm-sha256", "AES128-GCM-SHA256"),
        ("aes-256-gcm-sha384", "AES256-GCM-SHA384"),
        ("chacha20-poly1305", "CHACHA20-POLY1305"),
        ("chacha20-poly1305-sha256", "CHACHA20-POLY1305"),
    )
}
"""Suites of TLS 1.2 as C{ciphersuites} has them, and OpenSSL's names; no others are thought good."""

_CERTIFICATE_HEAD = b"-----BEGIN CERTIFICATE-----"


def suites(names: Iterable[str]) -> str:
    """
    @param names: of L{SUITES}, in any case and with hyphens or underscores; none means L{CIPHERS}.
    @return: as OpenSSL wants them.
    @raise TeleportError: BAD_PARAMETER.
    """
    found = []
    for name in names:
        known = SUITES.get(name.lower().replace("_", "-"))
        if known is None:
            raise bad_parameter(f"teleport.ciphersuites: {name!r} is not served; write some of {', '.join(SUITES)}")
        found.append(known)
    return ":".join(found) or CIPHERS


def pin(certificate: x509.Certificate) -> str:
    """
    @return: C{sha256:} and the hex digest of the key, as C{tctl status} shows it and C{ca_pin} takes it.
    """
    octets = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{sha256(octets).hexdigest()}"


def pins(authority: Authority) -> tuple[str, ...]:
    """
    @return: one, or two while it rotates.
    """
    return tuple(map(pin, authority.trusted_tls))


def check_pins(certificates: Iterable[x509.Certificate], expected: Sequence[str]) -> None:
    """
    @param certificates: the authority's, as an unverified peer gave them.
    @param expected: pins, one of which each of them must have.
    @raise TeleportError: BAD_PARAMETER, a pin is not one; ACCESS_DENIED, a certificate has none of them.
    """
    for text in expected:
        digest = text.removeprefix("sha256:")
        if digest == text or len(digest) != 64 or not set(digest.lower()) <= set("0123456789abcdef"):
            raise bad_parameter(f"{text!r} is not a CA pin; write sha256: and 64 hex digits, as tctl status shows it")
    shown = list(map(pin, certificates))
    if not shown or not all(any(compare_digest(one, text.lower()) for text in expected) for one in shown):
        raise access_denied(
            "the cluster's authority is not the one that the CA pin names", details=f"CA pin mismatch: {shown}"
        )


def bundle(authorities: Iterable[Authority]) -> bytes:
    """
    @return: every root they trust, PEM, one after the other.
    """
    return b"".join(root.public_bytes(Encoding.PEM) for authority in authorities for root in authority.trusted_tls)


def read_bundle(pem: bytes) -> tuple[x509.Certificate, ...]:
    """
    @raise TeleportError: BAD_PARAMETER, there is no certificate in it, or one is broken.
    """
    if _CERTIFICATE_HEAD not in pem:
        raise bad_parameter("there is no PEM certificate")
    try:
        return tuple(x509.load_pem_x509_certificates(pem))
    except ValueError as error:
        raise bad_parameter("a PEM certificate cannot be read") from error


def known_hosts(authority: Authority, patterns: Sequence[str] = ()) -> str:
    """
    @param authority: type C{host}.
    @param patterns: of host names; by default the cluster's name and everything below it.
    @return: a C{@cert-authority} line per key, each with its line feed.
    """
    if authority.type is not AuthorityType.HOST:
        raise bad_parameter(f"known_hosts wants the host authority, not {authority.type.value}")
    hosts = ",".join(patterns or (authority.cluster, f"*.{authority.cluster}"))
    lines = (ssh_keys.format_line(key, "type=host") for key in authority.trusted_ssh)
    return "".join(f"@cert-authority {hosts} {line}\n" for line in lines)


def host_patterns(cluster: str, proxy_hosts: Iterable[str] = ()) -> tuple[str, ...]:
    """
    @param proxy_hosts: names and addresses the proxy is reached by, without port; empty ones do not count.
    @return: for L{known_hosts}: the cluster, everything below it, and its proxy, whatever port it listens on.
    """
    names = [name for host in dict.fromkeys(filter(None, proxy_hosts)) for name in (host, f"[{host}]:*")]
    return cluster, f"*.{cluster}", *names


def authorized_authority(authority: Authority) -> str:
    """
    @return: what C{tctl auth export --type=user} prints and C{TrustedUserCAKeys} reads: a key per line.
    """
    return "".join(f"{ssh_keys.format_line(key, authority.type.value)}\n" for key in authority.trusted_ssh)


def client_context(
    authorities: Iterable[Authority] | bytes,
    *,
    certificate: Path | None = None,
    key: Path | None = None,
    alpn: Sequence[str] = (),
) -> ssl.SSLContext:
    """
    For dialling a service of the cluster; the server's name is checked, so dial with C{teleport.cluster.local} or
    L{teleport_tw.pki.x509.encoded_cluster}.

    @param authorities: the host authorities, or their bundle; the system's roots are not trusted.
    @param certificate: PEM chain to show; with its C{key}.
    @param alpn: application protocols, the favourite first.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context, certificate, key, alpn)
    _trust(context, authorities)
    return context


def server_context(
    certificate: Path,
    key: Path,
    *,
    client_authorities: Iterable[Authority] | bytes | None = None,
    require_client: bool = False,
    alpn: Sequence[str] = (),
    ciphers: str = CIPHERS,
) -> ssl.SSLContext:
    """
    @param certificate: PEM chain; renewed in place by L{reload}.
    @param client_authorities: those whose certificates a client may show; C{None} asks for none.
    @param require_client: end the handshake without one.
    @param alpn: application protocols, the favourite first.
    @param ciphers: of TLS 1.2, as L{suites} gives them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context, certificate, key, alpn)
    context.set_ciphers(ciphers)
    context.options |= ssl.OP_NO_RENEGOTIATION
    if client_authorities is not None:
        _trust(context, client_authorities)
        context.verify_mode = ssl.CERT_REQUIRED if require_client else ssl.CERT_OPTIONAL
        # A ticket would carry the client's certificate past its end and what it was verified against, and to write
        # two of them is half the work of a handshake.
        context.num_tickets = 0
    return context


def reload(
    context: ssl.SSLContext,
    certificate: Path,
    key: Path,
    authorities: Iterable[Authority] | bytes | None = None,
) -> None:
    """
    Use a renewed certificate, and further roots, for handshakes from now on; open connections go on undisturbed.

    Roots are added only: what a rotation drops needs a new context.

    @raise TeleportError: BAD_PARAMETER, the files do not fit each other; the old certificate stays in use.
    """
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(probe, certificate, key)
    _load(context, certificate, key)
    if authorities is not None:
        _trust(context, authorities)


def _harden(context: ssl.SSLContext, certificate: Path | None, key: Path | None, alpn: Sequence[str]) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    if certificate is not None:
        _load(context, certificate, key)
    if alpn:
        context.set_alpn_protocols(list(alpn))


def _load(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise bad_parameter(f"{certificate} and its key cannot be used: {error}") from error


def _trust(context: ssl.SSLContext, authorities: Iterable[Authority] | bytes) -> None:
    pem = authorities if isinstance(authorities, bytes) else bundle(authorities)
    if pem:
        context.load_verify_locations(cadata=pem.decode("ascii"))
