"""
Who is believed to be a server.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.exchange import HostProof
from teleport_tw.dial.known import HostTrust
from teleport_tw.pki.trust import known_hosts
from teleport_tw.protocols.ssh import keys as ssh_keys
from tests.dial.world import CLUSTER, HOST_CA, NOW, SSH_KEY, STRANGER, UUID, host_blob

CERTIFIED = b"ssh-ed25519-cert-v01@openssh.com"


class HostTrustTests(SynchronousTestCase):
    """
    By certificate of the cluster only.
    """

    def setUp(self) -> None:
        self.trust = HostTrust.of_known_hosts(CLUSTER, known_hosts(HOST_CA))

    def refused(self, blob: bytes, *names: str, algorithm: bytes = CERTIFIED) -> str:
        error = self.assertRaises(TeleportError, self.trust.check, HostProof(blob=blob, algorithm=algorithm), names)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        return error.details

    def test_names(self) -> None:
        """Its name, its name in the cluster, its UUID, or whichever of several was found out."""
        proof = HostProof(blob=host_blob("node-1", f"node-1.{CLUSTER}", "10.0.0.7", UUID), algorithm=CERTIFIED)
        for names in (["node-1"], [f"node-1.{CLUSTER}"], [UUID], ["10.0.0.7"], ["alias", UUID]):
            self.trust.check(proof, names)
        self.trust.check(HostProof(blob=host_blob(f"node-2.{CLUSTER}"), algorithm=CERTIFIED), ["node-2"])

    def test_another_server(self) -> None:
        """A good certificate with another name."""
        self.assertIn("wrong principal", self.refused(host_blob("node-2"), "node-1"))

    def test_another_cluster(self) -> None:
        """The right name, signed by a stranger."""
        self.assertIn("wrong authority", self.refused(host_blob("node-1", authority=STRANGER), "node-1"))

    def test_expired(self) -> None:
        """Yesterday's certificate."""
        later = evolve(self.trust, now=lambda: NOW + timedelta(days=3))
        proof = HostProof(blob=host_blob("node-1"), algorithm=CERTIFIED)
        self.assertIn("expired", self.assertRaises(TeleportError, later.check, proof, ["node-1"]).details)

    def test_bare_key(self) -> None:
        """A key without a certificate is never believed, and nobody is asked."""
        blob = ssh_keys.serialize(SSH_KEY.ssh_public)
        self.assertIn("bare", self.refused(blob, "node-1", algorithm=b"ssh-ed25519"))

    def test_garbage(self) -> None:
        """What is no certificate at all."""
        self.assertIn("malformed", self.refused(b"\0\0\0\1x", "node-1"))

    def test_nobody_known(self) -> None:
        """Lines of other clusters do not count."""
        self.assertRaises(TeleportError, HostTrust.of_known_hosts, "other.com", known_hosts(HOST_CA))
