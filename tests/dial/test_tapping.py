"""
A second factor in the middle of a login: who is asked, how often, and what auth's words come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.taps import BANNER, Tap, TapRequest
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import utc_now
from teleport_tw.conch.connection import Responder
from teleport_tw.conch.userauth import MoreNeeded, Prompt
from teleport_tw.dial.tapping import TRIES, WAITS, SecondFactorMissing, Tapping

REQUEST = TapRequest(certificate=b"certificate", node="node", login="root", address="192.0.2.1")
MISSING = SecondFactorMissing(Kind.ACCESS_DENIED, "this session needs a second factor")
PHONE, KEY = "phone", "key"


@define
class Auth:
    """
    Auth, as a host has it.

    @ivar covered: device of an earlier answer.
    @ivar waits: what each wait for an approval comes to.
    """

    covered: str = ""
    otp: bool = True
    link: str = "https://proxy.example.com/web/tap/1"
    code: str = "123456"
    waits: list[str] = field(factory=list)
    failing: TeleportError | None = None
    calls: list[str] = field(factory=list)

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.failing is not None:
            raise self.failing

    async def tap_covered(self, request: TapRequest) -> str:
        assert request is REQUEST
        self._called("covered")
        return self.covered

    async def begin_tap(self, request: TapRequest) -> Tap:
        assert request is REQUEST
        self._called("begin")
        now = utc_now()
        return Tap(
            id="1",
            username="alice",
            node="node",
            hostname="db1",
            login="root",
            otp=self.otp,
            link=self.link,
            created=now,
            expires=now + timedelta(minutes=2),
        )

    async def answer_tap(self, id: str, code: Secret[str]) -> str:
        self._called("answer")
        if code.reveal() != self.code:
            raise access_denied("the second factor was not accepted")
        return PHONE

    async def wait_tap(self, id: str) -> str:
        self._called("wait")
        return self.waits.pop(0) if self.waits else ""


@define
class Door:
    """
    The host: whom it lets in, and why not.
    """

    needed: bool = True
    closed: TeleportError | None = None
    refusals: list[TeleportError] = field(factory=list)
    admitted: list[str] = field(factory=list)

    def admit(self, device: str) -> str:
        if self.closed is not None:
            raise self.closed
        if self.needed and not device:
            raise MISSING
        self.admitted.append(device)
        return device or "nobody asked"

    async def welcome(self, target: str) -> Responder:
        return cast(Responder, f"in by {target}")


@define
class User:
    """
    Types what is on the list.
    """

    answers: list[str]
    read: list[tuple[str, str]] = field(factory=list)

    async def asked(self, instruction: str, prompts: Sequence[Prompt]) -> list[str]:
        (prompt,) = prompts
        assert not prompt.echo
        self.read.append((instruction, prompt.text))
        return [self.answers.pop(0)]


class Case(SynchronousTestCase):
    """
    One login each.
    """

    def enter(self, api: Auth | None, door: Door) -> Any:
        work = Tapping(api).enter(REQUEST, door.admit, door.welcome, door.refusals.append)
        return Deferred.fromCoroutine(work)

    def refused(self, api: Auth | None, door: Door) -> TeleportError:
        error: TeleportError = self.failureResultOf(self.enter(api, door), TeleportError).value
        self.assertEqual(door.refusals, [error], "it is in the log")
        return error

    def challenged(self, api: Auth, door: Door, user: User) -> Any:
        more: MoreNeeded = self.failureResultOf(self.enter(api, door), MoreNeeded).value
        self.assertEqual(more.banner, BANNER)
        self.assertEqual(door.refusals, [], "who is asked has not been refused")

        async def go_on() -> Responder:
            return await more.challenge(user.asked)

        return Deferred.fromCoroutine(go_on())


class WhoIsAsked(Case):
    """
    Before any question.
    """

    def test_who_needs_nothing(self) -> None:
        """Auth is not even asked."""
        auth, door = Auth(), Door(needed=False)
        self.assertEqual(self.successResultOf(self.enter(auth, door)), "in by nobody asked")
        self.assertEqual(auth.calls, [])

    def test_who_answered_before(self) -> None:
        """Comes in with the device of then, which the host looks at."""
        door = Door()
        self.assertEqual(self.successResultOf(self.enter(Auth(covered=KEY), door)), "in by key")
        self.assertEqual(door.admitted, [KEY])

    def test_who_may_not_come_in_anyway(self) -> None:
        """Is not asked for a factor: it would be of no use."""
        auth, door = Auth(covered=KEY), Door(closed=access_denied("locked"))
        self.assertEqual(self.refused(auth, door).message, "locked")
        self.assertEqual(auth.calls, [])

    def test_where_nobody_is_asked(self) -> None:
        """A host that cannot reach auth in this matter refuses."""
        self.assertIs(self.refused(None, Door()), MISSING)

    def test_auth_refuses(self) -> None:
        """A certificate that is locked, say: in auth's words."""
        self.assertEqual(self.refused(Auth(failing=access_denied("locked")), Door()).message, "locked")

    def test_auth_is_away(self) -> None:
        """When the check cannot be made the answer is no."""
        away = TeleportError(Kind.CONNECTION_PROBLEM, "connection refused")
        error = self.refused(Auth(failing=away), Door())
        self.assertIs(error.kind, Kind.ACCESS_DENIED)
        self.assertIn("auth cannot check one now", error.message)

    def test_a_lock_in_between(self) -> None:
        """An answer does not overrule what the host decides with it in hand."""
        auth, door = Auth(), Door()
        more: MoreNeeded = self.failureResultOf(self.enter(auth, door), MoreNeeded).value
        door.closed = access_denied("the device is locked")

        async def go_on() -> Responder:
            return await more.challenge(User(["123456"]).asked)

        error = self.failureResultOf(Deferred.fromCoroutine(go_on()), TeleportError).value
        self.assertEqual(error.message, "the device is locked")
        self.assertEqual(door.refusals, [error])


