"""
The server's errors that we send or know.

@see: MySQL 8.4, I{Server Error Message Reference}; MariaDB, I{MariaDB Error Codes}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class Errno(IntEnum):
    """
    Numbers, named as in the servers' headers without C{ER_}.
    """

    CON_COUNT_ERROR = 1040
    ACCESS_DENIED_ERROR = 1045
    UNKNOWN_COM_ERROR = 1047
    BAD_DB_ERROR = 1049
    SERVER_SHUTDOWN = 1053
    UNKNOWN_ERROR = 1105
    PACKET_TOO_LARGE = 1153
    PACKETS_OUT_OF_ORDER = 1156
    UNCOMPRESS_ERROR = 1157
    WRONG_ARGUMENTS = 1210
    NOT_SUPPORTED_YET = 1235
    UNKNOWN_STMT_HANDLER = 1243
    CONNECT_TO_FOREIGN_DATA_SOURCE = 1429
    MAX_PREPARED_STMT_COUNT_REACHED = 1461
    MALFORMED_PACKET = 1835
    CONNECTION_KILLED = 1927


SQLSTATE: Mapping[int, str] = {
    Errno.CON_COUNT_ERROR: "08004",
    Errno.ACCESS_DENIED_ERROR: "28000",
    Errno.UNKNOWN_COM_ERROR: "08S01",
    Errno.BAD_DB_ERROR: "42000",
    Errno.SERVER_SHUTDOWN: "08S01",
    Errno.PACKET_TOO_LARGE: "08S01",
    Errno.PACKETS_OUT_OF_ORDER: "08S01",
    Errno.UNCOMPRESS_ERROR: "08S01",
    Errno.NOT_SUPPORTED_YET: "42000",
    Errno.MAX_PREPARED_STMT_COUNT_REACHED: "42000",
    Errno.CONNECTION_KILLED: "70100",
}
"""What is not here is C{HY000}."""

PROGRESS = 0xFFFF
"""In place of an error's number: the packet tells how far a long statement of MariaDB has come, and is no error."""
