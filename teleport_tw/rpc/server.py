"""
grpcio's server as a Twisted service.

Handlers are plain objects with one method per call of a schema's service, C{async def} over Deferreds; L{Routes}
finds them by the descriptor, so that a call without a handler is found when the server is built. Every connection
shows a client certificate; server certificate and trusted roots may be replaced while the server runs, which counts
for connections made from then on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from time import perf_counter
from typing import Any, Generic, NoReturn, TypeVar

import grpc
from attrs import define, field, frozen
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc import StatusCode, aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.base.loop import as_future
from teleport_tw.base.secret import Secret
from teleport_tw.rpc.bridge import run, wait
from teleport_tw.rpc.faults import Fault, ToFault
from teleport_tw.rpc.peer import Peer, peer_of
from teleport_tw.rpc.turnstile import Quota, Turnstile

C = TypeVar("C")
_log = Logger()


@frozen(kw_only=True)
class ServerTls:
    """
    @ivar chain: the server's certificate and what leads to its root, PEM.
    @ivar key: its private key, PEM.
    @ivar roots: whose client certificates are let in, PEM, one after the other.
    """

    chain: bytes
    key: Secret[bytes]
    roots: bytes


@frozen(kw_only=True)
class Limits:
    """
    @ivar max_message_bytes: of one message either way; lists are paged to stay below it.
    @ivar max_streams: calls at once on one connection (the reference's 1000).
    @ivar max_connections: on the whole server (the reference's 15000).
    @ivar max_calls: at once on the whole server, watches included; more are told to come back.
    @ivar ping_interval: seconds; a client that pings more often while idle is cut off.
    @ivar handshake_timeout: seconds for TLS and HTTP/2 to be agreed.
    @ivar call_timeout: seconds a call may take that is not a stream, whatever deadline its caller set.
    """

    max_message_bytes: int = 4 * 1024 * 1024
    max_streams: int = 1000
    max_connections: int = 15000
    max_calls: int = 40000
    ping_interval: float = 15
    handshake_timeout: float = 15
    call_timeout: float = 120

    def options(self) -> list[tuple[str, Any]]:
        """
        @return: the same as gRPC's channel arguments.
        """
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_concurrent_streams", self.max_streams),
            ("grpc.max_allowed_incoming_connections", self.max_connections),
            ("grpc.server_handshake_timeout_ms", int(self.handshake_timeout * 1000)),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 15_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", int(self.ping_interval * 1000)),
            ("grpc.http2.max_ping_strikes", 3),
            ("grpc.so_reuseport", 0),
        ]


@define(eq=False)
class Incoming:
    """
    The messages of a call that its client streams, to be read with C{async for} over Deferreds.
    """

    _context: aio.ServicerContext[Any, Any]

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        message = await wait(self._context.read())
        if message is aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
            raise StopAsyncIteration
        return message


@define(eq=False)
class Routes(Generic[C]):
    """
    Calls of several services, each handed to its method.

    A method takes the request (or L{Incoming}) and what C{admit} made of the peer, and returns the reply: a coroutine
    over Deferreds, or for a server's stream an async iterator with C{aclose}. A reply may also be the message's bytes.

    @ivar admit: turns a verified peer into what the handlers act for; may refuse by raising.
    @ivar to_fault: words errors.
    @ivar called: told of each call's end: service and method, gRPC's word for the outcome, and seconds, negative for
        a stream.
    @ivar quota: whose a call is and how many they may have at once, health checks and reflection included.
    """

    admit: Callable[[Peer], C]
    to_fault: ToFault
    limits: Limits = field(factory=Limits)
    called: Callable[[str, str, float], None] | None = None
    quota: Quota | None = None
    _services: list[str] = field(factory=list, init=False)
    _handlers: list[grpc.GenericRpcHandler[Any, Any]] = field(factory=list, init=False)

    @property
    def names(self) -> tuple[str, ...]:
        """
        Full names of the services.
        """
        return tuple(self._services)

    @property
    def handlers(self) -> tuple[grpc.GenericRpcHandler[Any, Any], ...]:
        """
        For grpcio.
        """
        return tuple(self._handlers)

    def add(self, service: ServiceDescriptor, implementation: object) -> None:
        """
        @param implementation: has a method for each call of the service, named as in the schema.
        @raise AttributeError: one is missing.
        """
        methods = {
            method.name: self._method(method, getattr(implementation, method.name)) for method in service.methods
        }
        self._services.append(service.full_name)
        self._handlers.append(grpc.method_handlers_generic_handler(service.full_name, methods))

    def _method(self, method: MethodDescriptor, handle: Callable[..., Any]) -> grpc.RpcMethodHandler[Any, Any]:
        coders: dict[str, Any] = {
            "request_deserializer": GetMessageClass(method.input_type).FromString,
            "response_serializer": _serialized,
        }
        name = f"{method.containing_service.name}.{method.name}"
        if method.server_streaming:
            call = self._counted(name, self._streamed(handle), timed=False)
            return grpc.unary_stream_rpc_method_handler(call, **coders)
        if method.client_streaming:
            return grpc.stream_unary_rpc_method_handler(self._counted(name, self._uploaded(handle)), **coders)
        return grpc.unary_unary_rpc_method_handler(self._counted(name, self._unary(handle)), **coders)

    def _counted(self, name: str, call: Any, *, timed: bool = True) -> Any:
        tell = self.called
        if tell is None:
            return call

        async def counted(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            started, code = perf_counter(), StatusCode.OK.name
            try:
                return await call(request, context)
            except asyncio.CancelledError:
                code = StatusCode.CANCELLED.name
                raise
            except BaseException:
                code = _code(context)
                raise
            finally:
                tell(name, code, perf_counter() - started if timed else -1.0)

        return counted

    def _unary(self, handle: Callable[[Any, C], Coroutine[Deferred[Any], Any, Message | bytes]]) -> Any:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Message | bytes:
            try:
                work = Deferred.fromCoroutine(handle(request, self.admit(peer_of(context))))
                if work.called and not work.paused and not isinstance(work.result, Failure):
                    return work.result  # type: ignore[return-value]  # the stubs know it as object
                async with asyncio.timeout(self._time(context)):
                    return await as_future(work)
            except Exception as error:
                return await self._refuse(context, error)

        return call

    def _uploaded(self, handle: Callable[[Incoming, C], Coroutine[Deferred[Any], Any, Message | bytes]]) -> Any:
        async def call(_: Any, context: aio.ServicerContext[Any, Any]) -> Message | bytes:
            try:
                async with asyncio.timeout(self._time(context)):
                    return await run(handle(Incoming(context), self.admit(peer_of(context))))
            except Exception as error:
                return await self._refuse(context, error)

        return call

    def _streamed(self, handle: Callable[[Any, C], Any]) -> Any:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> None:
            try:
                replies = handle(request, self.admit(peer_of(context)))
                try:
                    while True:
                        try:
                            reply = await run(replies.__anext__())
                        except StopAsyncIteration:
                            return
                        await context.write(reply)
                finally:
                    await run(replies.aclose())
            except Exception as error:
                await self._refuse(context, error)

        return call

    def _time(self, context: aio.ServicerContext[Any, Any]) -> float:
        remaining = context.time_remaining()
        return self.limits.call_timeout if remaining is None else min(remaining, self.limits.call_timeout)

    async def _refuse(self, context: aio.ServicerContext[Any, Any], error: Exception) -> NoReturn:
        if isinstance(error, aio.AbortError):
            raise error
        if isinstance(error, TimeoutError):
            fault: Fault | None = Fault(StatusCode.DEADLINE_EXCEEDED, "the call took too long")
        else:
            fault = self.to_fault(error)
        if fault is None:
            _log.failure("a call failed")
            fault = Fault(StatusCode.INTERNAL, "internal error; the server's log says more")
        await context.abort(fault.code, fault.text, fault.trailers)
        raise AssertionError("abort raises")


def _code(context: aio.ServicerContext[Any, Any]) -> str:
    """
    @return: the name of what the call was aborted with.
    """
    code: Any = context.code()  # a number, where the stubs say the enum
    for each in StatusCode:
        if code in (each, each.value[0]):
            return str(each.name)
    return StatusCode.UNKNOWN.name


def _serialized(reply: Message | bytes) -> bytes:
    """
    @param reply: a message, or one that its handler wrote out already.
    """
    return reply if isinstance(reply, bytes) else reply.SerializeToString()


@define(eq=False)
class RpcServer(Service):
    """
    @ivar addresses: where to listen, as gRPC writes it: C{127.0.0.1:0}, C{unix:/path}.
    @ivar grace: seconds that calls have to end in when the server stops.
    """

    routes: Routes[Any]
    tls: ServerTls
    addresses: Sequence[str]
    limits: Limits = field(factory=Limits)
    grace: float = 5
    ports: list[int] = field(factory=list, init=False)
    _server: aio.Server | None = field(default=None, init=False)
    _started: asyncio.Task[None] | None = field(default=None, init=False)
    _stale: bool = field(default=False, init=False)
    _health: Any = field(default=None, init=False)

    def startService(self) -> None:
        """
        Listen; C{ports} has the numbers from then on (1 for a unix socket).

        @raise OSError: an address is taken or may not be used.
        """
        if self._server is not None:
            return
        quota = self.routes.quota
        self._server = server = aio.server(
            interceptors=(Turnstile(quota, self.routes.to_fault),) if quota is not None else (),
            options=self.limits.options(),
            maximum_concurrent_rpcs=self.limits.max_calls,
        )
        server.add_generic_rpc_handlers(self.routes.handlers)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (*self.routes.names, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        credentials = grpc.dynamic_ssl_server_credentials(self._configuration(), self._fresh, True)  # type: ignore[arg-type]  # None: no change
        for address in self.addresses:
            try:
                port = server.add_secure_port(address, credentials)
            except RuntimeError as error:
                raise OSError(f"cannot listen on {address}: {error}") from error
            if port == 0:
                raise OSError(f"cannot listen on {address}")
            self.ports.append(port)
        self._started = asyncio.ensure_future(self._start(server))
        super().startService()  # type: ignore[no-untyped-call]

    async def _start(self, server: aio.Server) -> None:
        await server.start()
        await self.say(True)

    async def say(self, serving: bool) -> None:
        """
        Tell health checks of every service; asyncio's, not ours.
        """
        words = health_pb2.HealthCheckResponse
        for name in ("", *self.routes.names):
            await self._health.set(name, words.SERVING if serving else words.NOT_SERVING)

    def stopService(self) -> Deferred[None]:
        """
        @return: fires when the last call ended, C{grace} seconds later at most.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._server is None:
            return succeed(None)
        stopped = Deferred.fromCoroutine(wait(self._stop(self._server)))
        self._server = None
        return stopped

    async def _stop(self, server: aio.Server) -> None:
        assert self._started is not None
        await self._started
        await self.say(False)
        await server.stop(self.grace)

    def reload(self, tls: ServerTls) -> None:
        """
        Use another certificate and other roots for connections made from now on.
        """
        self.tls = tls
        self._stale = True

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        return grpc.ssl_server_certificate_configuration([(self.tls.key.reveal(), self.tls.chain)], self.tls.roots)

    def _fresh(self) -> grpc.ServerCertificateConfiguration | None:
        """
        Called by gRPC before each handshake, on a thread of its own.
        """
        if not self._stale:
            return None
        self._stale = False
        return self._configuration()
