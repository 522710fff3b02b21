"""
Second factors, web sessions and requests through protobuf.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api import ceremonies, proofs, sessions
from teleport_tw.api.contract import (
    AccountState,
    BrowserLogin,
    Certificates,
    Challenge,
    Device,
    DeviceTicket,
    DeviceType,
    HeadlessRequest,
    IssueRequest,
    LoginRequest,
    MfaAnswer,
    MfaNeed,
    MfaTarget,
    PublicKeys,
    Scope,
    SignIn,
    WebSession,
)
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ANSWER = MfaAnswer(webauthn={"id": "é", "response": {"x": [1]}}, challenge="c")
TARGET = MfaTarget(kind="node", name="web", login="root")


class ProofTests(SynchronousTestCase):
    """
    There and back, and what cannot be read.
    """

    def test_there_and_back(self) -> None:
        """Each comes back as it went."""
        for answer in (ANSWER, MfaAnswer(otp=Secret("1")), MfaAnswer(recovery=Secret("a-b"))):
            message = proofs.answer_to_pb(answer)
            assert message is not None
            self.assertEqual(proofs.answer_from_pb(message), answer)
        for challenge in (
            Challenge(id="x", otp=True, expires=NOW),
            Challenge(id="x", webauthn={"challenge": "y"}, expires=NOW),
        ):
            self.assertEqual(proofs.challenge_from_pb(proofs.challenge_to_pb(challenge)), challenge)
        for need in (MfaNeed(required=True, covered=True), MfaNeed(required=False)):
            self.assertEqual(proofs.need_from_pb(proofs.need_to_pb(need)), need)
        state = AccountState(password=True, recovery_codes=9)
        self.assertEqual(proofs.state_from_pb(proofs.state_to_pb(state)), state)
        for device in (
            Device(id="a", name="b", type=DeviceType.TOTP),
            Device(
                id="a",
                name="b",
                type=DeviceType.WEBAUTHN,
                added=NOW,
                last_used=NOW,
                passwordless=True,
                suspect=True,
            ),
        ):
            self.assertEqual(proofs.device_from_pb(proofs.device_to_pb(device)), device)
        for ticket in (
            DeviceTicket(id="a", otp_secret=Secret("S"), otp_uri=Secret("otpauth://"), expires=NOW),
            DeviceTicket(id="a", webauthn={"rp": {"id": "x"}}, expires=NOW),
        ):
            self.assertEqual(proofs.ticket_from_pb(proofs.ticket_to_pb(ticket)), ticket)
        codes = (Secret("a"), Secret("b"))
        self.assertEqual(proofs.codes_from_pb(proofs.codes_to_pb(codes)), codes)
        for scope in Scope:
            self.assertEqual(proofs.scope_from_pb(proofs.scope_to_pb(scope)), scope)

    def test_requests(self) -> None:
        """Answers and targets go along with sign-in and issue; absent ones stay absent."""
        for login in (LoginRequest(username="a"), LoginRequest(username="", answer=ANSWER)):
            self.assertEqual(ceremonies.login_from_pb(ceremonies.login_to_pb(login)), login)
        for issue in (
            IssueRequest(keys=PublicKeys(ssh=b"k")),
            IssueRequest(keys=PublicKeys(ssh=b"k"), target=TARGET, answer=ANSWER),
        ):
            self.assertEqual(ceremonies.issue_from_pb(ceremonies.issue_to_pb(issue)), issue)

    def test_sessions(self) -> None:
        """Web sessions, sign-ins, headless requests, browser logins."""
        session = WebSession(
            id=Secret("i"),
            bearer=Secret("b"),
            username="alice",
            certificates=Certificates(ssh=b"s", tls=b"t", cluster="c"),
            tls_key=Secret(b"k"),
            ssh_key=Secret(b"l"),
            sign_in="p",
            created=NOW,
            expires=NOW,
            idle_timeout=timedelta(minutes=10),
        )
        self.assertEqual(sessions.session_from_pb(sessions.session_to_pb(session)), session)
        self.assertNotIn("'b'", repr(session))
        sign_in = SignIn(id="p", created=NOW, last_used=NOW, expires=NOW, address="a", user_agent="u")
        self.assertEqual(sessions.sign_in_from_pb(sessions.sign_in_to_pb(sign_in)), sign_in)
        headless = HeadlessRequest(id="h", username="a", address="x", created=NOW, expires=NOW, state="denied")
        self.assertEqual(sessions.headless_from_pb(sessions.headless_to_pb(headless)), headless)
        browser = BrowserLogin(id="h", address="x", user_agent="u", created=NOW, expires=NOW)
        self.assertEqual(sessions.browser_from_pb(sessions.browser_to_pb(browser)), browser)

    def test_what_cannot_be_read(self) -> None:
        """Numbers of no meaning and text that is not JSON."""
        for work in (
            lambda: proofs.scope_from_pb(99),  # type: ignore[arg-type]  # as a stranger sends it
            lambda: proofs.type_from_pb(0),  # type: ignore[arg-type]  # the same
            lambda: proofs.answer_from_pb(_answer("[]")),
            lambda: proofs.answer_from_pb(_answer("{")),
        ):
            error = self.assertRaises(TeleportError, work)
            self.assertEqual(error.kind, Kind.BAD_PARAMETER)


def _answer(webauthn: str) -> object:
    message = proofs.answer_to_pb(MfaAnswer(otp=Secret("1")))
    assert message is not None
    message.webauthn = webauthn
    return message
