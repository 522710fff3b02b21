"""
Endpoints of the data path: what C{twisted.internet.endpoints} offers, on the loop's native transports.

The reactor handed in is the one that L{teleport_tw.base.loop.install} made; time limits run on its clock.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, execute
from twisted.internet.error import (
    ConnectError,
    ConnectionLost,
    DNSLookupError,
    TimeoutError,
    getConnectError,
)
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.loop import as_deferred, loop_of
from teleport_tw.base.net.adapter import Connection
from teleport_tw.base.net.tcp import BACKLOG, Bind, Port, bind_tcp, bind_unix
from teleport_tw.base.net.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, TLSConnection, TLSError

CONNECT_SECONDS = 30.0
"""Time limit of resolving, connecting and a handshake together."""


def _listen(port: Port) -> Deferred[IListeningPort]:
    def start() -> IListeningPort:
        port.startListening()
        return port

    return execute(start)


@implementer(IStreamServerEndpoint)
@define(eq=False)
class TCPServer:
    """
    Listens on TCP.

    @ivar host: a numeric address or a name of this machine; empty or C{::} means every IPv6 and IPv4 address.
    @ivar port: 0 lets the kernel choose.
    @ivar backlog: connections the kernel completes ahead of us.
    @ivar reuse_port: share the port with other processes.
    """

    _reactor: IReactorTime
    host: str
    port: int
    backlog: int = field(default=BACKLOG, kw_only=True)
    reuse_port: bool = field(default=False, kw_only=True)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @return: the L{Port}; fails with C{CannotListenError}.
        """
        return _listen(Port(self._reactor, factory, self._bind, self.backlog))

    def _bind(self) -> socket.socket:
        return bind_tcp(self.host, self.port, reuse_port=self.reuse_port)


@implementer(IStreamServerEndpoint)
@define(eq=False)
class TLSServer:
    """
    Listens on TCP for TLS. A Protocol is built after the handshake; a peer that fails it is dropped in silence.

    @ivar context: of the standard library, for the server side; ALPN is set on it.
    @ivar handshake_timeout: seconds a handshake may take.
    """

    _reactor: IReactorTime
    host: str
    port: int
    context: ssl.SSLContext
    backlog: int = field(default=BACKLOG, kw_only=True)
    reuse_port: bool = field(default=False, kw_only=True)
    handshake_timeout: float = field(default=HANDSHAKE_SECONDS, kw_only=True)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @return: the L{Port}; fails with C{CannotListenError}.
        """
        return _listen(Port(self._reactor, factory, self._bind, self.backlog, self.context, self.handshake_timeout))

    def _bind(self) -> socket.socket:
        return bind_tcp(self.host, self.port, reuse_port=self.reuse_port)


@implementer(IStreamServerEndpoint)
@define(eq=False)
class GivenServer:
    """
    Listens on a socket that somebody else bound; a UNIX socket's name stays theirs to remove.

    @ivar sock: ours from now on.
    """

    _reactor: IReactorTime
    sock: socket.socket
    backlog: int = field(default=BACKLOG, kw_only=True)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @return: the L{Port}; fails with C{CannotListenError}.
        """
        return _listen(Port(self._reactor, factory, self._given, self.backlog, unlink=False))

    def _given(self) -> socket.socket:
        self.sock.setblocking(False)
        return self.sock


