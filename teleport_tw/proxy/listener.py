"""
The one port: first bytes decide, then bytes are handed on untouched or TLS ends here with the context that suits.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from attrs import define, field
from twisted.internet.interfaces import IAddress, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from teleport_tw.base.addresses import network_of
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.held import Held, HoldingFactory
from teleport_tw.base.limits import ConnectionLimit
from teleport_tw.base.net.peeking import NeedMore, RawRoute, Refuse, TLSRoute
from teleport_tw.base.net.tls import TLSConnection
from teleport_tw.base.relay import join
from teleport_tw.base.tasks import Tasks
from teleport_tw.proxy.detect import Refused, Want, detect

ToAuth = Callable[[IAddress], IStreamClientEndpoint]
"""The way to auth for whoever has this address."""

Choose = Callable[[TLSConnection], IProtocolFactory]
"""Given a connection whose handshake is over, who serves it; L{TeleportError} turns it away."""


@define(eq=False)
class Listener:
    """
    Decides for L{teleport_tw.base.net.peeking.PeekingServer}.

    @ivar contexts: the TLS context of each kind, as it is now; none for kinds that are not served.
    @ivar choosers: who serves each kind after TLS.
    @ivar auth: where a client's bytes for auth go, by the client's address.
    @ivar connections: how many an address may have at once.
    @ivar refused: how many were turned away, by cause: C{protocol}, C{limit}, C{unserved}, C{certificate}.
    """

    cluster: str
    contexts: Callable[[Want], ssl.SSLContext | None]
    choosers: Mapping[Want, Choose]
    auth: ToAuth | None
    connections: ConnectionLimit
    tasks: Tasks = field(factory=Tasks)
    refused: Counter[str] = field(factory=Counter)
    _log: ClassVar[Logger] = Logger()

    def decide(self, data: bytes, peer: Any) -> NeedMore | RawRoute | TLSRoute | Refuse:
        """
        @param data: what a connection began with.
        @param peer: its address.
        """
        wanted = detect(data, self.cluster)
        if wanted is None:
            return NeedMore()
        if isinstance(wanted, Refused):
            return self._refuse("protocol", peer, wanted.farewell, wanted.reason)
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
        if context is None or wanted not in self.choosers:
            ended()
            return self._refuse("unserved", peer, b"", f"{wanted.name} is not served")
        chosen = self.choosers[wanted]

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
