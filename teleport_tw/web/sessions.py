"""
Who is signed in: the cookie, the bearer, and what a cross-site page cannot send.

A cookie alone opens nothing: the browser sends it whoever made the page ask. So every call also carries the bearer,
which only our own page holds; to get one anew, the page shows the CSRF token that only it can read; and a request that
names an origin must name ours.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.api.contract import Api, WebSession
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.web.refusal import Refusal

SESSION_COOKIE = b"__Host-session"
CSRF_COOKIE = b"__Host-csrf"
CSRF_HEADER = b"X-CSRF-Token"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


Session: TypeAlias = WebSession
"""A sign-in by the browser, as auth keeps it."""

KEPT_SECONDS = 10.0
"""Between two questions to auth about a session: so long after it was ended elsewhere it may still be answered."""

ROTATE = Duration(minutes=10)
"""A bearer is not renewed more often: the other tabs of a browser show the same."""

MAX_KEPT = 10_000


class UserApis(Protocol):
    """
    Auth, as users that are signed in here; C{daemon} knows how.
    """

    def api_for(self, session: Session, address: str) -> Api:
        """
        @param address: the browser's.
        @raise TeleportError: ACCESS_DENIED, its certificate is not good any more.
        """
        ...


@define
class _Kept:
    session: Session
    asked: float
    active: float
    rotated: datetime


@define(eq=False)
class Sessions:
    """
    Who is signed in, as auth knows it; asked again after L{KEPT_SECONDS}.

    @ivar api: auth, as the proxy.
    @ivar ended: called with the id of a session that was ended here.
    """

    api: Api
    clock: IReactorTime
    ended: Callable[[Secret[str]], object] = lambda id: None
    _kept: OrderedDict[str, _Kept] = field(factory=OrderedDict, init=False)

    async def of(self, request: Any, *, active: bool = True) -> Session:
        """
        By the cookie alone.

        @param active: whether the user did something, which keeps the session alive.
        @raise Refusal: 401.
        """
        id = cookie_of(request)
        if id is None:
            raise Refusal(401, "sign in first")
        return (await self._find(id, active)).session

    def knows(self, request: Any) -> bool:
        """
        @return: whether the cookie is that of a session which auth has told of before.
        """
        id = cookie_of(request)
        return id is not None and _hashed(id) in self._kept

    async def still(self, id: Secret[str], active: bool) -> None:
        """
        @param id: of a session that was found before.
        @param active: whether the user did something since.
        @raise Refusal: 401, it is over.
        """
        await self._find(id, active)

    async def shown(self, request: Any, *, active: bool = True) -> Session:
        """
        By cookie and bearer.

        @raise Refusal: 401.
        """
        bearer = bearer_of(request)
        session = await self.of(request, active=active)
        if bearer is None:
            raise Refusal(401, "sign in first", details="no bearer")
        if bearer != session.bearer:
            self._kept.pop(_hashed(session.id), None)  # another proxy may have given a new one
            session = await self.of(request, active=active)
            if bearer != session.bearer:
                raise Refusal(401, "sign in first", details="the bearer is not the session's")
        return session

    async def is_bearer(self, session: Session, bearer: Secret[str]) -> bool:
        """
        @param session: known by its cookie.
        @return: whether the page that sent C{bearer} is ours.
        """
        if bearer == session.bearer:
            return True
        self._kept.pop(_hashed(session.id), None)
        return bearer == (await self._find(session.id, True)).session.bearer

    async def begun(self, session: Session) -> None:
        """
        Somebody signed in.
        """
        self._keep(session, active=True, rotated=session.created)

    async def renewed(self, request: Any) -> Session:
        """
        @return: with a bearer that is good for a while.
        @raise Refusal: 401.
        """
        session = await self.of(request)
        kept = self._kept.get(_hashed(session.id))
        now = from_timestamp(self.clock.seconds())
        if kept is not None and now - kept.rotated < ROTATE:
            return session
        session = await self._ask(self.api.renew_web_session(session.id))
        self._keep(session, active=True, rotated=now)
        return session

    async def end(self, id: Secret[str]) -> None:
        """
        Sign out.
        """
        self._kept.pop(_hashed(id), None)
        self.ended(id)
        await self.api.delete_web_session(id)

    def forget(self, username: str) -> None:
        """
        What was kept of a user's sessions; auth is asked again.
        """
        for key in [key for key, kept in self._kept.items() if kept.session.username == username]:
            del self._kept[key]

    async def _find(self, id: Secret[str], active: bool) -> _Kept:
        key, now = _hashed(id), self.clock.seconds()
        kept = self._kept.get(key)
        fresh = kept is not None and now - (kept.active if active else kept.asked) < KEPT_SECONDS
        if kept is not None and fresh and from_timestamp(now) < kept.session.expires:
            return kept
        try:
            session = await self._ask(self.api.get_web_session(id, active=active))
        except Refusal:
            self._kept.pop(key, None)
            raise
        return self._keep(session, active=active, rotated=kept.rotated if kept else session.created)

    def _keep(self, session: Session, *, active: bool, rotated: datetime) -> _Kept:
        key, now = _hashed(session.id), self.clock.seconds()
        known = self._kept.pop(key, None)
        kept = _Kept(session, now, now if active else known.active if known else -math.inf, rotated)
        self._kept[key] = kept
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        return kept

    @staticmethod
    async def _ask(asking: Awaitable[Session]) -> Session:
        try:
            return await asking
        except TeleportError as error:
            if error.kind in (Kind.ACCESS_DENIED, Kind.NOT_FOUND):
                raise Refusal(401, "the session has ended; sign in again", details=error.message) from error
            raise


def _hashed(id: Secret[str]) -> str:
    return hashlib.sha256(id.reveal().encode()).hexdigest()


def cookie_of(request: Any) -> Secret[str] | None:
    """
    @return: the session's id; none without a cookie that could be ours.
    """
    return _token(request.getCookie(SESSION_COOKIE))


def bearer_of(request: Any) -> Secret[str] | None:
    """
    @return: what the page sent along; none without.
    """
    scheme, _, token = (request.getHeader(b"Authorization") or b"").partition(b" ")
    return _token(token.strip()) if scheme.lower() == b"bearer" else None


def _token(value: bytes | None) -> Secret[str] | None:
    text = (value or b"").decode("latin-1")
    return Secret(text) if _TOKEN.fullmatch(text) else None


def set_cookie(request: Any, name: bytes, value: Secret[str], *, readable: bool = False) -> None:
    """
    A cookie for as long as the browser runs, of this host alone.

    @param readable: by the page's own code.
    """
    request.addCookie(
        name, value.reveal().encode("ascii"), path=b"/", secure=True, httpOnly=not readable, sameSite=b"lax"
    )


def drop_cookie(request: Any, name: bytes) -> None:
    """
    Have the browser forget it.
    """
    request.addCookie(name, b"", path=b"/", max_age=b"0", secure=True, httpOnly=True, sameSite=b"lax")


def give_csrf(request: Any) -> None:
    """
    A token for a browser that has none.
    """
    if _token(request.getCookie(CSRF_COOKIE)) is None:
        set_cookie(request, CSRF_COOKIE, Secret(secrets.token_urlsafe(32)), readable=True)


def check_csrf(request: Any) -> None:
    """
    @raise TeleportError: ACCESS_DENIED, the page did not show the token that its cookie has.
    """
    cookie, shown = _token(request.getCookie(CSRF_COOKIE)), _token(request.getHeader(CSRF_HEADER))
    if cookie is None or shown is None or not hmac.compare_digest(cookie.reveal(), shown.reveal()):
        raise access_denied("this page is out of date; load it again", details="no CSRF token, or a wrong one")


def check_origin(request: Any, public: str, *, needed: bool = False) -> None:
    """
    A browser says which page asks; programs say nothing.

    @param public: C{host:port} of the web port as users reach it; whoever stands in front may call us by another name.
    @param needed: as for a WebSocket, which every browser names the origin of.
    @raise TeleportError: ACCESS_DENIED, another site's page asks.
    """
    told = request.requestHeaders.getRawHeaders(b"Origin", ())
    if not told:
        if needed or _elsewhere(request):
            raise access_denied("this is for the proxy's own pages", details="no Origin")
        return
    own = {_netloc(public)}
    host = (request.getHeader(b"Host") or b"").decode("latin-1")
    if host:
        own.add(_netloc(host))
    try:
        (origin,) = (urlsplit(each.decode("latin-1")) for each in told)
        fits = origin.scheme == "https" and not origin.path and _netloc(origin.netloc) in own
    except ValueError:
        fits = False
    if not fits:
        raise access_denied("this is for the proxy's own pages", details=f"Origin {told[0][:200]!r}")


def _elsewhere(request: Any) -> bool:
    """
    What a browser tells of where a request came from, beside the origin.
    """
    return request.getHeader(b"Sec-Fetch-Site") in (b"cross-site", b"same-site")


def _netloc(text: str) -> str:
    """
    @return: in lower case, without the port that https has anyway.
    """
    return text.lower().removesuffix(":443")
