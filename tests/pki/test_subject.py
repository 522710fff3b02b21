"""
Subjects of TLS certificates: what an identity says comes back, and what is no subject is refused.
"""

from __future__ import annotations

from attrs import evolve

from teleport_tw.pki import x509
from tests.pki import cluster
from tests.pki.cluster import ALICE_TLS, NOW, TRUSTED
from tests.pki.forgery import RefusalCase, forged


class SubjectTests(RefusalCase):
    """
    Subjects as they are read.
    """

    def test_subject(self) -> None:
        """Names said twice, missing, of another cluster or unreadable."""
        for details, *names in (
            ("malformed", ("2.5.4.3", "alice"), ("2.5.4.3", "root")),
            ("malformed", ("2.5.4.10", "access")),
            ("another cluster", ("2.5.4.3", "alice"), ("1.3.9999.1.7", "elsewhere")),
            ("malformed", ("2.5.4.3", "alice"), ("2.5.4.17", "{")),
            ("malformed", ("2.5.4.3", "alice"), ("2.5.4.17", "[]")),
            ("malformed", ("2.5.4.3", "alice"), ("1.3.9999.1.14", "x")),
            ("malformed", ("2.5.4.3", "alice"), ("1.3.9999.2.12", "soon")),
        ):
            self.refused(details, forged(names=tuple(names)))

    def test_a_user_cannot_name_itself_a_host(self) -> None:
        """Roles named like system roles, signed by the user authority, are roles of a user."""
        read = x509.verify([cluster.tls_user(evolve(ALICE_TLS, roles=("Auth", "Admin")))], TRUSTED, NOW)
        self.assertEqual((read.is_host, read.system_roles), (False, ()))
