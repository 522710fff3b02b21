"""
Our errors as a MySQL client reads them: number, SQLSTATE, text.
"""

from __future__ import annotations

from collections.abc import Mapping

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.handshake import error

CODES: Mapping[Kind, Errno] = {
    Kind.NOT_FOUND: Errno.BAD_DB_ERROR,
    Kind.ALREADY_EXISTS: Errno.ACCESS_DENIED_ERROR,
    Kind.BAD_PARAMETER: Errno.WRONG_ARGUMENTS,
    Kind.ACCESS_DENIED: Errno.ACCESS_DENIED_ERROR,
    Kind.COMPARE_FAILED: Errno.UNKNOWN_ERROR,
    Kind.LIMIT_EXCEEDED: Errno.CON_COUNT_ERROR,
    Kind.CONNECTION_PROBLEM: Errno.CONNECT_TO_FOREIGN_DATA_SOURCE,
    Kind.NOT_IMPLEMENTED: Errno.NOT_SUPPORTED_YET,
    Kind.INTERNAL: Errno.UNKNOWN_ERROR,
}


def refusal(fault: TeleportError | RemoteProtocolError) -> bytes:
    """
    @return: payload of an error packet.
    """
    if isinstance(fault, TeleportError):
        return error(CODES[fault.kind], f"Teleport: {fault.message}")
    code = fault.code if isinstance(fault.code, int) else Errno.MALFORMED_PACKET
    return error(code, f"Teleport: {fault}")


def goodbye(message: str) -> bytes:
    """
    @param message: why we end the session.
    @return: payload of an error packet: the connection was killed.
    """
    return error(Errno.CONNECTION_KILLED, f"Teleport: {message}")


def target_gone() -> bytes:
    """
    @return: payload of an error packet: the target has closed the connection.
    """
    return error(Errno.SERVER_SHUTDOWN, "Teleport: the database closed the connection")
