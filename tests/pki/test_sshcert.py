"""
SSH certificates: what is issued is verified again, and nothing else is.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from shutil import which
from unittest import skipUnless

import pytest
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.pki import sshcert
from teleport_tw.pki.authority import Authority, Phase
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.keys import PrivateKey, sign_ssh
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh.certificate import Certificate
from teleport_tw.protocols.ssh.keys import format_line, serialize
from tests.pki import cluster
from tests.pki.cluster import ALICE_SSH, HOST_CA, MINUTE, NODE, NOW, OPENSSH_CA, STRANGER, TRUSTED, USER_CA


def resigned(blob: bytes, authority: Authority = USER_CA, **changes: object) -> bytes:
    """A certificate with other contents, signed properly by an authority."""
    key = authority.active.ssh[0]
    changed: Certificate = evolve(
        certificates.parse(blob),
        tbs=b"",
        signature_key=serialize(key.public),
        **changes,  # type: ignore[arg-type] # fields by name
    )
    signature = sign_ssh(cluster.KEYSTORE.signer(key.private), certificates.tbs(changed))
    return certificates.serialize(changed.signed(signature))


class Case(SynchronousTestCase):
    """
    Refusals by their details.
    """

    def refused(self, details: str, call: Callable[[], object]) -> None:
        """The call is denied; the user learns nothing, the administrator the reason."""
        error = self.assertRaises(TeleportError, call)
        self.assertEqual((error.kind, error.message), (Kind.ACCESS_DENIED, "access denied"))
        self.assertIn(details, error.details)

    def user_refused(self, details: str, blob: bytes, now: datetime = NOW, **options: str) -> None:
        """A user certificate is denied."""
        options = {"source_ip": "192.0.2.7", **options}
        self.refused(details, lambda: sshcert.verify_user(blob, TRUSTED, now, **options))  # type: ignore[arg-type]


class UserTests(Case):
    """
    Certificates of users.
    """

    def test_round_trip(self) -> None:
        """Everything an identity says of a user comes back."""
        read = sshcert.verify_user(cluster.ssh_user(), TRUSTED, NOW, login="root", source_ip="192.0.2.7")
        self.assertEqual(read, ALICE_SSH)
        plain = Identity(username="bob", cluster="example.com", expires=NOW + MINUTE, principals=("bob",))
        read = sshcert.verify_user(cluster.ssh_user(plain), TRUSTED, NOW)
        self.assertEqual(read, evolve(plain, valid_after=NOW - MINUTE))

    def test_principals(self) -> None:
        """Session joining is always there; without a login there is one that nobody has."""
        parsed = certificates.parse(cluster.ssh_user())
        self.assertEqual(parsed.principals, ("root", "alice", "-teleport-internal-join"))
        blob = cluster.ssh_user(evolve(ALICE_SSH, principals=()))
        self.assertRegex(certificates.parse(blob).principals[0], "^-teleport-nologin-[0-9a-f-]{36}$")
        read = sshcert.verify_user(blob, TRUSTED, NOW, source_ip="192.0.2.7", login="-teleport-internal-join")
        self.assertEqual(read.principals, ())
        self.user_refused("wrong principal", blob, login="root")

    def test_oldssh(self) -> None:
        """The old format leaves the long extensions out."""
        said = certificates.parse(cluster.ssh_user(cert_format="oldssh")).extensions
        self.assertFalse([name for name in said if name.startswith("teleport-r") or name == "teleport-traits"])
        self.assertIn("permit-pty", said)
        self.assertRaises(TeleportError, cluster.ssh_user, cert_format="new")

    def test_wrong_wishes(self) -> None:
        """Logins, extensions, pins and ends that cannot be certified."""
        for changes in (
            {"principals": ("-teleport-internal-join",)},
            {"principals": ("",)},
            {"extensions": {"teleport-roles": "x"}},
            {"extensions": {"": "x"}},
            {"pinned_ip": "everywhere"},
            {"expires": None},
            {"expires": NOW},
        ):
            identity = evolve(ALICE_SSH, **changes)  # type: ignore[arg-type] # fields by name
            error = self.assertRaises(TeleportError, cluster.ssh_user, identity)
            self.assertIs(error.kind, Kind.BAD_PARAMETER)

    def test_times(self) -> None:
        """A minute of skew is allowed at both ends, and not a second more."""
        blob, second = cluster.ssh_user(), timedelta(seconds=1)
        assert ALICE_SSH.valid_after is not None
        assert ALICE_SSH.expires is not None
        for moment in (ALICE_SSH.valid_after - MINUTE, ALICE_SSH.expires + MINUTE - second):
            sshcert.verify_user(blob, TRUSTED, moment, source_ip="192.0.2.7")
        self.user_refused("not yet valid", blob, ALICE_SSH.valid_after - MINUTE - second)
        self.user_refused("expired", blob, ALICE_SSH.expires + MINUTE)

    def test_wrong_authority(self) -> None:
        """Strangers, and our own authorities for something else, make no users."""
        self.user_refused("wrong authority", cluster.ssh_user(authority=STRANGER))
        self.user_refused("wrong authority", cluster.ssh_user(authority=HOST_CA))
        self.user_refused("wrong authority", cluster.ssh_user(authority=OPENSSH_CA))
        sshcert.verify_user(cluster.ssh_user(authority=OPENSSH_CA), [OPENSSH_CA], NOW, source_ip="192.0.2.7")

    def test_wrong_type(self) -> None:
        """A host certificate is no user's, whoever signed it."""
        self.user_refused("wrong certificate type", cluster.ssh_host())
        self.user_refused("wrong certificate type", cluster.ssh_host(authority=USER_CA))

    def test_tampered(self) -> None:
        """No byte of a certificate can be changed."""
        blob = cluster.ssh_user()
        for position in range(0, len(blob), 3):
            spoiled = blob[:position] + bytes((blob[position] ^ 1,)) + blob[position + 1 :]
            error = self.assertRaises(TeleportError, sshcert.verify_user, spoiled, TRUSTED, NOW, source_ip="192.0.2.7")
            self.assertIs(error.kind, Kind.ACCESS_DENIED)

    def test_tampered_fields(self) -> None:
        """Each field written anew under the old signature is called tampered."""
        parsed = certificates.parse(cluster.ssh_user())
        for changes in (
            {"key": PrivateKey.generate_ssh().ssh_public},
            {"serial": 1},
            {"key_id": "root"},
            {"principals": ("root", "admin")},
            {"valid_after": 0},
            {"valid_before": certificates.FOREVER},
            {"critical_options": {}},
            {"extensions": {"teleport-roles": '{"roles":["admin"]}'}},
            {"nonce": b""},
        ):
            changed = evolve(parsed, tbs=b"", **changes)  # type: ignore[arg-type] # fields by name
            self.user_refused("tampered signature", certificates.serialize(changed))

    def test_critical_options(self) -> None:
        """An option that must be understood and is not ends it."""
        blob = cluster.ssh_user()
        for name in ("force-command", "verify-required", "x@example.com"):
            self.user_refused("unknown critical option", resigned(blob, critical_options={name: ""}))

    def test_source_address(self) -> None:
        """A pinned certificate is good from its address, and from nowhere when the address is not known."""
        blob = cluster.ssh_user()
        sshcert.verify_user(blob, TRUSTED, NOW, source_ip="::ffff:192.0.2.7")
        self.user_refused("source address", blob, source_ip="192.0.2.8")
        self.user_refused("source address", blob, source_ip="nonsense")
        self.refused("source address", lambda: sshcert.verify_user(blob, TRUSTED, NOW))
        several = resigned(blob, critical_options={"source-address": "10.0.0.0/8, 2001:db8::/32"})
        sshcert.verify_user(several, TRUSTED, NOW, source_ip="2001:db8::1")
        self.user_refused("source address", resigned(blob, critical_options={"source-address": "x"}))
        self.user_refused("source address", resigned(blob, critical_options={"source-address": ""}))

    def test_no_principals(self) -> None:
        """OpenSSH takes a certificate without principals for nobody's, and so do we."""
        self.user_refused("wrong principal", resigned(cluster.ssh_user(), principals=()))

    def test_unreadable(self) -> None:
        """Extensions that are not what they should be, no user, and garbage."""
        blob = cluster.ssh_user()
        for said in (
            {"teleport-roles": "x"},
            {"teleport-roles": "[]"},
            {"teleport-roles": '{"roles":"admin"}'},
            {"teleport-traits": '{"logins":[1]}'},
            {"generation": "x"},
            {"prev-identity-expires": "soon"},
        ):
            self.user_refused("malformed", resigned(blob, extensions=said))
        self.user_refused("malformed", resigned(blob, key_id=""))
        self.user_refused("malformed", b"x")
        never = sshcert.verify_user(
            resigned(blob, valid_before=certificates.FOREVER, critical_options={}), TRUSTED, NOW
        )
        self.assertIsNone(never.expires)


