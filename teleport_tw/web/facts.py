"""
What the proxy tells everybody of its addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from attrs import field, frozen

from teleport_tw.base.addresses import host_of


@frozen(kw_only=True)
class PublicFacts:
    """
    What the proxy tells everybody.

    @ivar web: C{host:port} of the web port as users reach it.
    @ivar ssh: C{host:port} of the SSH port; empty when SSH goes through the web port only.
    @ivar ssh_listen: the local SSH listener.
    @ivar db: listeners and public addresses for databases, by their names in C{proxy.db}.
    """

    web: str
    ssh: str = ""
    ssh_listen: str = ""
    tls_routing: bool = True
    db: Mapping[str, str] = field(factory=dict)

    def proxy(self) -> dict[str, Any]:
        """
        @return: the C{proxy} member of C{ping} and C{find}.
        """
        return {
            "kube": {"enabled": False},
            "ssh": {
                "listen_addr": self.ssh_listen,
                "web_listen_addr": self.web,
                "tunnel_listen_addr": self.web,
                "public_addr": self.web,
                "ssh_public_addr": self.ssh,
                "ssh_tunnel_public_addr": self.web,
                "dial_timeout": 30_000_000_000,
            },
            "db": dict(self.db),
            "tls_routing_enabled": self.tls_routing,
        }

    def named(self, host: str) -> str:
        """
        @param host: what the browser calls the proxy.
        @return: C{host:port} for links: as configured; where only a listener on all interfaces is, as told.
        """
        own = host_of(self.web)
        return host if host and own in ("", "0.0.0.0", "::") else self.web  # noqa: S104 no listener

    @property
    def is_local(self) -> bool:
        """
        Whether users reach it on this machine only: a browser that is told to want TLS of C{localhost} wants it of
        every other program there too.
        """
        host = host_of(self.web).lower()
        if host in ("", "localhost") or host.endswith(".localhost"):
            return True
        try:
            address = ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or address.is_unspecified
