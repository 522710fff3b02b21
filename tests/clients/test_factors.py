"""
Answering a challenge: by what was typed, by the key that was touched, or with words that help.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Event
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Challenge
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.clients.factors import Answering, code_of
from teleport_tw.clients.login import Asker
from tests.doubles.authenticator import Authenticator, b64

ORIGIN = "https://proxy.example"
REQUEST = {"challenge": b64(b"challenge"), "rpId": "proxy.example", "allowCredentials": []}
CREATION = {
    "challenge": b64(b"new"),
    "rp": {"id": "proxy.example", "name": "example"},
    "user": {"id": b64(b"alice"), "name": "alice", "displayName": "alice"},
    "authenticatorSelection": {"residentKey": "required"},
}


class PluggedIn:
    """
    A key of software at a port of its own.
    """

    def __init__(self, *, touched: bool = True) -> None:
        self.inner = Authenticator(ORIGIN)
        self.touched = touched
        self.cancelled = False

    def register(self, options: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
        return self.inner.register(options)

    def sign(self, options: Mapping[str, Any], origin: str, cancelled: Event) -> Mapping[str, Any]:
        if not self.touched:
            self.cancelled = cancelled.wait(10)
            raise access_denied("the security key was not touched in time")
        return self.inner.sign(options)


def challenge(*, otp: bool, keys: bool) -> Challenge:
    """One that accepts what is said."""
    return Challenge(id="c1", otp=otp, webauthn=REQUEST if keys else None, expires=datetime(2030, 1, 1, tzinfo=UTC))


def answering(*keys: PluggedIn, typed: str = "", mode: str = "auto") -> Answering:
    """With somebody who has typed a line ahead."""
    return Answering(Asker(io.StringIO(typed), io.StringIO()), ORIGIN, mode, lambda: keys)


class AnsweringTests(SynchronousTestCase):
    """
    Without a terminal.
    """

    def registered(self, *, touched: bool = True) -> PluggedIn:
        key = PluggedIn(touched=touched)
        answering(key).register(CREATION)
        return key

    def test_codes(self) -> None:
        """What is longer than an authenticator's code is a recovery code; neither is shown."""
        said = answering(typed="123 456\n").answer(challenge(otp=True, keys=False))
        self.assertEqual((said.otp.reveal(), said.recovery.reveal()), ("123456", ""))
        self.assertNotIn("123456", repr(said))
        said = code_of("mfza-6t2k-qo3d-7ncp\n")
        self.assertEqual((said.otp.reveal(), said.recovery.reveal()), ("", "mfza-6t2k-qo3d-7ncp"))

    def test_a_key(self) -> None:
        """It answers this challenge, at this proxy."""
        said = answering(self.registered()).answer(challenge(otp=False, keys=True))
        self.assertEqual(said.challenge, "c1")
        self.assertEqual(said.webauthn["type"], "public-key")
        self.assertIn("signature", said.webauthn["response"])

    def test_the_key_that_is_touched(self) -> None:
        """Of several; the others stop waiting."""
        idle, touched = self.registered(touched=False), self.registered()
        said = answering(idle, touched).answer(challenge(otp=False, keys=True))
        self.assertEqual(said.webauthn["id"], b64(touched.inner.credentials[0].id))

    def test_codes_for_scripts(self) -> None:
        """Without a terminal a code is used where no key is there, or none is wanted."""
        self.assertEqual(
            answering(typed="1\n").answer(challenge(otp=True, keys=True)).otp.reveal(), "1", "no key is plugged in"
        )
        key = self.registered()
        said = answering(key, typed="1\n", mode="otp").answer(challenge(otp=True, keys=True))
        self.assertEqual(said.otp.reveal(), "1")

    def test_nothing_that_could_answer(self) -> None:
        """The words say what would."""
        for given, word in (
            (challenge(otp=False, keys=True), "plug one in"),
            (challenge(otp=False, keys=False), "tsh mfa ls"),
        ):
            with self.assertRaisesRegex(TeleportError, word):
                answering().answer(given)
        with self.assertRaisesRegex(TeleportError, "standard input"):
            answering().answer(challenge(otp=True, keys=False))

    def test_registering(self) -> None:
        """One key, so that nobody registers the wrong one."""
        for keys, word in (((), "plug it in"), ((PluggedIn(), PluggedIn()), "only the new one")):
            with self.assertRaisesRegex(TeleportError, word):
                answering(*keys).register(CREATION)