class HostTests(Case):
    """
    Certificates of hosts.
    """

    def test_round_trip(self) -> None:
        """A host is known by its id, its full id and its names, in any case."""
        blob = cluster.ssh_host()
        for name in ("NODE-1", "node-1.", cluster.HOST_ID, NODE.username, None):
            read = sshcert.verify_host(blob, TRUSTED, name, NOW)
            self.assertEqual((read.username, read.system_roles), (NODE.username, NODE.system_roles))
            self.assertEqual((read.host_id, read.expires), (cluster.HOST_ID, NODE.expires))
        outside = Identity(username="sshd.example.com", expires=NOW + MINUTE)
        read = sshcert.verify_host(cluster.ssh_host(outside, names=()), TRUSTED, "sshd.example.com", NOW)
        self.assertFalse(read.is_host)

    def test_refused(self) -> None:
        """Another name, a user's certificate, a user authority, options, unknown roles, no names."""
        blob = cluster.ssh_host()

        def case(details: str, spoiled: bytes, name: str = "node-1") -> None:
            self.refused(details, lambda: sshcert.verify_host(spoiled, TRUSTED, name, NOW))

        case("wrong principal", blob, "node-2")
        case("wrong principal", resigned(blob, HOST_CA, principals=()))
        case("wrong certificate type", cluster.ssh_user())
        case("wrong certificate type", cluster.ssh_user(authority=HOST_CA))
        case("wrong authority", cluster.ssh_host(authority=USER_CA))
        case("unknown critical option", resigned(blob, HOST_CA, critical_options={"source-address": "::/0"}))
        case("malformed", resigned(blob, HOST_CA, extensions={"x-teleport-role": "King"}))
        case("expired", resigned(blob, HOST_CA, valid_before=1))


