"""
Sessions on the web, and sign-ins that a browser elsewhere approves.

A session on the web is one at the proxy: the browser holds a cookie, the proxy asks auth for what stands behind it.
Auth makes the session's keys and certificates; at rest they are sealed with a key that only the cookie yields.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from attrs import frozen

from teleport_tw.api.certificates import Certificates, LoginRequest, PublicKeys
from teleport_tw.api.factors import MfaAnswer
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration


@frozen(kw_only=True)
class WebSession:
    """
    @ivar id: the cookie's value.
    @ivar bearer: what the page shows beside the cookie; another one after each renewal.
    @ivar certificates: the user's own, which last as long as the session.
    @ivar tls_key: private, PEM.
    @ivar ssh_key: private, PEM.
    @ivar sign_in: the session's public id, as L{SignIn} has it.
    @ivar expires: aware UTC, whatever the user does.
    @ivar idle_timeout: after so long without a call the session ends; zero for never.
    """

    id: Secret[str]
    bearer: Secret[str]
    username: str
    certificates: Certificates
    tls_key: Secret[bytes]
    ssh_key: Secret[bytes]
    sign_in: str
    created: datetime
    expires: datetime
    idle_timeout: Duration


@frozen(kw_only=True)
class SignIn:
    """
    A session as its user may see it.

    @ivar id: public; of no use to sign in with.
    @ivar address: where the user signed in from.
    """

    id: str
    created: datetime
    last_used: datetime
    expires: datetime
    address: str = ""
    user_agent: str = ""


class WebSessions(Protocol):
    """
    The first four are for proxies, the others for the user.
    """

    async def create_web_session(self, request: LoginRequest) -> WebSession:
        """
        Sign in; the request has no keys.

        @raise TeleportError: as C{login}.
        """
        ...

    async def get_web_session(self, id: Secret[str], *, active: bool = True) -> WebSession:
        """
        @param active: whether the user did something; a page that only keeps itself up to date does not keep the
            session alive.
        @raise TeleportError: ACCESS_DENIED, it is unknown, over, was idle for too long, or the user is locked.
        """
        ...

    async def renew_web_session(self, id: Secret[str]) -> WebSession:
        """
        With another bearer, as a use.
        """
        ...

    async def delete_web_session(self, id: Secret[str]) -> None:
        """
        Sign out; harmless when it is over already.
        """
        ...

    async def list_sign_ins(self) -> tuple[SignIn, ...]:
        """
        The caller's, newest first.
        """
        ...

    async def delete_sign_in(self, id: str) -> None:
        """
        End one of the caller's own.

        @raise TeleportError: NOT_FOUND.
        """
        ...


@frozen(kw_only=True)
class HeadlessRequest:
    """
    Somebody at a machine without a browser asks to be signed in as a user.

    @ivar address: where from, as the proxy saw it.
    @ivar state: C{pending}, C{approved} or C{denied}.
    """

    id: str
    username: str
    address: str
    user_agent: str = ""
    created: datetime
    expires: datetime
    state: str = "pending"


class Headless(Protocol):
    """
    C{tsh --headless}: certificates for a minute, once the user approves on the web with a key.
    """

    async def create_headless(
        self, username: str, keys: PublicKeys, remote_address: str = "", user_agent: str = ""
    ) -> HeadlessRequest:
        """
        Asked by a proxy; for names that nobody has as well, which nobody will ever approve.

        @raise TeleportError: ACCESS_DENIED, the cluster does not allow it; LIMIT_EXCEEDED, too many wait already.
        """
        ...

    async def get_headless(self, id: str) -> HeadlessRequest:
        """
        For the user it names.

        @raise TeleportError: NOT_FOUND, also where it is somebody else's.
        """
        ...

    async def answer_headless(self, id: str, approve: bool, answer: MfaAnswer | None = None) -> None:
        """
        @param answer: to a challenge of scope C{headless} with this request as its target; not needed to deny.
        """
        ...

    async def wait_headless(self, id: str) -> Certificates:
        """
        Asked by a proxy; returns once it is approved, and once only.

        @raise TeleportError: ACCESS_DENIED, denied, or nobody answered in time.
        """
        ...


@frozen(kw_only=True)
class BrowserLogin:
    """
    A program that asked to be signed in by whoever is signed in at the browser beside it.

    @ivar address: where from, as the proxy saw it.
    """

    id: str
    address: str
    user_agent: str = ""
    created: datetime
    expires: datetime


class BrowserLogins(Protocol):
    """
    C{tsh login --browser}. The program shows the hash of a secret of its own; the page that approves sends a code to
    the program's own port on the user's machine; only who has both gets the certificates. So a link that somebody
    else made signs nobody else in.
    """

    async def create_browser_login(
        self,
        keys: PublicKeys,
        code_challenge: str,
        *,
        ttl: Duration = NEVER,
        remote_address: str = "",
        user_agent: str = "",
    ) -> BrowserLogin:
        """
        Asked by a proxy.

        @param code_challenge: SHA-256 of the program's secret, base64url without padding (RFC 7636, C{S256}).
        """
        ...

    async def get_browser_login(self, id: str) -> BrowserLogin:
        """
        For any user that is signed in and knows the id.

        @raise TeleportError: NOT_FOUND.
        """
        ...

    async def approve_browser_login(self, id: str, answer: MfaAnswer | None = None) -> Secret[str]:
        """
        Sign the program in as the caller.

        @param answer: to a challenge of scope C{browser} with this request as its target; None for a user who has no
            second factor and needs none.
        @return: the code that goes to the program, and nowhere else.
        """
        ...

    async def finish_browser_login(self, id: str, code: Secret[str], verifier: Secret[str]) -> Certificates:
        """
        Asked by a proxy for the program; good for one try.

        @raise TeleportError: ACCESS_DENIED, the same text for every reason.
        """
        ...
