"""
Auth's API by way of the proxy's one port, or at auth's own.
"""

from __future__ import annotations

from teleport_tw.api.client import RpcApi, connect
from teleport_tw.dial.identity import ClientIdentity
from teleport_tw.rpc.client import ClientTls, server_name_for


def connect_through(host: str, port: int, identity: ClientIdentity, *, timeout: float = 30) -> RpcApi:
    """
    The proxy hands the connection on to auth by the name that is asked for; TLS is mutual from end to end.

    @param host: of the proxy, or of auth.
    @param timeout: seconds for calls that are not streams.
    @return: not connected yet.
    """
    tls = ClientTls(
        chain=identity.tls_certificate,
        key=identity.tls_key,
        roots=identity.tls_authorities,
        server_name=server_name_for(identity.cluster),
    )
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return connect(f"dns:///{address}", tls, timeout=timeout)
