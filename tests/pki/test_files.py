"""
Authorities as resources, pins, TLS contexts, identity files and key files.
"""

from __future__ import annotations

import ssl
from hashlib import sha256
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.pki import checks, identityfile, sshcert, trust, x509
from teleport_tw.pki.authority import Authority, AuthorityType, Phase, create
from teleport_tw.pki.export import export
from teleport_tw.pki.identityfile import IdentityFile
from teleport_tw.pki.keys import PrivateKey, load_public, sign_ssh, spki_pem, verify_ssh
from teleport_tw.protocols.ssh.keys import SkEcdsaKey, SkEd25519Key
from teleport_tw.protocols.ssh.wire import Reader, put_string
from teleport_tw.resources.metadata import Resource
from tests.pki import cluster
from tests.pki.cluster import CLUSTER, HOST_CA, KEYSTORE, NOW, USER_CA


class AuthorityTests(SynchronousTestCase):
    """
    The view over a cert_authority resource.
    """

    def test_round_trip(self) -> None:
        """Every type goes through its resource and back, private halves and all."""
        for type_ in AuthorityType:
            made = create(type_, CLUSTER, KEYSTORE, NOW)
            read = Authority.parse(Resource.from_json(made.to_resource().to_json()))
            self.assertEqual((read.active, read.type, read.cluster), (made.active, type_, CLUSTER))

    def test_public(self) -> None:
        """A public view, its resource and any repr hold no private key."""
        public = USER_CA.public()
        for shown in (str(public.to_resource().to_json()), str(public.resource), repr(USER_CA), repr(cluster.TLS_KEY)):
            self.assertNotIn("PRIVATE KEY", shown)
        self.assertEqual(public.trusted_ssh, USER_CA.trusted_ssh)
        self.assertRaises(TeleportError, x509.Issuer.of, public, KEYSTORE)
        self.assertRaises(TeleportError, sshcert.Issuer.of, public, KEYSTORE)

    def test_phases(self) -> None:
        """Which keys sign and which are trusted, phase by phase; no phase is skipped."""
        old = HOST_CA.active
        first = HOST_CA.rotated(Phase.INIT, KEYSTORE, NOW)
        new = first.additional
        self.assertEqual(first.active, old)
        self.assertEqual(len(trust.pins(first)), 2)
        second = first.rotated(Phase.UPDATE_CLIENTS, KEYSTORE, NOW)
        third = second.rotated(Phase.UPDATE_SERVERS, KEYSTORE, NOW)
        for authority in (second, third):
            self.assertEqual((authority.active, authority.additional), (new, old))
        for authority in (first, second, third):
            back = authority.rotated(Phase.ROLLBACK, KEYSTORE, NOW)
            self.assertEqual((back.active, back.additional), (old, new))
            self.assertEqual(back.rotated(Phase.STANDBY, KEYSTORE, NOW).active, old)
            self.assertEqual(Authority.parse(back.to_resource()).phase, Phase.ROLLBACK)
        done = third.rotated(Phase.STANDBY, KEYSTORE, NOW)
        self.assertEqual((done.active, len(done.trusted_tls)), (new, 1))
        for authority, phase in ((HOST_CA, Phase.UPDATE_SERVERS), (first, Phase.INIT), (first, Phase.STANDBY)):
            self.assertRaises(TeleportError, authority.rotated, phase, KEYSTORE, NOW)

    def test_broken(self) -> None:
        """Resources that are no authority."""
        resource = USER_CA.to_resource()
        for spec in (
            {"type": "king"},
            {"rotation": {"phase": "x"}},
            {"active_keys": ["x"]},
            {"active_keys": {"ssh": [{}]}},
            {"active_keys": {"tls": [{"cert": "x"}]}},
            {"active_keys": {"jwt": ["x"]}},
        ):
            broken = evolve(resource, spec={**resource.spec, **spec})
            self.assertRaises(TeleportError, Authority.parse, broken)
        self.assertRaises(TeleportError, Authority.parse, evolve(resource, kind="role"))


class KeyTests(SynchronousTestCase):
    """
    Keys and SSH signatures.
    """

    def test_every_type(self) -> None:
        """Each type goes through PEM and OpenSSH's form, signs, and is verified; a changed message is not."""
        for key in (PrivateKey.generate_ssh(), PrivateKey.generate_tls(), PrivateKey.generate_rsa()):
            for pem in (key.pem(), key.openssh_pem()):
                self.assertEqual(PrivateKey.load(pem).spki, key.spki)
            self.assertEqual(load_public(spki_pem(key.public)), load_public(key.spki))
            for algorithm in ("", "rsa-sha2-256"):
                signature = sign_ssh(key, b"message", algorithm)
                self.assertTrue(verify_ssh(key.ssh_public, signature, b"message"))
                self.assertFalse(verify_ssh(key.ssh_public, signature, b"massage"))
                self.assertFalse(verify_ssh(key.ssh_public, signature + b"x", b"message"))
                self.assertFalse(verify_ssh(cluster.SSH_KEY.ssh_public, signature, b"message"))
        self.assertRaises(TeleportError, PrivateKey.load, Secret(b"x"))

    def test_security_keys(self) -> None:
        """A security key's signature covers its application, and counts only when it was touched."""
        for key, kind, name in (
            (PrivateKey.generate_ssh(), SkEd25519Key, b"sk-ssh-ed25519@openssh.com"),
            (PrivateKey.generate_tls(), SkEcdsaKey, b"sk-ecdsa-sha2-nistp256@openssh.com"),
        ):
            public = kind(key.ssh_public.point, b"ssh:")  # type: ignore[union-attr] # both have a point
            for flags, touched in ((b"\1", True), (b"\5", True), (b"\0", False), (b"\4", False)):
                trailer = flags + bytes(4)
                covered = sha256(b"ssh:").digest() + trailer + sha256(b"message").digest()
                inner = Reader(sign_ssh(key, covered))
                inner.string()
                signature = put_string(name) + put_string(inner.string()) + trailer
                self.assertIs(verify_ssh(public, signature, b"message"), touched)
                self.assertFalse(verify_ssh(evolve(public, application=b"ssh:x"), signature, b"message"))
                self.assertFalse(verify_ssh(public, signature[:-1], b"message"))


