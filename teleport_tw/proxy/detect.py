"""
What a connection to the one port wants, judged by its first bytes. Pure.

===================================== ===========================================================================
ALPN or SNI                           goes to
===================================== ===========================================================================
SNI C{<hex of cluster>.teleport…}     auth: bytes are handed on, TLS is mutual from end to end
ALPN C{teleport-auth@<cluster>}       the same
ALPN C{teleport-reversetunnel}        a tunnel link: TLS with a host certificate
ALPN C{teleport-proxy-ssh}            the SSH jump host, inside TLS
ALPN C{teleport-proxy-ssh-dial}       one stream to a target: TLS with a user certificate
anything else that is TLS             web pages and JSON
===================================== ===========================================================================

@see: RFC 7301 (ALPN), RFC 6066 section 3 (SNI)
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.tls.hello import ClientHello, Guess, looks_like, parse

API_DOMAIN = "teleport.cluster.local"


class Want(Enum):
    """
    The kinds of connection; the value is the ALPN name that the server answers with.
    """

    AUTH = "teleport-auth@"
    TUNNEL = "teleport-reversetunnel"
    DIAL = "teleport-proxy-ssh-dial"
    SSH = "teleport-proxy-ssh"
    WEB = "http/1.1"


_BY_ALPN = {want.value: want for want in (Want.TUNNEL, Want.DIAL, Want.SSH)}

TLS_ALERT = b"\x15\x03\x03\x00\x02\x02"
"""A fatal alert before encryption; one byte, the description, follows."""

NO_APPLICATION_PROTOCOL = b"\x78"
DECODE_ERROR = b"\x32"
UNRECOGNIZED_NAME = b"\x70"

PLAIN_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 51\r\n\r\n"
    b"This port speaks HTTPS: use https:// and not http.\n"
)

PLAIN_SSH = b"SSH goes to this proxy's SSH port, or through `tsh proxy ssh`; this port speaks TLS.\r\n"


@frozen
class Refused:
    """
    @ivar farewell: what to send before closing, in the words of the protocol that seems to be spoken.
    @ivar reason: for the log.
    """

    farewell: bytes
    reason: str


def detect(data: bytes, cluster: str) -> Want | Refused | None:
    """
    @param data: a connection's first bytes, at least one.
    @param cluster: the name of the cluster served here.
    @return: what it wants, or why it is refused; C{None} while more bytes are needed.
    """
    guess = looks_like(data)
    if guess is None:
        return None
    if guess is Guess.HTTP:
        return Refused(PLAIN_HTTP, "HTTP without TLS")
    if guess is Guess.SSH:
        return Refused(PLAIN_SSH, "SSH without TLS")
    if guess is not Guess.TLS:
        return Refused(b"", guess.value)
    try:
        hello = parse(data)
    except RemoteProtocolError as error:
        return Refused(TLS_ALERT + DECODE_ERROR, str(error))
    return None if hello is None else _wanted(hello, cluster)


def _wanted(hello: ClientHello, cluster: str) -> Want | Refused:
    named = hello.sni.removesuffix("." + API_DOMAIN)
    if named != hello.sni:
        if named == cluster.encode().hex():
            return Want.AUTH
        return Refused(TLS_ALERT + UNRECOGNIZED_NAME, f"no cluster is known as {hello.sni}")
    for protocol in hello.alpn:
        if protocol.startswith(Want.AUTH.value):
            if protocol.removeprefix(Want.AUTH.value) in ("", cluster):
                return Want.AUTH
            return Refused(TLS_ALERT + UNRECOGNIZED_NAME, f"no cluster is known as {protocol}")
        if protocol in _BY_ALPN:
            return _BY_ALPN[protocol]
    if not hello.alpn or {"http/1.1", "h2"} & set(hello.alpn):
        return Want.WEB
    return Refused(TLS_ALERT + NO_APPLICATION_PROTOCOL, f"no service for ALPN {', '.join(hello.alpn)}")
