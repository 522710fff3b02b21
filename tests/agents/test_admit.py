"""
Who may come in, without a connection; what OpenSSH's client meets is in C{ssh/test_interop_sessions.py}.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.admit import Admission, AuthorizedTarget
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.dial.view import View
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.sshcert import JOIN_PRINCIPAL
from teleport_tw.protocols.ssh.keys import parse_line
from teleport_tw.resources.roles_options import HostUserMode
from tests.doubles.cluster import CLUSTER, HOST_ID, Cluster, lock, role

SSH_KEY, TLS_KEY = PrivateKey.generate_ssh(), PrivateKey.generate_tls()


class AdmissionTests(SynchronousTestCase):
    """
    Alice, with the role C{access}.
    """

    def setUp(self) -> None:
        self.cluster = Cluster()
        self.cluster.copy.put(role("access", allow={"logins": ["root", "{{internal.logins}}"]}))
        self.clock = Clock()
        self.clock.advance(self.cluster.now.timestamp())
        self.labels = {"env": "prod"}
        view = View(self.cluster.copy, CLUSTER)
        self.admission = Admission(view, self.clock, HOST_ID, lambda: self.labels, joining=True)

    def alice(self, **facts: object) -> Identity:
        """Her identity."""
        return self.cluster.user(**{"logins": ("root", "alice"), "roles": ("access",), **facts})

    def admit(self, blob: bytes, login: str = "root", ip: str = "192.0.2.1") -> AuthorizedTarget:
        """She is let in."""
        return self.admission.admit(blob, login, ip)

    def refusal(self, blob: bytes, login: str = "root", ip: str = "192.0.2.1") -> TeleportError:
        """She is not."""
        error = self.assertRaises(TeleportError, self.admission.admit, blob, login, ip)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)
        return error

    def test_either_certificate_leads_to_the_same_target(self) -> None:
        """
        SSH and X.509.
        """
        by_ssh = self.admit(self.cluster.ssh(self.alice(), SSH_KEY))
        by_tls = self.admit(self.cluster.tls(self.alice(), TLS_KEY))
        for target in (by_ssh, by_tls):
            self.assertEqual((target.identity.username, target.login), ("alice", "root"))
            self.assertIsNone(target.host_user)
            self.assertEqual(target.terms.subject.server_id, HOST_ID)
            self.assertIsNone(target.terms.expires)

    def test_x509_certificates_are_held_to_the_same(self) -> None:
        """
        Login, address and garbage.
        """
        blob = self.cluster.tls(self.alice(pinned_ip="192.0.2.7"), TLS_KEY)
        self.assertIn("source address", self.refusal(blob).details)
        self.admit(blob, ip="192.0.2.7")
        blob = self.cluster.tls(self.alice(logins=("alice",)), TLS_KEY)
        self.assertIn("wrong principal", self.refusal(blob).details)
        self.assertIn("malformed", self.refusal(b"0garbage").details)
        self.assertIn("malformed", self.refusal(b"").details)

    def test_a_host_s_certificate_is_no_user_s(self) -> None:
        """
        Though the same cluster signed it.
        """
        host = self.cluster.host(Path("/nonexistent"))
        blob = parse_line(host.ssh_certificate.decode()).blob
        self.assertIn("wrong certificate type", self.refusal(blob).details)

    def test_a_certificate_for_another_cluster_s_authority_of_the_same_name(self) -> None:
        """
        The key counts, not the name.
        """
        blob = self.cluster.ssh(self.alice(), SSH_KEY, self.cluster.stranger())
        self.assertIn("wrong authority", self.refusal(blob).details)

    def test_joining(self) -> None:
        """
        Everybody may come to join, whatever the labels, but locks, second factors and stranger's keys count.
        """
        self.cluster.copy.put(role("access", allow={"logins": ["root"], "node_labels": {"env": "none"}}))
        blob = self.cluster.ssh(self.alice(), SSH_KEY)
        target = self.admit(blob, JOIN_PRINCIPAL)
        self.assertTrue(target.joins_only)
        self.assertIsNone(target.host_user)
        self.assertIn("labels", self.refusal(blob).details)
        stranger = self.cluster.ssh(self.alice(), SSH_KEY, self.cluster.stranger())
        self.assertIn("wrong authority", self.refusal(stranger, JOIN_PRINCIPAL).details)
        strict = role("access", allow={"logins": ["root"]}, options={"require_session_mfa": True})
        self.cluster.copy.put(strict)
        self.assertIn("second factor", self.refusal(blob, JOIN_PRINCIPAL).message)
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}))
        self.cluster.copy.put(lock("out", user="alice"))
        self.refusal(blob, JOIN_PRINCIPAL)

    def test_where_nobody_can_join(self) -> None:
        """
        At a proxy that records: no joining, and none of those who must be watched.
        """
        self.admission.joining = False
        blob = self.cluster.ssh(self.alice(), SSH_KEY)
        self.admit(blob)
        self.assertIn("cannot be joined", self.refusal(blob, JOIN_PRINCIPAL).message)
        policy = {"name": "eyes", "kinds": ["ssh"], "modes": ["moderator"]}
        self.cluster.copy.put(role("access", allow={"logins": ["root"], "require_session_join": [policy]}))
        self.assertIn("others have to watch", self.refusal(blob).message)
        self.admission.joining = True
        self.admit(blob)

    def test_roles_count_as_they_are_now(self) -> None:
        """
        Not as they were at the time of issue.
        """
        blob = self.cluster.ssh(self.alice(), SSH_KEY)
        self.admit(blob)
        self.cluster.copy.put(role("access", allow={"logins": ["root"], "node_labels": {"env": "dev"}}))
        self.assertIn("labels", self.refusal(blob).details)
        self.labels = {"env": "dev"}
        self.admit(blob)
        self.cluster.copy.remove("role", "access")
        self.assertIn("role 'access'", self.refusal(blob).details)

    def test_traits_fill_the_roles(self) -> None:
        """
        The login of a trait.
        """
        blob = self.cluster.ssh(self.alice(traits={"logins": ("alice",)}), SSH_KEY)
        self.admit(blob, "alice")
        self.refusal(self.cluster.ssh(self.alice(), SSH_KEY), "alice")

    def test_the_user_reads_no_reason_but_a_lock(self) -> None:
        """
        Reasons are for administrators.
        """
        blob = self.cluster.ssh(self.alice(roles=("gone",)), SSH_KEY)
        self.assertEqual(self.refusal(blob).message, "access denied")
        self.cluster.copy.put(lock("l", "see the desk", user="alice"))
        blob = self.cluster.ssh(self.alice(), SSH_KEY)
        self.assertIn("see the desk", self.refusal(blob).message)

    def test_a_lock_that_cannot_be_read_refuses(self) -> None:
        """
        When a check cannot be made the answer is no.
        """
        self.cluster.copy.put(lock("l"))
        self.assertIn("cannot be read", self.refusal(self.cluster.ssh(self.alice(), SSH_KEY)).details)

    def test_terms_come_from_cluster_and_roles(self) -> None:
        """
        The shorter idle timeout, the end of the certificate.
        """
        self.cluster.set("cluster_networking_config", client_idle_timeout="10m")
        options = {"client_idle_timeout": "5m", "disconnect_expired_cert": True}
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}, options=options))
        alice = self.alice()
        terms = self.admit(self.cluster.ssh(alice, SSH_KEY)).terms
        self.assertEqual(terms.idle_timeout, timedelta(minutes=5))
        assert alice.expires is not None
        self.assertEqual(terms.expires, alice.expires.replace(microsecond=0))

    def test_a_second_factor_is_looked_for(self) -> None:
        """
        Where a role that opens this host or the cluster demands it; who comes without reads how to come.
        """
        asked = {"require_session_mfa": True}
        plain = self.cluster.ssh(self.alice(), SSH_KEY)
        tapped = self.cluster.ssh(self.alice(mfa_device="6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0002"), SSH_KEY)
        self.cluster.copy.put(role("other", allow={"logins": ["x"], "node_labels": {"env": "dev"}}, options=asked))
        self.admit(plain)
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}, options=asked))
        self.assertIn("tsh", self.refusal(plain).message)
        self.admit(tapped)
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}))
        self.admit(plain)
        self.cluster.set("cluster_auth_preference", require_session_mfa=True)
        self.assertIn("second factor", self.refusal(plain).message)
        self.admit(tapped)

    def test_a_key_in_hardware_cannot_be_shown_and_is_refused(self) -> None:
        """
        A tap is less than what was asked for.
        """
        asked = {"require_session_mfa": "hardware_key_touch"}
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}, options=asked))
        tapped = self.cluster.ssh(self.alice(mfa_device="6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0002"), SSH_KEY)
        self.assertIn("hardware", self.refusal(tapped).message)

    def test_a_tapped_session_ends_with_its_sign_in(self) -> None:
        """
        The certificate lasts a minute; what is cut is cut when the one it was derived from ends.
        """
        options = {"disconnect_expired_cert": True}
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}, options=options))
        ends = self.cluster.now.replace(microsecond=0) + timedelta(hours=8)
        tapped = self.alice(mfa_device="6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0002", previous_identity_expires=ends)
        self.assertEqual(self.admit(self.cluster.ssh(tapped, SSH_KEY)).terms.expires, ends)

    def test_a_host_user_is_decided_with_the_target(self) -> None:
        """
        Mode and groups.
        """
        allow = {"logins": ["root"], "host_groups": ["games"]}
        self.cluster.copy.put(role("access", allow=allow, options={"create_host_user_mode": "keep"}))
        made = self.admit(self.cluster.ssh(self.alice(), SSH_KEY)).host_user
        assert made is not None
        self.assertEqual((made.mode, made.groups), (HostUserMode.KEEP, ("games",)))

    def test_device_trust_cannot_be_shown_yet_and_is_refused(self) -> None:
        """
        Rather than let pass.
        """
        self.cluster.copy.put(role("access", allow={"logins": ["root"]}, options={"device_trust_mode": "required"}))
        self.assertIn("device", self.refusal(self.cluster.ssh(self.alice(), SSH_KEY)).message)
