"""
Who is at the other end of a call, as TLS proved it.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from secrets import token_hex
from typing import Any
from urllib.parse import unquote

from attrs import field, frozen
from grpc import aio

from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import access_denied


@frozen
class Peer:
    """
    @ivar certificate: the leaf certificate, PEM, whose chain and key gRPC's handshake checked against the roots that
        were in force when the connection was made. Dates, authority and locks may have changed since: whoever turns
        this into an identity checks them for each call.
    @ivar address: as gRPC writes it: C{ipv4:127.0.0.1:4000}, C{unix:}, C{unix-abstract:<name>}.
    @ivar headers: of the call, those in binary as bytes; whatever the client likes to say.
    """

    certificate: bytes
    address: str
    headers: Mapping[str, str | bytes] = field(factory=dict, eq=False)

    @property
    def host(self) -> str:
        """
        The client's address, without port; empty where nobody knows it.

        Who relays a connection to gRPC's UNIX socket names its own end with L{name_for}. Only who may open that socket
        can, and that is auth's own user.
        """
        kind, _, rest = self.address.partition(":")
        rest = unquote(rest)
        if kind == "unix-abstract":
            return rest.removeprefix(_NAMED).partition("/")[0] if rest.startswith(_NAMED) else ""
        return host_of(rest) if kind in ("ipv4", "ipv6") else ""


_NAMED = "teleport-client/"


def name_for(host: str) -> bytes:
    """
    @param host: an address; of anything else nothing is told.
    @return: what to call the end of a UNIX socket that a client's connection is relayed by; new each time.
    """
    try:
        plain = str(ip_address(host.partition("%")[0]))
    except ValueError:
        return b""
    return f"{_NAMED}{plain}/{token_hex(8)}".encode("ascii")


def peer_of(context: aio.ServicerContext[object, object]) -> Peer:
    """
    @raise TeleportError: ACCESS_DENIED, the connection shows no certificate.
    """
    certificates = list(context.auth_context().get("x509_pem_cert", ()))
    if not certificates:
        raise access_denied(details="no client certificate")
    said: Any = context.invocation_metadata() or ()  # pairs, which the stubs do not say
    return Peer(certificates[0], context.peer(), dict(said))
