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
ALPN C{teleport-postgres} and so on   a database: TLS with a user certificate that names it
ALPN C{postgresql}                    the same: libpq that asks for TLS at once
a SSLRequest of PostgreSQL            the same, behind an C{S}
TLS without ALPN                      a database where the certificate names one, else web pages
anything else that is TLS             web pages and JSON
===================================== ===========================================================================

Databases may have ports of their own, where the first bytes are read as one protocol alone; see L{Port}.

@see: RFC 7301 (ALPN), RFC 6066 section 3 (SNI)
@see: PostgreSQL 17 manual, I{SSL Session Encryption}; MySQL 8.4 source documentation, I{SSLRequest}
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import TypeAlias

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
    POSTGRES = "teleport-postgres"
    COCKROACHDB = "teleport-cockroachdb"
    MYSQL = "teleport-mysql"
    MONGODB = "teleport-mongodb"
    REDIS = "teleport-redis"
    UNNAMED = ""


DATABASES: Mapping[Want, frozenset[str]] = {
    Want.POSTGRES: frozenset({"postgres", "cockroachdb"}),
    Want.COCKROACHDB: frozenset({"postgres", "cockroachdb"}),
    Want.MYSQL: frozenset({"mysql"}),
    Want.MONGODB: frozenset({"mongodb"}),
    Want.REDIS: frozenset({"redis"}),
    Want.UNNAMED: frozenset({"postgres", "cockroachdb", "mysql", "mongodb", "redis"}),
}
"""Where databases are reached, and the protocols that may be spoken there: PostgreSQL's word serves CockroachDB too."""

LIBPQ = "postgresql"
"""What libpq says when it begins with TLS; registered with IANA."""

MYSQL_PREFIX = "teleport-mysql-"
"""Before a server's version, which clients of the reference system tell; the real server's is shown anyway."""

_BY_ALPN = {
    **{want.value: want for want in (Want.TUNNEL, Want.DIAL, Want.SSH, *DATABASES) if want.value},
    LIBPQ: Want.POSTGRES,
}


class Port(Enum):
    """
    What a listener is for.
    """

    WEB = "web_listen_addr"
    TUNNEL = "tunnel_listen_addr"
    POSTGRES = "postgres_listen_addr"
    MYSQL = "mysql_listen_addr"
    MONGODB = "mongo_listen_addr"
    REDIS = "redis_listen_addr"


_OWN: Mapping[Port, Want] = {
    Port.POSTGRES: Want.POSTGRES,
    Port.MYSQL: Want.MYSQL,
    Port.MONGODB: Want.MONGODB,
    Port.REDIS: Want.REDIS,
}

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
    @ivar protocol: of a database, whose words the farewell must be put into; empty where it is ready.
    """

    farewell: bytes
    reason: str
    protocol: str = ""


@frozen
class Step:
    """
    TLS is asked for in the protocol's own words.

    @ivar take: bytes that are done with.
    @ivar answer: what to answer them.
    @ivar want: what comes behind TLS then; C{None}, the client will say more first.
    """

    take: int
    answer: bytes
    want: Want | None


Found: TypeAlias = Want | Refused | Step | None


def detect(data: bytes, cluster: str, port: Port = Port.WEB, *, again: bool = False) -> Found:
    """
    @param data: a connection's first bytes, at least one.
    @param cluster: the name of the cluster served here.
    @param again: whether a L{Step} without want was taken before.
    @return: what it wants, or why it is refused; C{None} while more bytes are needed.
    """
    if port is Port.MYSQL:
        return _mysql(data)
    if again or (data[0] == 0 and port in (Port.WEB, Port.POSTGRES)):
        return _postgres(data, again)
    guess = looks_like(data)
    own = _OWN.get(port)
    if own is not None and guess not in (None, Guess.TLS):
        return _in_clear(own)
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
    if hello is None:
        return None
    return _wanted(hello, cluster) if own is None else _wanted_there(hello, own)


NO_TLS = "TLS is required: connect with TLS and the certificate that tsh db login gives"
"""Said in each protocol's words."""


def _in_clear(want: Want) -> Refused:
    return Refused(b"", NO_TLS, want.value.removeprefix("teleport-"))


def _wanted_there(hello: ClientHello, own: Want) -> Want | Refused:
    """
    On a database's own port: TLS for it, or TLS that does not say.
    """
    if not hello.alpn or any(_BY_ALPN.get(each) is own for each in hello.alpn):
        return own
    return Refused(TLS_ALERT + NO_APPLICATION_PROTOCOL, f"no service for ALPN {', '.join(hello.alpn)} on this port")


_POSTGRES_HEADER = 8


class _Code(IntEnum):
    CANCEL_REQUEST = 80877102
    SSL_REQUEST = 80877103
    GSSENC_REQUEST = 80877104


def _postgres(data: bytes, again: bool) -> Found:
    """
    What a client of PostgreSQL begins with, big-endian: C{int32} length, counting itself; C{int32} code.
    """
    if len(data) < _POSTGRES_HEADER:
        return None
    length, code = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
    match code:
        case _Code.SSL_REQUEST if length == _POSTGRES_HEADER:
            return Step(_POSTGRES_HEADER, b"S", Want.POSTGRES)
        case _Code.GSSENC_REQUEST if length == _POSTGRES_HEADER and not again:
            return Step(_POSTGRES_HEADER, b"N", None)
        case _Code.CANCEL_REQUEST:
            return Refused(b"", "a request to cancel without TLS: nobody knows whose it is")
    if code >> 16 == 3:
        return _in_clear(Want.POSTGRES)
    return Refused(b"", "neither TLS nor PostgreSQL")


_MYSQL_HEADER, _MYSQL_SSL_REQUEST = 4, 32
_CLIENT_SSL = 1 << 11


def _mysql(data: bytes) -> Found:
    """
    What a client of MySQL answers the greeting with, little-endian: C{uint24} length, not counting the header of four
    bytes; C{uint8} sequence, which is 1; C{uint32} capabilities, and so on to 32 bytes for a request of TLS.
    """
    if len(data) < _MYSQL_HEADER + 4:
        return None
    length, sequence = int.from_bytes(data[:3], "little"), data[3]
    if sequence != 1:
        return Refused(b"", "no answer to a greeting of MySQL")
    if length != _MYSQL_SSL_REQUEST or not int.from_bytes(data[4:8], "little") & _CLIENT_SSL:
        return _in_clear(Want.MYSQL)
    whole = _MYSQL_HEADER + _MYSQL_SSL_REQUEST
    return Step(whole, b"", Want.MYSQL) if len(data) >= whole else None


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
        if protocol.startswith(MYSQL_PREFIX):
            return Want.MYSQL
    if not hello.alpn:
        return Want.UNNAMED
    if {"http/1.1", "h2"} & set(hello.alpn):
        return Want.WEB
    return Refused(TLS_ALERT + NO_APPLICATION_PROTOCOL, f"no service for ALPN {', '.join(hello.alpn)}")
