"""
C{ciphersuites}: names of the configuration, and what a handshake then comes to.
"""

from __future__ import annotations

import ssl

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.pki.trust import CIPHERS, SUITES, suites


class SuitesTests(SynchronousTestCase):
    """
    Against OpenSSL's own list.
    """

    def test_names(self) -> None:
        """Both spellings of the field, in any case; none means ours."""
        self.assertEqual(suites(()), CIPHERS)
        names = ("tls-ecdhe-rsa-with-aes-128-gcm-sha256", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
        self.assertEqual(suites(names), "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305")
        for name in ("tls-rsa-with-rc4-128-sha", "ECDHE-RSA-AES128-GCM-SHA256", ""):
            self.assertRaises(TeleportError, suites, (name,))

    def test_openssl_knows_them(self) -> None:
        """Each alone is what a context then has of TLS 1.2."""
        for name in SUITES:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_ciphers(suites((name,)))
            older = [each["name"] for each in context.get_ciphers() if each["protocol"] == "TLSv1.2"]
            self.assertEqual(older, [SUITES[name]])
