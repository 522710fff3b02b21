"""
The web port's own certificates, where the operator has some: the one whose name the client asked for is shown.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Sequence
from pathlib import Path

from attrs import frozen
from cryptography import x509

from teleport_tw.base.errors import bad_parameter
from teleport_tw.config.sections import KeyPair
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.trust import CIPHERS, read_bundle, server_context


@frozen
class WebCertificates:
    """
    @ivar pairs: C{https_keypairs}; the first is shown to whoever asks for no name or an unknown one.
    """

    pairs: Sequence[KeyPair]

    def context(
        self, alpn: Sequence[str], ciphers: str = CIPHERS, client_authorities: Iterable[Authority] | None = None
    ) -> ssl.SSLContext:
        """
        @param ciphers: of TLS 1.2.
        @param client_authorities: those whose certificates a client may show; C{None} asks for none.
        @raise TeleportError: BAD_PARAMETER, a file cannot be used.
        """
        made = [
            server_context(
                Path(pair.cert_file),
                Path(pair.key_file),
                alpn=alpn,
                ciphers=ciphers,
                client_authorities=client_authorities,
            )
            for pair in self.pairs
        ]
        by_name = {
            name: context
            for pair, context in reversed(list(zip(self.pairs, made, strict=True)))
            for name in names(Path(pair.cert_file))
        }

        def choose(connection: ssl.SSLObject, name: str | None, asked: ssl.SSLContext) -> None:
            wanted = (name or "").lower()
            found = by_name.get(wanted) or by_name.get("*." + wanted.partition(".")[2])
            if found is not None:
                connection.context = found

        made[0].sni_callback = choose
        return made[0]


def names(certificate: Path) -> list[str]:
    """
    @return: the DNS names of the first certificate of a PEM file, in lower case; wildcards as C{*.example.com}.
    """
    try:
        first = read_bundle(certificate.read_bytes())[0]
        found = first.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except OSError as error:
        raise bad_parameter(f"cannot read {certificate}: {error.strerror}") from error
    except x509.ExtensionNotFound:
        return []
    return [name.lower() for name in found.get_values_for_type(x509.DNSName)]
