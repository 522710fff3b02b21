"""
What a user's program shows to a proxy and to servers, and whom it believes. Nothing here needs Twisted.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from teleport_tw.base.errors import access_denied, bad_parameter, not_found
from teleport_tw.base.secret import Secret

DIAL = "teleport-proxy-ssh-dial"
"""ALPN of one stream to one target."""

JUMP = "teleport-proxy-ssh"
"""ALPN of the SSH jump host inside TLS."""


@frozen(kw_only=True)
class ClientIdentity:
    """
    A user's keys and certificates.

    @ivar cluster: whose authorities signed.
    @ivar ssh_key: PEM or OpenSSH's format; empty where an ssh-agent alone has it.
    @ivar ssh_certificate: one line.
    @ivar tls_key: PEM.
    @ivar tls_certificate: PEM.
    @ivar tls_authorities: PEM of the host authority.
    @ivar known_hosts: C{@cert-authority} lines.
    """

    username: str
    cluster: str
    ssh_key: Secret[bytes]
    ssh_certificate: str
    tls_key: Secret[bytes]
    tls_certificate: bytes
    tls_authorities: bytes
    known_hosts: str

    @classmethod
    def of_files(
        cls,
        *,
        username: str,
        cluster: str,
        ssh_key: Path,
        ssh_certificate: Path,
        tls_key: Path,
        tls_certificate: Path,
        tls_authorities: Path,
        known_hosts: Path,
    ) -> ClientIdentity:
        """
        @raise TeleportError: NOT_FOUND, a file is missing; BAD_PARAMETER, one cannot be read.
        """
        try:
            return cls(
                username=username,
                cluster=cluster,
                ssh_key=Secret(ssh_key.read_bytes() if ssh_key.exists() else b""),
                ssh_certificate=ssh_certificate.read_text(encoding="utf-8").strip(),
                tls_key=Secret(tls_key.read_bytes()),
                tls_certificate=tls_certificate.read_bytes(),
                tls_authorities=tls_authorities.read_bytes(),
                known_hosts=known_hosts.read_text(encoding="utf-8"),
            )
        except FileNotFoundError as error:
            raise not_found(f"{error.filename} is missing; log in again") from error
        except (OSError, UnicodeDecodeError) as error:
            raise bad_parameter(f"the profile cannot be read: {error}") from error

    def tls_context(self, alpn: str) -> ssl.SSLContext:
        """
        For a port of the proxy that wants to know who calls. Certificates are verified against the cluster's host
        authority; names are not, as the caller then makes sure of the role (L{require_proxy}).

        @param alpn: the one application protocol.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([alpn])
        try:
            context.load_verify_locations(cadata=self.tls_authorities.decode("ascii"))
            with tempfile.NamedTemporaryFile(prefix="tsh-") as file:  # OpenSSL reads keys out of files only; mode 0600
                file.write(self.tls_key.reveal() + b"\n" + self.tls_certificate)
                file.flush()
                context.load_cert_chain(file.name)
        except (ssl.SSLError, UnicodeDecodeError, ValueError) as error:
            raise bad_parameter(f"the certificates cannot be used ({error}); log in again") from error
        return context


def require_proxy(certificate: Mapping[str, Any] | None, address: str) -> None:
    """
    Every host of the cluster has a certificate of the host authority; only a proxy may stand in for the proxy.

    @param certificate: as C{ssl} tells it of a peer that it has verified.
    @param address: for the message.
    @raise TeleportError: ACCESS_DENIED, it is another sort of host.
    """
    said = (certificate or {}).get("subject", ())
    roles = [value for part in said for name, value in part if name == "organizationName"]
    if "Proxy" not in roles:
        raise access_denied(
            f"{address} is not the cluster's proxy", details=f"wrong role: its certificate says {roles!r}"
        )
