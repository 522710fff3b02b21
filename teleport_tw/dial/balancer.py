"""
Listening behind a load balancer that tells by a PROXY header whose connection it brings.

What becomes of a header, by C{proxy_protocol}:

  - C{on}: it is required and believed; limits, pinned certificates and the audit log go by the address in it.
    Connections of this very host may come without one.
  - C{off}: it is refused, as anything that is no known protocol.
  - unset: it is taken off where there is one, and not believed: anybody who reaches the port could have sent it.
"""

from __future__ import annotations

from ipaddress import ip_address

from twisted.internet.address import IPv4Address, IPv6Address

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.net.addresses import Address
from teleport_tw.base.net.peeking import Decide, Decision, GoOn, NeedMore, RawRoute, Refuse
from teleport_tw.config.sections import ProxyProtocol
from teleport_tw.protocols.proxyheader.header import Source, begins, parse

SILENT_SECONDS = 1.0
"""How long to wait for a header of a client that may be waiting for us to speak first."""


def behind(policy: ProxyProtocol, then: Decide | RawRoute) -> Decide:
    """
    @param then: decides about what follows the header, or has decided already.
    @return: decides about connections from their first byte.
    """

    def after(data: bytes, peer: Address) -> Decision:
        return then if isinstance(then, RawRoute) else then(data, peer)

    def decide(data: bytes, peer: Address) -> Decision:
        found = begins(data)
        if found is None:
            return NeedMore()
        if found is False:
            required = policy is ProxyProtocol.ON and not _is_this_host(peer)
            return Refuse() if required else after(data, peer)
        try:
            header = parse(data)
        except RemoteProtocolError:
            return Refuse()
        if header is None:
            return NeedMore()
        believed = header.source if policy is ProxyProtocol.ON else None
        return GoOn(take=header.size, peer=_address(believed) if believed is not None else None, then=then)

    return after if policy is ProxyProtocol.OFF else decide


def _is_this_host(peer: Address) -> bool:
    return ip_address(str(getattr(peer, "host", "")).partition("%")[0]).is_loopback


def _address(source: Source) -> Address:
    kind = IPv6Address if ":" in source.host else IPv4Address
    return kind("TCP", source.host, source.port)
