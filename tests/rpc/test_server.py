"""
Server and channel, face to face on loopback.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.protocols import portforward
from twisted.trial.unittest import TestCase

from teleport_tw.api.faults import from_fault, to_fault
from teleport_tw.api.proto import audit_pb2, presence_pb2
from teleport_tw.api.proto.audit_pb2_grpc import AuditServiceStub
from teleport_tw.api.proto.presence_pb2_grpc import PresenceServiceStub
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.rpc.bridge import wait
from teleport_tw.rpc.client import AUTH_NAME, Channel, ClientTls, server_name_for
from teleport_tw.rpc.peer import Peer
from teleport_tw.rpc.server import Incoming, Limits, Routes, RpcServer, ServerTls
from tests.rpc.pems import Root, common_name


class Replies:
    """
    A server's stream under the test's control.
    """

    def __init__(self, chunks: list[bytes]) -> None:
        self.chunks, self.closed = chunks, Deferred[None]()

    def __aiter__(self) -> AsyncIterator[audit_pb2.RecordingChunk]:
        return self

    async def __anext__(self) -> audit_pb2.RecordingChunk:
        if not self.chunks:
            raise StopAsyncIteration
        chunk = self.chunks.pop(0)
        if chunk == b"wait":
            await Deferred[None]()
        if chunk == b"fail":
            raise TeleportError(Kind.NOT_FOUND, "no such recording")
        return audit_pb2.RecordingChunk(data=chunk)

    async def aclose(self) -> None:
        self.closed.callback(None)


class Handlers:
    """
    Answers of all sorts.
    """

    def __init__(self) -> None:
        self.streams: list[Replies] = []
        self.cancelled: Deferred[None] = Deferred()

    async def Acquire(self, request: presence_pb2.Semaphore, who: str) -> presence_pb2.AcquireResponse:
        match request.kind:
            case "refuse":
                raise TeleportError(Kind.ACCESS_DENIED, "access denied", details="the secret reason")
            case "missing":
                raise TeleportError(Kind.NOT_FOUND, "no lease", details="looked everywhere")
            case "bug":
                raise ZeroDivisionError("password1")
            case "never":
                try:
                    await Deferred[None]()
                except CancelledError:
                    self.cancelled.callback(None)
                    raise
        return presence_pb2.AcquireResponse(lease=who)

    async def nothing(self, request: Any, who: str) -> Empty:
        return Empty()

    Heartbeat = Goodbye = Keep = Release = nothing
    Emit = Search = Verify = CompleteRecording = SearchRecordings = nothing

    async def PutRecording(self, requests: Incoming, who: str) -> Empty:
        size = 0
        async for request in requests:
            size += len(request.data)
        if size != 3_000_000:
            raise TeleportError(Kind.BAD_PARAMETER, f"{size} bytes")
        return Empty()

    def GetRecording(self, request: audit_pb2.GetRecordingRequest, who: str) -> Replies:
        self.streams.append(Replies(request.session.encode().split(b" ")))
        return self.streams[-1]


class LateServer(portforward.ProxyServer):
    """
    A second passes before anything goes through.
    """

    def connectionMade(self) -> None:
        self.transport.pauseProducing()
        self.factory.reactor.callLater(1, super().connectionMade)

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        self.factory.ended.callback(None)


class Late(portforward.ProxyFactory):
    protocol = LateServer

    def __init__(self, reactor: Any, host: str, port: int) -> None:
        super().__init__(host, port)
        self.reactor, self.ended = reactor, Deferred()


class RpcTests(TestCase):
    """
    One server, clients with good and bad certificates.
    """

    timeout = 30

    def setUp(self) -> None:
        self.hosts, self.users = Root("hosts"), Root("users")
        self.handlers = Handlers()
        routes: Routes[str] = Routes(self.admit, to_fault, Limits(call_timeout=0.5), quota=self.quota)
        routes.add(presence_pb2.DESCRIPTOR.services_by_name["PresenceService"], self.handlers)
        routes.add(audit_pb2.DESCRIPTOR.services_by_name["AuditService"], self.handlers)
        chain, key = self.hosts.leaf("auth", AUTH_NAME, f"*.{AUTH_NAME}")
        self.tls = ServerTls(chain=chain, key=key, roots=self.hosts.pem + self.users.pem)
        self.server = RpcServer(routes, self.tls, ["127.0.0.1:0"], grace=0.2)
        self.server.startService()
        self.addCleanup(self.server.stopService)
        self.target = f"127.0.0.1:{self.server.ports[0]}"

    def admit(self, peer: Peer) -> str:
        name = common_name(peer.certificate)
        if name == "mallory":
            raise TeleportError(Kind.ACCESS_DENIED, "access denied", details="locked")
        return name

    def quota(self, peer: Peer) -> tuple[str, int] | None:
        name = common_name(peer.certificate)
        return (name, 2) if name == "greedy" else None

    def channel(self, name: str = "alice", root: Root | None = None, **more: Any) -> Channel:
        chain, key = (root or self.users).leaf(name)
        channel = Channel(self.target, ClientTls(chain=chain, key=key, roots=self.hosts.pem, **more), from_fault, 10)
        self.addCleanup(lambda: Deferred.fromCoroutine(channel.close()))
        return channel

    async def acquire(self, channel: Channel, kind: str = "", timeout: float | None = None) -> str:
        stub = channel.stub(PresenceServiceStub)
        return (await channel.call(stub.Acquire, presence_pb2.Semaphore(kind=kind), timeout)).lease

    async def refused(self, channel: Channel, kind: str = "", timeout: float | None = None) -> TeleportError:
        try:
            await self.acquire(channel, kind, timeout)
        except TeleportError as error:
            return error
        self.fail("not refused")

    async def test_identity(self) -> None:
        """A handler learns who calls from the certificate."""
        self.assertEqual(await self.acquire(self.channel("alice")), "alice")
        self.assertEqual(await self.acquire(self.channel("bob")), "bob")

    async def test_wrong_authority(self) -> None:
        """A client of another authority gets nowhere."""
        error = await self.refused(self.channel(root=Root("elsewhere")))
        self.assertEqual(error.kind, Kind.CONNECTION_PROBLEM)

    async def test_server_of_wrong_authority(self) -> None:
        """A client does not speak to a server it cannot verify."""
        chain, key = self.users.leaf("alice")
        channel = Channel(self.target, ClientTls(chain=chain, key=key, roots=Root("x").pem), from_fault, 10)
        self.assertEqual((await self.refused(channel)).kind, Kind.CONNECTION_PROBLEM)
        await channel.close()

    async def test_server_name(self) -> None:
        """The server's certificate must carry the name asked for; the proxy's routing name is one of its own."""
        self.assertEqual(await self.acquire(self.channel(server_name=server_name_for("example.com"))), "alice")
        error = await self.refused(self.channel(server_name="somebody.else"))
        self.assertEqual(error.kind, Kind.CONNECTION_PROBLEM)

    async def test_no_certificate(self) -> None:
        """Without a client certificate there is no connection."""
        creds = grpc.ssl_channel_credentials(self.hosts.pem)
        channel = grpc.aio.secure_channel(self.target, creds, [("grpc.ssl_target_name_override", AUTH_NAME)])
        with self.assertRaises(grpc.aio.AioRpcError) as caught:
            await wait(PresenceServiceStub(channel).Acquire(presence_pb2.Semaphore(), timeout=5))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        await wait(channel.close())

    async def test_refusal_hides_details(self) -> None:
        """Why somebody is refused does not leave the server; details of other errors do."""
        for channel, kind in ((self.channel(), "refuse"), (self.channel("mallory"), "")):
            error = await self.refused(channel, kind)
            self.assertEqual((error.kind, error.message, error.details), (Kind.ACCESS_DENIED, "access denied", ""))
        error = await self.refused(self.channel(), "missing")
        self.assertEqual((error.kind, error.message), (Kind.NOT_FOUND, "no lease"))
        self.assertEqual(error.details, "looked everywhere")

    async def test_bug(self) -> None:
        """A bug of ours is logged and not told."""
        error = await self.refused(self.channel(), "bug")
        self.assertEqual(error.kind, Kind.INTERNAL)
        self.assertNotIn("password1", error.message + error.details)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_deadlines(self) -> None:
        """A call ends at the server's limit, and the handler is cancelled."""
        error = await self.refused(self.channel(), "never")
        self.assertEqual(error.kind, Kind.CONNECTION_PROBLEM)
        await self.handlers.cancelled

    async def test_clients_deadline(self) -> None:
        """A client waits no longer than it said."""
        error = await self.refused(self.channel(), "never", 0.05)
        self.assertEqual(error.kind, Kind.CONNECTION_PROBLEM)
        self.assertIn("DEADLINE", error.details)
        await self.handlers.cancelled

    async def test_upload(self) -> None:
        """A client's stream arrives whole."""
        channel = self.channel()
        parts = [audit_pb2.RecordingPart(data=bytes(100_000)) for _ in range(30)]
        await channel.send(channel.stub(AuditServiceStub).PutRecording, parts)
        with self.assertRaises(TeleportError) as caught:
            await channel.send(channel.stub(AuditServiceStub).PutRecording, parts[:2])
        self.assertEqual(caught.exception.message, "200000 bytes")

    async def test_stream(self) -> None:
        """A server's stream arrives in order, then ends; an error ends it as itself."""
        channel = self.channel()
        stub = channel.stub(AuditServiceStub)
        stream = channel.read(stub.GetRecording, audit_pb2.GetRecordingRequest(session="a b c"))
        self.assertEqual([chunk.data async for chunk in stream], [b"a", b"b", b"c"])
        stream = channel.read(stub.GetRecording, audit_pb2.GetRecordingRequest(session="a fail"))
        self.assertEqual((await stream.__anext__()).data, b"a")
        with self.assertRaises(TeleportError) as caught:
            await stream.__anext__()
        self.assertEqual(caught.exception.kind, Kind.NOT_FOUND)

    async def test_stream_given_up(self) -> None:
        """When a client gives a stream up, the server's side of it is closed."""
        channel = self.channel()
        stub = channel.stub(AuditServiceStub)
        stream = channel.read(stub.GetRecording, audit_pb2.GetRecordingRequest(session="a wait"))
        self.assertEqual((await stream.__anext__()).data, b"a")
        await stream.aclose()
        await self.handlers.streams[0].closed

    async def test_too_large(self) -> None:
        """A message above the limit is refused, and the connection goes on."""
        channel = self.channel()
        stub = channel.stub(PresenceServiceStub)
        with self.assertRaises(TeleportError) as caught:
            await channel.call(stub.Acquire, presence_pb2.Semaphore(holder="x" * 5_000_000))
        self.assertEqual(caught.exception.kind, Kind.LIMIT_EXCEEDED)
        self.assertEqual(await self.acquire(channel), "alice")

    async def test_reload(self) -> None:
        """New connections meet the new certificate and roots; there is no pause."""
        old = self.channel()
        self.assertEqual(await self.acquire(old), "alice")
        newcomers = Root("newcomers")
        chain, key = newcomers.leaf("auth", AUTH_NAME)
        self.server.reload(ServerTls(chain=chain, key=key, roots=newcomers.pem))
        self.assertEqual(await self.acquire(old), "alice")
        self.assertEqual((await self.refused(self.channel())).kind, Kind.CONNECTION_PROBLEM)
        self.hosts = newcomers
        self.assertEqual(await self.acquire(self.channel(root=newcomers)), "alice")

    async def test_renew(self) -> None:
        """A channel takes up a new certificate without losing what is under way."""
        channel = self.channel("before")
        stub = channel.stub(AuditServiceStub)
        stream = channel.read(stub.GetRecording, audit_pb2.GetRecordingRequest(session="a b"))
        self.assertEqual((await stream.__anext__()).data, b"a")
        chain, key = self.users.leaf("after")
        channel.renew(ClientTls(chain=chain, key=key, roots=self.hosts.pem))
        self.assertEqual(await self.acquire(channel), "after")
        self.assertEqual((await stream.__anext__()).data, b"b")

    async def test_server_gone_and_back(self) -> None:
        """While the server is away calls are refused; then they work again, on the same channel."""
        channel = self.channel()
        self.assertEqual(await self.acquire(channel), "alice")
        port = self.server.ports[0]
        await self.server.stopService()
        self.assertEqual((await self.refused(channel)).kind, Kind.CONNECTION_PROBLEM)
        again = RpcServer(self.server.routes, self.tls, [f"127.0.0.1:{port}"], grace=0.2)
        again.startService()
        self.addCleanup(again.stopService)
        await channel.connected()
        self.assertEqual(await self.acquire(channel), "alice")

    async def test_a_long_way(self) -> None:
        """A connection that takes a second to be made is waited for: far away, or with much to do."""
        clock: Any = reactor
        forward: Any = Late(clock, "127.0.0.1", self.server.ports[0])
        port = clock.listenTCP(0, forward, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.target = f"127.0.0.1:{port.getHost().port}"
        channel = self.channel()
        self.assertEqual(await self.acquire(channel), "alice")
        await channel.close()
        await forward.ended

    async def test_health_and_reflection(self) -> None:
        """Health checks and reflection are served, to clients with a certificate."""
        channel = self.channel()
        checked = await channel.call(
            channel.stub(health_pb2_grpc.HealthStub).Check,
            health_pb2.HealthCheckRequest(service="teleport_tw.v1.PresenceService"),
        )
        self.assertEqual(checked.status, health_pb2.HealthCheckResponse.SERVING)
        stub = channel.stub(reflection_pb2_grpc.ServerReflectionStub)
        call = stub.ServerReflectionInfo()
        await wait(call.write(reflection_pb2.ServerReflectionRequest(list_services="*")))
        answer = await wait(call.read())
        names = {service.name for service in answer.list_services_response.service}
        self.assertLessEqual({"teleport_tw.v1.PresenceService", "teleport_tw.v1.AuditService"}, names)
        call.cancel()

    async def test_garbage(self) -> None:
        """Garbage ends its own connection and no other."""
        channel = self.channel()
        self.assertEqual(await self.acquire(channel), "alice")
        with socket.create_connection(("127.0.0.1", self.server.ports[0]), 5) as garbage:
            garbage.sendall(b"SSH-2.0-hello\r\n" + os.urandom(4096))
        self.assertEqual(await self.acquire(channel), "alice")

    async def test_a_caller_takes_so_many_places(self) -> None:
        """
        Streams count, whichever connection they come by; others go on, and a place that is given back can be had.
        """
        first, second, other = self.channel("greedy"), self.channel("greedy"), self.channel("bob")
        stub = first.stub(AuditServiceStub)
        stream = first.read(stub.GetRecording, audit_pb2.GetRecordingRequest(session="one wait"))
        self.assertEqual((await stream.__anext__()).data, b"one")
        reflection = second.stub(reflection_pb2_grpc.ServerReflectionStub).ServerReflectionInfo()
        await wait(reflection.write(reflection_pb2.ServerReflectionRequest(list_services="*")))
        self.assertTrue((await wait(reflection.read())).list_services_response.service)
        health = second.stub(health_pb2_grpc.HealthStub)
        for call in (
            self.acquire(second),
            second.call(health.Check, health_pb2.HealthCheckRequest()),
            anext(second.read(health.Watch, health_pb2.HealthCheckRequest())),
        ):
            with self.assertRaises(TeleportError) as caught:
                await call
            self.assertIs(caught.exception.kind, Kind.LIMIT_EXCEEDED)
        self.assertEqual(await self.acquire(other), "bob")
        await stream.aclose()
        while True:  # until the server has seen it
            try:
                self.assertEqual(await self.acquire(second), "greedy")
                break
            except TeleportError as error:
                self.assertIs(error.kind, Kind.LIMIT_EXCEEDED)
        reflection.cancel()

    def test_port_taken(self) -> None:
        """A taken port is an error that says so."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            other = RpcServer(self.server.routes, self.tls, [f"127.0.0.1:{port}"])
            with self.assertRaises(OSError) as caught:
                other.startService()
            self.assertIn(str(port), str(caught.exception))

    def test_missing_handler(self) -> None:
        """A call of the schema without a handler is found when the table is built."""
        routes: Routes[str] = Routes(self.admit, to_fault)
        with self.assertRaises(AttributeError):
            routes.add(presence_pb2.DESCRIPTOR.services_by_name["PresenceService"], object())
