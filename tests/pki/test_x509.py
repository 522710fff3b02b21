"""
TLS certificates: what is issued is verified again, by OpenSSL too, and nothing else is.
"""

from __future__ import annotations

import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from shutil import which
from unittest import skipUnless

import pytest
from attrs import evolve
from cryptography import x509 as library
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.pki import der, x509
from teleport_tw.pki.authority import AuthorityType, Phase, create, self_signed
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.pki.x509 import Side, Wanted
from tests.pki import cluster
from tests.pki.cluster import ALICE_TLS, HOST_CA, MINUTE, NODE, NOW, STRANGER, TRUSTED, USER_CA
from tests.pki.forgery import ROOT, ROOT_KEY, RefusalCase, forged


class UserTests(RefusalCase):
    """
    Certificates of users.
    """

    def test_round_trip(self) -> None:
        """Everything an identity says of a user comes back."""
        octets = cluster.tls_user()
        self.assertEqual(x509.verify([octets, b"ignored"], TRUSTED, NOW), ALICE_TLS)
        self.assertEqual(x509.identity_of(octets, USER_CA), ALICE_TLS)
        plain = Identity(username="bob" * 100, cluster="example.com", expires=NOW + MINUTE)
        read = x509.verify([cluster.tls_user(plain)], TRUSTED, NOW, wanted=Wanted.ANY)
        self.assertEqual(read, evolve(plain, valid_after=NOW - MINUTE))

    def test_same_bytes_as_the_library(self) -> None:
        """What is to be signed is what the library's builder makes of the same parts."""
        ours = library.load_der_x509_certificate(cluster.tls_user())
        builder = library.CertificateBuilder(
            issuer_name=ours.issuer,
            subject_name=ours.subject,
            public_key=cluster.TLS_KEY.public,
            serial_number=ours.serial_number,
            not_valid_before=NOW - MINUTE,
            not_valid_after=NOW + timedelta(hours=12),
        )
        for extension in ours.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        theirs = builder.sign(ROOT_KEY, hashes.SHA256())
        self.assertEqual(ours.tbs_certificate_bytes, theirs.tbs_certificate_bytes)

    def test_times(self) -> None:
        """A minute of skew is allowed at both ends, and not a second more."""
        octets, second = cluster.tls_user(), timedelta(seconds=1)
        assert ALICE_TLS.valid_after is not None
        assert ALICE_TLS.expires is not None
        for moment in (ALICE_TLS.valid_after - MINUTE, ALICE_TLS.expires + MINUTE):
            x509.verify([octets], TRUSTED, moment)
        self.refused("not yet valid", octets, ALICE_TLS.valid_after - MINUTE - second)
        self.refused("expired", octets, ALICE_TLS.expires + MINUTE + second)

    def test_wrong_authority(self) -> None:
        """Strangers of the same name, other types of authority, and nobody at all."""
        self.refused("wrong authority", cluster.tls_user(authority=STRANGER))
        database = create(AuthorityType.DB, cluster.CLUSTER, cluster.KEYSTORE, NOW)
        octets = cluster.tls_user(authority=database)
        error = self.assertRaises(TeleportError, x509.verify, [octets], [database], NOW)
        self.assertIn("wrong authority", error.details)
        error = self.assertRaises(TeleportError, x509.verify, [], TRUSTED, NOW)
        self.assertIn("no certificate", error.details)

    def test_same_name_another_key(self) -> None:
        """A certificate that names our authority and is signed by another key, its own for one."""
        other = PrivateKey.generate_tls()._native
        self.refused("tampered signature", forged(key=other))

    def test_an_authority_is_nobody(self) -> None:
        """The root itself, one like it, and a leaf made an authority are no identity."""
        self.refused("wrong certificate type", ROOT.public_bytes(Encoding.DER))
        signer = PrivateKey.generate_tls()
        self.refused("wrong authority", self_signed(signer, cluster.CLUSTER, NOW, timedelta(days=1)))
        self.refused("wrong certificate type", forged(ca=True))

    def test_below_a_leaf(self) -> None:
        """A certificate signed by a user's own key and sent with the user's in one chain."""
        leaf = library.load_der_x509_certificate(cluster.tls_user())
        octets = forged(key=cluster.TLS_KEY._native, issuer=leaf.subject)
        error = self.assertRaises(TeleportError, x509.verify, [octets, leaf.public_bytes(Encoding.DER)], TRUSTED, NOW)
        self.assertIn("wrong authority", error.details)

    def test_uses(self) -> None:
        """A certificate must say it is a TLS client's, and nothing critical that is unknown."""
        x509.verify([forged()], TRUSTED, NOW)
        self.refused("wrong certificate type", forged(ca=None))
        self.refused("wrong certificate type", forged(usage=None))
        self.refused("wrong certificate type", forged(usage=False))
        self.refused("wrong certificate type", forged(purpose=None))
        self.refused("wrong certificate type", forged(purpose=ExtendedKeyUsageOID.SERVER_AUTH))
        self.refused("unknown critical extension", forged(critical=True))
        self.refused("wrong certificate type", cluster.tls_user(), side=Side.SERVER)

    def test_tampered(self) -> None:
        """No byte of a certificate can be changed."""
        octets = cluster.tls_user()
        for position in range(0, len(octets), 3):
            spoiled = octets[:position] + bytes((octets[position] ^ 1,)) + octets[position + 1 :]
            error = self.assertRaises(TeleportError, x509.verify, [spoiled], TRUSTED, NOW)
            self.assertIs(error.kind, Kind.ACCESS_DENIED)

    def test_wrong_wishes(self) -> None:
        """Weak keys, no key, no end."""
        issuer = x509.Issuer.of(USER_CA, cluster.KEYSTORE)
        weak = ec.generate_private_key(ec.SECP224R1()).public_key()
        for identity, key in (
            (ALICE_TLS, b"x"),
            (ALICE_TLS, x509.spki(weak)),
            (evolve(ALICE_TLS, expires=None), cluster.TLS_KEY.spki),
            (evolve(ALICE_TLS, expires=NOW), cluster.TLS_KEY.spki),
        ):
            error = self.assertRaises(TeleportError, x509.issue_user, issuer, identity, key, now=NOW)
            self.assertIs(error.kind, Kind.BAD_PARAMETER)


