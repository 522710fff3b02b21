"""
Pages against a real proxy and a real agent: who is signed in is settled by the test, all else is as it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from attrs import define, field
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource as WebResource
from twisted.web.server import NOT_DONE_YET

from teleport_tw.api.contract import IssueRequest
from teleport_tw.api.factors import Challenge, MfaNeed
from teleport_tw.api.websessions import WebSession
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.net.endpoints import TCPClient, TCPServer
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import utc_now
from teleport_tw.proxy.inward import Inward
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.envelope import RAW, SESSION, Envelope
from teleport_tw.web.reach import Reach
from teleport_tw.web.refusal import Refusal
from teleport_tw.web.routes import Call
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
    need: MfaNeed = field(factory=lambda: MfaNeed(required=False))
    challenge: Challenge | None = None
    issued: list[IssueRequest] = field(factory=list)
    asked: list[tuple[str, bool]] = field(factory=list)
    over: bool = False

    async def still(self, id: Secret[str], active: bool) -> None:
        self.asked.append((id.reveal(), active))
        if self.over:
            raise Refusal(401, "the session has ended")

    async def mfa_required(self, target: Any) -> MfaNeed:
        return self.need

    async def create_challenge(self, scope: Any, target: Any) -> Challenge:
        assert self.challenge is not None
        return self.challenge

    async def issue(self, request: IssueRequest) -> Any:
        self.issued.append(request)
        return await self.inner.issue(request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


async def signed_in(world: World, name: str, id: str = "s" * 40) -> WebSession:
    """
    @return: as auth makes it.
    """
    keys = Keys()
    certificates = await world.cluster.local().issue(
        IssueRequest(keys=keys.public, username=name, ttl=timedelta(hours=1))
    )
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


class Served(WebResource):
    """
    One handler of the table, for one user.
    """

    isLeaf = True

    def __init__(self, handler: Any, session: WebSession, api: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.handler, self.session, self.api = handler, session, api

    def render(self, request: Any) -> Any:
        query = {key.decode(): values[0].decode() for key, values in request.args.items()}
        path = {"site": "-current-"}
        call = Call(
            request=request,
            path=path,
            query=query,
            body={},
            address="127.0.0.1",
            session=self.session,
            api=self.api,
        )

        async def answer() -> None:
            try:
                request.render(await self.handler(call))
            except TeleportError as error:
                request.setResponseCode(400)
                request.write(error.message.encode())
                request.finish()

        Deferred.fromCoroutine(answer())
        return NOT_DONE_YET


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
        self.taken = 0
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
    terminals: Terminals
    node: str
    port: int = 0

    @classmethod
    async def start(cls, test: TestCase) -> Pages:
        """
        Alice, who may be root on node-1.
        """
        world = await World.start(test)
        await world.role("ops")
        await world.cluster.user("alice", "ops")
        agent = await world.agent("node-1")
        session = await signed_in(world, "alice")
        clock: Any = reactor
        proxy = world.proxy
        reach = Reach(to_node=Inward(proxy.door, proxy.dial, clock).to_node, clock=clock)
        api = UserApi(world.cluster.local())
        terminals = Terminals(reach=reach, clock=clock, cluster="example.com", still=api.still)
        terminals.startService()
        pages = cls(test, world, session, api, terminals, agent.realm.host.id)
        test.addCleanup(pages.closed)
        pages.port = await pages.serve(terminals.connect)
        return pages

    async def closed(self) -> None:
        """No terminal is left."""
        self.terminals.farewell()
        self.terminals.stopService()
        await until(lambda: not self.world.proxy.dial.tasks)

    async def serve(self, handler: Any, session: WebSession | None = None) -> int:
        """
        @return: a port that has one handler.
        """
        clock: Any = reactor
        site: Any = BoundedSite(Served(handler, session or self.session, self.api), clock)
        port: Any = await TCPServer(clock, "127.0.0.1", 0).listen(site)
        self.test.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def open(self, params: dict[str, Any] | None = None, port: int = 0, path: str = "") -> Page:
        """
        @return: a WebSocket, upgraded.
        """
        told = json.dumps({"server_id": self.node, "login": "root", **(params or {})})
        from urllib.parse import quote

        url = f"ws://127.0.0.1:{port or self.port}{path or '/?params=' + quote(told)}"
        clock: Any = reactor
        factory: Any = _Factory(url, reactor=clock)
        factory.protocol = Page
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0, serverConnectionDropTimeout=0)
        page: Any = await TCPClient(clock, "127.0.0.1", port or self.port).connect(factory)
        self.test.addCleanup(page.transport.abortConnection)
        await until(lambda: page.ready or page.closed is not None)
        return page  # type: ignore[no-any-return]

    async def shell(self, **params: Any) -> Page:
        """
        @return: with a shell that stands.
        """
        page = await self.open(params)
        page.greet()
        await until(lambda: page.of(SESSION) or page.closed is not None)
        assert page.of(SESSION), (page.texts, page.envelopes, page.closed)
        return page

    async def type(self, page: Page, text: bytes, offset: int = 0) -> None:
        """Type."""
        page.say(Envelope(RAW, text, offset=offset, received=page.received))


Until = Callable[[], object]
