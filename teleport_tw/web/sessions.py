"""
Who is signed in: the cookie, the bearer, and what a cross-site page cannot send.

A cookie alone opens nothing: the browser sends it whoever made the page ask. So every call also carries the bearer,
which only our own page holds; to get one anew, the page shows the CSRF token that only it can read; and a request that
names an origin must name ours.
"""

from __future__ import annotations

import hmac
import re
import secrets
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

from teleport_tw.api.contract import Certificates
from teleport_tw.base.errors import access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration

SESSION_COOKIE = b"__Host-session"
CSRF_COOKIE = b"__Host-csrf"
CSRF_HEADER = b"X-CSRF-Token"

_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")


class Session(Protocol):
    """
    A sign-in by the browser, as auth keeps it.
    """

    @property
    def id(self) -> Secret[str]:
        """What the cookie holds."""

    @property
    def bearer(self) -> Secret[str]:
        """What the page holds."""

    @property
    def username(self) -> str:
        """Whose it is."""

    @property
    def certificates(self) -> Certificates:
        """By which the proxy acts as the user."""

    @property
    def tls_key(self) -> Secret[bytes]:
        """PEM."""

    @property
    def ssh_key(self) -> Secret[bytes]:
        """OpenSSH's form."""

    @property
    def expires(self) -> datetime:
        """Aware UTC."""

    @property
    def idle_timeout(self) -> Duration:
        """Zero for none."""


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
