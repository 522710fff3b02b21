"""
One stream for one user: ALPN C{teleport-proxy-ssh-dial}.

The client ends TLS with its user certificate, says in one header which server it wants, reads the answer, and from
then on speaks to the server itself. One TLS and one SSH handshake are all a session costs; the proxy sees no plaintext.
"""

from __future__ import annotations

from typing import Any, ClassVar
from typing import Protocol as Shape

from attrs import define, evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from teleport_tw.api.streams import Prefixed, StreamHeader, address_text, decode_header, encode_answer
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.pki.identity import Identity
from teleport_tw.proxy.route import split_target
from teleport_tw.proxy.targets import Targets
from teleport_tw.resources.metadata import Resource

HEADER_SECONDS = 10.0
"""A client has its header ready before it dials."""


class Speaks(Shape):
    """
    Speaks SSH itself where bytes are not to be relayed: L{teleport_tw.proxy.forward.Forwarder}.
    """

    def wanted(self, node: Resource) -> bool:
        """
        @return: whether it does so for C{node}.
        """
        ...

    async def serve(
        self, resource: Resource, header: StreamHeader, dialler: Identity, *, agent: bool = False
    ) -> IProtocol:
        """
        @return: serves the user's bytes.
        @raise TeleportError: not now.
        """
        ...


class Way(Shape):
    """
    What a user's connection becomes once the way to the server is open.
    """

    async def take(self, transport: Any, early: bytes) -> None:
        """
        @param transport: the user's, paused.
        @param early: what came from it already.
        """
        ...


@frozen
class Relay:
    """
    Bytes go to the server as they are.
    """

    held: Held

    async def take(self, transport: Any, early: bytes) -> None:
        """
        See L{Way.take}; returns when both ends are gone.
        """
        target: Any = self.held.transport
        if self.held.early:
            transport.write(self.held.early)
        if early:
            target.write(early)
        await join(transport, target)


@frozen
class Spoken:
    """
    The proxy answers itself.
    """

    protocol: IProtocol

    async def take(self, transport: Any, early: bytes) -> None:
        """
        See L{Way.take}; returns at once.
        """
        self.protocol.makeConnection(transport)
        transport.protocol = self.protocol
        if early:
            self.protocol.dataReceived(early)
        transport.resumeProducing()


@define(eq=False)
class DialIn:
    """
    What all such connections share.

    @ivar forwarder: for servers without an agent, and for all where the proxy records.
    """

    targets: Targets
    clock: IReactorTime
    tasks: Tasks = field(factory=Tasks)
    forwarder: Speaks | None = None

    def build(self, identity: Identity, certificate: bytes) -> DialProtocol:
        """
        @param identity: whose certificate C{certificate} is, verified.
        @param certificate: DER.
        """
        return DialProtocol(self, identity, certificate)

    async def open(self, header: StreamHeader, identity: Identity, *, agent: bool = False) -> Way:
        """
        @param agent: the proxy may ask for one without being offered it first.
        @raise TeleportError: there is no such server, or no way to it, or the agent said no.
        """
        if header.target_kind != "node":
            raise TeleportError(Kind.NOT_IMPLEMENTED, f"this proxy has no targets of kind {header.target_kind!r}")
        node = self.targets.node(*split_target(header.target_name))
        onward = evolve(header, target_name=node.name)
        if self.forwarder is not None and self.forwarder.wanted(node):
            return Spoken(await self.forwarder.serve(node, onward, identity, agent=agent))
        try:
            held = await self.targets.endpoint(node, onward).connect(HoldingFactory())
        except ConnectError as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"{node.spec.get('hostname') or node.name} cannot be reached"
            ) from error
        assert isinstance(held, Held)
        return Relay(held)


class TurnedAway(Protocol):
    """
    A client with a good certificate that may not come in now, such as a locked user: told why when it has asked.
    """

    def __init__(self, clock: IReactorTime, error: TeleportError) -> None:
        self._clock = clock
        self._error = error
        self._deadline: IDelayedCall | None = None

    def connectionMade(self) -> None:
        """
        What it asks for does not matter, but closing before it has asked could cost it the answer.
        """
        self._deadline = self._clock.callLater(HEADER_SECONDS, self._close)

    def dataReceived(self, data: bytes) -> None:
        """
        It has asked.
        """
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
            transport: Any = self.transport
            transport.write(encode_answer(self._error))
            self._close()

    def _close(self) -> None:
        transport: Any = self.transport
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        It did not wait.
        """
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


class DialProtocol(Protocol):
    """
    One such connection.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(self, shared: DialIn, identity: Identity, certificate: bytes) -> None:
        self._shared = shared
        self._identity = identity
        self._certificate = certificate
        self._prefixed = Prefixed()
        self._deadline: IDelayedCall | None = None
        self._work: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """
        The header is awaited.
        """
        self._deadline = self._shared.clock.callLater(HEADER_SECONDS, self._abort)

    def _abort(self) -> None:
        self._deadline = None
        transport: Any = self.transport
        transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """
        Part of the header.
        """
        try:
            body = self._prefixed.feed(data)
            header = decode_header(body) if body is not None else None
        except RemoteProtocolError as error:
            self._log.warn("{user} sent no proper header: {error}", user=self._identity.username, error=str(error))
            self._abort_now()
            return
        if header is None or self._work is not None:
            return
        self._stop_waiting()
        transport: Any = self.transport
        transport.pauseProducing()
        self._work = self._shared.tasks.spawn("dialling for a user", self._serve(header))

    def _abort_now(self) -> None:
        self._stop_waiting()
        self._abort()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The client went away before the relay stood.
        """
        self._stop_waiting()
        if self._work is not None:
            self._work.cancel()

    async def _serve(self, asked: StreamHeader) -> None:
        transport: Any = self.transport
        header = evolve(
            asked,
            client_address=address_text(transport.getPeer()),
            user_certificates=(self._certificate, *asked.user_certificates[:1]),
        )
        try:
            way = await self._shared.open(header, self._identity)
        except TeleportError as error:
            transport.write(encode_answer(error))
            transport.loseConnection()
            return
        except CancelledError:
            return
        except (ConnectionLost, ConnectionDone, ConnectionAborted) as error:
            problem = TeleportError(
                Kind.CONNECTION_PROBLEM, "the connection to the server was lost", details=repr(error)
            )
            transport.write(encode_answer(problem))
            transport.loseConnection()
            return
        except BaseException:
            transport.abortConnection()
            raise
        transport.write(encode_answer())
        await way.take(transport, self._prefixed.rest)
