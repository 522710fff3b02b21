"""
Where a caller of auth's API is: as the proxy saw it, and as nobody else may say.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import TestCase

from teleport_tw.api import relaying
from teleport_tw.api.client import RpcApi, connect
from teleport_tw.api.contract import Certificates, EventQuery, LoginRequest, WebSession
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import TLSClient
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration, utc_now
from teleport_tw.daemon.host import session_tls
from teleport_tw.daemon.users import RemoteUsers
from teleport_tw.dial.membership import IdentityFolder, join
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.trust import client_context
from teleport_tw.protocols.proxyheader.header import Source, encode
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.rpc.client import ClientTls, server_name_for
from teleport_tw.rpc.peer import Peer, name_for
from tests.auth.cluster import PASSWORD, Keys
from tests.base.net.peers import Recorders
from tests.proxy.world import TOKEN, World, until

HOME = IPv4Address("TCP", "192.0.2.9", 4000)
AWAY = IPv4Address("TCP", "198.51.100.7", 4000)


class Addresses(TestCase):
    """
    Auth on one side of a proxy, a user on the other, who signed in at HOME with a pinned certificate.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.world = await World.start(self, listen=True)
        admin = self.world.cluster.local()
        everything = {"rules": [{"resources": ["*"], "verbs": ["*"]}]}
        role = {"options": {"pin_source_ip": True}, "allow": everything}
        await admin.create(Resource("role", "v7", Metadata("pinned"), role))
        await self.world.cluster.user("alice", "pinned")
        await self.world.cluster.sign_up("alice")
        preference = {"type": "local", "second_factor": "off"}
        await admin.upsert(Resource("cluster_auth_preference", "v2", Metadata("cluster-auth-preference"), preference))
        self.keys = Keys()
        self.certificates = await self.sign_in(HOME.host)

    async def sign_in(self, address: str) -> Certificates:
        request = LoginRequest(
            username="alice", password=PASSWORD, otp=Secret(""), keys=self.keys.public, remote_address=address
        )
        return await self.world.cluster.local(SystemRole.PROXY).login(request)

    def through_proxy(self, client: IPv4Address) -> RpcApi:
        self.world.client = client
        roots = self.world.cluster.roots
        tls = ClientTls(
            chain=self.certificates.tls,
            key=self.keys.tls.pem(),
            roots=roots,
            server_name=server_name_for("example.com"),
        )
        api = connect(f"127.0.0.1:{self.world.web_port}", tls, timeout=10)
        self.addCleanup(lambda: Deferred.fromCoroutine(api.close()))
        return api

    async def test_a_pinned_certificate(self) -> None:
        """It is good where its user signed in and, stolen, nowhere else; not at auth itself either."""
        await self.through_proxy(HOME).get("role", "pinned")
        direct = self.world.cluster.over_rpc(self.certificates, self.keys)
        for api in (self.through_proxy(AWAY), direct):
            with self.assertRaises(TeleportError) as caught:
                await api.get("role", "pinned")
            self.assertIs(caught.exception.kind, Kind.ACCESS_DENIED)
        self.certificates = await self.sign_in("127.0.0.1")
        await self.world.cluster.over_rpc(self.certificates, self.keys).get("role", "pinned")

    async def test_audit_events(self) -> None:
        """They tell where a change was made from."""
        role = Resource("role", "v7", Metadata("new"), {})
        await self.through_proxy(HOME).create(role)
        self.assertEqual(await self.told_of("new"), [HOME.host])

    async def told_of(self, name: str) -> list[str]:
        core = self.world.cluster.auth.core
        assert core is not None
        await core.events.flush()  # type: ignore[attr-defined]  # the journal's
        page = await self.world.cluster.local().search(EventQuery(types=("role.created",)))
        return [event["addr.remote"] for event in page.events if event["name"] == name]

    def on_the_web(self, *, relayed: bool = True) -> tuple[RemoteUsers, WebSession]:
        """
        As the proxy's pages have auth where it is on another host; and a session of Alice's.
        """
        clock: Any = reactor
        world = self.world
        identity = world.proxy.identity

        def as_user(session: WebSession, place: str) -> RpcApi:
            return connect(place or f"127.0.0.1:{world.cluster.auth.port}", session_tls(session), timeout=10)

        users = RemoteUsers(as_user, clock, lambda client: world.to_auth(identity, client) if relayed else None)
        self.addCleanup(lambda: Deferred.fromCoroutine(users.close()))
        now = utc_now()
        session = WebSession(
            id=Secret("x"),
            bearer=Secret("x"),
            username="alice",
            certificates=self.certificates,
            tls_key=self.keys.tls.pem(),
            ssh_key=self.keys.ssh.pem(),
            sign_in="1",
            created=now,
            expires=now + Duration(hours=1),
            idle_timeout=NEVER,
        )
        return users, session

    async def test_the_web(self) -> None:
        """Calls of a page run with the address that the page was asked for from, of each caller its own."""
        users, session = self.on_the_web()
        home = users.api_for(session, HOME.host)
        await home.get("role", "pinned")
        self.assertIs(users.api_for(session, HOME.host), home)
        with self.assertRaises(TeleportError) as caught:
            await users.api_for(session, AWAY.host).get("role", "pinned")
        self.assertIs(caught.exception.kind, Kind.ACCESS_DENIED)
        await home.create(Resource("role", "v7", Metadata("new"), {}))
        self.assertEqual(await self.told_of("new"), [HOME.host])

    async def test_the_web_without_an_address(self) -> None:
        """Where auth cannot be told, a pinned certificate is good for nothing."""
        for relayed, address in ((False, HOME.host), (True, ""), (True, "home")):
            users, session = self.on_the_web(relayed=relayed)
            with self.assertRaises(TeleportError) as caught:
                await users.api_for(session, address).get("role", "pinned")
            self.assertIs(caught.exception.kind, Kind.ACCESS_DENIED)

    async def test_the_web_leaves_nothing(self) -> None:
        """The way to auth is a socket in a folder of this user's alone, gone with the connections."""
        users, session = self.on_the_web()
        await users.api_for(session, HOME.host).get("role", "pinned")
        folder = Path(str(users._folder))
        self.assertEqual((len(os.listdir(folder)), os.stat(folder).st_mode & 0o777), (1, 0o700))
        await users.close()
        self.assertEqual([name for name in os.listdir(folder.parent) if name == folder.name], [])
        await users.api_for(session, HOME.host).get("role", "pinned")

    async def member(self, role: SystemRole) -> ssl.SSLContext:
        folder = IdentityFolder(self.world.root / role.value)
        identity = await join(
            folder, role, token=TOKEN, node_name="n1", addresses=(), ask=self.world.cluster.local(SystemRole.PROXY).join
        )
        certificate, key = identity.certificate_file, identity.key_file
        return client_context(identity.roots, certificate=certificate, key=key, alpn=(relaying.ALPN,))

    async def bring(self, context: ssl.SSLContext, words: bytes) -> Any:
        clock: Any = reactor
        there = TLSClient(
            clock,
            "127.0.0.1",
            self.world.cluster.auth.port,
            context,
            server_hostname=server_name_for("example.com"),
        )
        client: Any = await there.connect(Recorders())
        client.transport.write(words)
        return client

    async def test_only_proxies_tell_addresses(self) -> None:
        """A node that brings a client is turned away, and so is who shows no certificate."""
        header = encode(Source(host=HOME.host, port=1))
        client = await self.bring(await self.member(SystemRole.NODE), header)
        await until(lambda: client.lost.called)
        self.assertEqual(bytes(client.data), b"")
        bare = client_context(self.world.cluster.roots, alpn=(relaying.ALPN,))
        try:
            client = await self.bring(bare, header)
        except (ssl.SSLError, OSError, ConnectionLost):
            return
        await until(lambda: client.lost.called)

    async def test_what_a_proxy_may_not_say(self) -> None:
        """A connection without a header, or with one that tells no address, goes no further."""
        context = await self.member(SystemRole.PROXY)
        for words in (b"\x16\x03\x01\x00\x05hello", b"PROXY UNKNOWN\r\n", b"PROXY nonsense\r\n"):
            client = await self.bring(context, words)
            await until(lambda client=client: client.lost.called)  # type: ignore[misc]


class PeerNames(TestCase):
    """
    What gRPC says of a peer.
    """

    def test_round_trip(self) -> None:
        """An address comes back as it went in; what is none names nothing."""
        for address in ("192.0.2.9", "2001:db8::1"):
            self.assertEqual(Peer(b"", "unix-abstract:" + name_for(address).decode()).host, address)
        self.assertEqual(name_for("localhost"), b"")
        self.assertNotEqual(name_for("::1"), name_for("::1"))

    def test_other_sockets(self) -> None:
        """A UNIX socket that is named otherwise, or not at all, tells no address."""
        for address in ("unix:", "unix:/tmp/192.0.2.9", "unix-abstract:elsewhere/192.0.2.9", ""):
            self.assertEqual(Peer(b"", address).host, "")

    def test_what_grpc_says(self) -> None:
        """Addresses of TCP, as gRPC writes them."""
        self.assertEqual(Peer(b"", "ipv4:192.0.2.9:4000").host, "192.0.2.9")
        self.assertEqual(Peer(b"", "ipv6:%5B2001:db8::1%5D:4000").host, "2001:db8::1")
