"""
Tests for L{teleport_tw.pki.export}.
"""

from __future__ import annotations

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.pki.authority import AuthorityType, create
from teleport_tw.pki.export import FORMATS, authority_of, export, fingerprints
from teleport_tw.pki.trust import pin
from tests.pki.cluster import CLUSTER, KEYSTORE, NOW

AUTHORITIES = {
    type_: create(AuthorityType(type_), CLUSTER, KEYSTORE, NOW)
    for type_ in ("user", "host", "openssh", "db", "db_client")
}


class ExportTests(SynchronousTestCase):
    """
    C{tctl auth export}.
    """

    def test_every_format(self) -> None:
        """
        Each is what its readers expect, and holds no private key.
        """
        for form in FORMATS:
            authority = AUTHORITIES[authority_of(form)]
            data = export(authority, form)
            self.assertNotIn(b"PRIVATE", data)
            if form in ("user", "openssh"):
                self.assertEqual([line.split()[0] for line in data.splitlines()], [b"ssh-ed25519"])
            elif form == "host":
                self.assertTrue(data.startswith(b"@cert-authority "))
                self.assertIn(CLUSTER.encode(), data)
            elif form.endswith("-der") or form == "windows":
                self.assertEqual(x509.load_der_x509_certificate(data), authority.trusted_tls[0])
            else:
                self.assertEqual(x509.load_pem_x509_certificates(data), list(authority.trusted_tls))

    def test_unknown(self) -> None:
        """
        The error names those there are.
        """
        error = self.assertRaises(TeleportError, authority_of, "nonsense")
        self.assertIs(error.kind, Kind.BAD_PARAMETER)
        self.assertIn("tls-host", error.message)
        self.assertRaises(TeleportError, export, AUTHORITIES["user"], "nonsense")

    def test_fingerprints(self) -> None:
        """
        A pin for each TLS key.
        """
        host = AUTHORITIES["host"]
        self.assertEqual(fingerprints(host), tuple(pin(each) for each in host.trusted_tls))
        self.assertTrue(fingerprints(host)[0].startswith("sha256:"))
