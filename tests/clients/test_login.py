"""
Signing in, the client's side: what is asked, what is kept, and the ssh-agent.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import skipUnless

import pytest
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Certificates
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import NEVER
from teleport_tw.clients import login, standing
from teleport_tw.clients.profile import Profile, ProfileFolder
from teleport_tw.clients.sshagent import SshAgent, comment
from teleport_tw.dial.web import WebClient, no_trust
from teleport_tw.pki import sshcert, x509
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.keys import PrivateKey
from tests.dial.world import CLUSTER, HOST_CA, KEYSTORE, NOW, USER_CA

ALICE = Identity(
    username="alice",
    cluster=CLUSTER,
    roles=("access",),
    traits={"logins": ("root",)},
    principals=("root", "alice"),
    permit_pty=True,
    expires=NOW + timedelta(hours=2),
)


def issued(*, one_key: bool = False) -> login.Issued:
    """What a proxy would have answered."""
    tls_key = PrivateKey.generate_tls()
    ssh_key = tls_key if one_key else PrivateKey.generate_ssh()
    blob = sshcert.issue_user(sshcert.Issuer.of(USER_CA, KEYSTORE), ALICE, ssh_key.ssh_public, now=NOW)
    tls = x509.issue_user(x509.Issuer.of(USER_CA, KEYSTORE), ALICE, tls_key.spki, now=NOW)
    certificates = Certificates(
        ssh=sshcert.line(blob).encode(),
        tls=x509.to_pem(tls),
        authorities=(USER_CA.public().to_resource(), HOST_CA.public().to_resource()),
        cluster=CLUSTER,
    )
    return login.Issued(ssh_key=ssh_key, tls_key=tls_key, certificates=certificates)


def facts(**ssh: str) -> login.Facts:
    """What a proxy says about itself."""
    said: dict[str, Any] = {"cluster_name": CLUSTER, "proxy": {"ssh": ssh}, "auth": {"second_factor": "otp"}}
    return login.Facts(WebClient("p.example.com", 443, no_trust()), said)


class AskingTests(SynchronousTestCase):
    """
    Password and code.
    """

    def test_script(self) -> None:
        """A line for each; nothing is echoed, and a missing line is told from an empty one."""
        shown = io.StringIO()
        asker = login.Asker(io.StringIO("pass word\n123456\n\n"), shown)
        self.assertEqual([asker.secret("?").reveal() for _ in range(3)], ["pass word", "123456", ""])
        self.assertEqual(shown.getvalue(), "")
        error = self.assertRaises(TeleportError, asker.secret, "Enter your OTP token:\n")
        self.assertIn("OTP", str(error))

    def test_ttl(self) -> None:
        """Minutes, as ever, or a duration."""
        self.assertEqual(login.read_ttl("30"), timedelta(minutes=30))
        self.assertEqual(login.read_ttl("8h"), timedelta(hours=8))
        self.assertEqual(login.read_ttl(""), NEVER)
        for text in ("0", "-5m", "soon"):
            self.assertRaises(TeleportError, login.read_ttl, text)

    def test_ssh_address(self) -> None:
        """The public one; else the listener's port at the proxy's name; else none."""
        self.assertEqual(facts(ssh_public_addr="s:3023").ssh_address, "s:3023")
        self.assertEqual(facts(listen_addr="0.0.0.0:3023").ssh_address, "p.example.com:3023")
        self.assertEqual(facts().ssh_address, "")


class KeepingTests(SynchronousTestCase):
    """
    Profile and identity file.
    """

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.root.mkdir()

    def test_profile(self) -> None:
        """What was stored is what status shows, and known_hosts names cluster and proxy."""
        folder = ProfileFolder(self.root)
        profile = Profile(web_proxy_addr="p.example.com:443", user="alice", cluster=CLUSTER)
        paths = folder.store(profile, issued().credentials(("p.example.com",)))
        found = standing.of_profile(folder, folder.read())
        self.assertEqual((found.username, found.roles, found.logins), ("alice", ("access",), ("root", "alice")))
        patterns = folder.known_hosts.read_text().split()[1].split(",")
        self.assertEqual(patterns, [CLUSTER, f"*.{CLUSTER}", "p.example.com", "[p.example.com]:*"])
        self.assertEqual(paths.ssh_key.stat().st_mode & 0o777, 0o600)
        text = standing.described(profile, found, NOW, active=True)
        self.assertIn("> Profile URL:        https://p.example.com:443\n", text)
        self.assertIn("valid for", text)
        self.assertIn("EXPIRED", standing.described(profile, found, NOW + timedelta(days=1), active=False))

    def test_agent_only(self) -> None:
        """The SSH key is not on disk when the ssh-agent alone keeps it."""
        folder = ProfileFolder(self.root)
        profile = Profile(web_proxy_addr="p.example.com:443", user="alice", cluster=CLUSTER)
        folder.store(profile, issued().credentials(()))
        paths = folder.store(profile, issued().credentials((), keep_ssh_key=False))
        self.assertFalse(paths.ssh_key.exists())

    def test_expired(self) -> None:
        """A hint says what to type."""
        line = issued().certificates.ssh.decode()
        error = self.assertRaises(
            TeleportError, standing.require_valid, standing.read_line(line), NOW + timedelta(days=1), "Run: tsh login"
        )
        self.assertIn("tsh login", str(error))

    def test_garbage(self) -> None:
        """A broken certificate file ends in one kind of error."""
        for text in ("", "ssh-ed25519", "ssh-ed25519-cert-v01@openssh.com AAAA"):
            self.assertRaises(TeleportError, standing.read_line, text)

    def test_identity_file(self) -> None:
        """One file, which nothing overwrites unasked."""
        identity = issued(one_key=True).identity_file(("p.example.com",))
        target = self.root / "id"
        self.assertEqual(login.write_identity(identity, target, "file", overwrite=False), (target,))
        error = self.assertRaises(TeleportError, login.write_identity, identity, target, "file", overwrite=False)
        self.assertEqual(error.kind, Kind.ALREADY_EXISTS)
        login.write_identity(identity, target, "file", overwrite=True)
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)


@pytest.mark.servers
@skipUnless(shutil.which("ssh-agent") and shutil.which("ssh-add"), "needs ssh-agent and ssh-add")
class AgentTests(SynchronousTestCase):
    """
    OpenSSH's own agent.
    """

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "agent")
        # It goes to the background once it listens, and says who it is.
        said = subprocess.run(["ssh-agent", "-s", "-a", self.path], capture_output=True, text=True, check=True).stdout
        self.addCleanup(os.kill, int(said.partition("SSH_AGENT_PID=")[2].partition(";")[0]), signal.SIGTERM)

    def test_lent_and_taken_back(self) -> None:
        """Both sorts of keys; only those of that login are removed."""
        agent = SshAgent(self.path)
        for found, user in ((issued(), "alice"), (issued(one_key=True), "bob")):
            agent.add(login.private_fields(found.ssh_key), found.ssh_blob, comment("p", CLUSTER, user), 60)
        listed = subprocess.run(
            ["ssh-add", "-l"], capture_output=True, text=True, env={"SSH_AUTH_SOCK": self.path}, check=True
        ).stdout
        self.assertIn("teleport:p:example.com:alice (ED25519-CERT)", listed)
        self.assertIn("teleport:p:example.com:bob (ECDSA-CERT)", listed)
        self.assertEqual(agent.remove(comment("p", CLUSTER, "alice")), 1)
        self.assertEqual([name for _, name in agent.listed()], ["teleport:p:example.com:bob"])

    def test_nonsense_is_refused(self) -> None:
        """Private fields of another key."""
        found = issued()
        agent = SshAgent(self.path)
        fields = login.private_fields(PrivateKey.generate_ssh())
        error = self.assertRaises(TeleportError, agent.add, fields, found.ssh_blob, "x", 60)
        self.assertEqual(error.kind, Kind.ACCESS_DENIED)

    def test_nobody_there(self) -> None:
        """A socket that is gone."""
        error = self.assertRaises(TeleportError, SshAgent("/nonexistent/agent").listed)
        self.assertEqual(error.kind, Kind.CONNECTION_PROBLEM)
        self.assertIsNone(SshAgent.running({}))
