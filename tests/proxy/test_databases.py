"""
A database client at the proxy's door, and the agent that is asked for: TLS and sockets are real, the agent is not.
"""

from __future__ import annotations

import ssl
import tempfile
from datetime import timedelta
from typing import Any

from attrs import define, evolve, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import IssueRequest, PublicKeys
from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import TCPClient, TCPServer, TLSClient
from teleport_tw.base.net.tls import start_tls
from teleport_tw.config.sections import ProxyProtocol
from teleport_tw.pki.identity import RouteToDatabase
from teleport_tw.protocols.mysql import handshake
from teleport_tw.proxy.detect import Port
from teleport_tw.resources.database_servers import DatabaseServer, Health, TargetHealth
from teleport_tw.resources.databases import Database
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Keys
from tests.proxy.test_detect import GSSENC_REQUEST, MYSQL_SSL, SSL_REQUEST, STARTUP
from tests.proxy.world import World, until

HOSTS = ("11111111-2222-4333-8444-555555555551", "11111111-2222-4333-8444-555555555552")


class Client(Protocol):
    """
    Keeps what it is told.
    """

    def __init__(self) -> None:
        self.data = b""
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)


class Greeter(Protocol):
    """
    The database behind an agent: says who it is, and then what it heard.
    """

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(b"welcome ")

    def dataReceived(self, data: bytes) -> None:
        transport: Any = self.transport
        transport.write(data.upper())


@define(eq=False, slots=False)
class Agents:
    """
    In place of the tunnel's registry.

    @ivar refusing: what each agent says instead of yes.
    """

    port: int
    refusing: dict[str, TeleportError] = field(factory=dict)
    linked: set[str] = field(factory=lambda: set(HOSTS))
    asked: list[tuple[str, StreamHeader]] = field(factory=list)

    def links(self, host_id: str, kind: str = "") -> list[str]:
        return [host_id] if kind == "db" and host_id in self.linked else []

    def endpoint(self, host_id: str, header: StreamHeader) -> Any:
        self.asked.append((host_id, header))
        return _Way(self, host_id)


@define(eq=False)
class _Way:
    agents: Agents
    host_id: str

    def connect(self, factory: IProtocolFactory) -> Deferred[Any]:
        error = self.agents.refusing.get(self.host_id)
        if error is not None:
            return fail(error)
        return TCPClient(reactor, "127.0.0.1", self.agents.port).connect(factory)  # type: ignore[arg-type]


async def upgraded(plain: Client, client: Client, context: ssl.SSLContext) -> None:
    """
    TLS from here on; the connection is C{client}'s then.
    """
    transport: Any = plain.transport
    plain.lost.callback(None)
    await start_tls(
        reactor,  # type: ignore[arg-type]
        transport,
        client,
        context,
        server_side=False,
        server_hostname="",
    )


