"""
Listening and dialling: sockets of our own making, handed to the loop's native transports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocol, IProtocolFactory, IReactorTime
from zope.interface import implementer

from teleport_tw.base.loop import as_deferred, loop_of
from teleport_tw.base.net.adapter import Connection
from teleport_tw.base.net.addresses import Address, address_of
from teleport_tw.base.net.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, TLSConnection

BACKLOG = 1024
"""Connections the kernel completes while we are busy; past it, a burst of logins waits a second for a resent SYN."""

Bind = Callable[[], socket.socket]


def bind_tcp(host: str, port: int, *, reuse_port: bool = False) -> socket.socket:
    """
    @param host: a numeric address or a name of this machine; empty or C{::} means every IPv6 and IPv4 address.
    @param port: 0 lets the kernel choose.
    @param reuse_port: let other processes listen on it too; the kernel spreads the connections.
    @return: a bound socket.
    @raise CannotListenError: the address is taken, not ours or not allowed.
    """
    try:
        infos = socket.getaddrinfo(host or "::", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, name = infos[0]
        try:
            bound = socket.socket(family, kind, protocol)
        except OSError:  # a machine without IPv6
            if host:
                raise
            family, name = socket.AF_INET, ("0.0.0.0", port)  # noqa: S104 -- every address was asked for
            bound = socket.socket(family, kind, protocol)
        try:
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(name[0] != "::"))
            bound.bind(name)
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise CannotListenError(host, port, error) from error
    return bound


def bind_unix(path: str, *, mode: int = 0o600) -> socket.socket:
    """
    @param path: where the socket appears; one that nobody listens on any more is replaced.
    @param mode: who may connect.
    @return: a bound socket.
    @raise CannotListenError: something else is there, or somebody listens.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.setblocking(False)
        _remove_stale(path)
        before = os.umask(0o777 & ~mode)
        try:
            bound.bind(path)
        finally:
            os.umask(before)
    except OSError as error:
        bound.close()
        raise CannotListenError(None, path, error) from error
    return bound


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


@implementer(IListeningPort)
@define(eq=False)
class Port:
    """
    A listening socket whose connections go to a Twisted factory.

    @ivar connections: those that are open.
    @ivar unlink: whether a UNIX socket's name is removed at the end; not where the name is somebody else's.
    """

    _reactor: IReactorTime
    _factory: IProtocolFactory
    _bind: Bind
    _backlog: int = BACKLOG
    _context: ssl.SSLContext | None = None
    _handshake_seconds: float = HANDSHAKE_SECONDS
    unlink: bool = field(default=True, kw_only=True)
    connections: set[Connection] = field(factory=set, init=False)
    _server: Deferred[asyncio.AbstractServer] | None = field(default=None, init=False)
    _socket: socket.socket | None = field(default=None, init=False)
    _host: Address | None = field(default=None, init=False)

    def startListening(self) -> None:
        """
        @raise CannotListenError: the address is taken, not ours or not allowed.
        """
        bound = self._bind()
        try:
            bound.listen(self._backlog)
        except OSError as error:
            bound.close()
            raise CannotListenError(None, None, error) from error
        self._socket = bound
        self._host = address_of(bound.family, bound.getsockname())
        self._factory.doStart()
        self._server = as_deferred(self._serve(loop_of(self._reactor), bound))

    async def _serve(self, loop: asyncio.AbstractEventLoop, bound: socket.socket) -> asyncio.AbstractServer:
        create: Any = loop.create_unix_server if bound.family == socket.AF_UNIX else loop.create_server
        limits = (
            {"ssl_handshake_timeout": self._handshake_seconds, "ssl_shutdown_timeout": SHUTDOWN_SECONDS}
            if self._context is not None
            else {}
        )
        kind = Connection if self._context is None else TLSConnection
        lost = self.connections.discard

        def accepted() -> Connection:
            return kind(loop, self._build, lost=lost)

        server: asyncio.AbstractServer = await create(
            accepted, sock=bound, backlog=self._backlog, ssl=self._context, **limits
        )
        return server

    def _build(self, connection: Connection) -> IProtocol | None:
        protocol = self._factory.buildProtocol(connection.getPeer())
        if protocol is not None:
            self.connections.add(connection)
        return protocol

    def stopListening(self) -> Deferred[None]:
        """
        Take no more connections; those that are open stay.

        @return: fires when the address is free again.
        """
        server, self._server = self._server, None
        if server is None:
            return succeed(None)
        return Deferred.fromCoroutine(self._stop(server))

    async def _stop(self, starting: Deferred[asyncio.AbstractServer]) -> None:
        server = await starting
        server.close()
        await as_deferred(asyncio.sleep(0))  # libuv closes its handle in the next turn
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.unlink and isinstance(self._host, UNIXAddress) and self._host.name:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._host.name)
        self._factory.doStop()

    def getHost(self) -> Address:
        """
        @return: where it listens, with the port that the kernel chose.
        """
        if self._host is None:
            raise CannotListenError(None, None, OSError("not listening"))
        return self._host