class Questions(Case):
    """
    What is asked, and what answers come to.
    """

    def denied(self, auth: Auth, user: User) -> TeleportError:
        door = Door()
        error: TeleportError = self.failureResultOf(self.challenged(auth, door, user), TeleportError).value
        self.assertEqual((door.refusals, door.admitted), ([error], []))
        return error

    def test_a_code(self) -> None:
        """With spaces, as apps show it."""
        user = User([" 123 456 "])
        self.assertEqual(self.successResultOf(self.challenged(Auth(), Door(), user)), "in by phone")
        ((instruction, prompt),) = user.read
        self.assertIn("alice", instruction)
        self.assertIn("https://proxy.example.com/web/tap/1", instruction)
        self.assertIn("Enter once you approved", prompt)

    def test_a_wrong_code(self) -> None:
        """May be tried again, and the user reads why."""
        auth, user = Auth(), User(["000000", "123456"])
        self.assertEqual(self.successResultOf(self.challenged(auth, Door(), user)), "in by phone")
        self.assertIn("not accepted", user.read[1][0])
        self.assertNotIn("not accepted", user.read[0][0])

    def test_too_many_wrong_codes(self) -> None:
        """End the login."""
        auth, user = Auth(), User(["000000"] * 10)
        self.assertIs(self.denied(auth, user).kind, Kind.ACCESS_DENIED)
        self.assertEqual((auth.calls.count("answer"), len(user.read)), (TRIES, TRIES))

    def test_a_locked_account(self) -> None:
        """What is no wrong code is not asked again."""

        class Locked(Auth):
            async def answer_tap(self, id: str, code: Secret[str]) -> str:
                self.calls.append("answer")
                raise TeleportError(Kind.LIMIT_EXCEEDED, "this account is locked")

        auth, user = Locked(), User(["000000"] * 3)
        self.assertIs(self.denied(auth, user).kind, Kind.LIMIT_EXCEEDED)
        self.assertEqual(len(user.read), 1)

    def test_a_key(self) -> None:
        """Nothing is typed: the page is waited for, more than once."""
        auth = Auth(waits=["", KEY])
        self.assertEqual(self.successResultOf(self.challenged(auth, Door(), User([""]))), "in by key")
        self.assertEqual(auth.calls.count("wait"), 2)

    def test_nobody_approves(self) -> None:
        """The wait has an end."""
        auth = Auth()
        self.assertIn("nobody showed one", self.denied(auth, User([""])).message)
        self.assertEqual(auth.calls.count("wait"), WAITS)

    def test_keys_alone(self) -> None:
        """What is typed is no code where codes do not count; it is not sent to auth."""
        auth, user = Auth(otp=False, waits=[KEY]), User(["123456"])
        self.assertEqual(self.successResultOf(self.challenged(auth, Door(), user)), "in by key")
        self.assertNotIn("answer", auth.calls)
        self.assertEqual(user.read[0][1], "Press Enter once you approved there: ")

    def test_codes_alone(self) -> None:
        """Without a page nothing is said of one, and an empty line is a refusal at once."""
        auth, user = Auth(link=""), User([""])
        self.denied(auth, user)
        self.assertEqual((auth.calls.count("wait"), user.read[0][1]), (0, "Code from your authenticator app: "))
        self.assertNotIn("http", user.read[0][0])

    def test_who_has_no_device(self) -> None:
        """Reads what to do, before any question."""
        auth, door, user = Auth(), Door(), User([])
        more: MoreNeeded = self.failureResultOf(self.enter(auth, door), MoreNeeded).value
        auth.failing = TeleportError(Kind.BAD_PARAMETER, "you have none: add one with `tsh mfa add`")

        async def go_on() -> Responder:
            return await more.challenge(user.asked)

        error = self.failureResultOf(Deferred.fromCoroutine(go_on()), TeleportError).value
        self.assertIs(error.kind, Kind.ACCESS_DENIED)
        self.assertIn("tsh mfa add", error.message)
        self.assertEqual(user.read, [])
