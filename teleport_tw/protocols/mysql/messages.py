"""
Packets of the handshake and the ends of answers as frozen classes, and the numbers they carry.

@see: MySQL 8.4 source documentation, I{Client/Server Protocol}; MariaDB knowledge base, I{Clientserver Protocol}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

from attrs import field, frozen

from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql.capabilities import Capability

UTF8MB4_GENERAL_CI = 45


class Command(IntEnum):
    """
    The first byte of what a client asks for. MariaDB adds its own from the top.
    """

    COM_SLEEP = 0x00
    COM_QUIT = 0x01
    COM_INIT_DB = 0x02
    COM_QUERY = 0x03
    COM_FIELD_LIST = 0x04
    COM_CREATE_DB = 0x05
    COM_DROP_DB = 0x06
    COM_REFRESH = 0x07
    COM_SHUTDOWN = 0x08
    COM_STATISTICS = 0x09
    COM_PROCESS_INFO = 0x0A
    COM_CONNECT = 0x0B
    COM_PROCESS_KILL = 0x0C
    COM_DEBUG = 0x0D
    COM_PING = 0x0E
    COM_TIME = 0x0F
    COM_DELAYED_INSERT = 0x10
    COM_CHANGE_USER = 0x11
    COM_BINLOG_DUMP = 0x12
    COM_TABLE_DUMP = 0x13
    COM_CONNECT_OUT = 0x14
    COM_REGISTER_SLAVE = 0x15
    COM_STMT_PREPARE = 0x16
    COM_STMT_EXECUTE = 0x17
    COM_STMT_SEND_LONG_DATA = 0x18
    COM_STMT_CLOSE = 0x19
    COM_STMT_RESET = 0x1A
    COM_SET_OPTION = 0x1B
    COM_STMT_FETCH = 0x1C
    COM_DAEMON = 0x1D
    COM_BINLOG_DUMP_GTID = 0x1E
    COM_RESET_CONNECTION = 0x1F
    COM_CLONE = 0x20
    COM_SUBSCRIBE_GROUP_REPLICATION_STREAM = 0x21
    COM_STMT_BULK_EXECUTE = 0xFA
    COM_SLAVE_WORKER = 0xFB
    COM_SLAVE_IO = 0xFC
    COM_SLAVE_SQL = 0xFD
    COM_MULTI = 0xFE
    COM_END = 0xFF


@frozen(kw_only=True)
class Greeting:
    """
    The server speaks first.

    @ivar version: as shown to people, without MariaDB's C{5.5.5-}.
    @ivar is_mariadb: MariaDB puts C{5.5.5-} in front of its version, so that old replicas take it for an old MySQL.
    @ivar scramble: 20 bytes that a password is mixed with.
    @ivar plugin: the authentication that the server would like.
    """

    version: str
    connection_id: int
    scramble: bytes
    capabilities: Capability
    charset: int = UTF8MB4_GENERAL_CI
    status: int = 2
    plugin: str = "mysql_native_password"
    is_mariadb: bool = False


@frozen(kw_only=True)
class SslRequest:
    """
    The client wants TLS; its response follows inside.
    """

    capabilities: Capability
    charset: int = UTF8MB4_GENERAL_CI
    max_packet: int = 1 << 24


@frozen(kw_only=True)
class HandshakeResponse:
    """
    Who the client is.

    @ivar auth: what its authentication plugin says first.
    @ivar plugin: empty where the client does not say.
    @ivar attributes: what the program tells of itself.
    @ivar zstd_level: of compression.
    """

    capabilities: Capability
    username: str
    auth: Secret[bytes] = field(factory=lambda: Secret(b""))
    database: str = ""
    plugin: str = ""
    attributes: Mapping[str, str] = field(factory=dict)
    charset: int = UTF8MB4_GENERAL_CI
    max_packet: int = 1 << 24
    zstd_level: int = 3


@frozen(kw_only=True)
class Ok:
    """
    It went well.

    @ivar schema: the database that the session is in now, where the server tells of a change; else C{None}.
    """

    affected: int = 0
    last_insert_id: int = 0
    status: int = 0
    warnings: int = 0
    info: str = ""
    schema: str | None = None


@frozen(kw_only=True)
class Err:
    """
    It did not.

    @ivar state: five characters of SQLSTATE.
    """

    errno: int
    message: str
    state: str = "HY000"

    def __str__(self) -> str:
        return f"{self.errno} ({self.state}): {self.message}"


@frozen
class AuthSwitch:
    """
    The server wants another authentication.
    """

    plugin: str
    data: bytes


@frozen
class AuthMore:
    """
    What a plugin of the server says to its other half.
    """

    data: bytes
