"""
From a user's TLS connection to the agent that serves the database its certificate names.

Which database that is stands in the certificate alone; of what the client says inside TLS the proxy reads nothing. Of
several agents one is taken by chance, those first that find the database well; when it cannot be reached, the next.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from secrets import token_bytes
from typing import Any, ClassVar

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.api.streams import StreamHeader, address_text
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.net.tls import TLSConnection
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.pki.identity import Identity, RouteToDatabase
from teleport_tw.proxy.detect import DATABASES, Want
from teleport_tw.proxy.targets import Readable
from teleport_tw.proxy.wording import said
from teleport_tw.resources.database_servers import SERVER_KIND, DatabaseServer, Health, database_name
from teleport_tw.tunnel.registry import Registry

USAGE = "usage:db"
"""What certificates for databases are restricted to."""

FAREWELL_SECONDS = 10.0
"""How long a client may take to say something, so that it can be told why it is turned away."""

_MAX_SAID = 64 * 1024
"""Bytes of a client that is turned away."""

_ELSEWHERE = frozenset({Kind.NOT_FOUND, Kind.CONNECTION_PROBLEM, Kind.LIMIT_EXCEEDED})
"""What another agent of the same database may be asked after."""


@frozen(kw_only=True)
class Wish:
    """
    Who wants which database.

    @ivar certificate: DER, the user's.
    @ivar opening: what the client was greeted with; empty where the agent greets.
    """

    identity: Identity
    route: RouteToDatabase
    certificate: bytes
    opening: bytes = b""


@define(eq=False)
class Databases:
    """
    What all such connections share. Implements L{teleport_tw.proxy.listener.Databases}.

    @ivar identify: who is at the other end of a connection; L{TeleportError} turns it away.
    @ivar web: serves those who name neither a protocol nor a database.
    @ivar shuffle: puts a list into an order nobody foresees.
    @ivar mysql_version: what clients of MySQL are greeted with.
    """

    copy: Readable
    registry: Registry
    clock: IReactorTime
    identify: Callable[[TLSConnection], Identity]
    web: IProtocolFactory
    shuffle: Callable[[list[DatabaseServer]], object]
    mysql_version: str
    tasks: Tasks = field(factory=Tasks)
    _greeted: int = field(default=0, init=False)
    _log: ClassVar[Logger] = Logger()

    # --- what the listener asks

    def choose(self, connection: TLSConnection, want: Want, opening: bytes) -> IProtocolFactory:
        """
        @return: makes the Protocol of this one connection.
        @raise TeleportError: ACCESS_DENIED, the certificate is not good, and nobody knows in which words to say so.
        """
        certificate = connection.getPeerCertificate() or b""
        protocol = want.value.removeprefix("teleport-")
        if want is Want.UNNAMED and not certificate:
            return self.web
        try:
            if not certificate:
                raise TeleportError(
                    Kind.ACCESS_DENIED, "a client certificate is needed: run tsh db login, and see tsh db config"
                )
            identity = self.identify(connection)
            route = identity.database
            if route is None and want is Want.UNNAMED:
                return self.web
            wish = self._wish(identity, certificate, want, opening)
        except TeleportError as error:
            if want is Want.UNNAMED:
                raise
            self._log.info(
                "{peer} is refused a database: {reason}",
                peer=connection.getPeer(),
                reason=error.details or error.message,
            )
            return _One(Turned(self, protocol, error, greeted=bool(opening)))
        return _One(Wished(self, wish))

    def _wish(self, identity: Identity, certificate: bytes, want: Want, opening: bytes) -> Wish:
        route = identity.database
        if route is None:
            raise TeleportError(
                Kind.ACCESS_DENIED, "the certificate is not for a database: run tsh db login", details="no route"
            )
        if route.protocol not in DATABASES[want]:
            raise TeleportError(
                Kind.ACCESS_DENIED,
                f"the certificate is for database {route.service!r}, which speaks {route.protocol or 'nothing known'}",
                details=f"wrong protocol: {route.protocol!r} where {want.name} is spoken",
            )
        return Wish(identity=identity, route=route, certificate=certificate, opening=opening)

    def greeting(self) -> bytes:
        """
        @return: the packet with which a client of MySQL is greeted.
        """
        from teleport_tw.protocols.mysql.handshake import proxy_greeting  # loaded where databases are reached

        self._greeted = self._greeted % 0xFFFFFFFF + 1
        scramble = bytes(1 + octet % 127 for octet in token_bytes(20))
        return proxy_greeting(self._greeted, scramble, self.mysql_version)

    def farewell(self, protocol: str, text: str, data: bytes) -> bytes:
        """
        @return: the text as clients of the protocol understand it before TLS.
        """
        error = TeleportError(Kind.ACCESS_DENIED, text)
        told = said(protocol, error, data, greeted=True)
        if told is not None and not told.over:  # a request of TLS may be answered by an error as well
            told = said(protocol, error, bytes(8), greeted=True)
        return told.answer if told is not None else b""

    # --- where databases are

    def servers(self, service: str) -> list[DatabaseServer]:
        """
        @return: the agents that serve a database and are linked to this proxy, in the order they are tried.
        """
        found: list[DatabaseServer] = []
        for resource in self.copy.list(SERVER_KIND):
            if database_name(resource) != service:
                continue
            try:
                server = DatabaseServer.parse(resource)
            except TeleportError as error:
                self._log.warn("{name} cannot be read: {error}", name=resource.name, error=error.message)
                continue
            if self.registry.links(server.host_id, "db"):
                found.append(server)
        self.shuffle(found)
        return sorted(found, key=lambda server: server.health.status is Health.UNHEALTHY)

    def _known(self, service: str) -> bool:
        return any(database_name(each) == service for each in self.copy.list(SERVER_KIND))

    async def open(self, wish: Wish, client_address: str) -> Held:
        """
        @return: the stream to an agent that has accepted it.
        @raise TeleportError: NOT_FOUND, CONNECTION_PROBLEM, or what the agent said.
        """
        service = wish.route.service
        servers = self.servers(service)
        if not servers and not self._known(service):
            raise TeleportError(Kind.NOT_FOUND, f"database {service!r} is not known, or no agent serves it now")
        problem = TeleportError(
            Kind.CONNECTION_PROBLEM, f"database {service!r} is offline: no agent that serves it is connected"
        )
        session_id = str(uuid.uuid4())
        for server in servers:
            header = StreamHeader(
                target_kind="db",
                target_name=service,
                login=wish.route.username,
                client_address=client_address,
                user_certificates=(wish.certificate,),
                session_id=session_id,
                opening=wish.opening,
            )
            try:
                held = await self.registry.endpoint(server.host_id, header).connect(HoldingFactory())
            except TeleportError as error:
                problem = error
                if error.kind not in _ELSEWHERE:
                    break
                self._log.info(
                    "{host} does not take a session of {service}: {error}",
                    host=server.host_id,
                    service=service,
                    error=error.message,
                )
            except (ConnectionLost, ConnectionDone, ConnectionAborted) as error:
                problem = TeleportError(
                    Kind.CONNECTION_PROBLEM, f"the connection to database {service!r} was lost", details=repr(error)
                )
            else:
                assert isinstance(held, Held)
                return held
        raise problem


class Turned(Protocol):
    """
    Waits until a client can be told why there is no database for it, and tells it.
    """

    def __init__(self, shared: Databases, protocol: str, error: TeleportError, *, greeted: bool) -> None:
        self._shared = shared
        self._protocol = protocol
        self._error = error
        self._greeted = greeted
        self._data = b""
        self._over = False
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        Some servers speak first.
        """
        self._deadline = self._shared.clock.callLater(FAREWELL_SECONDS, self._give_up)
        self._look()

    def dataReceived(self, data: bytes) -> None:
        """
        What the client says does not matter, but that it does.
        """
        if not self._over:
            self._data += data[:_MAX_SAID]
            self._look()

    def _look(self) -> None:
        transport: Any = self.transport
        while (told := said(self._protocol, self._error, self._data, greeted=self._greeted)) is not None:
            self._data = self._data[told.take :]
            if told.answer:
                transport.write(told.answer)
            if told.over:
                self._over = True
                transport.loseConnection()
                return

    def _give_up(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        That was that.
        """
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class Wished(Protocol):
    """
    A user's connection until its stream stands; then it is the relay's.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, shared: Databases, wish: Wish) -> None:
        self._shared = shared
        self._wish = wish
        self._early = b""
        self._work: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """
        Look for an agent; the client may wait so long.
        """
        transport: Any = self.transport
        transport.pauseProducing()
        self._work = self._shared.tasks.spawn("opening a database for a user", self._serve())

    def dataReceived(self, data: bytes) -> None:
        """
        It was read before reading stopped.
        """
        self._early += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client went away before the relay stood.
        """
        if self._work is not None:
            self._work.cancel()

    async def _serve(self) -> None:
        transport: Any = self.transport
        try:
            held = await self._shared.open(self._wish, address_text(transport.getPeer()))
        except TeleportError as error:
            self._turn(error)
            return
        except CancelledError:
            return
        except BaseException:
            transport.abortConnection()
            raise
        target: Any = held.transport
        if held.early:
            transport.write(held.early)
        if self._early:
            target.write(self._early)
        await join(transport, target)

    def _turn(self, error: TeleportError) -> None:
        route = self._wish.route
        self._log.info(
            "{user} does not reach database {service}: {reason}",
            user=self._wish.identity.username,
            service=route.service,
            reason=error.details or error.message,
        )
        transport: Any = self.transport
        turned = Turned(self._shared, route.protocol, error, greeted=bool(self._wish.opening))
        self._work = None
        transport.protocol = turned
        turned.makeConnection(transport)  # type: ignore[no-untyped-call]
        transport.resumeProducing()
        if self._early:
            turned.dataReceived(self._early)


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Protocol:
        """
        The one that was made for this connection.
        """
        return self._protocol
