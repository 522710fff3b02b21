"""
Password hashing in threads.
"""

from __future__ import annotations

import argon2
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.auth.password import AT_ONCE, QUEUE, Passwords, check_strength, default_hasher
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from tests.auth.threads import HeldThreads, InlineThreads

CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
GOOD = Secret("correct horse battery")


class PasswordTests(SynchronousTestCase):
    """
    With cheap settings; L{test_settings} looks at the real ones.
    """

    def test_settings(self) -> None:
        """argon2id with the settings of RFC 9106's second recommendation."""
        hasher = default_hasher()
        self.assertEqual(hasher.type, argon2.Type.ID)
        self.assertEqual((hasher.time_cost, hasher.memory_cost, hasher.parallelism), (3, 65536, 4))

    def test_hash_and_check(self) -> None:
        """The right password passes, others do not."""
        passwords = Passwords(InlineThreads(), CHEAP)
        stored = self.successResultOf(Deferred.fromCoroutine(passwords.hash(GOOD)))
        self.assertTrue(stored.startswith("$argon2id$"))
        for text, good in ((GOOD.reveal(), True), ("wrong horse battery", False), ("", False)):
            checked = self.successResultOf(Deferred.fromCoroutine(passwords.check(stored, Secret(text))))
            self.assertEqual(checked, good)

    def test_nobody(self) -> None:
        """A user without a password costs a hash all the same, and never passes."""
        threads = InlineThreads()
        passwords = Passwords(threads, CHEAP)
        for text in ("x" * 12, "nobody has this password"):
            before = threads.calls
            self.assertFalse(self.successResultOf(Deferred.fromCoroutine(passwords.check("", Secret(text)))))
            self.assertGreater(threads.calls, before)

    def test_damaged(self) -> None:
        """A stored hash that is none lets nobody in."""
        passwords = Passwords(InlineThreads(), CHEAP)
        self.assertFalse(self.successResultOf(Deferred.fromCoroutine(passwords.check("$argon2id$oops", GOOD))))
        self.assertTrue(passwords.weak("$argon2id$oops"))
        self.assertTrue(Passwords(InlineThreads()).weak(CHEAP.hash("x")))

    def test_strength(self) -> None:
        """12 to 128 characters."""
        for length, good in ((11, False), (12, True), (128, True), (129, False)):
            try:
                check_strength(Secret("x" * length))
                self.assertTrue(good, length)
            except TeleportError as error:
                self.assertFalse(good, length)
                self.assertEqual(error.kind, Kind.BAD_PARAMETER)

    def test_flood(self) -> None:
        """Two run, a hundred wait, the rest are told to come back."""
        threads = HeldThreads()
        passwords = Passwords(threads, CHEAP)
        work = [Deferred.fromCoroutine(passwords.hash(GOOD)) for _ in range(AT_ONCE + QUEUE)]
        self.assertEqual(len(threads.held), AT_ONCE)
        failure = self.failureResultOf(Deferred.fromCoroutine(passwords.hash(GOOD)), TeleportError)
        self.assertEqual(failure.value.kind, Kind.LIMIT_EXCEEDED)
        while threads.held:
            threads.release()
        for deferred in work:
            self.successResultOf(deferred)