class RotationTests(Case):
    """
    Both key sets are trusted.
    """

    def test_old_and_new(self) -> None:
        """A certificate of the old key is good until rotation ends."""
        old, authority = cluster.ssh_user(), USER_CA
        for phase in (Phase.INIT, Phase.UPDATE_CLIENTS, Phase.UPDATE_SERVERS):
            authority = authority.rotated(phase, cluster.KEYSTORE, NOW)
            for blob in (old, cluster.ssh_user(authority=authority)):
                sshcert.verify_user(blob, [authority.public()], NOW, source_ip="192.0.2.7")
        done = authority.rotated(Phase.STANDBY, cluster.KEYSTORE, NOW)
        self.refused("wrong authority", lambda: sshcert.verify_user(old, [done], NOW))


@pytest.mark.servers
@skipUnless(which("ssh-keygen"), "ssh-keygen is not installed")
class OpenSSHTests(Case):
    """
    ssh-keygen reads ours, and we believe its.
    """

    def test_listed(self) -> None:
        """ssh-keygen shows what was issued."""
        path = Path(self.mktemp())
        path.write_text(sshcert.line(cluster.ssh_user(), "alice") + "\n")
        shown = subprocess.run(["ssh-keygen", "-L", "-f", str(path)], capture_output=True, text=True, check=True).stdout
        for line in ('Key ID: "alice"', "-teleport-internal-join", "source-address 192.0.2.7/32", "permit-pty"):
            self.assertIn(line, shown)

    def test_signed_there(self) -> None:
        """A certificate that ssh-keygen signed with our authority's key is believed."""
        folder = Path(self.mktemp())
        folder.mkdir()
        private = USER_CA.active.ssh[0].private
        assert private is not None
        ca, key = folder / "ca", folder / "key.pub"
        ca.touch(0o600)
        ca.write_bytes(PrivateKey.load(Secret(private.reveal().encode())).openssh_pem().reveal())
        key.write_text(format_line(cluster.SSH_KEY.ssh_public) + "\n")
        command = ["ssh-keygen", "-q", "-s", str(ca), "-I", "carol", "-n", "root", "-V", "always:forever", str(key)]
        subprocess.run(command, check=True, capture_output=True)
        blob = sshcert.ssh_keys.parse_line((folder / "key-cert.pub").read_text()).blob
        read = sshcert.verify_user(blob, TRUSTED, NOW, login="root")
        self.assertEqual((read.username, read.permit_pty), ("carol", True))
