"""
What the proxy serves to browsers and, before they have certificates, to programs.

Every answer carries the security headers; every error is C{{"error": {"message": …}}} for programs and a page for
people. Requests that need no sign-in are limited per address.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from teleport_tw import __version__
from teleport_tw.api import joining, signin
from teleport_tw.api.contract import Api, ClusterInfo, SetupTicket
from teleport_tw.api.convert import json_from_text
from teleport_tw.base.addresses import host_of, network_of
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
from teleport_tw.base.limits import RateLimit
from teleport_tw.base.secret import Secret
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.export import authority_of, export
from teleport_tw.resources.metadata import Json
from teleport_tw.web import pages

PREFIXES = ("/webapi", "/v1/webapi")

HEADERS = {
    b"Content-Security-Policy": b"default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    b"base-uri 'none'; frame-ancestors 'none'",
    b"X-Frame-Options": b"DENY",
    b"X-Content-Type-Options": b"nosniff",
    b"Referrer-Policy": b"no-referrer",
    b"Cache-Control": b"no-store",
    b"Strict-Transport-Security": b"max-age=31536000",
}

_TYPES = {"css": b"text/css; charset=utf-8", "svg": b"image/svg+xml", "js": b"text/javascript; charset=utf-8"}

Handler = Callable[..., Awaitable[bytes]]


@frozen(kw_only=True)
class PublicFacts:
    """
    What the proxy tells everybody.

    @ivar web: C{host:port} of the web port as users reach it.
    @ivar ssh: C{host:port} of the SSH port; empty when SSH goes through the web port only.
    @ivar ssh_listen: the local SSH listener.
    @ivar db: listeners and public addresses for databases, by their names in C{proxy.db}.
    """

    web: str
    ssh: str = ""
    ssh_listen: str = ""
    tls_routing: bool = True
    db: Mapping[str, str] = field(factory=dict)

    def proxy(self) -> dict[str, Any]:
        """
        @return: the C{proxy} member of C{ping} and C{find}.
        """
        return {
            "kube": {"enabled": False},
            "ssh": {
                "listen_addr": self.ssh_listen,
                "web_listen_addr": self.web,
                "tunnel_listen_addr": self.web,
                "public_addr": self.web,
                "ssh_public_addr": self.ssh,
                "ssh_tunnel_public_addr": self.web,
                "dial_timeout": 30_000_000_000,
            },
            "db": dict(self.db),
            "tls_routing_enabled": self.tls_routing,
        }


@define(eq=False)
class WebSite:
    """
    The routes.

    @ivar api: auth, as the proxy's own identity.
    """

    api: Api
    facts: PublicFacts
    clock: IReactorTime
    limit: RateLimit = field(init=False)
    costly: RateLimit = field(init=False)
    _app: Klein = field(factory=Klein, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self.limit = RateLimit(self.clock, per_minute=120, burst=480)
        self.costly = RateLimit(self.clock, per_minute=20, burst=40)
        route = self._route
        for prefix in PREFIXES:
            route(f"{prefix}/ping", self.ping)
            route(f"{prefix}/ping/<connector>", self.ping)
            route(f"{prefix}/find", self.find)
            route(f"{prefix}/motd", self.motd)
            route(f"{prefix}/host/credentials", self.join, "POST", limit=self.costly)
            route(f"{prefix}/ssh/certs", self.sign_in, "POST", limit=self.costly)
            route(f"{prefix}/sites/<site>/auth/export", self.export)
            route(f"{prefix}/users/password/token/<token>", self.setup_facts, limit=self.costly)
            route(f"{prefix}/users/password/token/<token>", self.setup_answer, "PUT", limit=self.costly)
        for purpose in ("invite", "reset"):
            route(f"/web/{purpose}/<token>", self.setup_page, limit=self.costly)
            route(f"/web/{purpose}/<token>", self.setup_submit, "POST", limit=self.costly)
        route("/web/static/<name>", self.static)
        route("/", self.home)
        route("/web", self.home)
        route("/web/", self.home)

    def resource(self) -> IResource:
        """
        @return: for a site.
        """
        found: IResource = self._app.resource()
        return found

    def _route(self, path: str, handler: Handler, method: str = "GET", *, limit: RateLimit | None = None) -> None:
        async def answer(request: Any, **arguments: str) -> bytes:
            for name, value in HEADERS.items():
                request.setHeader(name, value)
            request.setHeader(b"Content-Type", b"application/json")
            try:
                (limit or self.limit).take(network_of(client(request)))
                return await handler(request, **arguments)
            except TeleportError as error:
                return await self._failed(request, path, error)
            except Exception:
                self._log.failure("{method} {path} failed", method=method, path=path)
                return await self._failed(
                    request, path, TeleportError(Kind.INTERNAL, "something went wrong on our side")
                )

        answer.__name__ = f"{method}_{path}"
        methods = ["GET", "HEAD"] if method == "GET" else [method]
        self._app.route(path, methods=methods, strict_slashes=False)(answer)

    async def _failed(self, request: Any, path: str, error: TeleportError) -> bytes:
        request.setResponseCode(joining.STATUS[error.kind])
        if "webapi" in path:
            return joining.error_to_json(error)
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return await pages.message("That did not work", "", error.message).html()

    # --- for programs ---------------------------------------------------------------------------------------------

    async def find(self, request: IRequest) -> bytes:
        """
        C{GET /webapi/find}: cheap facts for agents.
        """
        return _json(self._found(await self.api.ping()))

    async def ping(self, request: IRequest, connector: str = "local") -> bytes:
        """
        C{GET /webapi/ping}: the same and how to sign in.
        """
        if connector not in ("local", ""):
            raise not_found(f"there is no connector {connector}")
        info = await self.api.ping()
        preference = info.auth_preference
        factors = list(preference.get("second_factors") or ["otp"])
        auth = {
            "type": preference.get("type", "local"),
            "second_factor": "otp" if "otp" in factors else "off",
            "second_factors": factors,
            "allow_passwordless": False,
            "allow_headless": False,
            "local": {"name": "local"},
            "private_key_policy": "none",
            "has_motd": bool(preference.get("message_of_the_day")),
            "default_session_ttl": preference.get("default_session_ttl", "12h"),
        }
        return _json({"auth": auth, **self._found(info)})

    def _found(self, info: ClusterInfo) -> dict[str, Any]:
        return {
            "proxy": self.facts.proxy(),
            "server_version": info.version,
            "min_client_version": __version__,
            "cluster_name": info.cluster,
            "automatic_upgrades": False,
            "edition": "community",
            "fips": False,
        }

    async def motd(self, request: IRequest) -> bytes:
        """
        C{GET /webapi/motd}: the text to acknowledge before signing in.
        """
        info = await self.api.ping()
        return _json({"Text": str(info.auth_preference.get("message_of_the_day") or "")})

    async def join(self, request: Any) -> bytes:
        """
        C{POST /webapi/host/credentials}.
        """
        body = request.content.read(joining.MAX_REQUEST + 1)
        return joining.answer_to_json(await self.api.join(joining.request_from_json(body, client(request))))

    async def sign_in(self, request: Any) -> bytes:
        """
        C{POST /webapi/ssh/certs}: password and one-time code for certificates.
        """
        body = request.content.read(joining.MAX_REQUEST + 1)
        agent = (request.getHeader(b"User-Agent") or b"").decode("latin-1")
        wanted = signin.request_from_json(body, remote_address=client(request), user_agent=agent)
        return joining.answer_to_json(await self.api.login(wanted))

    async def export(self, request: Any, site: str) -> bytes:
        """
        C{GET /webapi/sites/:site/auth/export?type=}: an authority's public keys.
        """
        form = (request.args.get(b"type") or [b"host"])[0].decode("ascii", "replace")
        found = await self.api.get("cert_authority", site, sub_kind=authority_of(form))
        request.setHeader(b"Content-Type", b"application/octet-stream" if form.endswith("der") else b"text/plain")
        hosts = [host_of(address) for address in (self.facts.web, self.facts.ssh) if address]
        return export(Authority.parse(found), form, hosts)

    # --- setting up an account ------------------------------------------------------------------------------------

    async def setup_facts(self, request: IRequest, token: str) -> bytes:
        """
        C{GET /webapi/users/password/token/:token}.
        """
        ticket = await self.api.get_setup(Secret(token))
        return _json(
            {
                "tokenId": token,
                "user": ticket.username,
                "qrCode": pages.qr(ticket.otp_uri.reveal()) if ticket.otp_secret else "",
            }
        )

    async def setup_answer(self, request: Any, token: str) -> bytes:
        """
        C{PUT /webapi/users/password/token/:token} with C{password} and C{second_factor_token}.
        """
        try:
            value = json_from_text(request.content.read(joining.MAX_REQUEST).decode("utf-8"))
        except UnicodeDecodeError as error:
            raise bad_parameter("the body is not UTF-8") from error
        password, otp = value.get("password"), value.get("second_factor_token") or ""
        if not isinstance(password, str) or not isinstance(otp, str):
            raise bad_parameter("password and second_factor_token must be strings")
        await self.api.complete_setup(Secret(token), Secret(password), Secret(otp))
        return _json({})

    async def setup_page(self, request: Any, token: str) -> bytes:
        """
        The form behind a link that C{tctl} printed.
        """
        return await self._setup(request, await self.api.get_setup(Secret(token)), "")

    async def _setup(self, request: Any, ticket: SetupTicket, problem: str) -> bytes:
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        if problem:
            request.setResponseCode(400)
        return await pages.setup(ticket, (await self.api.ping()).cluster, problem).html()

    async def setup_submit(self, request: Any, token: str) -> bytes:
        """
        The form comes back; what was wrong with it is said above it.
        """
        ticket = await self.api.get_setup(Secret(token))
        answers = {name: _field(request, name) for name in ("password", "again", "otp")}
        if answers["password"] != answers["again"]:
            return await self._setup(request, ticket, "The two passwords differ.")
        otp = answers["otp"].replace(" ", "")
        try:
            await self.api.complete_setup(Secret(token), Secret(answers["password"]), Secret(otp))
        except TeleportError as error:
            if error.kind is not Kind.BAD_PARAMETER:
                raise
            return await self._setup(request, ticket, error.message[:1].upper() + error.message[1:] + ".")
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        return await pages.done(ticket.username, (await self.api.ping()).cluster, self.facts.web).html()

    async def home(self, request: Any) -> bytes:
        """
        A person with only a browser is told what this is.
        """
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        info = await self.api.ping()
        page = pages.message(
            "Access by certificate",
            info.cluster,
            f"This is the cluster {info.cluster}. Sign in from a terminal: tsh login --proxy={self.facts.web}",
        )
        return await page.html()

    async def static(self, request: Any, name: str) -> bytes:
        """
        Style sheet and icon.
        """
        found = pages.static(name)
        kind = _TYPES.get(name.rpartition(".")[2])
        if found is None or kind is None:
            raise not_found("there is no such file")
        request.setHeader(b"Content-Type", kind)
        request.setHeader(b"Cache-Control", b"public, max-age=3600")
        return found


def client(request: Any) -> str:
    """
    @return: the peer's address without port.
    """
    return str(getattr(request.getClientAddress(), "host", "") or "unknown")


def _json(value: Json) -> bytes:
    return json.dumps(value).encode()


def _field(request: Any, name: str) -> str:
    values = request.args.get(name.encode()) or [b""]
    try:
        return str(values[0].decode("utf-8"))
    except UnicodeDecodeError as error:
        raise bad_parameter(f"{name} is not UTF-8") from error
