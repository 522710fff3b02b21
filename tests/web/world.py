"""
Pages against a real proxy and a real agent: who is signed in is settled by the test, all else is as it runs.
"""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import treq
from attrs import define, evolve, field
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from teleport_tw.agents.ssh.service import SSHAgentService
from teleport_tw.api.contract import IssueRequest
from teleport_tw.api.factors import Challenge, MfaNeed
from teleport_tw.api.websessions import WebSession
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import TCPClient, TCPServer
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import utc_now
from teleport_tw.pki.identity import SystemRole
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.envelope import RAW, SESSION, Envelope
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.files import Files
from teleport_tw.web.reach import Reach
from teleport_tw.web.site import WebSite
from teleport_tw.web.terminals import Terminals
from tests.auth.cluster import Keys
from tests.proxy.world import World, until

BEARER = "bearer-" + "b" * 20


@define(eq=False)
class UserApi:
    """
    What a page asks of auth as its user; second factors as the test says.
    """

    inner: Any
    username: str = "alice"
    need: MfaNeed = field(factory=lambda: MfaNeed(required=False))
    challenge: Challenge | None = None
    issued: list[IssueRequest] = field(factory=list)

    async def mfa_required(self, target: Any) -> MfaNeed:
        return self.need

    async def create_challenge(self, scope: Any, target: Any) -> Challenge:
        assert self.challenge is not None
        return self.challenge

    async def issue(self, request: IssueRequest) -> Any:
        self.issued.append(request)
        return await self.inner.issue(evolve(request, username=self.username, target=None, answer=None))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def signed_in(world: World, name: str, id: str = "s" * 40, ttl: timedelta = timedelta(hours=1)) -> WebSession:
    """
    @return: as auth makes it.
    """
    keys = Keys()
    certificates = await world.cluster.local().issue(IssueRequest(keys=keys.public, username=name, ttl=ttl))
    now = utc_now()
    return WebSession(
        id=Secret(id),
        bearer=Secret(BEARER),
        username=name,
        certificates=certificates,
        tls_key=keys.tls.pem(),
        ssh_key=keys.ssh.openssh_pem(),
        sign_in="1",
        created=now,
        expires=now + timedelta(hours=1),
        idle_timeout=timedelta(0),
    )


@define(eq=False)
class ProxyApi:
    """
    Auth as the proxy has it: sessions on the web are the test's, all else is real.
    """

    inner: Any
    sessions: dict[str, WebSession] = field(factory=dict)
    asked: list[tuple[str, bool]] = field(factory=list)

    async def get_web_session(self, id: Secret[str], *, active: bool = True) -> WebSession:
        self.asked.append((id.reveal(), active))
        try:
            return self.sessions[id.reveal()]
        except KeyError:
            raise TeleportError(Kind.ACCESS_DENIED, "the session has ended") from None

    async def delete_web_session(self, id: Secret[str]) -> None:
        self.sessions.pop(id.reveal(), None)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


_Client: Any = WebSocketClientProtocol  # autobahn is untyped
_Factory: Any = WebSocketClientFactory


