"""
Who is at the other end of a call, as TLS proved it.
"""

from __future__ import annotations

from attrs import frozen
from grpc import aio

from teleport_tw.base.errors import access_denied


@frozen
class Peer:
    """
    @ivar certificate: the leaf certificate, PEM, whose chain and key gRPC's handshake checked against the roots that
        were in force when the connection was made. Dates, authority and locks may have changed since: whoever turns
        this into an identity checks them for each call.
    @ivar address: as gRPC writes it: C{ipv4:127.0.0.1:4000}, C{unix:}.
    """

    certificate: bytes
    address: str


def peer_of(context: aio.ServicerContext[object, object]) -> Peer:
    """
    @raise TeleportError: ACCESS_DENIED, the connection shows no certificate.
    """
    certificates = list(context.auth_context().get("x509_pem_cert", ()))
    if not certificates:
        raise access_denied(details="no client certificate")
    return Peer(certificates[0], context.peer())