class TrustTests(SynchronousTestCase):
    """
    Pins, known hosts and contexts.
    """

    def test_pins(self) -> None:
        """A pin fits its authority alone, and must look like one."""
        roots = trust.read_bundle(trust.bundle([HOST_CA]))
        trust.check_pins(roots, trust.pins(HOST_CA))
        for expected in (trust.pins(USER_CA), (), ("sha256:12",), ("md5:" + "0" * 64,)):
            self.assertRaises(TeleportError, trust.check_pins, roots, expected)
        self.assertRaises(TeleportError, trust.check_pins, (), trust.pins(HOST_CA))
        self.assertRaises(TeleportError, trust.read_bundle, b"x")

    def test_the_proxy_is_covered(self) -> None:
        """An exported line is good for the jump host as well, on whatever port."""
        line = export(HOST_CA, "host", ["proxy.example.net", ""]).decode()
        patterns = line.split()[1].split(",")
        self.assertEqual(patterns[2:], ["proxy.example.net", "[proxy.example.net]:*"])
        self.assertEqual(export(HOST_CA, "tls-host", ["x"]), export(HOST_CA, "tls-host"))

    def test_known_hosts(self) -> None:
        """What is written is read, other lines are passed over."""
        text = "# x\n" + trust.known_hosts(HOST_CA) + "@cert-authority * ssh-ed25519 AAAA\n"
        read = checks.read_known_hosts(text)
        self.assertEqual(read, (((CLUSTER, f"*.{CLUSTER}"), HOST_CA.trusted_ssh[0]),))
        self.assertRaises(TeleportError, trust.known_hosts, USER_CA)

    def test_contexts(self) -> None:
        """
        Both sides check names and certificates, from TLS 1.2 on; a key that does not fit is refused. Who shows a
        certificate shows it each time.
        """
        certificate, key = Path(self.mktemp()), Path(self.mktemp())
        certificate.write_bytes(x509.to_pem(cluster.tls_host()))
        key.write_bytes(cluster.TLS_KEY.pem().reveal())
        server = trust.server_context(certificate, key, client_authorities=[USER_CA], require_client=True)
        client = trust.client_context([HOST_CA], alpn=("h2",))
        self.assertEqual((server.verify_mode, client.verify_mode), (ssl.CERT_REQUIRED, ssl.CERT_REQUIRED))
        self.assertTrue(client.check_hostname)
        self.assertEqual(client.minimum_version, ssl.TLSVersion.TLSv1_2)
        self.assertEqual(
            (server.num_tickets, trust.server_context(certificate, key).num_tickets),
            (0, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).num_tickets),
        )
        trust.reload(server, certificate, key, [HOST_CA])
        key.write_bytes(cluster.SSH_KEY.pem().reveal())
        self.assertRaises(TeleportError, trust.reload, server, certificate, key)


class IdentityFileTests(SynchronousTestCase):
    """
    One file for a whole identity.
    """

    def made(self) -> IdentityFile:
        """Alice's."""
        return IdentityFile(
            key=cluster.TLS_KEY.pem(),
            ssh_certificate=sshcert.line(cluster.ssh_user()),
            tls_certificate=x509.to_pem(cluster.tls_user()).decode().strip(),
            tls_authorities=(trust.bundle([HOST_CA]).decode().strip(),),
            ssh_authorities=tuple(trust.known_hosts(HOST_CA).splitlines()),
        )

    def test_round_trip(self) -> None:
        """Written with mode 0600, read again; refused when others may read it."""
        path = Path(self.mktemp())
        made = self.made()
        made.write(path)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(identityfile.read(path), made)
        self.assertNotIn("PRIVATE", repr(made))
        path.chmod(0o640)
        self.assertRaises(TeleportError, identityfile.read, path)
        self.assertRaises(TeleportError, identityfile.read, path.with_name("absent"))

    def test_layouts(self) -> None:
        """OpenSSH's two files and TLS's three, all private."""
        path = Path(self.mktemp())
        files = (*self.made().write_openssh(path), *self.made().write_tls(path))
        self.assertEqual([file.name[len(path.name) :] for file in files], ["", "-cert.pub", ".key", ".crt", ".cas"])
        for file in files:
            self.assertEqual(file.stat().st_mode & 0o777, 0o600)

    def test_broken(self) -> None:
        """No key, two keys, no certificate, two of SSH, a broken one, not text, too long."""
        key, line = cluster.TLS_KEY.pem().reveal(), sshcert.line(cluster.ssh_user()).encode() + b"\n"
        for content in (
            line,
            key + key + line,
            key,
            key + line + line,
            key + b"x-cert-v01@openssh.com AAAA\n",
            b"\xff",
            bytes(identityfile.MAX_FILE_BYTES + 1),
        ):
            self.assertRaises(TeleportError, IdentityFile.parse, Secret(content))
