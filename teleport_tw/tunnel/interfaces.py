"""
What a link stands between: the connection below it, and whoever holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IPushProducer

from teleport_tw.tunnel.stream import Address, Stream

if TYPE_CHECKING:
    from teleport_tw.tunnel.link import Link


class Wire(Protocol):
    """
    What a link needs of the connection it runs on; Twisted's TCP and TLS transports and those of C{base.net} have it.
    """

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getHost(self) -> Address: ...
    def getPeer(self) -> Address: ...


class LinkOwner(Protocol):
    """
    Who holds a link and hears what becomes of it.
    """

    def link_up(self, link: Link) -> None:
        """
        The connection stands.
        """

    def stream_opened(self, link: Link, stream: Stream) -> None:
        """
        The peer opened a stream: L{Stream.begin} and L{Link.accept} it, or C{abortConnection}.
        """

    def link_away(self, link: Link) -> None:
        """
        The peer takes no more streams; those that are open go on.
        """

    def link_down(self, link: Link) -> None:
        """
        The connection is gone, and every stream with it.
        """
