"""
The one port: first bytes decide, then bytes are handed on untouched or TLS ends here with the context that suits.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from teleport_tw.base.addresses import network_of
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.limits import ConnectionLimit
from teleport_tw.base.net.peeking import Decision, GoOn, NeedMore, RawRoute, Refuse, TLSRoute
from teleport_tw.base.net.tls import TLSConnection
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.proxy.detect import DATABASES, Port, Refused, Step, Want, detect

ToAuth = Callable[[IAddress], IStreamClientEndpoint]
"""The way to auth for whoever has this address."""

Choose = Callable[[TLSConnection], IProtocolFactory]
"""Given a connection whose handshake is over, who serves it; L{TeleportError} turns it away."""


class Databases(Protocol):
    """
    Who serves databases: L{teleport_tw.proxy.databases.Databases}.
    """

    def choose(self, connection: TLSConnection, want: Want, opening: bytes) -> IProtocolFactory:
        """
        @param opening: what the client was greeted with already.
        @raise TeleportError: turns the connection away.
        """
        ...

    def greeting(self) -> bytes:
        """
        @return: what a client of MySQL is greeted with.
        """
        ...

    def farewell(self, protocol: str, text: str, data: bytes) -> bytes:
        """
        @param data: what the client began with.
        @return: the text as the protocol's clients understand it before TLS.
        """
        ...


@define(eq=False)
class Listener:
    """
    Decides for L{teleport_tw.base.net.peeking.PeekingServer}.

    @ivar contexts: the TLS context of each kind, as it is now; none for kinds that are not served.
    @ivar choosers: who serves each kind after TLS.
    @ivar auth: where a client's bytes for auth go, by the client's address.
    @ivar connections: how many an address may have at once.
    @ivar databases: who serves those; none where nobody does.
    @ivar port: what this listener is for.
    @ivar refused: how many were turned away, by cause: C{protocol}, C{limit}, C{unserved}, C{certificate}.
    """

    cluster: str
    contexts: Callable[[Want], ssl.SSLContext | None]
    choosers: Mapping[Want, Choose]
    auth: ToAuth | None
    connections: ConnectionLimit
    tasks: Tasks = field(factory=Tasks)
    refused: Counter[str] = field(factory=Counter)
    databases: Databases | None = None
    port: Port = Port.WEB
    _log: ClassVar[Logger] = Logger()

    def decide(self, data: bytes, peer: Any) -> Decision:
        """
        @param data: what a connection began with.
        @param peer: its address.
        """
        return self._decide(data, peer, b"", False)

    def greet(self, peer: Any) -> GoOn:
        """
        Speak first, on a port of MySQL.
        """
        assert self.databases is not None  # else nobody listens there
        greeting = self.databases.greeting()
        return GoOn(take=0, answer=greeting, then=lambda data, peer: self._decide(data, peer, greeting, False))

    def _decide(self, data: bytes, peer: Any, opening: bytes, again: bool) -> Decision:
        wanted = detect(data, self.cluster, self.port, again=again)
        match wanted:
            case None:
                return NeedMore()
            case Refused(farewell, reason, protocol):
                if protocol and self.databases is not None:
                    farewell = self.databases.farewell(protocol, reason, data)
                return self._refuse("protocol", peer, farewell, reason)
            case Step():
                return self._step(wanted, data, peer, opening)
        if wanted is Want.UNNAMED and self.databases is None:
            wanted = Want.WEB
        return self._route(wanted, peer, opening)

    def _step(self, step: Step, data: bytes, peer: Any, opening: bytes) -> Decision:
        """
        TLS was asked for in a database's own words.
        """
        want = step.want
        if want is None:
            return GoOn(
                take=step.take, answer=step.answer, then=lambda more, peer: self._decide(more, peer, opening, True)
            )
        if self.databases is None:
            return self._refuse("unserved", peer, b"", f"{want.name} is not served")
        if self.connections.full(network_of(str(getattr(peer, "host", "")))):
            reason = f"more than {self.connections.most} connections at once from one address"
            farewell = self.databases.farewell(want.value.removeprefix("teleport-"), reason, data)
            return self._refuse("limit", peer, farewell, reason)
        return GoOn(take=step.take, answer=step.answer, then=lambda more, peer: self._route(want, peer, opening))

    def _route(self, wanted: Want, peer: Any, opening: bytes) -> Decision:
        host = network_of(str(getattr(peer, "host", "")))
        if not self.connections.acquire(host):
            return self._refuse("limit", peer, b"", f"more than {self.connections.most} connections at once")

        def ended() -> None:
            self.connections.release(host)

        if wanted is Want.AUTH:
            if self.auth is None:
                ended()
                return self._refuse("unserved", peer, b"", "auth is not reachable from here")
            return RawRoute(_Onward(self.auth(peer), self.tasks), ended)
        context = self.contexts(wanted)
        chosen = self._chooser(wanted, opening)
        if context is None or chosen is None:
            ended()
            return self._refuse("unserved", peer, b"", f"{wanted.name} is not served")

        def choose(connection: TLSConnection) -> IProtocolFactory | None:
            try:
                return chosen(connection)
            except TeleportError as error:
                self.refused["certificate"] += 1
                self._log.info(
                    "connection of {peer} refused: {reason}", peer=host, reason=error.details or error.message
                )
                return None

        return TLSRoute(context, choose, ended=ended)

    def _chooser(self, wanted: Want, opening: bytes) -> Choose | None:
        databases = self.databases
        if wanted in DATABASES and databases is not None:
            return lambda connection: databases.choose(connection, wanted, opening)
        return self.choosers.get(wanted)

    def _refuse(self, cause: str, peer: Any, farewell: bytes, reason: str) -> Refuse:
        self.refused[cause] += 1
        self._log.debug("connection of {peer} refused: {reason}", peer=peer, reason=reason)
        return Refuse(farewell)


class _Onward(Factory):
    """
    Relays to another place, byte by byte.
    """

    noisy = False

    def __init__(self, endpoint: IStreamClientEndpoint, tasks: Tasks) -> None:
        self._endpoint = endpoint
        self._tasks = tasks

    def buildProtocol(self, addr: Any) -> Held:
        """
        Held until the other place answers.
        """
        return _Relayed(self._endpoint, self._tasks)


class _Relayed(Held):
    def __init__(self, endpoint: IStreamClientEndpoint, tasks: Tasks) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._tasks = tasks

    def connectionMade(self) -> None:
        """
        Dial.
        """
        super().connectionMade()
        self._tasks.spawn("relaying to auth", self._dial())

    async def _dial(self) -> None:
        here: Any = self.transport
        try:
            there = await self._endpoint.connect(HoldingFactory())
        except Exception:
            here.abortConnection()
            raise
        assert isinstance(there, Held)
        away: Any = there.transport
        if self.early:
            away.write(self.early)
        if there.early:
            here.write(there.early)
        await join(here, away)
