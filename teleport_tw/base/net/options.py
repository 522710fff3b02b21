"""
What the kernel can be told of a TCP connection, by Twisted's names where it has some.
"""

from __future__ import annotations

import socket
import struct
from typing import Protocol

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux has it

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class OnSocket(Protocol):
    """
    A transport that may have a socket of the kernel.
    """

    disconnecting: bool

    def raw_socket(self) -> socket.socket | None:
        """
        @return: None where it is none of TCP, or there is none any more.
        """


class SocketOptions:
    """
    The options of an L{OnSocket}.
    """

    __slots__ = ()

    def getTcpNoDelay(self: OnSocket) -> bool:
        """
        @return: whether small writes go out at once; True unless somebody said otherwise.
        """
        return _get(self.raw_socket(), socket.IPPROTO_TCP, socket.TCP_NODELAY)

    def setTcpNoDelay(self: OnSocket, enabled: bool) -> None:
        """
        @param enabled: send small writes at once.
        """
        _set(self.raw_socket(), socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def acknowledge(self: OnSocket) -> None:
        """
        Have the kernel tell the peer now of what it has received, and not up to 40 ms later together with an answer. A
        peer that does not set TCP_NODELAY holds its next bytes back until then.
        """
        if _QUICKACK is not None and not self.disconnecting:
            _set(self.raw_socket(), socket.IPPROTO_TCP, _QUICKACK, 1)

    def getTcpKeepAlive(self: OnSocket) -> bool:
        """
        @return: whether the kernel probes a silent peer.
        """
        return _get(self.raw_socket(), socket.SOL_SOCKET, socket.SO_KEEPALIVE)

    def setTcpKeepAlive(self: OnSocket, enabled: bool) -> None:
        """
        @param enabled: let the kernel probe a silent peer.
        """
        _set(self.raw_socket(), socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    def reset_on_close(self: OnSocket) -> None:
        """
        Have the kernel drop what is unsent when the connection is closed, and tell the peer of a reset.
        """
        _set(self.raw_socket(), socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)


def _get(raw: socket.socket | None, level: int, option: int) -> bool:
    return raw is not None and bool(raw.getsockopt(level, option))


def _set(raw: socket.socket | None, level: int, option: int, value: int | bytes) -> None:
    if raw is not None:
        raw.setsockopt(level, option, value)
