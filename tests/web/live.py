"""
The whole site over a real auth, asked as a browser asks: cookies are kept, and nothing is sent over a network.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pyotp
from attrs import define, field, frozen
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from teleport_tw.api.mirror import Mirror
from teleport_tw.daemon.users import InProcessUsers
from teleport_tw.daemon.website import website
from teleport_tw.pki.identity import SystemRole
from teleport_tw.proxy.doorkeeper import KINDS
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.site import WebSite
from tests.auth.cluster import PASSWORD, Cluster
from tests.proxy.world import pause

HOST = "proxy.example.com"
ORIGIN = f"https://{HOST}"
SITE = "/webapi/sites/-current-"


class Wire(StringTransport):
    """
    Tells when the server is done.
    """

    def __init__(self, peer: IPv4Address) -> None:
        super().__init__(peerAddress=peer)
        self.done: Deferred[None] = Deferred()

    def loseConnection(self) -> None:
        super().loseConnection()
        if not self.done.called:
            self.done.callback(None)


@frozen
class Answer:
    """
    @ivar headers: names in lower case; of several the last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"]["message"])


@define(eq=False)
class Browser:
    """
    One with a page of ours open.

    @ivar headers: sent with everything; the names of those to leave out stand with an empty value.
    """

    http: Any
    address: str = "203.0.113.7"
    cookies: dict[str, str] = field(factory=dict)
    bearer: str = ""
    headers: dict[str, str] = field(factory=dict)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """
        @param headers: with underscores; an empty value leaves one out.
        """
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        said = {"Host": HOST, "Origin": ORIGIN, "Content-Type": "application/json" if content else ""}
        if self.cookies:
            said["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if self.bearer:
            said["Authorization"] = f"Bearer {self.bearer}"
        said["X-CSRF-Token"] = self.cookies.get("__Host-csrf", "")
        said |= self.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        said["Connection"], said["Content-Length"] = "close", str(len(content))
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in said.items() if value)]
        peer = IPv4Address("TCP", self.address, 40000)
        channel, wire = self.http.buildProtocol(peer), Wire(peer)
        channel.makeConnection(wire)
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape") + content)
        await wire.done.addTimeout(30, reactor)  # type: ignore[arg-type]  # the reactor is a clock
        channel.connectionLost(Failure(ConnectionDone()))
        assert wire.value(), f"no answer to {lines}, body {content[:100]!r}"
        return self._read(wire.value())

    def _read(self, answer: bytes) -> Answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
            if name.lower() == "set-cookie":
                self._keep(value)
        if headers.get("transfer-encoding") == "chunked":
            body = _joined(body)
        return Answer(int(status.split()[1]), headers, body)

    def _keep(self, told: str) -> None:
        name, _, value = told.partition(";")[0].partition("=")
        if value:
            self.cookies[name] = value
        else:
            self.cookies.pop(name, None)

    async def sign_in(self, name: str, code: str, password: str = PASSWORD.reveal()) -> Answer:
        """
        With an authenticator's code.
        """
        told = {"user": name, "password": password, "second_factor_token": code}
        answer = await self.ask("POST", "/webapi/mfa/login/finishsession", told)
        if answer.status == 200:
            self.bearer = answer.json["token"]
        return answer


def _joined(body: bytes) -> bytes:
    found = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        length = int(size, 16)
        found, body = found + rest[:length], rest[length + 2 :]
        if not length:
            break
    return found


class LiveCase(TestCase):
    """
    A cluster, and its site.
    """

    timeout = 120

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        clock: Any = reactor
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        self.admin, self.proxy = self.cluster.local(), self.cluster.local(SystemRole.PROXY)
        self.copy = Mirror(self.proxy, KINDS, clock)
        self.copy.startService()
        self.addCleanup(self.copy.stopService)
        await self.copy.ready()
        await pause(0)  # out of the copy's own turn, in which it could not be stopped
        host: Any = SimpleNamespace(
            copy=self.copy,
            identity=SimpleNamespace(cluster="example.com"),
            reactor=clock,
            api=self.proxy,
            users=InProcessUsers(self.cluster.auth),
        )
        self.site: WebSite = website(host, PublicFacts(web=f"{HOST}:443"))
        self.http: Any = BoundedSite(self.site.resource(), clock, streams=self.site.streams)
        self.http.startFactory()
        self.addCleanup(self.http.stopFactory)

    def browser(self, **more: Any) -> Browser:
        return Browser(self.http, **more)

    async def person(self, name: str, *roles: str) -> tuple[Browser, pyotp.TOTP]:
        """
        @return: a user's browser, signed in, and the authenticator.
        """
        await self.cluster.user(name, *roles, logins=("root",))
        totp = await self.cluster.sign_up(name)
        browser = self.browser()
        answer = await browser.sign_in(name, totp.at(int(time.time())))
        self.assertEqual(answer.status, 200, answer.body)
        return browser, totp

    async def role(self, name: str, **spec: Any) -> None:
        await self.admin.upsert(Resource("role", "v7", Metadata(name), spec=spec))

    async def node(self, name: str, hostname: str, **labels: str) -> None:
        spec = {"hostname": hostname, "use_tunnel": True, "version": "1.0.0"}
        await self.admin.upsert(Resource("node", "v2", Metadata(name, labels=labels), spec=spec))
