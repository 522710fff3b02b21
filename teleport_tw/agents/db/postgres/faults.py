"""
What went wrong, as a PostgreSQL client reads it.

@see: PostgreSQL 17 manual, appendix A, I{PostgreSQL Error Codes}
"""

from __future__ import annotations

from collections.abc import Mapping

from teleport_tw.base.errors import Kind, ProtocolError, TeleportError
from teleport_tw.dial.lifetime import Ending
from teleport_tw.protocols.postgres.messages import ErrorResponse

SQLSTATES: Mapping[Kind, str] = {
    Kind.NOT_FOUND: "3D000",  # invalid_catalog_name
    Kind.ALREADY_EXISTS: "42710",  # duplicate_object
    Kind.BAD_PARAMETER: "22023",  # invalid_parameter_value
    Kind.ACCESS_DENIED: "28000",  # invalid_authorization_specification
    Kind.COMPARE_FAILED: "40001",  # serialization_failure
    Kind.LIMIT_EXCEEDED: "53300",  # too_many_connections
    Kind.CONNECTION_PROBLEM: "08006",  # connection_failure
    Kind.NOT_IMPLEMENTED: "0A000",  # feature_not_supported
    Kind.INTERNAL: "XX000",  # internal_error
}

ADMIN_SHUTDOWN = "57P01"
IDLE_SESSION_TIMEOUT = "57P05"
PROTOCOL_VIOLATION = "08P01"


def fatal(sqlstate: str, message: str, *, hint: str = "") -> ErrorResponse:
    """
    @return: an error that ends the connection.
    """
    fields = {"S": b"FATAL", "V": b"FATAL", "C": sqlstate.encode(), "M": _clean(message)}
    if hint:
        fields["H"] = _clean(hint)
    return ErrorResponse(fields)


def error_of(error: TeleportError | ProtocolError) -> ErrorResponse:
    """
    @return: how the client hears of it; details stay here.
    """
    if isinstance(error, TeleportError):
        return fatal(SQLSTATES[error.kind], error.message)
    return fatal(str(error.code or PROTOCOL_VIOLATION), str(error))


def goodbye(ending: Ending) -> ErrorResponse:
    """
    @return: for a session that we end.
    """
    idle = "no activity" in ending.reason
    return fatal(IDLE_SESSION_TIMEOUT if idle else ADMIN_SHUTDOWN, ending.message)


def _clean(text: str) -> bytes:
    return text.replace("\0", "").encode("utf-8", "replace")
