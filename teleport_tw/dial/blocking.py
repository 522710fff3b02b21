"""
One stream to a server through the proxy, on the standard library's sockets: for programs that start for one connection,
such as C{tsh proxy ssh} behind OpenSSH's C{ProxyCommand}. No reactor, no crypto library but OpenSSL.
"""

from __future__ import annotations

import socket
import ssl

from teleport_tw.api.streams import Prefixed, StreamHeader, decode_answer, encode_header
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.dial.identity import DIAL, JUMP, ClientIdentity, require_proxy

CONNECT_SECONDS = 20.0
"""For TCP, TLS and the proxy's answer, each."""


def open_stream(host: str, port: int, identity: ClientIdentity, target: str) -> tuple[ssl.SSLSocket, bytes]:
    """
    @param host: of the proxy.
    @param target: C{host[:port][@cluster]}.
    @return: a connection to the server, and what the server said already.
    @raise TeleportError: what the proxy or agent answered; CONNECTION_PROBLEM, the proxy is not reached; ACCESS_DENIED,
        it is no proxy of the cluster.
    """
    connection = _connect(host, port, identity, DIAL)
    try:
        connection.sendall(encode_header(StreamHeader(target_kind="node", target_name=target)))
        answer = Prefixed()
        while (body := answer.feed(_some(connection))) is None:
            pass
        refusal = decode_answer(body)
    except (OSError, RemoteProtocolError) as error:
        connection.close()
        raise TeleportError(
            Kind.CONNECTION_PROBLEM, f"the proxy gave no sensible answer for {target}: {error}"
        ) from error
    if refusal is not None:
        connection.close()
        raise refusal
    connection.settimeout(None)
    return connection, answer.rest


def open_jump(host: str, port: int, identity: ClientIdentity) -> ssl.SSLSocket:
    """
    @return: a connection to the proxy's SSH server inside TLS.
    @raise TeleportError: CONNECTION_PROBLEM, the proxy is not reached; ACCESS_DENIED, it is no proxy of the cluster.
    """
    connection = _connect(host, port, identity, JUMP)
    connection.settimeout(None)
    return connection


def _some(connection: ssl.SSLSocket) -> bytes:
    data = connection.recv(16384)
    if not data:
        raise ConnectionError("it hung up")
    return data


def _connect(host: str, port: int, identity: ClientIdentity, alpn: str) -> ssl.SSLSocket:
    context = identity.tls_context(alpn)
    try:
        plain = socket.create_connection((host, port), CONNECT_SECONDS)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise TeleportError(
            Kind.CONNECTION_PROBLEM,
            f"{host}:{port} is not the proxy of {identity.cluster}: {error.verify_message}",
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise TeleportError(Kind.CONNECTION_PROBLEM, f"cannot reach the proxy at {host}:{port}: {reason}") from error
    try:
        require_proxy(connection.getpeercert(), f"{host}:{port}")
    except TeleportError:
        connection.close()
        raise
    return connection
