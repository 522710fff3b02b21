"""
OpenSSH certificates of every type, against those OpenSSH made.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh import keys
from teleport_tw.protocols.ssh.certificate import Certificate, CertificateType
from teleport_tw.protocols.ssh.wire import put_string, put_text, put_uint32, put_uint64

VECTORS = Path(__file__).parents[2] / "vectors" / "ssh"
NAMES = ("ed25519256", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048", "sk-ed25519", "sk-ecdsa")
FLAGS = ("permit-X11-forwarding", "permit-agent-forwarding", "permit-port-forwarding", "permit-pty", "permit-user-rc")


def blob_of(name: str) -> bytes:
    """The certificate blob of a vector."""
    return keys.parse_line((VECTORS / f"{name}-cert.pub").read_text()).blob


def plain(**changes: object) -> Certificate:
    """An unsigned user certificate put together here."""
    key = keys.Ed25519Key(bytes(range(32)))
    base = Certificate(
        key=key,
        nonce=bytes(32),
        type=CertificateType.USER,
        key_id="alice",
        principals=("root",),
        signature_key=keys.serialize(key),
    )
    return evolve(base, **changes)  # type: ignore[arg-type]


SIGNATURE = put_string(b"ssh-ed25519") + put_string(bytes(64))


def raw(*, options: bytes = b"", extensions: bytes = b"", kind: int = 1, principals: bytes = b"") -> bytes:
    """A blob whose lists are given as bytes, fit or not."""
    return b"".join(
        (
            put_string(b"ssh-ed25519-cert-v01@openssh.com"),
            put_string(bytes(32)),
            put_string(bytes(32)),
            put_uint64(1),
            put_uint32(kind),
            put_text("alice"),
            put_string(principals),
            put_uint64(0),
            put_uint64(9),
            put_string(options),
            put_string(extensions),
            put_string(b""),
            put_string(put_string(b"ssh-ed25519") + put_string(bytes(32))),
            put_string(SIGNATURE),
        )
    )


def option(name: bytes, value: bytes = b"") -> bytes:
    """One entry of options or extensions."""
    return put_string(name) + put_string(value)


class VectorsTests(SynchronousTestCase):
    """
    Certificates made by ssh-keygen (tests/vectors/make_ssh.sh).
    """

    def test_user(self) -> None:
        """Every field of a user certificate is read, and the same bytes are written."""
        for name in NAMES:
            blob = blob_of(f"{name}-user")
            read = certificates.parse(blob)
            key = keys.parse(keys.parse_line((VECTORS / f"{name}.pub").read_text()).blob)
            self.assertEqual(read.key, key)
            self.assertEqual(read.algorithm.encode(), blob[4 : 4 + blob[3]])
            self.assertEqual((read.type, read.key_id), (CertificateType.USER, f"user {name}"))
            self.assertEqual((read.serial, read.principals), (7, ("root", "alice")))
            self.assertEqual((read.valid_after, read.valid_before), (1767225600, 2082758400))
            self.assertEqual(read.critical_options, {"source-address": "127.0.0.1/32"})
            self.assertEqual(read.extensions, {"login@github.com": "alice", **dict.fromkeys(FLAGS, "")})
            self.assertIsInstance(read.authority, keys.Ed25519Key)
            self.assertEqual(certificates.serialize(read), blob)
            self.assertEqual(certificates.tbs(read), read.tbs)
            self.assertEqual(certificates.serialize(evolve(read, tbs=b"")), blob)

    def test_host(self) -> None:
        """A host certificate without bounds in time."""
        for name in NAMES:
            read = certificates.parse(blob_of(f"{name}-host"))
            self.assertEqual((read.type, read.principals), (CertificateType.HOST, ("node.example.com",)))
            self.assertEqual((read.serial, read.valid_after), (2**64 - 1, 0))
            self.assertEqual((read.valid_before, read.extensions), (certificates.FOREVER, {}))
            self.assertEqual(certificates.tbs(read), read.tbs)

    def test_rsa_signatures(self) -> None:
        """An RSA authority may sign with SHA-256 and SHA-512; SHA-1 is refused."""
        certificates.parse(blob_of("signed-rsa-sha2-256"))
        certificates.parse(blob_of("signed-rsa-sha2-512"))
        with self.assertRaisesRegex(RemoteProtocolError, "'ssh-rsa', not accepted"):
            certificates.parse(blob_of("signed-ssh-rsa"))

    def test_every_cut_and_trailing(self) -> None:
        """A certificate short of a byte, or with one too many, is refused."""
        for name in NAMES:
            blob = blob_of(f"{name}-user")
            for cut in range(len(blob)):
                self.assertRaises(RemoteProtocolError, certificates.parse, blob[:cut])
            self.assertRaises(RemoteProtocolError, certificates.parse, blob + b"\0")


class RefusalsTests(SynchronousTestCase):
    """
    Blobs that are not a certificate as the specification has it.
    """

    def test_the_raw_certificate_is_fine(self) -> None:
        """What the other cases spoil is accepted as it stands."""
        certificates.parse(raw(options=option(b"a") + option(b"b", put_string(b"x")), principals=put_text("root")))

    def test_options(self) -> None:
        """Options that are unsorted, doubled, nameless, not UTF-8, badly wrapped or too many are refused."""
        many = b"".join(option(b"%04d" % number) for number in range(certificates.MAX_OPTIONS + 1))
        for listed in (
            option(b"b") + option(b"a"),
            option(b"a") + option(b"a"),
            option(b""),
            option(b"\xff"),
            option(b"a", b"x"),
            option(b"a", put_string(b"x") + b"y"),
            option(b"a", put_string(b"\xff")),
            put_string(b"a"),
            many,
        ):
            self.assertRaises(RemoteProtocolError, certificates.parse, raw(options=listed))
            self.assertRaises(RemoteProtocolError, certificates.parse, raw(extensions=listed))

    def test_type(self) -> None:
        """Neither user nor host."""
        for kind in (0, 3):
            self.assertRaises(RemoteProtocolError, certificates.parse, raw(kind=kind))

    def test_principals(self) -> None:
        """More principals than OpenSSH takes, or half a one."""
        for listed in (put_text("a") * (certificates.MAX_PRINCIPALS + 1), put_text("root")[:-1]):
            self.assertRaises(RemoteProtocolError, certificates.parse, raw(principals=listed))

    def test_a_key_is_no_certificate(self) -> None:
        """A plain public key, and a blob beyond the bound, are refused."""
        for blob in (keys.serialize(keys.Ed25519Key(bytes(32))), bytes(certificates.MAX_CERTIFICATE_BYTES + 1)):
            self.assertRaises(RemoteProtocolError, certificates.parse, blob)

    def test_a_certificate_signs_nothing(self) -> None:
        """A certificate as signature key (a chain) is refused, as is a signature of another key's type."""
        blob = blob_of("ed25519256-user")
        chained = plain(signature_key=blob, signature=SIGNATURE)
        crossed = plain(signature=put_string(b"rsa-sha2-256") + put_string(bytes(64)))
        for certificate in (chained, crossed):
            self.assertRaises(RemoteProtocolError, certificates.parse, certificates.serialize(certificate))

    @given(st.binary(max_size=200), st.integers(min_value=0, max_value=600))
    def test_garbage(self, data: bytes, position: int) -> None:
        """Bytes overwritten anywhere end in a certificate or a RemoteProtocolError."""
        blob = blob_of("ecdsa256-user")
        for spoiled in (data, blob[:position] + data + blob[position + len(data) :]):
            with contextlib.suppress(RemoteProtocolError):
                certificates.parse(spoiled)


class PuttingTogetherTests(SynchronousTestCase):
    """
    Certificates made here.
    """

    def test_unsigned(self) -> None:
        """An unsigned certificate is not written."""
        self.assertRaises(LocalProtocolError, certificates.serialize, plain())

    def test_bounds(self) -> None:
        """Too many principals or options are our mistake before anything is signed."""
        many = {f"{number:04}": "" for number in range(certificates.MAX_OPTIONS + 1)}
        for changes in (
            {"principals": ("a",) * (certificates.MAX_PRINCIPALS + 1)},
            {"extensions": many},
            {"critical_options": many},
        ):
            self.assertRaises(LocalProtocolError, certificates.tbs, plain(**changes))

    @given(
        st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5),
        st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=5),
        st.lists(st.text(max_size=8), max_size=4),
        st.integers(min_value=0, max_value=2**64 - 1),
    )
    def test_round_trip(
        self, critical: dict[str, str], extensions: dict[str, str], principals: list[str], serial: int
    ) -> None:
        """What was put together in any order is read again."""
        certificate = plain(
            critical_options=critical, extensions=extensions, principals=tuple(principals), serial=serial
        ).signed(SIGNATURE)
        self.assertEqual(certificates.parse(certificates.serialize(certificate)), certificate)
