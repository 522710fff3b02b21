"""
Somebody sets the machine's clock by an hour: what is kept, and what mends itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyotp
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.auth.otp import STEP, matching_step, new_secret
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.limits import RateLimit
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import from_timestamp
from teleport_tw.pki import x509
from teleport_tw.pki.identity import Identity
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.stores.presence import Presence
from tests.pki import cluster as pki

HOUR = 3600.0
NOW = 1_800_000_000.0


class OneTimeCodes(SynchronousTestCase):
    """
    They go by the wall clock, as the user's telephone does.
    """

    def test_back(self) -> None:
        """No code that was used is good again, and the next that is newer than the last one used is."""
        secret = new_secret()
        code = lambda at: Secret(pyotp.TOTP(secret.reveal()).at(int(at)))  # noqa: E731  # thrice below
        last = matching_step(secret, code(NOW), NOW)
        assert last is not None
        self.assertIsNone(matching_step(secret, code(NOW), NOW, last))
        back = NOW - HOUR
        self.assertIsNone(matching_step(secret, code(back), back, last))
        later = NOW + 2 * STEP
        self.assertEqual(matching_step(secret, code(later), later, last), last + 2)

    def test_forth(self) -> None:
        """The codes of the new time are good; an hour's old ones are not."""
        secret = new_secret()
        totp = pyotp.TOTP(secret.reveal())
        self.assertIsNone(matching_step(secret, Secret(totp.at(int(NOW))), NOW + HOUR))
        self.assertIsNotNone(matching_step(secret, Secret(totp.at(int(NOW + HOUR))), NOW + HOUR))


class Kept(SynchronousTestCase):
    """
    With a clock of the test's own; its own time is the wall's.
    """

    def setUp(self) -> None:
        self.clock: Any = Clock()
        self.clock.advance(NOW)

    def jump(self, seconds: float) -> None:
        self.clock.rightNow += seconds

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def test_presence(self) -> None:
        """
        Forth: who was there leaves the list, and the next heartbeat brings it back. Back: nobody leaves, and a
        heartbeat puts the end where it belongs.
        """
        presence = Presence(MemoryBackend(self.clock), self.clock)
        node = Resource("node", "v2", Metadata("n"), {"hostname": "n"})
        ten = timedelta(minutes=10)
        self.done(presence.heartbeat(node, ten))
        self.jump(HOUR)
        self.assertIsNone(self.done(presence.find("node", "n")))
        self.done(presence.heartbeat(node, ten))
        self.assertIsNotNone(self.done(presence.find("node", "n")))
        self.jump(-HOUR)
        self.assertIsNotNone(self.done(presence.find("node", "n")))
        self.done(presence.heartbeat(node, ten))
        expires = self.done(presence.find("node", "n")).metadata.expires
        self.assertEqual(expires, from_timestamp(self.clock.seconds()) + ten)

    def test_certificates(self) -> None:
        """Back: not valid yet, and the log says so; when the clock is right again, nothing was lost."""
        shown = pki.tls_host()

        def verify(hours: int) -> Identity:
            now = pki.NOW + timedelta(hours=hours)
            return x509.verify([shown], pki.TRUSTED, now, wanted=x509.Wanted.HOST)

        error = self.assertRaises(TeleportError, verify, -1)
        self.assertIn("not yet valid", error.details)
        for hours in (0, 1):
            self.assertEqual(verify(hours).host_id, pki.HOST_ID)

    def test_limits(self) -> None:
        """Back: nobody is locked out for the hour that is lived twice."""
        limit = RateLimit(self.clock, per_minute=60, burst=2)
        self.assertEqual([limit.allows("a") for _ in range(3)], [True, True, False])
        self.jump(-HOUR)
        self.assertFalse(limit.allows("a"))
        self.clock.advance(2)
        self.assertTrue(limit.allows("a"))
