"""
What plugins make of passwords. Native and Ed25519 against the arithmetic of their other half.
"""

from __future__ import annotations

import builtins
import hashlib
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql import scramble

SECRET, NOTHING = Secret(b"secret"), Secret(b"")
CHALLENGE = b"2}Bm$dO>'Hs,|OU?xb`<"


class PluginTests(SynchronousTestCase):
    """
    Each of them, as a server checks it.
    """

    def test_native(self) -> None:
        """
        A server knows SHA1(SHA1(password)) and gets SHA1(password) out of the answer.
        """
        answer = scramble.native(SECRET, CHALLENGE)
        stored = hashlib.sha1(hashlib.sha1(b"secret").digest()).digest()
        mask = hashlib.sha1(CHALLENGE + stored).digest()
        got = bytes(left ^ right for left, right in zip(answer, mask, strict=True))
        self.assertEqual(hashlib.sha1(got).digest(), stored)
        self.assertEqual(scramble.native(NOTHING, CHALLENGE), b"")

    def test_caching_sha2(self) -> None:
        """
        The same with SHA-256, the scramble at the end.
        """
        answer = scramble.caching_sha2(SECRET, CHALLENGE)
        stored = hashlib.sha256(hashlib.sha256(b"secret").digest()).digest()
        mask = hashlib.sha256(stored + CHALLENGE).digest()
        got = bytes(left ^ right for left, right in zip(answer, mask, strict=True))
        self.assertEqual(hashlib.sha256(got).digest(), stored)
        self.assertEqual(scramble.caching_sha2(NOTHING, CHALLENGE), b"")

    def test_ed25519(self) -> None:
        """
        A server checks an ordinary signature with the public key that it keeps; this one is MariaDB's for 'secret'.
        """
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(MARIADBS_KEY))
        public.verify(scramble.ed25519(SECRET, b"n" * 32), b"n" * 32)

    def test_ed25519_without_its_library(self) -> None:
        """
        It is said what to install.
        """
        real = builtins.__import__

        def without(name: str, *rest: Any) -> Any:
            if name.startswith("nacl"):
                raise ImportError(name)
            return real(name, *rest)

        self.patch(builtins, "__import__", without)
        with self.assertRaises(RemoteProtocolError) as caught:
            scramble.ed25519(SECRET, b"n" * 32)
        self.assertIn("PyNaCl", str(caught.exception))

    def test_parsec(self) -> None:
        """
        An Ed25519 signature of both nonces, by a key derived from the password.
        """
        salt = b"P\x01" + b"s" * 18
        answer = scramble.parsec(SECRET, b"a" * 32, b"b" * 32, salt)
        self.assertEqual(answer[:32], b"b" * 32)
        seed = hashlib.pbkdf2_hmac("sha512", b"secret", b"s" * 18, 2048, 32)
        Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(answer[32:], b"a" * 32 + b"b" * 32)
        for wrong in (b"", b"P\x01", b"Q\x01salt", b"P\x0bsalt"):
            self.assertRaises(RemoteProtocolError, scramble.parsec, SECRET, b"a" * 32, b"b" * 32, wrong)

    def test_first_answers(self) -> None:
        """
        What is said before anything is heard; of an unknown plugin nothing.
        """
        for plugin, answer in [
            ("mysql_native_password", scramble.native(SECRET, CHALLENGE)),
            ("caching_sha2_password", scramble.caching_sha2(SECRET, CHALLENGE)),
            ("sha256_password", b"secret\0"),
            ("mysql_clear_password", b"secret\0"),
            ("client_ed25519", scramble.ed25519(SECRET, CHALLENGE)),
            ("parsec", b""),
        ]:
            self.assertIn(plugin, scramble.PLUGINS)
            self.assertEqual(scramble.first_answer(plugin, SECRET, CHALLENGE), answer)
        for plugin in ("mysql_old_password", "dialog", ""):
            self.assertRaises(RemoteProtocolError, scramble.first_answer, plugin, SECRET, CHALLENGE)


MARIADBS_KEY = "648814444520e4f56043a2ec9215e63be7992d2d270bc6dee873e36164786096"
