"""
Our kinds of error as gRPC statuses, both ways.

The kind travels in a trailer of its own, because several kinds share a status with errors of gRPC itself. Details
travel too, but not those of a refusal: why somebody was refused is for auth's log and audit alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from grpc import StatusCode

from teleport_tw.base.errors import Kind, ProtocolError, TeleportError
from teleport_tw.rpc.faults import Fault

KIND = "teleport-kind"
"""The trailer with the name of a L{Kind}."""
DETAILS = "teleport-details-bin"
"""The trailer with an error's details, UTF-8."""
MAX_DETAILS = 2048
"""Bytes; gRPC cuts a connection whose trailers pass 8 KiB."""

CODES: Mapping[Kind, StatusCode] = {
    Kind.NOT_FOUND: StatusCode.NOT_FOUND,
    Kind.ALREADY_EXISTS: StatusCode.ALREADY_EXISTS,
    Kind.BAD_PARAMETER: StatusCode.INVALID_ARGUMENT,
    Kind.ACCESS_DENIED: StatusCode.PERMISSION_DENIED,
    Kind.COMPARE_FAILED: StatusCode.ABORTED,
    Kind.LIMIT_EXCEEDED: StatusCode.RESOURCE_EXHAUSTED,
    Kind.CONNECTION_PROBLEM: StatusCode.UNAVAILABLE,
    Kind.NOT_IMPLEMENTED: StatusCode.UNIMPLEMENTED,
    Kind.INTERNAL: StatusCode.INTERNAL,
}

_KINDS: Mapping[StatusCode, Kind] = {code: kind for kind, code in CODES.items()} | {
    StatusCode.CANCELLED: Kind.CONNECTION_PROBLEM,
    StatusCode.DEADLINE_EXCEEDED: Kind.CONNECTION_PROBLEM,
    StatusCode.FAILED_PRECONDITION: Kind.BAD_PARAMETER,
    StatusCode.OUT_OF_RANGE: Kind.BAD_PARAMETER,
    StatusCode.UNAUTHENTICATED: Kind.ACCESS_DENIED,
}


def to_fault(error: Exception) -> Fault | None:
    """
    @return: None for what is no L{TeleportError}: a bug of ours, which the caller is not told about.
    """
    if isinstance(error, ProtocolError):
        return Fault(StatusCode.INVALID_ARGUMENT, str(error), ((KIND, Kind.BAD_PARAMETER.name),))
    if not isinstance(error, TeleportError):
        return None
    trailers: tuple[tuple[str, str | bytes], ...] = ((KIND, error.kind.name),)
    if error.details and error.kind is not Kind.ACCESS_DENIED:
        trailers += ((DETAILS, error.details.encode("utf-8", "replace")[:MAX_DETAILS]),)
    return Fault(CODES[error.kind], error.message, trailers)


def from_fault(fault: Fault) -> TeleportError:
    """
    @return: the error again; what gRPC itself had to say (no connection, a deadline) as its nearest kind.
    """
    trailers = dict(fault.trailers)
    name, details = trailers.get(KIND), trailers.get(DETAILS, b"")
    kind = _KINDS.get(fault.code, Kind.INTERNAL)
    if isinstance(name, str) and name in Kind.__members__:
        return TeleportError(
            Kind[name], fault.text, details=details.decode("utf-8", "replace") if isinstance(details, bytes) else ""
        )
    if kind is Kind.CONNECTION_PROBLEM:
        return TeleportError(kind, "the auth service cannot be reached", details=f"{fault.code.name}: {fault.text}")
    return TeleportError(kind, fault.text, details=fault.code.name)
