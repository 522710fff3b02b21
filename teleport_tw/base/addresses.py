"""
C{host:port} as people and configuration files write it; pure.

An IPv6 address stands in brackets where a port follows: C{[2001:db8::1]:3022}; alone it may stand without.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from teleport_tw.base.errors import bad_parameter

MAX_PORT = 65535


def host_of(address: str) -> str:
    """
    @param address: C{host:port}, a host alone, C{[v6]:port}, or an IPv6 address alone.
    @return: without port and brackets.
    """
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def split_address(address: str, default_port: int | None = None) -> tuple[str, int]:
    """
    @param address: as for L{host_of}.
    @param default_port: where none is written; C{None} where one must be.
    @return: host, empty for every interface, and port; zero lets the kernel choose.
    @raise TeleportError: BAD_PARAMETER, there is no usable port.
    """
    host = host_of(address)
    rest = address.partition("]")[2] if address.startswith("[") else address[len(host) :]
    if not rest and default_port is not None:
        return host, default_port
    digits = rest[1:]
    if rest[:1] != ":" or not (digits.isascii() and digits.isdigit()) or len(digits) > 5 or int(digits) > MAX_PORT:
        raise bad_parameter(f"{address[:300]!r} has no usable port; write host:port, an IPv6 host in brackets")
    return host, int(digits)


def join_address(host: str, port: int) -> str:
    """
    @return: C{host:port}, an IPv6 host in brackets.
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def network_of(host: str) -> str:
    """
    Who is counted as one: an IPv4 address, or the /64 that a single customer of IPv6 has at the least.

    @param host: an address; anything else is given back as it is.
    """
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


def same_address(one: str, other: str) -> bool:
    """
    @return: whether both are one IP address, however it is written; an IPv4 address may be mapped into IPv6.
    """
    return one == other or (bool(one and other) and _plain(one) == _plain(other))


def _plain(host: str) -> str:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