@implementer(IStreamServerEndpoint)
@define(eq=False)
class UnixServer:
    """
    Listens on a UNIX socket.

    @ivar path: where it appears; removed when listening stops.
    @ivar mode: who may connect.
    """

    _reactor: IReactorTime
    path: str
    mode: int = field(default=0o600, kw_only=True)
    backlog: int = field(default=BACKLOG, kw_only=True)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        @return: the L{Port}; fails with C{CannotListenError}.
        """
        bind: Bind = lambda: bind_unix(self.path, mode=self.mode)  # noqa: E731 -- a name for its type
        return _listen(Port(self._reactor, factory, bind, self.backlog))


@implementer(IStreamClientEndpoint)
@define(eq=False)
class TCPClient:
    """
    Connects by TCP, to one address of a host after the other.

    @ivar timeout: seconds for all of it.
    """

    _reactor: IReactorTime
    host: str
    port: int
    timeout: float = field(default=CONNECT_SECONDS, kw_only=True)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: the connected Protocol; fails with a C{ConnectError}, C{DNSLookupError} or Twisted's C{TimeoutError}.
        """
        return _connect(self._reactor, factory, Connection, self._open, self.timeout)

    async def _open(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
        await _first(loop, make, self.host, self.port)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class TLSClient:
    """
    Connects by TCP and TLS.

    @ivar context: of the standard library, for the client side; says which authorities and certificate.
    @ivar server_hostname: the name to ask for and to verify; the host where it is not given, none at all where empty.
    @ivar alpn: names to offer, best first. They are set on the context, so a context serves one such list.
    @ivar timeout: seconds for all of it.
    """

    _reactor: IReactorTime
    host: str
    port: int
    context: ssl.SSLContext
    server_hostname: str | None = field(default=None, kw_only=True)
    alpn: Sequence[str] = field(default=(), kw_only=True)
    timeout: float = field(default=CONNECT_SECONDS, kw_only=True)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: the Protocol, its handshake done; fails as L{TCPClient.connect} does, or with L{TLSError}.
        """
        return _connect(self._reactor, factory, TLSConnection, self._open, self.timeout)

    async def _open(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
        if self.alpn:
            self.context.set_alpn_protocols(list(self.alpn))
        await _first(
            loop,
            make,
            self.host,
            self.port,
            ssl=self.context,
            server_hostname=self.host if self.server_hostname is None else self.server_hostname,
            ssl_handshake_timeout=self.timeout,
            ssl_shutdown_timeout=SHUTDOWN_SECONDS,
        )


@implementer(IStreamClientEndpoint)
@define(eq=False)
class UnixClient:
    """
    Connects to a UNIX socket.

    @ivar timeout: seconds, for a listener whose queue is full.
    @ivar named: what our end is called, where the kernel has abstract names (Linux), 107 bytes at most; the other end
        can ask for it.
    """

    _reactor: IReactorTime
    path: str
    named: bytes = field(default=b"", kw_only=True)
    timeout: float = field(default=CONNECT_SECONDS, kw_only=True)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: the connected Protocol; fails with a C{ConnectError}.
        """
        return _connect(self._reactor, factory, Connection, self._open, self.timeout)

    async def _open(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
        if not self.named or not sys.platform.startswith("linux"):
            await loop.create_unix_connection(make, self.path)
            return
        ours = socket.socket(socket.AF_UNIX)
        try:
            ours.setblocking(False)
            ours.bind(b"\0" + self.named)
            await loop.sock_connect(ours, self.path)
        except BaseException:
            ours.close()
            raise
        await loop.create_unix_connection(make, sock=ours)


@implementer(IStreamClientEndpoint)
@define(eq=False)
class GivenClient:
    """
    A UNIX socket that somebody else connected.

    @ivar sock: ours from now on.
    """

    _reactor: IReactorTime
    sock: socket.socket
    timeout: float = field(default=CONNECT_SECONDS, kw_only=True)

    def connect(self, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @return: the connected Protocol.
        """
        return _connect(self._reactor, factory, Connection, self._open, self.timeout)

    async def _open(self, loop: asyncio.AbstractEventLoop, make: Callable[[], Any]) -> None:
        self.sock.setblocking(False)
        await loop.create_unix_connection(make, sock=self.sock)


async def _first(
    loop: asyncio.AbstractEventLoop, make: Callable[[], Any], host: str, port: int, **options: Any
) -> None:
    """
    Connect to the first address of a host that answers. A failed handshake is final: the host did answer.
    """
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for index, info in enumerate(infos):
        try:
            await loop.create_connection(make, str(info[4][0]), port, family=info[0], **options)
        except ssl.SSLError:
            raise
        except OSError:
            if index == len(infos) - 1:
                raise
        else:
            return


def _connect(
    reactor: IReactorTime,
    factory: IProtocolFactory,
    kind: type[Connection],
    open_native: Callable[[asyncio.AbstractEventLoop, Callable[[], Any]], Any],
    timeout: float,
) -> Deferred[IProtocol]:
    """
    Open a native transport, bounded in time, with a Connection of C{kind} on it.
    """
    loop = loop_of(reactor)
    built: list[tuple[Connection, IProtocol]] = []

    def build(connection: Connection) -> IProtocol | None:
        protocol = factory.buildProtocol(connection.getPeer())
        if protocol is not None:
            built.append((connection, protocol))
        return protocol

    def make() -> Connection:
        return kind(loop, build, lost=lambda _: factory.doStop())

    async def run() -> IProtocol:
        await open_native(loop, make)
        if not built:
            raise ConnectionLost("the factory built no protocol")
        return built[0][1]

    def failed(failure: Failure) -> Failure:
        if built:  # the time was up between the connection and our hearing of it
            built[0][0].abortConnection()
        else:
            factory.doStop()
        return Failure(_connect_error(failure.value)) if isinstance(failure.value, Exception) else failure

    def timed_out(result: object, seconds: float) -> IProtocol:
        raise TimeoutError(string=f"no connection within {seconds:g} seconds")

    factory.doStart()
    return as_deferred(run()).addErrback(failed).addTimeout(timeout, reactor, onTimeoutCancel=timed_out)


def _connect_error(error: Exception) -> Exception:
    """
    @return: Twisted's own class for what the operating system or OpenSSL said.
    """
    converted: Exception
    match error:
        case ConnectError() | ConnectionLost():
            return error
        case socket.gaierror():
            converted = DNSLookupError(str(error))
        case ssl.SSLError():
            converted = TLSError(error)
        case OSError() if error.errno is not None:
            converted = getConnectError((error.errno, error.strerror))
        case OSError():
            converted = TLSError(error) if isinstance(error, ConnectionError) else ConnectError(string=str(error))
        case _:
            return error
    converted.__cause__ = error
    return converted
