"""
Public keys of every type, against those OpenSSH made.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.ssh import keys
from teleport_tw.protocols.ssh.wire import put_mpint, put_string

VECTORS = Path(__file__).parents[2] / "vectors" / "ssh"
NAMES = ("ed25519256", "ecdsa256", "ecdsa384", "ecdsa521", "rsa2048", "sk-ed25519", "sk-ecdsa")


def rsa(exponent: int, modulus: int) -> bytes:
    """An RSA blob with these numbers, fit or not."""
    return put_string(b"ssh-rsa") + put_mpint(exponent) + put_mpint(modulus)


class VectorsTests(SynchronousTestCase):
    """
    Keys made by ssh-keygen (tests/vectors/make_ssh.sh).
    """

    def test_both_ways(self) -> None:
        """A key is read, named, fingerprinted and written as OpenSSH has it."""
        for name in NAMES:
            text = (VECTORS / f"{name}.pub").read_text().strip()
            line = keys.parse_line(text)
            key = keys.parse(line.blob)
            self.assertEqual((line.algorithm, line.comment, line.options), (key.algorithm, "vector", ""))
            self.assertEqual(keys.serialize(key), line.blob)
            self.assertEqual(keys.format_line(key, "vector"), text)
            expected = (VECTORS / f"{name}.fingerprint").read_text().strip()
            self.assertEqual([keys.fingerprint(key), keys.fingerprint(line.blob)], [expected, expected])

    def test_every_cut_and_trailing(self) -> None:
        """A key short of a byte, or with one too many, is refused."""
        for name in NAMES:
            blob = keys.parse_line((VECTORS / f"{name}.pub").read_text()).blob
            for cut in range(len(blob)):
                self.assertRaises(RemoteProtocolError, keys.parse, blob[:cut])
            self.assertRaises(RemoteProtocolError, keys.parse, blob + b"\0")


class RefusalsTests(SynchronousTestCase):
    """
    Blobs that are no key to trust.
    """

    def test_rsa(self) -> None:
        """RSA keys that are weak, huge, even, negative or have an odd sort of exponent are refused."""
        good = 2**2047 + 1
        keys.parse(rsa(65537, good))
        for exponent, modulus in (
            (65537, 2**2046 + 1),
            (65537, 2**16384 + 1),
            (65537, good + 1),
            (65537, -good),
            (1, good),
            (4, good),
            (2**256 + 1, good),
        ):
            self.assertRaises(RemoteProtocolError, keys.parse, rsa(exponent, modulus))

    def test_points(self) -> None:
        """Points of the wrong length, form or curve are refused."""
        curve = put_string(b"nistp256")
        for blob in (
            put_string(b"ssh-ed25519") + put_string(bytes(31)),
            put_string(b"ecdsa-sha2-nistp256") + put_string(b"nistp384") + put_string(b"\4" + bytes(64)),
            put_string(b"ecdsa-sha2-nistp256") + curve + put_string(b"\2" + bytes(32)),
            put_string(b"ecdsa-sha2-nistp256") + curve + put_string(b"\5" + bytes(64)),
            put_string(b"ecdsa-sha2-nistp224") + put_string(b"nistp224") + put_string(b"\4" + bytes(56)),
        ):
            self.assertRaises(RemoteProtocolError, keys.parse, blob)

    def test_types(self) -> None:
        """DSA, unknown types and blobs beyond any key are refused."""
        for blob in (put_string(b"ssh-dss") + bytes(100), put_string(b"ssh-ed25519") + bytes(9000)):
            self.assertRaises(RemoteProtocolError, keys.parse, blob)

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """Any bytes end in a RemoteProtocolError."""
        for prefix in (b"", *(put_string(name.encode()) for name in keys.KEY_ALGORITHMS)):
            with contextlib.suppress(RemoteProtocolError):
                keys.parse(prefix + data)


class LinesTests(SynchronousTestCase):
    """
    Lines of authorized_keys.
    """

    def test_options_and_comment(self) -> None:
        """Options may hold blanks and escaped quotes within quotes; a comment may hold blanks."""
        text = (VECTORS / "ed25519256.pub").read_text().split()
        options = 'command="echo \\"a  b\\"",no-pty'
        line = keys.parse_line(f"  {options}\t {text[0]} {text[1]} a comment\n")
        self.assertEqual((line.options, line.comment), (options, "a comment"))
        self.assertEqual(str(line), f"{options} {text[0]} {text[1]} a comment")
        self.assertEqual(str(keys.parse_line(f"{text[0]} {text[1]}")), f"{text[0]} {text[1]}")

    def test_refused(self) -> None:
        """No key, not base64, a type that is not the blob's, or far too long."""
        text = (VECTORS / "ed25519256.pub").read_text().split()
        for line in (
            "",
            "# comment",
            "ssh-ed25519",
            "a b c AAAA",
            "ssh-ed25519 AAAA!",
            f"ssh-rsa {text[1]}",
            "ssh-ed25519 " + "AAAA" * 20000,
        ):
            self.assertRaises(RemoteProtocolError, keys.parse_line, line)

    @given(st.text(max_size=60))
    def test_garbage(self, text: str) -> None:
        """Any text is a line or a RemoteProtocolError."""
        for line in (text, "ssh-ed25519 AAAA" + text):
            with contextlib.suppress(RemoteProtocolError):
                keys.parse_line(line)
