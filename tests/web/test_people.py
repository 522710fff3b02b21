"""
What the proxy's copy says of who is signed in.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Certificates, WebSession
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.dial.view import View
from teleport_tw.pki import x509
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.resources.clusters import AUTH_PREFERENCE
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.web.people import People
from tests.doubles.cluster import CLUSTER, Cluster, lock, role


class PeopleTests(SynchronousTestCase):
    """
    Certificates, locks and roles as they are now.
    """

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.copy.put(role("dev", allow={"logins": ["root"]}))
        self.clock = Clock()
        self.clock.advance(self.cluster.now.timestamp())
        self.people = People(View(self.cluster.copy, CLUSTER), self.clock)
        self.session = self.signed_in()

    def signed_in(self, issuer: Any = None) -> WebSession:
        identity = self.cluster.user(logins=("root",), roles=("dev",))
        key = PrivateKey.generate_tls()
        der = self.cluster.tls(identity, key)
        if issuer is not None:
            der = x509.issue_user(
                x509.Issuer.of(issuer, self.cluster.keystore), identity, key.spki, now=self.cluster.now
            )
        return WebSession(
            id=Secret("s" * 40),
            bearer=Secret("b" * 40),
            username="alice",
            certificates=Certificates(tls=x509.to_pem(der), cluster=CLUSTER),
            tls_key=Secret(key.pem().reveal()),
            ssh_key=Secret(b""),
            sign_in="1",
            created=self.cluster.now,
            expires=self.cluster.now + timedelta(hours=1),
            idle_timeout=timedelta(0),
        )

    def refused(self, session: WebSession | None = None) -> str:
        error = self.assertRaises(TeleportError, self.people.checker, session or self.session)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        return str(error.message)

    def test_roles_of_now(self) -> None:
        """The same checker until a role changes, then one that knows the change."""
        first = self.people.checker(self.session)
        self.assertIs(self.people.checker(self.session), first)
        self.assertEqual(first.logins(), ("root",))
        self.cluster.copy.put(role("dev", allow={"logins": ["other"]}))
        self.assertEqual(self.people.checker(self.session).logins(), ("other",))
        self.cluster.copy.remove("role", "dev")
        self.refused()

    def test_locked(self) -> None:
        """A lock counts at once, in its own words, while it is there; one that nobody can read counts for all."""
        self.people.checker(self.session)
        self.cluster.copy.put(lock("one", "talk to us first", user="alice"))
        self.assertIn("talk to us first", self.refused())
        self.cluster.copy.remove("lock", "one")
        self.people.checker(self.session)
        self.cluster.copy.put(Resource("lock", "v2", Metadata("broken"), {"target": 5}))
        self.assertIn("cannot be read", self.refused())

    def test_strict(self) -> None:
        """Where the cluster says strict, an old copy of the locks lets nobody in."""
        self.cluster.copy.old = timedelta(hours=1)
        self.people.checker(self.session)
        self.cluster.set(AUTH_PREFERENCE, locking_mode="strict")
        self.refused()
        self.cluster.copy.old = timedelta(0)
        self.people.checker(self.session)

    def test_certificates(self) -> None:
        """One of somebody else's authority is nobody's, nor is one that has ended, however long it was known."""
        self.refused(self.signed_in(self.cluster.stranger()))
        self.people.checker(self.session)
        self.clock.advance(3601)
        self.refused()
