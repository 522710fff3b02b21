"""
What the proxy serves to browsers and, before they have certificates, to programs.

Every answer carries the security headers; every error is C{{"error": {"message": …}}} for programs and a page for
people. What is served stands in a table of L{Route}s; here it is mounted, and what each route demands is asked before
its handler runs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import define, field
from klein import Klein
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http import parse_qs
from twisted.web.resource import IResource, Resource
from werkzeug.exceptions import HTTPException

from teleport_tw.api import joining
from teleport_tw.api.contract import Api
from teleport_tw.base.addresses import network_of
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.base.limits import RateLimit
from teleport_tw.base.secret import Secret
from teleport_tw.web import pages, streaming
from teleport_tw.web.answers import answer_of
from teleport_tw.web.api.account import Account
from teleport_tw.web.api.headless import Approvals
from teleport_tw.web.api.programs import Programs
from teleport_tw.web.api.public import Public
from teleport_tw.web.api.setup import Setup
from teleport_tw.web.api.signin import SignIn
from teleport_tw.web.api.taps import WaitingLogins
from teleport_tw.web.assets import Assets
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.openapi import describe
from teleport_tw.web.refusal import Refusal
from teleport_tw.web.routes import Answer, Call, Limit, Reply, Route, Who
from teleport_tw.web.sessions import Session, Sessions, UserApis, check_csrf, check_origin, give_csrf
from teleport_tw.web.shapes import FREE, query_of

HEADERS = {
    b"Content-Security-Policy": b"default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'",
    b"X-Frame-Options": b"DENY",
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Cross-Origin-Opener-Policy": b"same-origin",
    b"Cross-Origin-Resource-Policy": b"same-origin",
    b"Permissions-Policy": b"camera=(), microphone=(), geolocation=(), payment=()",
    b"Cache-Control": b"no-store",
}

CURRENT = "-current-"

_PLACE = re.compile("<[^>]+>")

HSTS = b"max-age=31536000"

PASSIVE = b"X-Passive"
"""Sent by a page with what it asks by itself, so that a page that only stands open does not keep its user signed in."""

_WRONG = TeleportError(Kind.INTERNAL, "something went wrong on our side")


class Pages(Protocol):
    """
    Where a group of routes comes from.
    """

    def routes(self) -> Sequence[Route]:
        """
        @return: its part of the table.
        """
        ...


@define(eq=False)
class WebSite:
    """
    The routes, mounted.

    @ivar api: auth, as the proxy's own identity.
    @ivar users: auth as those who sign in here; nobody can where there is none.
    @ivar groups: further routes, of who needs more than this one has.
    @ivar cluster: the one that C{-current-} stands for.
    """

    api: Api
    facts: PublicFacts
    clock: IReactorTime
    users: UserApis | None = None
    groups: Sequence[Pages] = ()
    cluster: str = ""
    assets: Assets = field(factory=Assets)
    sessions: Sessions = field(init=False)
    routes: tuple[Route, ...] = field(init=False)
    _limits: Mapping[Limit, RateLimit] = field(init=False)
    _streaming: tuple[Route, ...] = field(init=False)
    _app: Klein = field(factory=Klein, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._limits = {
            limit: RateLimit(self.clock, per_minute=limit.value[0], burst=limit.value[1]) for limit in Limit
        }
        self.sessions = Sessions(self.api, self.clock, self._signed_out)
        groups: list[Pages] = [
            Public(self.api, self.facts),
            Setup(self.api, self.sessions if self.users is not None else None),
            *self.groups,
        ]
        if self.users is not None:
            groups += [
                SignIn(self.api, self.sessions),
                Programs(self.api, self.facts),
                Account(self.sessions),
                Approvals(),
                WaitingLogins(),
            ]
        self.routes = tuple(route for group in groups for route in group.routes()) + self._own_routes()
        for route in self.routes:
            self._mount(route)
        self._streaming = tuple(route for route in self.routes if route.streams)
        self._app.handle_errors(HTTPException)(self._not_routed)

    def resource(self) -> IResource:
        """
        @return: for a site.
        """
        found: IResource = _Headed(self._app.resource(), self._headers())
        return found

    def _signed_out(self, id: Secret[str]) -> None:
        for group in self.groups:
            leave = getattr(group, "signed_out", None)  # where a group has something that lasts
            if leave is not None:
                leave(id)

    def streams(self, method: bytes, uri: bytes) -> bool:
        """
        @return: whether a request's body is taken as it comes, for L{teleport_tw.web.channel.BoundedSite}.
        """
        path = uri.partition(b"?")[0].decode("latin-1")
        return any(
            route.method.encode() == method and re.fullmatch(_PLACE.sub("[^/]+", each), path)
            for route in self._streaming
            for each in route.paths
        )

    def _headers(self) -> Mapping[bytes, bytes]:
        return HEADERS if self.facts.is_local else {**HEADERS, b"Strict-Transport-Security": HSTS}

    def _own_routes(self) -> tuple[Route, ...]:
        page: dict[str, Any] = {"who": Who.PUBLIC, "limit": Limit.CHEAP, "root": True, "listed": False, "query": None}
        file = {**page, "limit": Limit.FILES}
        get = "GET"
        return (
            Route(
                method=get,
                path="/openapi.json",
                handler=self.openapi,
                about="This description.",
                who=Who.PUBLIC,
                limit=Limit.CHEAP,
                answer=FREE,
            ),
            Route(method=get, path="/web/app/<path:name>", handler=self.asset, about="A file.", **file),
            Route(method=get, path="/web/static/<path:name>", handler=self.static, about="A file.", **file),
            Route(method=get, path="/", handler=self.home, about="To the page.", **page),
            Route(method=get, path="/web", handler=self.page, about="The page.", **page),
            Route(method=get, path="/web/<path:place>", handler=self.page, about="The page.", **page),
        )

    # --- asked before a handler runs --------------------------------------------------------------------------------

    def _mount(self, route: Route) -> None:
        async def answer(request: Any, **path: str) -> Any:
            try:
                call = await self._admit(route, request, path)
                return await streaming.send(request, await route.handler(call))
            except TeleportError as error:
                return await self._failed(request, route, error)
            except CancelledError:
                raise  # the client went away
            except Exception:
                self._log.failure("{method} {path} failed", method=route.method, path=route.path)
                return await self._failed(request, route, _WRONG)

        answer.__name__ = route.name
        methods = ["GET", "HEAD"] if route.method == "GET" else [route.method]
        for path in route.paths:
            answer.__name__ = f"{route.method} {path}"
            self._app.route(path, methods=methods, strict_slashes=False)(answer)

    async def _admit(self, route: Route, request: Any, path: Mapping[str, str]) -> Call:
        request.setHeader(b"Content-Type", route.media.encode("ascii"))
        address = client(request)
        if route.who is not Who.SESSION or route.limit is not Limit.SIGNED_IN:
            self._limits[route.limit].take(network_of(address))
        elif not self.sessions.knows(request):  # auth is asked about it, and anybody can make up cookies
            self._limits[Limit.CHEAP].take(network_of(address))
        if route.method != "GET" or route.who is Who.SOCKET:
            check_origin(request, self.facts.web, needed=route.who is Who.SOCKET)
        session, api = await self._whose(route, request, address)
        if session is not None and path.get("site", CURRENT) not in (CURRENT, self.cluster):
            raise not_found(f"there is no such cluster here; this is {self.cluster}")
        query = {} if route.query is None else query_of(route.query, _query(request))
        body = _body(route, request)
        shown = answer_of(body["mfa"]) if "mfa" in body else None
        if api is not None and shown is not None:
            api = api.with_mfa(shown)
        return Call(request=request, path=path, query=query, body=body, address=address, session=session, api=api)

    async def _whose(self, route: Route, request: Any, address: str) -> tuple[Session | None, Api | None]:
        if route.who is Who.PUBLIC:
            return None, None
        active = not route.passive and request.getHeader(PASSIVE) is None
        if route.who is Who.SESSION:
            session = await self.sessions.shown(request, active=active)
            if route.limit is Limit.SIGNED_IN:
                self._limits[route.limit].take(session.username)
        else:
            if route.who is Who.COOKIE:
                check_csrf(request)
            session = await self.sessions.of(request, active=active)
        if self.users is None:
            raise Refusal(401, "nobody can sign in here")
        return session, self.users.api_for(session, address)

    async def _failed(self, request: Any, route: Route, error: TeleportError) -> bytes:
        status = joining.STATUS[error.kind]
        if isinstance(error, Refusal):
            status = error.status
        request.setResponseCode(status)
        if not route.root:
            request.setHeader(b"Content-Type", b"application/json")
            return joining.error_to_json(error)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return await pages.message("That did not work", "", error.message).html()

    async def _not_routed(self, request: Any, failure: Any) -> bytes:
        error: HTTPException = failure.value
        request.setResponseCode(error.code or 404)
        for name, value in error.get_headers():
            if name.lower() in ("allow", "location"):
                request.setHeader(name.encode("ascii"), value.encode("latin-1", "replace"))
        said = {405: "this address does not take that method"}.get(
            error.code or 404, "there is nothing at this address"
        )
        if request.path.startswith((b"/webapi", b"/v1/webapi")):
            request.setHeader(b"Content-Type", b"application/json")
            return json.dumps({"error": {"message": said}}).encode()
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return await pages.message("That did not work", "", said[0].upper() + said[1:] + ".").html()

    # --- the page ---------------------------------------------------------------------------------------------------

    async def openapi(self, call: Call) -> Reply:
        """
        C{GET /webapi/openapi.json}.
        """
        return describe(self.routes)

    async def asset(self, call: Call) -> Reply:
        """
        A file of this version.
        """
        return self.assets.file(call.request, call.path["name"])

    async def static(self, call: Call) -> Reply:
        """
        Style sheet and icon of what is made on the server.
        """
        return self.assets.plain(call.request, call.path["name"])

    async def home(self, call: Call) -> Reply:
        """
        To the page.
        """
        return Answer(status=302, headers={b"Location": b"/web"}, content_type=b"text/plain")

    async def page(self, call: Call) -> Reply:
        """
        The one page, whatever stands behind C{/web}.
        """
        if not self.assets.has_page:
            return await self._without_application(call)
        give_csrf(call.request)
        return self.assets.page(call.request, f"wss://{self.facts.web}")

    async def _without_application(self, call: Call) -> Reply:
        """
        A person with only a browser is told what this is.
        """
        info = await self.api.ping()
        page = pages.message(
            "Access by certificate",
            info.cluster,
            f"This is the cluster {info.cluster}. Sign in from a terminal: tsh login --proxy={self.facts.web}",
        )
        return Answer(body=await page.html(), content_type=b"text/html; charset=utf-8")


class _Headed(Resource):
    """
    Sets what every answer carries, before anything can go wrong.
    """

    isLeaf = True

    def __init__(self, inner: Any, headers: Mapping[bytes, bytes]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner
        self._headers = headers

    def render(self, request: Any) -> Any:
        """
        @see: C{IResource.render}
        """
        for name, value in self._headers.items():
            request.setHeader(name, value)
        try:
            b"/".join(request.postpath).decode("utf-8")
        except UnicodeDecodeError:
            request.setResponseCode(400)
            request.setHeader(b"Content-Type", b"application/json")
            return json.dumps({"error": {"message": "the address is not UTF-8"}}).encode()
        return self._inner.render(request)


def client(request: Any) -> str:
    """
    @return: the peer's address without port.
    """
    return str(getattr(request.getClientAddress(), "host", "") or "unknown")


def _query(request: Any) -> Mapping[bytes, Sequence[bytes]]:
    """
    @return: what stands in the address; C{request.args} holds a form's fields as well.
    """
    found: Mapping[bytes, Sequence[bytes]] = parse_qs(request.uri.partition(b"?")[2], keep_blank_values=True)
    return found


def _body(route: Route, request: Any) -> Mapping[str, Any]:
    if route.body is None:
        return {}
    content = request.content.read()
    value: Any = {}
    if content or route.body.needs:
        kind = (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise Refusal(415, "the body must be JSON, and Content-Type must say application/json")
        try:
            value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise bad_parameter("the body is not JSON") from error
    found: Mapping[str, Any] = route.body.check(value, "the body")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
