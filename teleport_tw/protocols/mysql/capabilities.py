"""
What client and server can do, as bits that both sides announce in the handshake.

A session has two connections, one to the user and one to the target, and bulk bytes pass from one to the other as they
are. So both must have agreed on everything that changes a layout: L{offered} is what we offer the user for a given
target, and L{wanted} what we then ask of that target.

@see: MySQL 8.4 source documentation, I{Capabilities Flags}; MariaDB knowledge base, I{Connection}.
"""

from __future__ import annotations

from enum import IntFlag


class Capability(IntFlag):
    """
    Bits 0 to 31 are MySQL's; MariaDB announces bits 32 and up in bytes that MySQL leaves zero, and says so by leaving
    bit 0 out.
    """

    LONG_PASSWORD = 1 << 0
    FOUND_ROWS = 1 << 1
    LONG_FLAG = 1 << 2
    CONNECT_WITH_DB = 1 << 3
    NO_SCHEMA = 1 << 4
    COMPRESS = 1 << 5
    ODBC = 1 << 6
    LOCAL_FILES = 1 << 7
    IGNORE_SPACE = 1 << 8
    PROTOCOL_41 = 1 << 9
    INTERACTIVE = 1 << 10
    SSL = 1 << 11
    IGNORE_SIGPIPE = 1 << 12
    TRANSACTIONS = 1 << 13
    RESERVED = 1 << 14
    SECURE_CONNECTION = 1 << 15
    MULTI_STATEMENTS = 1 << 16
    MULTI_RESULTS = 1 << 17
    PS_MULTI_RESULTS = 1 << 18
    PLUGIN_AUTH = 1 << 19
    CONNECT_ATTRS = 1 << 20
    PLUGIN_AUTH_LENENC_CLIENT_DATA = 1 << 21
    CAN_HANDLE_EXPIRED_PASSWORDS = 1 << 22
    SESSION_TRACK = 1 << 23
    DEPRECATE_EOF = 1 << 24
    OPTIONAL_RESULTSET_METADATA = 1 << 25
    ZSTD_COMPRESSION_ALGORITHM = 1 << 26
    QUERY_ATTRIBUTES = 1 << 27
    MULTI_FACTOR_AUTHENTICATION = 1 << 28
    CAPABILITY_EXTENSION = 1 << 29
    SSL_VERIFY_SERVER_CERT = 1 << 30
    REMEMBER_OPTIONS = 1 << 31
    MARIADB_PROGRESS = 1 << 32
    MARIADB_COM_MULTI = 1 << 33
    MARIADB_STMT_BULK_OPERATIONS = 1 << 34
    MARIADB_EXTENDED_METADATA = 1 << 35
    MARIADB_CACHE_METADATA = 1 << 36
    MARIADB_BULK_UNIT_RESULTS = 1 << 37


EXTENDED_SHIFT = 32
"""Where MariaDB's bits begin."""

_C = Capability

ESSENTIAL = _C.PROTOCOL_41 | _C.SECURE_CONNECTION
"""Without these it is a protocol of before 2004; both sides must have them."""

LOGIN_ONLY = (
    _C.CONNECT_WITH_DB
    | _C.SSL
    | _C.SECURE_CONNECTION
    | _C.PLUGIN_AUTH
    | _C.CONNECT_ATTRS
    | _C.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | _C.COMPRESS
    | _C.ZSTD_COMPRESSION_ALGORITHM
)
"""Bits that each of the two connections settles by itself: they say nothing of what follows the login."""

LAYOUT = (
    _C.TRANSACTIONS
    | _C.SESSION_TRACK
    | _C.DEPRECATE_EOF
    | _C.OPTIONAL_RESULTSET_METADATA
    | _C.QUERY_ATTRIBUTES
    | _C.MARIADB_STMT_BULK_OPERATIONS
    | _C.MARIADB_EXTENDED_METADATA
    | _C.MARIADB_CACHE_METADATA
    | _C.MARIADB_BULK_UNIT_RESULTS
)
"""Bits that change bytes after the login, so that both connections must have them or neither."""

BEHAVIOUR = (
    _C.LONG_PASSWORD
    | _C.FOUND_ROWS
    | _C.LONG_FLAG
    | _C.NO_SCHEMA
    | _C.ODBC
    | _C.LOCAL_FILES
    | _C.IGNORE_SPACE
    | _C.PROTOCOL_41
    | _C.INTERACTIVE
    | _C.IGNORE_SIGPIPE
    | _C.MULTI_STATEMENTS
    | _C.MULTI_RESULTS
    | _C.PS_MULTI_RESULTS
    | _C.CAN_HANDLE_EXPIRED_PASSWORDS
    | _C.MARIADB_PROGRESS
)
"""Bits that tell the server what to do; a server that does not know one leaves it alone."""

GENERAL = (
    BEHAVIOUR & ~_C.MARIADB_PROGRESS
    | _C.TRANSACTIONS
    | _C.SESSION_TRACK
    | _C.DEPRECATE_EOF
    | _C.SECURE_CONNECTION
    | _C.PLUGIN_AUTH
    | _C.CONNECT_ATTRS
    | _C.PLUGIN_AUTH_LENENC_CLIENT_DATA
    | _C.CONNECT_WITH_DB
    | _C.COMPRESS
    | _C.ZSTD_COMPRESSION_ALGORITHM
)
"""What is offered while the target is not known: what MySQL 5.7 and MariaDB 10.2 and all later ones can do."""

_OWN = GENERAL & LOGIN_ONLY


def offered(target: Capability | None) -> Capability:
    """
    @param target: what the target's greeting offers; C{None} while that is not known.
    @return: what to offer a user; C{SSL} is not among it.
    """
    if target is None:
        return GENERAL
    return target & (BEHAVIOUR | LAYOUT) | _OWN


def wanted(user: Capability, target: Capability) -> Capability:
    """
    @param user: what the user's client took of our offer.
    @param target: what the target's greeting offers.
    @return: what to ask of the target over TLS, all but C{CONNECT_WITH_DB}.
    """
    both = user & (BEHAVIOUR | LAYOUT) & target
    login = _C.SSL | _C.SECURE_CONNECTION | _C.PLUGIN_AUTH | _C.CONNECT_ATTRS | _C.PLUGIN_AUTH_LENENC_CLIENT_DATA
    return both | login & target | _C.PROTOCOL_41


def missing(user: Capability, target: Capability) -> Capability:
    """
    @return: what the user's client takes for granted and the target cannot do; anything here makes a session
        impossible, as its bytes would be read wrongly.
    """
    return user & LAYOUT & ~target


def compression(user: Capability, ours: Capability) -> str:
    """
    @return: C{zlib}, C{zstd} or nothing: what the packets after a login are wrapped in, zlib first where both
        sides have both, as servers do.
    """
    both = user & ours
    if both & _C.COMPRESS:
        return "zlib"
    return "zstd" if both & _C.ZSTD_COMPRESSION_ALGORITHM else ""


class Status(IntFlag):
    """
    What a server says of its session in OK and EOF packets; those we look at.
    """

    IN_TRANSACTION = 0x0001
    AUTOCOMMIT = 0x0002
    MORE_RESULTS_EXISTS = 0x0008
    CURSOR_EXISTS = 0x0040
    LAST_ROW_SENT = 0x0080
    NO_BACKSLASH_ESCAPES = 0x0200
    SESSION_STATE_CHANGED = 0x4000