class Page(_Client):  # type: ignore[misc]
    """
    What a page does, in a test's hands.

    @ivar shown: everything the terminal was sent.
    @ivar envelopes: all others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[dict[str, Any]] = []
        self.envelopes: list[Envelope] = []
        self.shown = b""
        self.received = 0
        self.acknowledges = True
        self.taken = self.typed = 0
        self.closed: int | None = None
        self.ready = False

    def onOpen(self) -> None:
        self.ready = True

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if not isBinary:
            self.texts.append(json.loads(payload))
            return
        message = Envelope.decode(payload)
        if message.type != RAW:
            self.envelopes.append(message)
            return
        self.taken = max(self.taken, message.received)
        if message.payload:
            assert message.offset == self.received, (message.offset, self.received)
            self.received += len(message.payload)
            self.shown += message.payload
            if self.acknowledges:
                self.tell()

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.closed = code

    def drop(self) -> None:
        """As a network that goes away."""
        if self.transport is not None:
            self.transport.abortConnection()

    def type(self, text: bytes) -> None:
        """As a person does."""
        self.say(Envelope(RAW, text, offset=self.typed, received=self.received))
        self.typed += len(text)

    def tell(self) -> None:
        """What was shown."""
        self.say(Envelope(RAW, received=self.received))

    def say(self, message: Envelope) -> None:
        """One message."""
        self.sendMessage(message.encode(), isBinary=True)

    def greet(self, **more: Any) -> None:
        """The first message."""
        self.sendMessage(json.dumps({"token": BEARER, **more}).encode())

    def of(self, type: str) -> list[dict[str, Any]]:
        """All envelopes of a type."""
        return [message.json() for message in self.envelopes if message.type == type]


@define(eq=False)
class Pages:
    """
    The rest of the world.
    """

    test: TestCase
    world: World
    session: WebSession
    api: UserApi
    proxy_api: ProxyApi
    agent: SSHAgentService
    terminals: Terminals
    files: Files
    site: WebSite = field(init=False)
    port: int = field(default=0, init=False)

    @classmethod
    async def start(cls, test: TestCase, **options: Any) -> Pages:
        """
        Alice, who may be root on node-1.

        @param options: of her role.
        """
        world = await World.start(test)
        await world.role("ops", **options)
        await world.cluster.user("alice", "ops")
        agent = await world.agent("node-1")
        session = await signed_in(world, "alice")
        clock: Any = reactor
        proxy_api = ProxyApi(world.cluster.local(SystemRole.PROXY), {session.id.reveal(): session})
        reach = Reach(to_node=world.proxy.inward.to_node, clock=clock)
        pages = cls(
            test,
            world,
            session,
            UserApi(world.cluster.local()),
            proxy_api,
            agent,
            Terminals(reach=reach, clock=clock, still=lambda id, active: pages.still(id, active)),
            Files(reach=reach, clock=clock),
        )
        await pages.serve()
        return pages

    @property
    def node(self) -> str:
        """
        Id of the server.
        """
        return self.agent.realm.host.id

    async def serve(self) -> None:
        """
        The site, without TLS.
        """
        clock: Any = reactor
        users: Any = SimpleNamespace(api_for=lambda session, address: self.api)
        facts = PublicFacts(web="proxy.example.com:443")
        api: Any = self.proxy_api
        self.site = WebSite(api, facts, clock, users, (self.terminals, self.files), cluster="example.com")
        site: Any = BoundedSite(self.site.resource(), clock, streams=self.site.streams)
        port: Any = await TCPServer(clock, "127.0.0.1", 0).listen(site)
        self.port = int(port.getHost().port)
        self.terminals.startService()
        self.files.startService()
        self.test.addCleanup(self.closed, port)

    async def closed(self, port: Any) -> None:
        """Nothing is left."""
        self.terminals.stopService()
        self.files.stopService()
        await port.stopListening()
        await until(lambda: not self.world.proxy.dial.tasks)

    async def still(self, id: Secret[str], active: bool) -> None:
        """As daemon has it."""
        await self.site.sessions.still(id, active)

    # --- HTTP

    @property
    def headers(self) -> dict[str, str]:
        """Of a request by the page."""
        return {"Cookie": f"__Host-session={self.session.id.reveal()}", "Authorization": f"Bearer {BEARER}"}

    def place(self, what: str, **query: str) -> str:
        """
        @return: address of something about root's files on the node.
        """
        return f"/webapi/sites/-current-/nodes/{self.node}/root/{what}?{urlencode(query)}"

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, bytes]:
        """
        @return: status, headers and body.
        """
        told = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        told = {name: value for name, value in told.items() if value}
        url = f"http://127.0.0.1:{self.port}{path}"
        answer = await treq.request(method, url, headers=told, data=body, persistent=False, timeout=30)
        if isinstance(answer.length, int):
            answer.headers.setRawHeaders("Content-Length", [str(answer.length)])
        return answer.code, answer.headers, await answer.content()

    async def json(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """
        @return: status and what the body says.
        """
        status, _, text = await self.ask(method, path, body, **headers)
        return status, json.loads(text)

    # --- WebSockets

    async def open(self, path: str = "", *, origin: str = "", cookie: str | None = None, **params: Any) -> Page:
        """
        @return: a WebSocket, upgraded or refused.
        """
        told = json.dumps({"server_id": self.node, "login": "root", **params})
        path = path or f"/webapi/sites/-current-/connect/ws?{urlencode({'params': told})}"
        clock: Any = reactor
        id = self.session.id.reveal() if cookie is None else cookie
        factory: Any = _Factory(
            f"ws://127.0.0.1:{self.port}{path}",
            reactor=clock,
            origin=origin or f"https://127.0.0.1:{self.port}",
            headers={"Cookie": f"__Host-session={id}"},
        )
        factory.protocol = Page
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        page: Any = await TCPClient(clock, "127.0.0.1", self.port).connect(factory)
        self.test.addCleanup(page.drop)
        await until(lambda: page.ready or page.closed is not None)
        return page  # type: ignore[no-any-return]

    async def shell(self, **params: Any) -> Page:
        """
        @return: with a shell that stands.
        """
        page = await self.open(**params)
        page.greet()
        await until(lambda: page.of(SESSION) or page.closed is not None)
        assert page.of(SESSION), (page.texts, page.envelopes, page.closed)
        return page
