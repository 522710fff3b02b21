"""
grpcio's channel, spoken to in Deferreds.

A L{Channel} connects on its first call, connects again by itself after a loss, and refuses calls at once while the
server is away. New certificates are taken up without a pause: calls under way end on the connection they began on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import grpc
from attrs import define, field, frozen
from grpc import aio

from teleport_tw.base.secret import Secret
from teleport_tw.rpc.bridge import wait
from teleport_tw.rpc.faults import Fault, FromFault

Request = TypeVar("Request")
Reply = TypeVar("Reply")
Stub = TypeVar("Stub")

Headers = tuple[tuple[str, str | bytes], ...]
"""Of a call; the names of binary ones end in C{-bin}."""

_EOF = type(aio.EOF)  # type: ignore[attr-defined]  # the stubs lack it

AUTH_NAME = "teleport.cluster.local"
"""The name that auth's certificate carries wherever auth is reached."""


@frozen(kw_only=True)
class ClientTls:
    """
    @ivar chain: the client's certificate, PEM.
    @ivar key: its private key, PEM.
    @ivar roots: the authorities whose server certificates are believed, PEM.
    @ivar server_name: sent as SNI and looked for in the server's certificate; the proxy routes by it.
    """

    chain: bytes
    key: Secret[bytes]
    roots: bytes
    server_name: str = AUTH_NAME


def server_name_for(cluster: str) -> str:
    """
    @return: the name by which the proxy's one port hands a connection on to that cluster's auth.
    """
    return f"{cluster.encode().hex()}.{AUTH_NAME}"


