"""
Channels in pairs: one of the user's connection, one of the connection onwards, and what passes between them.

Bytes, their end, and pauses go across as they come: a channel is the other's producer, so a slow reader on either side
shrinks the window on the other. Sessions are L{teleport_tw.proxy.forward_session}'s; here are the rest.
"""

from __future__ import annotations

from collections.abc import Callable

from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import Connection


class Pipe(Channel):
    """
    One of two.

    @ivar other: across.
    @ivar touched: called when bytes pass.
    @ivar ended: called once, when this one is gone.
    """

    other: Pipe

    def __init__(self, kind: str, touched: Callable[[], None]) -> None:
        super().__init__()
        self.name = kind.encode("ascii")
        self.touched = touched
        self.ended: Callable[[], None] = lambda: None
        self.over = False

    def channelOpen(self, specificData: bytes) -> None:
        """
        The first of the two waits for the second; see L{through}.
        """
        if not self.other.opened:
            return
        self.join()

    @property
    def opened(self) -> bool:
        """
        Whether it belongs to a connection, or did.
        """
        return self.over or getattr(self, "conn", None) is not None

    def join(self) -> None:
        """
        Both are open: let bytes pass.
        """
        if self.other.over:
            self.loseConnection()
        else:
            self.registerProducer(self.other, True)
            self.other.registerProducer(self, True)
        self.addWindowBytes(0)  # sends what came for it before it was open
        self.other.resumeProducing()

    def dataReceived(self, data: bytes) -> None:
        """
        Across.
        """
        self.touched()
        self.other.write(data)

    def extReceived(self, dataType: int, data: bytes) -> None:
        """
        Across.
        """
        self.other.writeExtended(dataType, data)

    def eofReceived(self) -> None:
        """
        Across.
        """
        self.other.loseWriteConnection()

    def closed(self) -> None:
        """
        The other has the rest to send, and closes.
        """
        self.over = True
        self.other.loseConnection()
        ended, self.ended = self.ended, lambda: None
        ended()


async def through(connection: Connection, kind: str, payload: bytes, touched: Callable[[], None]) -> Pipe:
    """
    Open a channel across for one that somebody wants to open here.

    @param connection: where to.
    @param payload: the type's own fields, as they came.
    @return: the channel for whoever asked.
    @raise TeleportError: the far end refuses.
    """
    here, there = Pipe(kind, touched), Pipe(kind, touched)
    here.other, there.other = there, here
    there.pauseProducing()
    await connection.open(there, payload)
    return here
