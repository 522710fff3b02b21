"""
Certificates with parts that ours never have, and what verifying them must say.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.pki import x509
from tests.pki import cluster
from tests.pki.cluster import MINUTE, NOW, TRUSTED, USER_CA

ROOT = USER_CA.active.tls[0].certificate
ROOT_KEY = x509.Issuer.of(USER_CA, cluster.KEYSTORE)._signer._native  # type: ignore[attr-defined] # to sign nonsense


def forged(
    *,
    ca: bool | None = False,
    usage: bool | None = True,
    purpose: library.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    critical: bool = False,
    names: tuple[tuple[str, str], ...] = (("2.5.4.3", "alice"),),
    key: object = ROOT_KEY,
    issuer: library.Name = ROOT.subject,
) -> bytes:
    """A certificate with parts that ours never have, signed by the user authority."""
    subject = library.Name([library.NameAttribute(library.ObjectIdentifier(dotted), text) for dotted, text in names])
    builder = (
        library.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(cluster.TLS_KEY.public)
        .serial_number(7)
        .not_valid_before(NOW - MINUTE)
        .not_valid_after(NOW + MINUTE)
    )
    if ca is not None:
        builder = builder.add_extension(library.BasicConstraints(ca, None), True)
    if usage is not None:
        bits = library.KeyUsage(usage, False, not usage, False, False, False, False, False, False)
        builder = builder.add_extension(bits, True)
    if purpose is not None:
        builder = builder.add_extension(library.ExtendedKeyUsage([purpose]), False)
    if critical:
        unknown = library.UnrecognizedExtension(library.ObjectIdentifier("1.3.9999.9"), b"\5\0")
        builder = builder.add_extension(unknown, True)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)


class RefusalCase(SynchronousTestCase):
    """
    Refusals by their details.
    """

    def refused(self, details: str, chain: bytes, now: datetime = NOW, **options: object) -> None:
        """The certificate is denied; the user learns nothing, the administrator the reason."""
        call: Callable[[], object] = lambda: x509.verify([chain], TRUSTED, now, **options)  # type: ignore[arg-type] # noqa: E731
        error = self.assertRaises(TeleportError, call)
        self.assertEqual((error.kind, error.message), (Kind.ACCESS_DENIED, "access denied"))
        self.assertIn(details, error.details)
