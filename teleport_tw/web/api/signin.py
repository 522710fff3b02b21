"""
Signing in and out with a browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from teleport_tw.api import joining
from teleport_tw.api.contract import Api, LoginRequest, PublicKeys
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, parse_duration
from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import ANSWER, CHALLENGE, answer_of, challenge_json, when
from teleport_tw.web.routes import Call, Limit, Reply, Route, Who
from teleport_tw.web.sessions import (
    CSRF_COOKIE,
    ROTATE,
    SESSION_COOKIE,
    Session,
    Sessions,
    check_csrf,
    cookie_of,
    drop_cookie,
    give_csrf,
    set_cookie,
)
from teleport_tw.web.shapes import FREE, Flag, Table, Text, Whole

USER = Text(most=1000)
PASSWORD = Text(most=128, secret=True)

SIGNED_IN = Table(
    members={
        "type": Text(),
        "token": Text(secret=False, about="the bearer for Authorization"),
        "user": Text(),
        "expires_in": Whole(about="seconds until the bearer should be renewed"),
        "sessionExpires": Text(form="date-time"),
        "sessionInactiveTimeout": Whole(most=2**53, about="milliseconds; 0 for none"),
    },
    needs=("type", "token", "expires_in", "sessionExpires", "sessionInactiveTimeout"),
)
NOTHING = Table()


@frozen
class SignIn:
    """
    @ivar api: auth, as the proxy's own identity.
    """

    api: Api
    sessions: Sessions

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        stranger: dict[str, Any] = {"method": "POST", "who": Who.PUBLIC, "limit": Limit.COSTLY}
        asks = {**stranger, "limit": Limit.CHEAP}  # nothing can be guessed here, and each view of the page asks
        return (
            Route(
                path="/mfa/login/begin",
                handler=self.begin,
                about="What a user may show beside the password; or a passkey instead of both.",
                body=Table(members={"user": USER, "passwordless": Flag()}),
                answer=CHALLENGE,
                **asks,
            ),
            Route(
                path="/mfa/login/finishsession",
                handler=self.finish,
                about="Sign in with password and second factor, or with a passkey alone.",
                body=Table(members={"user": USER, "password": PASSWORD, **ANSWER}),
                answer=SIGNED_IN,
                **stranger,
            ),
            Route(
                path="/mfa/login/finish",
                handler=self.certificates,
                about="Certificates of a user for a password and a second factor, or for a passkey alone.",
                body=Table(
                    members={
                        "user": USER,
                        "password": PASSWORD,
                        "ssh_pub_key": Text(most=8192, about="a line as of authorized_keys"),
                        "tls_pub_key": Text(most=8192, about="SubjectPublicKeyInfo as PEM"),
                        "ttl": Text(most=32, about="such as 8h; the longest allowed without"),
                        "route_to_cluster": Text(most=256),
                        **ANSWER,
                    }
                ),
                answer=FREE,
                **stranger,
            ),
            Route(
                path="/sessions/web",
                handler=self.sign_in,
                about="Sign in with password and the code of an authenticator app.",
                body=Table(
                    members={"user": USER, "pass": PASSWORD, "second_factor_token": ANSWER["second_factor_token"]},
                    needs=("user", "pass"),
                ),
                answer=SIGNED_IN,
                **stranger,
            ),
            Route(
                method="POST",
                path="/sessions/web/renew",
                handler=self.renew,
                about="The bearer of the cookie's session; after a while another one.",
                who=Who.COOKIE,
                limit=Limit.CHEAP,
                answer=SIGNED_IN,
            ),
            Route(
                method="DELETE",
                path="/sessions/web",
                handler=self.sign_out,
                about="Sign out.",
                who=Who.PUBLIC,
                limit=Limit.CHEAP,
                answer=NOTHING,
            ),
        )

    async def begin(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/login/begin}.
        """
        user, passwordless = call.body.get("user", ""), call.body.get("passwordless", False)
        if bool(user) == passwordless:
            raise bad_parameter("say either who signs in, or passwordless")
        challenge = await self.api.begin_login(user, passwordless=passwordless, remote_address=call.address)
        return challenge_json(challenge)

    async def finish(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/login/finishsession}.
        """
        return await signed_in(
            self.api,
            self.sessions,
            call,
            LoginRequest(
                username=call.body.get("user", ""),
                password=Secret(call.body.get("password", "")),
                answer=answer_of(call.body),
                remote_address=call.address,
                user_agent=call.user_agent,
            ),
        )

    async def certificates(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/login/finish}.
        """
        said = call.body
        return joining.answer_to_json(
            await self.api.login(
                LoginRequest(
                    username=said.get("user", ""),
                    password=Secret(said.get("password", "")),
                    answer=answer_of(said),
                    keys=PublicKeys(ssh=said.get("ssh_pub_key", "").encode(), tls=said.get("tls_pub_key", "").encode()),
                    ttl=parse_duration(said["ttl"]) if said.get("ttl") else NEVER,
                    route_to_cluster=said.get("route_to_cluster", ""),
                    remote_address=call.address,
                    user_agent=call.user_agent,
                )
            )
        )

    async def sign_in(self, call: Call) -> Reply:
        """
        C{POST /webapi/sessions/web}.
        """
        return await signed_in(
            self.api,
            self.sessions,
            call,
            LoginRequest(
                username=call.body["user"],
                password=Secret(call.body["pass"]),
                otp=Secret(call.body.get("second_factor_token", "").replace(" ", "")),
                remote_address=call.address,
                user_agent=call.user_agent,
            ),
        )

    async def renew(self, call: Call) -> Reply:
        """
        C{POST /webapi/sessions/web/renew}.
        """
        return told(await self.sessions.renewed(call.request))

    async def sign_out(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/sessions/web}: also with a bearer that is too old, so that signing out always works. That a
        page of ours asks, the CSRF token says.
        """
        id = cookie_of(call.request)
        if id is not None:
            check_csrf(call.request)
            await self.sessions.end(id)
        drop_cookie(call.request, SESSION_COOKIE)
        drop_cookie(call.request, CSRF_COOKIE)
        return {}


async def signed_in(api: Api, sessions: Sessions, call: Call, asked: LoginRequest) -> Json:
    """
    Sign in, and give the browser its cookies; the session it had before ends.

    @return: as L{SIGNED_IN} describes.
    @raise TeleportError: as C{create_web_session}.
    """
    session = await api.create_web_session(asked)
    before = cookie_of(call.request)
    if before is not None:
        await sessions.end(before)
    await sessions.begun(session)
    set_cookie(call.request, SESSION_COOKIE, session.id)
    give_csrf(call.request)
    return told(session)


def told(session: Session) -> Json:
    """
    @return: what a page keeps of a sign-in.
    """
    return {
        "type": "bearer",
        "token": session.bearer.reveal(),
        "user": session.username,
        "expires_in": int(ROTATE.total_seconds()),
        "sessionExpires": when(session.expires),
        "sessionInactiveTimeout": int(session.idle_timeout.total_seconds() * 1000),
    }