class DatabaseCase(TestCase):
    """
    A proxy with ports for databases, and two agents that serve C{orders}.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.world = await World.start(self)
        greeter: Any = Factory.forProtocol(Greeter)
        target: Any = await TCPServer(reactor, "127.0.0.1", 0).listen(greeter)  # type: ignore[arg-type]
        self.addCleanup(target.stopListening)
        self.agents = Agents(target.getHost().port)
        proxy: Any = self.world.proxy
        proxy.databases.registry = self.agents
        proxy.databases.shuffle = lambda servers: servers.sort(key=lambda server: server.host_id)
        proxy.section = evolve(
            proxy.section,
            postgres_listen_addr="127.0.0.1:0",
            mysql_listen_addr="127.0.0.1:0",
            mongo_listen_addr="127.0.0.1:0",
            redis_listen_addr="127.0.0.1:0",
        )
        self.port = {Port.WEB: self.world.web_port}
        for port in (Port.POSTGRES, Port.MYSQL, Port.MONGODB, Port.REDIS):
            opened = await proxy._listen_for_databases(port)
            proxy.ports.append(opened)
            self.port[port] = opened.getHost().port
        for host_id in HOSTS:
            await self.announce(host_id)
        spec = {"db_labels": {"*": "*"}, "db_users": ["*"], "db_names": ["*"], "logins": ["root"]}
        await self.world.put(Resource("role", "v7", Metadata("dba"), {"allow": spec}))
        await self.world.cluster.user("alice", "dba")

    async def announce(self, host_id: str, health: Health = Health.UNKNOWN, protocol: str = "postgres") -> None:
        database = Database(name="orders", protocol=protocol, uri="localhost:5432")
        server = DatabaseServer(
            host_id=host_id, hostname="h", database=database, health=TargetHealth(status=health)
        ).to_resource()
        await self.world.cluster.local().heartbeat(server, _MINUTE)
        await until(lambda: any(each.status == server.status for each in self.world.copy.list("db_server")))

    async def context(self, protocol: str = "postgres", *alpn: str, address: str = "") -> ssl.SSLContext:
        """
        Of a client with a certificate for C{orders}; none for an empty protocol.
        """
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        if alpn:
            made.set_alpn_protocols(list(alpn))
        if protocol:
            keys = Keys()
            route = RouteToDatabase(service="orders", protocol=protocol, username="app")
            if protocol == "ssh":
                request = IssueRequest(keys=keys.public, username="alice")
            else:
                for host_id in HOSTS:
                    await self.announce(host_id, protocol=protocol)
                request = IssueRequest(
                    keys=PublicKeys(tls=keys.public.tls), username="alice", database=route, remote_address=address
                )
            issued = await self.world.cluster.local().issue(request)
            with tempfile.NamedTemporaryFile() as file:
                file.write(keys.tls.pem().reveal() + issued.tls)
                file.flush()
                made.load_cert_chain(file.name)
        return made

    async def connect(self, context: ssl.SSLContext | None, port: Port = Port.WEB) -> Client:
        factory: Any = Factory.forProtocol(Client)
        clock: Any = reactor
        number = self.port[port]
        endpoint: Any = (
            TLSClient(clock, "127.0.0.1", number, context, server_hostname="")
            if context is not None
            else TCPClient(clock, "127.0.0.1", number)
        )
        client = await endpoint.connect(factory)
        assert isinstance(client, Client)
        self.addCleanup(self.hang_up, client)
        return client

    async def hang_up(self, client: Client) -> None:
        transport: Any = client.transport
        if not client.lost.called:
            transport.abortConnection()
            await client.lost

    async def reached(self, client: Client) -> StreamHeader:
        """
        It speaks to the database; what the agent was told.
        """
        transport: Any = client.transport
        await until(lambda: client.data == b"welcome ")
        transport.write(b"hello")
        await until(lambda: client.data == b"welcome HELLO")
        header: StreamHeader = self.agents.asked[-1][1]
        self.assertEqual((header.target_kind, header.target_name, header.login), ("db", "orders", "app"))
        return header


_MINUTE = timedelta(minutes=1)


class ReachedTests(DatabaseCase):
    """
    By whatever way.
    """

    async def test_by_alpn(self) -> None:
        """Bytes inside TLS are the agent's from the first on, with the user's certificate."""
        for protocol, alpn in (
            ("postgres", "teleport-postgres"),
            ("postgres", "postgresql"),
            ("cockroachdb", "teleport-postgres"),
            ("mysql", "teleport-mysql"),
            ("mysql", "teleport-mysql-OC4w"),
            ("mongodb", "teleport-mongodb"),
            ("redis", "teleport-redis"),
        ):
            context = await self.context(protocol, alpn)
            header = await self.reached(await self.connect(context))
            self.assertEqual((len(header.user_certificates), header.opening), (1, b""))
            self.assertTrue(header.client_address.startswith("127.0.0.1:"))
            self.assertEqual(len(header.session_id), 36)

    async def test_without_alpn(self) -> None:
        """On the one port the certificate tells; on its own port nothing else is needed."""
        for protocol, port in (
            ("mongodb", Port.WEB),
            ("redis", Port.WEB),
            ("mongodb", Port.MONGODB),
            ("redis", Port.REDIS),
        ):
            await self.reached(await self.connect(await self.context(protocol), port))

    async def test_postgres_asks_for_tls(self) -> None:
        """In its own words, after it has asked for Kerberos even."""
        for port in (Port.WEB, Port.POSTGRES):
            for asked, answer in ((SSL_REQUEST, b"S"), (GSSENC_REQUEST + SSL_REQUEST, b"NS")):
                context = await self.context("postgres")
                plain = await self.connect(None, port)
                transport: Any = plain.transport
                transport.write(asked)
                await until(lambda plain=plain, answer=answer: plain.data == answer)
                client = Client()
                await upgraded(plain, client, context)
                self.addCleanup(self.hang_up, client)
                await self.reached(client)

    async def test_mysql_is_greeted(self) -> None:
        """The agent is told what the client was greeted with."""
        context = await self.context("mysql")
        plain = await self.connect(None, Port.MYSQL)
        await until(lambda: len(plain.data) > 4 and len(plain.data) == 4 + plain.data[0])
        greeting: Any = handshake.parse_greeting(plain.data[4:])
        self.assertEqual(greeting.version, "8.0.0-Teleport")
        transport: Any = plain.transport
        transport.write(MYSQL_SSL)
        client = Client()
        await upgraded(plain, client, context)
        self.addCleanup(self.hang_up, client)
        header = await self.reached(client)
        self.assertEqual(header.opening, plain.data)

    async def test_behind_a_load_balancer(self) -> None:
        """Its header tells the client's address, where the server speaks first as well, and is required then."""
        proxy: Any = self.world.proxy
        proxy.section = evolve(proxy.section, proxy_protocol=ProxyProtocol.ON)
        for port, said in ((Port.MYSQL, MYSQL_SSL), (Port.POSTGRES, SSL_REQUEST)):
            opened = await proxy._listen_for_databases(port)
            proxy.ports.append(opened)
            self.port[port] = opened.getHost().port
            context = await self.context("mysql" if port is Port.MYSQL else "postgres")
            plain = await self.connect(None, port)
            transport: Any = plain.transport
            transport.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 4242 443\r\n" + said)
            answered = 70 if port is Port.MYSQL else 1
            await until(lambda plain=plain, answered=answered: len(plain.data) >= answered)
            client = Client()
            await upgraded(plain, client, context)
            self.addCleanup(self.hang_up, client)
            header = await self.reached(client)
            self.assertEqual(header.client_address, "192.0.2.7:4242")

    async def test_another_agent(self) -> None:
        """When one cannot, the next is asked; those that find the database unwell come last."""
        for kind in (Kind.CONNECTION_PROBLEM, Kind.NOT_FOUND, Kind.LIMIT_EXCEEDED):
            self.agents.refusing = {HOSTS[0]: TeleportError(kind, "not here")}
            self.agents.asked.clear()
            await self.reached(await self.connect(await self.context("redis", "teleport-redis")))
            self.assertEqual([host for host, _ in self.agents.asked], list(HOSTS))
        self.agents.refusing.clear()
        self.agents.asked.clear()
        context = await self.context("redis", "teleport-redis")
        await self.announce(HOSTS[0], Health.UNHEALTHY, "redis")
        await self.reached(await self.connect(context))
        self.assertEqual([host for host, _ in self.agents.asked], [HOSTS[1]])

    async def test_ends_reach_the_other_side(self) -> None:
        """And the proxy keeps nothing of it."""
        client = await self.connect(await self.context("redis", "teleport-redis"))
        await self.reached(client)
        transport: Any = client.transport
        transport.loseConnection()
        await client.lost
        await until(lambda: not self.world.proxy._connections._open)