class HostTests(RefusalCase):
    """
    Certificates of hosts.
    """

    def test_round_trip(self) -> None:
        """A host's id, roles and names, on both sides of TLS."""
        for side in Side:
            read = x509.verify([cluster.tls_host()], TRUSTED, NOW, wanted=Wanted.HOST, side=side)
            self.assertEqual((read.host_id, read.system_roles), (cluster.HOST_ID, NODE.system_roles))
        for name in (cluster.HOST_ID, "node-1", "127.0.0.1", "::1"):
            self.assertIn(name, read.principals)

    def test_auth_alone_has_the_names_that_clients_verify_it_by(self) -> None:
        """A node's certificate does not let it stand in for auth; auth's own does."""
        names = {"teleport.cluster.local", "6578616d706c652e636f6d.teleport.cluster.local"}
        node = x509.verify([cluster.tls_host()], TRUSTED, NOW, wanted=Wanted.HOST)
        auth = evolve(NODE, system_roles=(SystemRole.AUTH,))
        read = x509.verify([cluster.tls_host(auth)], TRUSTED, NOW, wanted=Wanted.HOST)
        self.assertEqual((names & set(node.principals), names & set(read.principals)), (set(), names))

    def test_who_is_wanted(self) -> None:
        """A host is no user, a user no host."""
        self.refused("a user is wanted", cluster.tls_host())
        self.refused("a host is wanted", cluster.tls_user(), wanted=Wanted.HOST)

    def test_a_host_needs_a_role(self) -> None:
        """The host authority signs no certificate without one, and one is not believed."""
        self.assertRaises(TeleportError, cluster.tls_host, evolve(NODE, system_roles=()))
        issuer = x509.Issuer.of(HOST_CA, cluster.KEYSTORE)
        octets = x509.issue_server(issuer, ["db.example.com"], cluster.TLS_KEY.spki, now=NOW, expires=NOW + MINUTE)
        self.refused("malformed", octets, wanted=Wanted.ANY)
        self.assertRaises(TeleportError, cluster.tls_host, names=("bücher.example",))
        self.assertRaises(
            TeleportError, x509.issue_server, issuer, [], cluster.TLS_KEY.spki, now=NOW, expires=NOW + MINUTE
        )

    def test_long_cluster_name(self) -> None:
        """The common name may be longer than 64 characters."""
        authority = create(AuthorityType.HOST, "c" * 60 + ".example.com", cluster.KEYSTORE, NOW)
        identity = evolve(NODE, username=f"{cluster.HOST_ID}.{authority.cluster}", system_roles=(SystemRole.PROXY,))
        octets = cluster.tls_host(identity, authority, ())
        read = x509.verify([octets], [authority], NOW, wanted=Wanted.HOST)
        self.assertEqual(read.host_id, cluster.HOST_ID)


class RotationTests(RefusalCase):
    """
    Both key sets are trusted.
    """

    def test_old_and_new(self) -> None:
        """A certificate of the old key is good until rotation ends."""
        old, authority = cluster.tls_user(), USER_CA
        for phase in (Phase.INIT, Phase.UPDATE_CLIENTS, Phase.UPDATE_SERVERS):
            authority = authority.rotated(phase, cluster.KEYSTORE, NOW)
            for octets in (old, cluster.tls_user(authority=authority)):
                x509.verify([octets], [authority.public()], NOW)
        done = authority.rotated(Phase.STANDBY, cluster.KEYSTORE, NOW)
        self.assertRaises(TeleportError, x509.verify, [old], [done], NOW)


