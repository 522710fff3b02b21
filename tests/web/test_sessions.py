"""
What the proxy remembers of sign-ins, and for how long.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import Certificates, WebSession
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import from_timestamp
from teleport_tw.web.refusal import Refusal
from teleport_tw.web.sessions import KEPT_SECONDS, ROTATE, Sessions, check_origin

ID = "s" * 40
BEARER = "b" * 40


@define
class Request:
    """
    As much of one as is looked at.
    """

    cookies: dict[bytes, bytes] = field(factory=dict)
    headers: dict[bytes, bytes] = field(factory=dict)

    def getCookie(self, name: bytes) -> bytes | None:
        return self.cookies.get(name)

    def getHeader(self, name: bytes) -> bytes | None:
        return self.headers.get(name)

    @property
    def requestHeaders(self) -> Any:
        return self

    def getRawHeaders(self, name: bytes, default: Any) -> Any:
        return [self.headers[name]] if name in self.headers else default


def request(id: str = ID, bearer: str = BEARER) -> Request:
    return Request({b"__Host-session": id.encode()}, {b"Authorization": f"Bearer {bearer}".encode()})


@define
class Auth:
    """
    One session.
    """

    clock: Clock
    session: WebSession
    asked: list[bool] = field(factory=list)
    error: TeleportError | None = None
    renewed: int = 0

    async def get_web_session(self, id: Secret[str], *, active: bool = True) -> WebSession:
        self.asked.append(active)
        if self.error is not None:
            raise self.error
        if id != self.session.id:
            raise access_denied()
        return self.session

    async def renew_web_session(self, id: Secret[str]) -> WebSession:
        self.renewed += 1
        self.session = evolve(self.session, bearer=Secret(str(self.renewed) * 40))
        return self.session

    async def delete_web_session(self, id: Secret[str]) -> None:
        self.error = access_denied()


class SessionsTests(SynchronousTestCase):
    """
    With a clock of the test's own.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        now = from_timestamp(self.clock.seconds())
        self.session = WebSession(
            id=Secret(ID),
            bearer=Secret(BEARER),
            username="alice",
            certificates=Certificates(),
            tls_key=Secret(b""),
            ssh_key=Secret(b""),
            sign_in="1",
            created=now,
            expires=now + timedelta(hours=1),
            idle_timeout=timedelta(0),
        )
        self.auth = Auth(self.clock, self.session)
        api: Any = self.auth
        self.sessions = Sessions(api, self.clock)

    def shown(self, asked: Request | None = None, **more: Any) -> WebSession:
        found: WebSession = self.successResultOf(
            Deferred.fromCoroutine(self.sessions.shown(asked or request(), **more))
        )
        return found

    def refused(self, asked: Request, **more: Any) -> int:
        failure = self.failureResultOf(Deferred.fromCoroutine(self.sessions.shown(asked, **more)), Refusal)
        status: int = failure.value.status
        return status

    def test_asked_now_and_then(self) -> None:
        """Of many requests at once auth hears one; it is told of who does something, not of a page that waits."""
        for _ in range(5):
            self.shown()
            self.shown(active=False)
        self.assertEqual(self.auth.asked, [True])
        self.clock.advance(KEPT_SECONDS + 1)
        self.shown(active=False)
        self.shown(active=False)
        self.assertEqual(self.auth.asked, [True, False])
        self.shown()
        self.shown()
        self.assertEqual(self.auth.asked, [True, False, True])

    def test_ended_elsewhere(self) -> None:
        """What auth ended is over here a little later, and at once where it was ended here."""
        self.shown()
        self.auth.error = access_denied()
        self.assertEqual(self.shown(), self.session)
        self.clock.advance(KEPT_SECONDS + 1)
        self.assertEqual(self.refused(request()), 401)
        self.auth.error = None
        self.shown()
        self.successResultOf(Deferred.fromCoroutine(self.sessions.end(Secret(ID))))
        self.assertEqual(self.refused(request()), 401)

    def test_expired(self) -> None:
        """A session that is kept does not outlast its certificate."""
        self.clock.advance(3595)
        self.shown()
        self.auth.error = access_denied()
        self.clock.advance(4)
        self.shown()
        self.clock.advance(2)
        self.assertEqual(self.refused(request()), 401)

    def test_auth_is_away(self) -> None:
        """That auth does not answer is not the end of anybody's session."""
        self.auth.error = TeleportError(Kind.CONNECTION_PROBLEM, "away")
        failure = self.failureResultOf(Deferred.fromCoroutine(self.sessions.shown(request())), TeleportError)
        self.assertEqual(failure.value.kind, Kind.CONNECTION_PROBLEM)

    def test_bearers(self) -> None:
        """Renewing gives the same bearer to all tabs for a while, then another; another proxy's is learnt at once."""
        self.shown()
        renewed = self.successResultOf(Deferred.fromCoroutine(self.sessions.renewed(request())))
        self.assertEqual((renewed.bearer.reveal(), self.auth.renewed), (BEARER, 0))
        self.clock.advance(ROTATE.total_seconds() + 1)
        renewed = self.successResultOf(Deferred.fromCoroutine(self.sessions.renewed(request())))
        self.assertEqual((renewed.bearer.reveal(), self.auth.renewed), ("1" * 40, 1))
        self.assertEqual(self.refused(request()), 401)
        self.shown(request(bearer="1" * 40))
        self.auth.session = evolve(self.session, bearer=Secret("n" * 40))
        self.shown(request(bearer="n" * 40))
        self.assertEqual(self.refused(request(bearer="1" * 40)), 401)

    def test_no_tokens(self) -> None:
        """What cannot be a session's id is not even asked for."""
        for id in ("", "short", "../../x" * 10, "é" * 40, "a" * 200, "a b" * 20):
            self.assertEqual(self.refused(request(id=id)), 401)
        self.assertEqual(self.auth.asked, [])
        for header in (b"", b"Basic " + BEARER.encode(), b"Bearer", b"Bearer x", b"Bearer " + b"\xff" * 40):
            self.assertEqual(self.refused(Request({b"__Host-session": ID.encode()}, {b"Authorization": header})), 401)

    def test_origins(self) -> None:
        """Ours is the name in the configuration and the one that the browser used; with TLS, and no other port."""
        for origin, host, fits in (
            (b"https://teleport.example.com", b"teleport.example.com", True),
            (b"https://teleport.example.com", b"10.0.0.5:3080", True),
            (b"https://TELEPORT.example.com:443", b"inner", True),
            (b"https://inner", b"inner", True),
            (b"https://inner:3080", b"inner:3080", True),
            (b"https://inner:3080", b"inner", False),
            (b"http://teleport.example.com", b"teleport.example.com", False),
            (b"https://evil.example", b"teleport.example.com", False),
            (b"https://teleport.example.com/path", b"teleport.example.com", False),
            (b"https://[", b"teleport.example.com", False),
            (b"null", b"null", False),
            (b"", b"teleport.example.com", False),
        ):
            asked = Request(headers={b"Origin": origin, b"Host": host})
            try:
                check_origin(asked, "teleport.example.com:443")
            except TeleportError as error:
                self.assertEqual((error.kind, fits), (Kind.ACCESS_DENIED, False), origin)
            else:
                self.assertTrue(fits, origin)
        check_origin(Request(), "teleport.example.com:443")
        self.assertRaises(TeleportError, check_origin, Request(), "teleport.example.com:443", needed=True)
