"""
Time-based codes.
"""

from __future__ import annotations

import pyotp
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.auth.otp import STEP, matching_step, new_secret, uri
from teleport_tw.base.secret import Secret

RFC_SECRET = Secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
"""RFC 6238 appendix B: the ASCII string 12345678901234567890."""


class Codes(SynchronousTestCase):
    """
    Against the RFC's vectors and around the edges.
    """

    def test_vectors(self) -> None:
        """RFC 6238 appendix B, SHA-1, the last six of its eight digits."""
        for seconds, code in (
            (59, "287082"),
            (1111111109, "081804"),
            (1111111111, "050471"),
            (1234567890, "005924"),
            (2000000000, "279037"),
        ):
            self.assertEqual(matching_step(RFC_SECRET, Secret(code), seconds), seconds // STEP)

    def code(self, seconds: float) -> Secret[str]:
        return Secret(pyotp.TOTP(RFC_SECRET.reveal()).generate_otp(int(seconds // STEP)))

    def test_skew(self) -> None:
        """One step early or late is good, two are not."""
        now = 1_000_000_000
        for offset, good in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
            found = matching_step(RFC_SECRET, self.code(now + offset), now)
            self.assertEqual(found is not None, good, offset)

    def test_replay(self) -> None:
        """A used code, and one older than it, is not taken again."""
        now = 1_000_000_000
        step = matching_step(RFC_SECRET, self.code(now), now)
        assert step is not None
        self.assertIsNone(matching_step(RFC_SECRET, self.code(now), now, step))
        self.assertIsNone(matching_step(RFC_SECRET, self.code(now - 30), now, step))
        self.assertEqual(matching_step(RFC_SECRET, self.code(now + 30), now, step), step + 1)

    def test_written_with_a_space(self) -> None:
        """Authenticators show codes in two groups, and people copy them so."""
        code = self.code(90).reveal()
        self.assertIsNotNone(matching_step(RFC_SECRET, Secret(f" {code[:3]} {code[3:]}\n"), 90))

    def test_garbage(self) -> None:
        """What is no code is no code."""
        for text in ("", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "\udcff"):
            self.assertIsNone(matching_step(RFC_SECRET, Secret(text), 59), text)

    def test_uri(self) -> None:
        """An authenticator finds issuer, account and secret in the link, whatever their letters."""
        secret = new_secret()
        parsed = pyotp.parse_uri(uri(secret, "alice smith@example.com", "prod:eu").reveal())
        self.assertEqual(parsed.secret, secret.reveal())
        self.assertEqual(parsed.issuer, "prod:eu")
        self.assertEqual(len(secret.reveal()), 32)
        self.assertNotIn(secret.reveal(), repr(uri(secret, "a", "b")))