class SeenTests(RefusalCase):
    """
    A certificate that was verified before is believed no longer, and by nobody else, than one that was not.
    """

    def setUp(self) -> None:
        self.octets = cluster.tls_user()
        self.assertEqual(x509.verify([self.octets], TRUSTED, NOW), ALICE_TLS)

    def test_again(self) -> None:
        """By whoever trusts the same root, given in any form."""
        self.assertEqual(x509.verify([self.octets], iter(TRUSTED), NOW), ALICE_TLS)
        self.assertEqual(x509.verify([self.octets], [USER_CA.public()], NOW), ALICE_TLS)

    def test_nobody_else(self) -> None:
        """Not where the root is not trusted, or is another authority's, another cluster's or out of date."""
        later = USER_CA.trusted_tls[0].not_valid_after_utc + timedelta(days=1)
        for authorities, moment in (
            ([], NOW),
            ([STRANGER], NOW),
            ([evolve(USER_CA, type=AuthorityType.DB)], NOW),
            (TRUSTED, later),
        ):
            self.assertRaises(TeleportError, x509.verify, [self.octets], authorities, moment)
        self.assertRaises(TeleportError, x509.verify, [self.octets], [evolve(USER_CA, cluster="other")], NOW)

    def test_nothing_else(self) -> None:
        """Not after its end, not as a server, not with one bit changed."""
        assert ALICE_TLS.expires is not None
        self.refused("expired", self.octets, ALICE_TLS.expires + 2 * MINUTE)
        error = self.assertRaises(TeleportError, x509.verify, [self.octets], TRUSTED, NOW, side=x509.Side.SERVER)
        self.assertIn("TLS server", error.details)
        self.assertRaises(TeleportError, x509.verify, [self.octets[:-1] + bytes([self.octets[-1] ^ 1])], TRUSTED, NOW)

    def test_bounds(self) -> None:
        """Of so many only the latest are remembered, and long ones not at all."""
        self.patch(x509, "MAX_SEEN", 2)
        self.patch(x509, "_seen", {})
        shown = [
            cluster.tls_user(Identity(username=f"u{i}", cluster="example.com", expires=NOW + MINUTE)) for i in range(3)
        ]
        long = cluster.tls_user(Identity(username="x", traits={"a": ("b" * 9000,)}, expires=NOW + MINUTE))
        for octets in (*shown, long):
            x509.verify([octets], TRUSTED, NOW)
        self.assertEqual([octets for octets, _ in x509._seen], shown[1:])


class DerTests(SynchronousTestCase):
    """
    The forms that certificates of everyday do not reach.
    """

    def test_vectors(self) -> None:
        """Lengths, integers, OIDs and times at their edges, by X.690 and RFC 5280."""
        self.assertEqual(der.tlv(4, bytes(0x80))[:3].hex(), "048180")
        self.assertEqual(der.tlv(4, bytes(0x100))[:4].hex(), "04820100")
        self.assertEqual([der.integer(value).hex() for value in (0, 127, 128)], ["020100", "02017f", "02020080"])
        self.assertEqual(der.oid("1.2.840.113549").hex(), "06062a864886f70d")
        self.assertEqual(der.time(datetime(2049, 12, 31, 23, 59, 59, tzinfo=NOW.tzinfo))[2:], b"491231235959Z")
        self.assertEqual(der.time(datetime(2050, 1, 1, tzinfo=NOW.tzinfo))[:2].hex(), "180f")


@pytest.mark.servers
@skipUnless(which("openssl"), "openssl is not installed")
class OpenSSLTests(SynchronousTestCase):
    """
    OpenSSL reads and believes ours.
    """

    def test_verified(self) -> None:
        """Strictly, for the purposes they have, whichever key the authority has."""
        database = create(AuthorityType.DB, cluster.CLUSTER, cluster.KEYSTORE, NOW)
        issuer = x509.Issuer.of(database, cluster.KEYSTORE)
        server = x509.issue_server(issuer, ["db", "::1"], cluster.TLS_KEY.spki, now=NOW, expires=NOW + MINUTE)
        for authority, octets, purpose in (
            (USER_CA, cluster.tls_user(), "sslclient"),
            (HOST_CA, cluster.tls_host(), "sslserver"),
            (database, server, "sslserver"),
        ):
            root, leaf = Path(self.mktemp()), Path(self.mktemp())
            root.write_text(authority.active.tls[0].pem)
            leaf.write_bytes(x509.to_pem(octets))
            command = ["openssl", "verify", "-x509_strict", "-attime", str(int(NOW.timestamp())), "-purpose", purpose]
            done = subprocess.run([*command, "-CAfile", str(root), str(leaf)], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)

    def test_shown(self) -> None:
        """The subject as an operator sees it."""
        leaf = Path(self.mktemp())
        leaf.write_bytes(x509.to_pem(cluster.tls_user()))
        command = ["openssl", "x509", "-in", str(leaf), "-noout", "-text"]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        for text in ("CN = alice", "O = access", "OU = usage:db", "L = root", "street = leaf", "1.3.9999.1.7 ="):
            self.assertIn(text, shown)
