"""
One port for many protocols: look at a connection's first bytes before anything reads them, then decide who gets it.

The bytes are peeked at (C{MSG_PEEK}) on the accepted socket and stay in the kernel, so whoever gets the connection
reads it from its start, and TLS runs in the loop's native transport as if nobody had looked.

Until the decision a connection costs one socket and one timer. Those that do not say enough in time are dropped, and
their number is bounded: past the bound the oldest undecided one makes room.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from teleport_tw.base.loop import as_deferred, loop_of
from teleport_tw.base.net.adapter import Connection
from teleport_tw.base.net.addresses import Address, address_of
from teleport_tw.base.net.tcp import BACKLOG, bind_tcp
from teleport_tw.base.net.tls import HANDSHAKE_SECONDS, SHUTDOWN_SECONDS, TLSConnection

MAX_PEEK_BYTES = 16 * 1024
"""A ClientHello is one TLS record, of at most this size; with post-quantum keys and many names it takes some 2 KiB."""

PEEK_SECONDS = 10.0
"""How long a client may take over its first bytes."""

MAX_UNDECIDED = 4096
"""Connections that may be undecided at once: some tens of megabytes of kernel memory."""

_ACCEPTS_PER_TURN = 64
"""So that a flood of connections leaves time for those that stand."""

_PAUSE_SECONDS = 0.5
"""How long to leave the queue alone when there is no descriptor left to accept with."""


def _nothing() -> None:
    """
    Nobody wants to know.
    """


@frozen
class NeedMore:
    """
    The bytes so far do not tell.
    """


@frozen
class RawRoute:
    """
    Bytes go to a Protocol as they come.

    @ivar factory: builds it.
    @ivar ended: called once when the connection is over, whatever became of it.
    """

    factory: IProtocolFactory
    ended: Callable[[], object] = _nothing


@frozen
class TLSRoute:
    """
    TLS ends here.

    @ivar context: for the server side, its ALPN set.
    @ivar choose: given the connection after its handshake (C{negotiatedProtocol}, C{getPeerCertificate()}), gives the
        factory of its Protocol, or None to drop it.
    @ivar handshake_timeout: seconds.
    @ivar ended: called once when the connection is over, whatever became of it: after a failed handshake too.
    """

    context: ssl.SSLContext
    choose: Callable[[TLSConnection], IProtocolFactory | None]
    handshake_timeout: float = HANDSHAKE_SECONDS
    ended: Callable[[], object] = _nothing


@frozen
class Refuse:
    """
    Drop the connection.

    @ivar farewell: a few bytes to send first, such as a TLS alert or a line for a human.
    """

    farewell: bytes = b""


@frozen(kw_only=True)
class GoOn:
    """
    Some bytes are done with before anybody gets the connection: take them off, and go on peeking at what follows.

    @ivar take: bytes to take off the stream; at most what was peeked at.
    @ivar answer: a few bytes to send now.
    @ivar peer: whose connection it is from now on, where the bytes told; C{None} leaves the address as it is.
    @ivar then: decides about what follows, or has decided already; C{None} leaves it to who decided so far.
    """

    take: int
    answer: bytes = b""
    peer: Address | None = None
    then: Callable[[bytes, Address], Decision] | RawRoute | TLSRoute | None = None


Decision: TypeAlias = NeedMore | RawRoute | TLSRoute | Refuse | GoOn
Decide: TypeAlias = Callable[[bytes, Address], Decision]


@implementer(IStreamServerEndpoint)
@define
class PeekingServer:
    """
    Listens on TCP and sends each connection where its first bytes say.

    @ivar host: as L{TCPServer} has it.
    @ivar port: 0 lets the kernel choose.
    @ivar decide: called with the first bytes (never none) and the peer's address, again for each that come, until it
        gives something else than L{NeedMore}. It must not wait; what it raises refuses the connection.
    @ivar silent: decides, at C{peek_timeout}, about a client that has said nothing at all: some wait for the server's
        first word. Without it such a client is dropped.
    @ivar greet: decides about a client before it has said anything, where the server speaks first: a L{GoOn} that
        takes nothing, most likely.
    """

    _reactor: IReactorTime
    host: str
    port: int
    decide: Decide = field(kw_only=True)
    max_peek_bytes: int = field(default=MAX_PEEK_BYTES, kw_only=True)
    peek_timeout: float = field(default=PEEK_SECONDS, kw_only=True)
    max_undecided: int = field(default=MAX_UNDECIDED, kw_only=True)
    backlog: int = field(default=BACKLOG, kw_only=True)
    reuse_port: bool = field(default=False, kw_only=True)
    silent: Callable[[Address], Decision] | None = field(default=None, kw_only=True)
    greet: Callable[[Address], GoOn] | None = field(default=None, kw_only=True)

    def start(self) -> Deferred[PeekingPort]:
        """
        @return: the listening port; fails with C{CannotListenError}.
        """
        return execute(self._start)

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """
        Listen, with C{factory} told of start and end; the routes name the factories of the connections.
        """

        def start() -> IListeningPort:
            port = self._start()
            port.owner = factory
            factory.doStart()
            return port

        return execute(start)

    def _start(self) -> PeekingPort:
        port = PeekingPort(self._reactor, self)
        port.startListening()
        return port


@implementer(IListeningPort)
@define(eq=False)
class PeekingPort:
    """
    The listening socket of a L{PeekingServer}.

    @ivar undecided: connections whose first bytes did not tell yet, oldest first.
    @ivar connections: those that have a Protocol.
    @ivar owner: is told when listening ends.
    """

    _reactor: IReactorTime
    server: PeekingServer
    connections: set[Connection] = field(factory=set, init=False)
    undecided: dict[_Peek, None] = field(factory=dict, init=False)
    owner: IProtocolFactory | None = field(default=None, init=False)
    _socket: socket.socket | None = field(default=None, init=False)
    _host: Address | None = field(default=None, init=False)
    _resume: IDelayedCall | None = field(default=None, init=False)
    _log = Logger()

    def startListening(self) -> None:
        """
        @raise CannotListenError: the address is taken, not ours or not allowed.
        """
        bound = bind_tcp(self.server.host, self.server.port, reuse_port=self.server.reuse_port)
        try:
            bound.listen(self.server.backlog)
        except OSError as error:
            bound.close()
            raise CannotListenError(self.server.host, self.server.port, error) from error
        self._socket = bound
        self._host = address_of(bound.family, bound.getsockname())
        loop_of(self._reactor).add_reader(bound, self._accept)

    def _accept(self) -> None:
        listening = self._socket
        for _ in range(_ACCEPTS_PER_TURN):
            if listening is None:
                return
            try:
                accepted, name = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue
            except OSError as error:
                self._log.error("cannot accept connections for now: {error}", error=error)
                loop_of(self._reactor).remove_reader(listening)
                self._resume = self._reactor.callLater(_PAUSE_SECONDS, self._accept_again)
                return
            accepted.setblocking(False)
            if len(self.undecided) >= self.server.max_undecided:
                next(iter(self.undecided)).drop()
            _Peek(self, accepted, address_of(accepted.family, name), self.server.decide).start()

    def _accept_again(self) -> None:
        self._resume = None
        if self._socket is not None:
            loop_of(self._reactor).add_reader(self._socket, self._accept)

    def route(self, accepted: socket.socket, peer: Address, decision: RawRoute | TLSRoute) -> None:
        """
        Give a decided connection to the loop.
        """
        loop = loop_of(self._reactor)
        waiting = [decision.ended]

        def lost(connection: Connection | None) -> None:
            if connection is not None:
                self.connections.discard(connection)
            if waiting:
                waiting.pop()()

        options: dict[str, Any] = {}
        if isinstance(decision, TLSRoute):
            options = {
                "ssl": decision.context,
                "ssl_handshake_timeout": decision.handshake_timeout,
                "ssl_shutdown_timeout": SHUTDOWN_SECONDS,
            }

        def build(connection: Connection) -> IProtocol | None:
            factory: IProtocolFactory | None
            if isinstance(decision, TLSRoute):
                assert isinstance(connection, TLSConnection)  # made so below
                factory = decision.choose(connection)
            else:
                factory = decision.factory
            connection.set_peer(peer)
            protocol = factory.buildProtocol(connection.getPeer()) if factory is not None else None
            if protocol is not None:
                self.connections.add(connection)
            return protocol

        kind = TLSConnection if isinstance(decision, TLSRoute) else Connection

        def make() -> asyncio.Protocol:
            return cast(asyncio.Protocol, kind(loop, build, lost=lost))  # a protocol by shape

        async def hand_over() -> None:
            try:
                await loop.connect_accepted_socket(make, accepted, **options)
            except (OSError, ssl.CertificateError) as error:
                self._log.debug("{peer} failed its handshake: {error}", peer=peer, error=error)
                lost(None)

        as_deferred(hand_over()).addErrback(
            lambda failure: self._log.failure("{peer} was not handed over", failure=failure, peer=peer)
        )

    def stopListening(self) -> Deferred[None]:
        """
        Take no more connections and drop the undecided ones; those that have a Protocol stay.
        """
        listening, self._socket = self._socket, None
        if listening is None:
            return succeed(None)
        loop_of(self._reactor).remove_reader(listening)
        listening.close()
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        for peek in tuple(self.undecided):
            peek.drop()
        if self.owner is not None:
            self.owner.doStop()
        return succeed(None)

    def getHost(self) -> Address:
        """
        @return: where it listens, with the port that the kernel chose.
        """
        if self._host is None:
            raise CannotListenError(self.server.host, self.server.port, OSError("not listening"))
        return self._host


@define(eq=False)
class _Peek:
    """
    One accepted connection of which we do not know yet what it wants.

    The loop reports a socket as readable as long as bytes lie in it, also those we have seen; C{SO_RCVLOWAT}, set to
    one more than we have seen, makes it wait for new ones. A report without new bytes then means that the peer sends
    no more.
    """

    _port: PeekingPort
    _socket: socket.socket
    _peer: Address
    _decide: Decide
    _seen: int = 0
    _went_on: bool = False
    _limit: IDelayedCall | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """
        Wait for bytes.
        """
        reactor, server = self._port._reactor, self._port.server
        self._port.undecided[self] = None
        self._limit = reactor.callLater(server.peek_timeout, self._time_is_up)
        self._loop = loop_of(reactor)
        self._loop.add_reader(self._socket, self._look)
        if server.greet is not None:
            self._greet(server.greet)

    def _greet(self, greet: Callable[[Address], GoOn]) -> None:
        try:
            self._go_on(greet(self._peer))
        except OSError:
            self.drop()
        except Exception:
            self._port._log.failure("cannot greet {peer}", peer=self._peer)
            self.drop()

    def _look(self) -> None:
        server = self._port.server
        try:
            data = self._socket.recv(server.max_peek_bytes, socket.MSG_PEEK)
            if len(data) <= self._seen:
                self.drop()
                return
            decision = self._decide(data, self._peer)
            if isinstance(decision, NeedMore) and len(data) < server.max_peek_bytes:
                self._await_more_than(len(data))
                return
            self._await_more_than(0)
            if isinstance(decision, GoOn):
                self._go_on(decision)
                return
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.drop()
            return
        except Exception:
            self._port._log.failure("cannot decide about {peer}", peer=self._peer)
            self.drop()
            return
        self._end(decision)

    def _await_more_than(self, seen: int) -> None:
        if self._seen != seen:
            self._seen = seen
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, seen + 1)

    def _go_on(self, decision: GoOn) -> None:
        """
        What follows is looked at when the loop says that there is some.
        """
        taken = self._socket.recv(decision.take) if decision.take else b""
        if len(taken) != decision.take:
            self.drop()
            return
        if decision.answer:
            self._socket.sendall(decision.answer)
        self._peer = decision.peer or self._peer
        self._went_on = True
        if isinstance(decision.then, RawRoute | TLSRoute):
            self._end(decision.then)
        else:
            self._decide = decision.then or self._decide

    def _time_is_up(self) -> None:
        silent = self._port.server.silent
        if silent is None or self._seen or self._went_on:
            self.drop()
        else:
            self._end(silent(self._peer))

    def _end(self, decision: Decision) -> None:
        self._leave()
        match decision:
            case RawRoute() | TLSRoute():
                self._port.route(self._socket, self._peer, decision)
            case Refuse(farewell):
                self._refuse(farewell)
            case NeedMore() | GoOn():
                self._socket.close()

    def _refuse(self, farewell: bytes) -> None:
        try:
            self._socket.recv(self._port.server.max_peek_bytes)  # what stays unread would make close() a reset
            if farewell:
                self._socket.send(farewell)
        except OSError:
            pass
        self._socket.close()

    def _leave(self) -> None:
        self._port.undecided.pop(self, None)
        if self._limit is not None and self._limit.active():
            self._limit.cancel()
        if self._loop is not None:
            self._loop.remove_reader(self._socket)

    def drop(self) -> None:
        """
        Enough of it.
        """
        self._leave()
        self._socket.close()
