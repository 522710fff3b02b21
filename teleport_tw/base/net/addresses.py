"""
Addresses of sockets, in Twisted's form.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress

Address = IPv4Address | IPv6Address | UNIXAddress


def address_of(family: int, name: Any) -> Address:
    """
    @param family: C{AF_INET}, C{AF_INET6} or C{AF_UNIX}.
    @param name: what the socket module has for a peer or a socket of that family.
    @return: Twisted's form of it. An IPv4 peer of a socket that serves both is IPv4; a nameless UNIX socket has an
        empty name.
    """
    if family == socket.AF_INET:
        return IPv4Address("TCP", name[0], name[1])
    if family == socket.AF_INET6:
        if name[0].startswith("::ffff:"):
            return IPv4Address("TCP", name[0].removeprefix("::ffff:"), name[1])
        return IPv6Address("TCP", *name)
    return UNIXAddress(name or b"")
