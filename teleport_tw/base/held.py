"""
A connection kept as it is until somebody knows what to do with it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from zope.interface import implementer


@implementer(IHalfCloseableProtocol)
class Held(Protocol):
    """
    Stops its transport from reading and keeps what came all the same; hand the transport on, to L{base.relay.join} for
    instance, and the kept bytes with it.

    @ivar early: bytes that were there before it could stop.
    """

    def __init__(self) -> None:
        self.early = b""

    def connectionMade(self) -> None:
        """
        Read no more.
        """
        transport: Any = self.transport
        transport.pauseProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        It came with what was read before.
        """
        self.early += data

    def readConnectionLost(self) -> None:
        """
        Whoever gets the transport will find out.
        """

    def writeConnectionLost(self) -> None:
        """
        Nothing was written.
        """


class HoldingFactory(Factory):
    """
    Makes L{Held}.
    """

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> Held:
        """
        One a connection.
        """
        return Held()