class RefusedTests(DatabaseCase):
    """
    In the client's own words.
    """

    async def told(self, client: Client, said: bytes) -> bytes:
        transport: Any = client.transport
        transport.write(said)
        await client.lost
        return client.data

    async def test_no_agent(self) -> None:
        """Offline, or not known at all."""
        self.agents.linked.clear()
        context = await self.context("postgres", "teleport-postgres")
        told = await self.told(await self.connect(context), STARTUP)
        self.assertIn(b"database 'orders' is offline", told)
        self.assertIn(b"C08006\0", told)
        for host_id in HOSTS:
            await self.world.cluster.local().goodbye("db_server", f"{host_id}.orders")
        await until(lambda: not list(self.world.copy.list("db_server")))
        told = await self.told(await self.connect(context), STARTUP)
        self.assertIn(b"is not known", told)

    async def test_the_agent_says_no(self) -> None:
        """Its word is final, and passed on."""
        self.agents.refusing = {HOSTS[0]: TeleportError(Kind.ACCESS_DENIED, "not you")}
        context = await self.context("redis", "teleport-redis")
        told = await self.told(await self.connect(context), b"PING\r\n")
        self.assertEqual(told, b"-ERR not you\r\n")
        self.assertEqual(len(self.agents.asked), 1)

    async def test_no_certificate(self) -> None:
        """Told in the protocol's words where it is known; else it gets web pages."""
        for alpn, said in (("teleport-redis", b"PING\r\n"), ("teleport-postgres", STARTUP)):
            told = await self.told(await self.connect(await self.context("", alpn)), said)
            self.assertIn(b"a client certificate is needed", told)
        told = await self.told(await self.connect(await self.context(""), Port.REDIS), b"PING\r\n")
        self.assertIn(b"a client certificate is needed", told)
        self.assertEqual(self.agents.asked, [])

    async def test_wrong_certificates(self) -> None:
        """For no database, for one of another protocol."""
        told = await self.told(await self.connect(await self.context("ssh", "teleport-redis")), b"PING\r\n")
        self.assertIn(b"not for a database", told)
        told = await self.told(await self.connect(await self.context("redis", "teleport-postgres")), STARTUP)
        self.assertIn(b"speaks redis", told)
        self.assertEqual(self.agents.asked, [])

    async def test_a_database_certificate_reaches_no_server(self) -> None:
        """What is for databases opens no SSH, and no link of an agent."""
        for alpn in ("teleport-proxy-ssh-dial", "teleport-reversetunnel"):
            context = await self.context("redis", alpn)
            said = await self.told(await self.connect(context), b"\0")
            self.assertNotIn(b"welcome", said)
            if alpn == "teleport-reversetunnel":
                self.assertEqual(said, b"")
            else:
                self.assertIn(b"access denied", said)
        self.assertEqual(self.agents.asked, [])

    async def test_locked(self) -> None:
        """At the door."""
        context = await self.context("redis", "teleport-redis")
        await self.world.put(Resource("lock", "v2", Metadata("l"), {"target": {"user": "alice"}, "message": "gone"}))
        told = await self.told(await self.connect(context), b"PING\r\n")
        self.assertIn(b"gone", told)
        self.assertEqual(self.agents.asked, [])

    async def test_without_tls(self) -> None:
        """Told to use it; what was said goes nowhere."""
        for port, said, word in (
            (Port.WEB, STARTUP, b"TLS is required"),
            (Port.POSTGRES, GSSENC_REQUEST + STARTUP, b"TLS is required"),
            (Port.REDIS, b"*1\r\n$4\r\nPING\r\n", b"-ERR TLS is required"),
            (Port.MYSQL, bytes.fromhex("05000001 00a6ff19 00"), b"TLS is required"),
        ):
            self.assertIn(word, await self.told(await self.connect(None, port), said))
        self.assertEqual(self.agents.asked, [])

    async def test_plain_bytes_before_tls_are_not_smuggled_in(self) -> None:
        """What came behind a request of TLS, before TLS, is no part of the session."""
        plain = await self.connect(None)
        transport: Any = plain.transport
        transport.write(SSL_REQUEST + STARTUP + b"Q\0\0\0\x0dselect 1\0")
        await plain.lost
        self.assertEqual(plain.data[:1], b"S")
        self.assertNotIn(b"welcome", plain.data)
        self.assertEqual(self.agents.asked, [])

    async def test_too_many(self) -> None:
        """An address has its share of connections; one more is told so."""
        self.world.proxy._connections.most = 1
        await self.reached(await self.connect(await self.context("redis", "teleport-redis")))
        told = await self.told(await self.connect(None, Port.POSTGRES), SSL_REQUEST)
        self.assertIn(b"more than 1 connections at once", told)

    async def test_our_own_bug(self) -> None:
        """The client does not wait for ever."""

        def broken(servers: Any) -> None:
            raise ZeroDivisionError

        self.world.proxy.databases.shuffle = broken
        client = await self.connect(await self.context("redis", "teleport-redis"))
        await client.lost
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_client_that_leaves(self) -> None:
        """Nobody goes on dialling for it."""
        waiting: list[Deferred[Any]] = []
        cancelled: list[int] = []

        def slow(host_id: str, header: StreamHeader) -> Any:
            waiting.append(Deferred(lambda _: cancelled.append(1)))
            return type("Slow", (), {"connect": lambda self, factory: waiting[-1]})()

        self.world.proxy.databases.registry.endpoint = slow  # type: ignore[method-assign]
        client = await self.connect(await self.context("redis", "teleport-redis"))
        await until(lambda: waiting)
        transport: Any = client.transport
        transport.abortConnection()
        await until(lambda: cancelled)


class WebTests(DatabaseCase):
    """
    Those who come for pages are not disturbed.
    """

    async def test_pages_without_alpn(self) -> None:
        """Also with a certificate that is for no database."""
        served: list[int] = []

        class Page(Protocol):
            def connectionMade(self) -> None:
                served.append(1)

        web: Any = Factory.forProtocol(Page)
        self.world.proxy.databases.web = web
        for protocol in ("", "ssh"):
            await self.connect(await self.context(protocol))
        await until(lambda: len(served) == 2)
