"""
Who moderates is asked whether they are there, between the lines of the session.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from threading import Event
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import Challenge, MfaAnswer, MfaTarget, Scope
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.clients.factors import Answering
from teleport_tw.clients.login import Asker
from teleport_tw.clients.tsh.attending import Attending, WatchedSession, prover
from teleport_tw.protocols.ssh.wire import put_uint32

SESSION = "5d1f6d6e-0000-4000-8000-000000000001"


class Key:
    """
    Touched once somebody says so.
    """

    def __init__(self, *, touched: bool = True) -> None:
        self.touched = touched

    def sign(self, options: Mapping[str, Any], origin: str, cancelled: Event) -> Mapping[str, Any]:
        """Waits, where it is not touched, until nobody waits any more."""
        if not self.touched:
            cancelled.wait(60)
            raise access_denied("no security key was touched")
        return {"signed": options["challenge"], "origin": origin}


class AttendingTests(TestCase):
    """
    Bob moderates.
    """

    def setUp(self) -> None:
        """An authenticator app and a key are enrolled; none is plugged in."""
        self.shown: list[str] = []
        self.proven: list[tuple[str, MfaAnswer]] = []
        self.asked_for: list[tuple[Scope, MfaTarget | None]] = []
        self.refusal: TeleportError | None = None
        self.otp = True
        self.said: Deferred[None] = Deferred()

    async def api(self) -> Any:
        """Auth, which takes what it is told, or refuses."""
        return self

    async def create_challenge(self, scope: Scope, target: MfaTarget | None = None) -> Challenge:
        """Of both kinds."""
        self.asked_for.append((scope, target))
        return Challenge(id="c", otp=self.otp, webauthn={"challenge": "x"}, expires=datetime(2030, 1, 1, tzinfo=UTC))

    async def prove_presence(self, session: str, answer: MfaAnswer) -> None:
        """See the contract."""
        self.proven.append((session, answer))
        if self.refusal is not None:
            raise self.refusal

    def attending(self, *keys: Key, mode: str = "auto") -> Attending:
        """At a machine with these keys."""
        answering = Answering(Asker(), "https://proxy.example", mode, keys=lambda: keys)
        found = prover(SESSION, self.api, answering, self.show)
        self.addCleanup(found.end)
        return found

    def show(self, data: bytes) -> None:
        """On the screen."""
        self.shown.append(data.decode().strip().removeprefix("Teleport > "))
        if not self.said.called and ("known" in self.shown[-1] or "not proven" in self.shown[-1]):
            self.said.callback(None)

    async def test_key(self) -> None:
        """It signs a challenge for this session and for nothing else; keys go to the session meanwhile."""
        attending = self.attending(Key())
        attending.asked(30)
        self.assertEqual(attending.typed(b"123456t"), b"123456t")
        await self.said
        self.assertEqual(self.shown[0], "Prove within 30 seconds that you are there: touch your security key.")
        self.assertEqual(self.shown[1], "Thank you: it is known that you are there.")
        self.assertEqual(self.asked_for, [(Scope.SESSION_PRESENCE, MfaTarget(kind="session", name=SESSION))])
        [(session, answer)] = self.proven
        self.assertEqual((session, answer.challenge), (SESSION, "c"))
        self.assertEqual(answer.webauthn, {"signed": "x", "origin": "https://proxy.example"})

    def test_code(self) -> None:
        """Its digits are not the session's, whose keys go on; what was mistyped is taken back."""
        attending = self.attending()
        self.assertEqual(attending.typed(b"1\x7f"), b"1\x7f")
        attending.asked(30)
        self.assertEqual(attending.typed(b"12\x7f"), b"")
        self.assertEqual(attending.typed(b"\x034x5"), b"\x03x")
        self.assertEqual(attending.typed(b"678t9"), b"t9")
        [(_, answer)] = self.proven
        self.assertEqual((answer.otp.reveal(), answer.recovery.reveal()), ("145678", ""))
        self.assertEqual(attending.typed(b"123456"), b"123456")
        self.assertEqual(len(self.proven), 1)

    def test_asked_again(self) -> None:
        """The line is shown again; digits typed before still count, and no second challenge is made."""
        attending = self.attending()
        attending.asked(30)
        attending.typed(b"123")
        attending.asked(15)
        self.assertEqual([line[:23] for line in self.shown], ["Prove within 30 seconds", "Prove within 15 seconds"])
        attending.typed(b"456")
        self.assertEqual([answer.otp.reveal() for _, answer in self.proven], ["123456"])
        self.assertEqual(len(self.asked_for), 1)

    def test_wrong(self) -> None:
        """A refusal is told, and the next question may be answered."""
        attending = self.attending()
        self.refusal = access_denied("the second factor was not accepted")
        attending.asked(30)
        attending.typed(b"000000")
        self.assertIn("not proven: the second factor was not accepted", self.shown[-1])
        self.refusal = None
        attending.asked(15)
        attending.typed(b"111111")
        self.assertIn("it is known", self.shown[-1])

    def test_nothing_here(self) -> None:
        """Who has keys only reads what to do; the next question finds the key."""
        self.otp = False
        attending = self.attending()
        attending.asked(30)
        self.assertIn("plug in your security key", self.shown[-1])
        self.assertEqual(attending.typed(b"123456"), b"123456")
        self.assertEqual(self.proven, [])
        attending.asked(15)
        self.assertEqual(len(self.asked_for), 2)

    async def test_the_end(self) -> None:
        """Who waits for a touch does not outlive the session."""
        key = Key(touched=False)
        over: Deferred[None] = Deferred()
        attending = self.attending(key)
        inner = key.sign

        def watched(*args: Any) -> Mapping[str, Any]:
            from twisted.internet import reactor

            try:
                return inner(*args)
            finally:
                reactor.callFromThread(over.callback, None)  # type: ignore[attr-defined]

        key.sign = watched  # type: ignore[method-assign]
        attending.asked(30)
        self.assertIn("touch your security key", self.shown[-1])
        attending.end()
        await over
        self.assertEqual(self.proven, [])

    def test_the_request(self) -> None:
        """On the channel: seconds that are left."""
        asked: list[int] = []
        session = WatchedSession(lambda data: None, lambda data: None)
        session.request_x_teleport_mfa_presence(put_uint32(30))
        session.attending = SimpleNamespace(asked=asked.append)  # type: ignore[assignment]
        session.request_x_teleport_mfa_presence(put_uint32(15))
        self.assertEqual(asked, [15])