@define(eq=False)
class Channel:
    """
    @ivar target: as gRPC writes it: C{dns:///host:3025}, C{unix:/path}.
    @ivar timeout: seconds, for calls that name none.
    """

    target: str
    tls: ClientTls
    from_fault: FromFault
    timeout: float = 30
    max_message_bytes: int = 4 * 1024 * 1024
    _channel: aio.Channel | None = field(default=None, init=False)
    _stubs: dict[Any, Any] = field(factory=dict, init=False)
    _closing: set[asyncio.Task[None]] = field(factory=set, init=False)

    def _open(self) -> aio.Channel:
        if self._channel is None:
            tls = self.tls
            credentials = grpc.ssl_channel_credentials(tls.roots, tls.key.reveal(), tls.chain)
            self._channel = aio.secure_channel(self.target, credentials, options=self._options())
        return self._channel

    def _options(self) -> list[tuple[str, Any]]:
        return [
            ("grpc.ssl_target_name_override", self.tls.server_name),
            ("grpc.default_authority", self.tls.server_name),
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.keepalive_timeout_ms", 15_000),
            ("grpc.initial_reconnect_backoff_ms", 500),
            ("grpc.min_reconnect_backoff_ms", 15_000),  # how long connecting may take, whatever its name says
            ("grpc.max_reconnect_backoff_ms", 10_000),
            ("grpc.enable_http_proxy", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]

    def stub(self, make: Callable[[aio.Channel], Stub]) -> Stub:
        """
        @param make: a generated stub class.
        @return: the stub on the connection of now; do not keep it.
        """
        stub: Stub | None = self._stubs.get(make)
        if stub is None:
            stub = self._stubs[make] = make(self._open())
        return stub

    async def connected(self) -> None:
        """
        Wait, without limit, until the server is reached; give up by cancelling.
        """
        await wait(self._open().channel_ready())

    def renew(self, tls: ClientTls) -> None:
        """
        Use another certificate for calls made from now on.
        """
        old, self._channel, self.tls = self._channel, None, tls
        self._stubs.clear()
        if old is not None:
            task = asyncio.ensure_future(old.close(self.timeout))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """
        End every call and the connection.
        """
        old, self._channel = self._channel, None
        self._stubs.clear()
        for task in tuple(self._closing):
            task.cancel()
        if old is not None:
            await wait(old.close(None))

    def saying(self, headers: Headers) -> Saying:
        """
        @return: the same, each of its calls with these headers.
        """
        return Saying(self, headers)

    async def call(
        self,
        method: aio.UnaryUnaryMultiCallable[Request, Reply],
        request: Request,
        timeout: float | None = None,
        headers: Headers = (),
    ) -> Reply:
        """
        @param timeout: seconds; L{timeout} when not given.
        @raise Exception: what C{from_fault} made of the refusal.
        """
        seconds = self.timeout if timeout is None else timeout
        try:
            return await wait(method(request, timeout=seconds, metadata=headers or None))
        except aio.AioRpcError as error:
            raise self.error(error) from error

    def read(self, method: aio.UnaryStreamMultiCallable[Request, Reply], request: Request) -> Stream[Reply]:
        """
        @return: the server's stream, without a deadline.
        """
        return Stream(method(request), self.error)

    async def send(
        self,
        method: aio.StreamUnaryMultiCallable[Request, Reply],
        requests: Iterable[Request],
        timeout: float | None = None,
    ) -> Reply:
        """
        Stream requests to the server, as fast as it takes them.
        """

        async def upload() -> Reply:
            call = method(timeout=self.timeout if timeout is None else timeout)  # type: ignore[call-arg]  # the stub errs
            with suppress(aio.AioRpcError, asyncio.InvalidStateError):  # the server has answered; the call says what
                for request in requests:
                    await call.write(request)
                await call.done_writing()
            return await call

        try:
            return await wait(upload())
        except aio.AioRpcError as error:
            raise self.error(error) from error
        except asyncio.InvalidStateError as error:
            raise self.from_fault(Fault(grpc.StatusCode.UNAVAILABLE, "the call ended early")) from error

    def error(self, error: aio.AioRpcError) -> Exception:
        """
        @return: what it means.
        """
        trailers: Any = error.trailing_metadata() or ()  # pairs, which the stubs do not say
        return self.from_fault(Fault(error.code(), error.details() or "", tuple(map(tuple, trailers))))


@define(eq=False)
class Saying:
    """
    A channel whose calls carry headers; streams go without.
    """

    _channel: Channel
    _headers: Headers

    def saying(self, headers: Headers) -> Saying:
        """
        @return: the channel with these headers instead.
        """
        return Saying(self._channel, headers)

    def stub(self, make: Callable[[aio.Channel], Stub]) -> Stub:
        """
        See L{Channel.stub}.
        """
        return self._channel.stub(make)

    async def call(
        self, method: aio.UnaryUnaryMultiCallable[Request, Reply], request: Request, timeout: float | None = None
    ) -> Reply:
        """
        See L{Channel.call}.
        """
        return await self._channel.call(method, request, timeout, self._headers)

    def read(self, method: aio.UnaryStreamMultiCallable[Request, Reply], request: Request) -> Stream[Reply]:
        """
        See L{Channel.read}.
        """
        return self._channel.read(method, request)

    async def send(
        self,
        method: aio.StreamUnaryMultiCallable[Request, Reply],
        requests: Iterable[Request],
        timeout: float | None = None,
    ) -> Reply:
        """
        See L{Channel.send}.
        """
        return await self._channel.send(method, requests, timeout)

    def renew(self, tls: ClientTls) -> None:
        """
        See L{Channel.renew}.
        """
        self._channel.renew(tls)

    async def close(self) -> None:
        """
        See L{Channel.close}.
        """
        await self._channel.close()


@define(eq=False)
class Stream(Generic[Reply]):
    """
    What the server streams, one message for each that is asked for: a slow reader holds the server back.
    """

    _call: aio.UnaryStreamCall[Any, Reply]
    _error: Callable[[aio.AioRpcError], Exception]

    def __aiter__(self) -> AsyncIterator[Reply]:
        return self

    async def __anext__(self) -> Reply:
        try:
            reply = await wait(self._call.read())
        except aio.AioRpcError as error:
            raise self._error(error) from error
        if isinstance(reply, _EOF):
            raise StopAsyncIteration
        return reply  # type: ignore[return-value]  # not EOF

    async def aclose(self) -> None:
        """
        Give the stream up.
        """
        self._call.cancel()
