"""
Our errors as MongoDB's own: a document with C{ok: 0}, in the form of the request that it answers.

@see: MongoDB source, C{src/mongo/base/error_codes.yml}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.protocols.mongodb import commands, wire
from teleport_tw.protocols.mongodb.messages import Query, Request

INTERRUPTED = (11601, "Interrupted")
"""For sessions that we end."""

_CODES: Mapping[Kind, tuple[int, str]] = {
    Kind.NOT_FOUND: (7, "HostNotFound"),
    Kind.ALREADY_EXISTS: (51003, "Location51003"),
    Kind.BAD_PARAMETER: (2, "BadValue"),
    Kind.ACCESS_DENIED: (13, "Unauthorized"),
    Kind.COMPARE_FAILED: (112, "WriteConflict"),
    Kind.LIMIT_EXCEEDED: (13, "Unauthorized"),  # nothing closer: drivers wait and try again on all others
    Kind.CONNECTION_PROBLEM: (6, "HostUnreachable"),
    Kind.NOT_IMPLEMENTED: (238, "NotImplemented"),
    Kind.INTERNAL: (1, "InternalError"),
}


def document(error: TeleportError, code: tuple[int, str] | None = None) -> dict[str, Any]:
    """
    @param code: number and name, where the kind does not tell.
    """
    number, name = code or _CODES[error.kind]
    return {"ok": 0.0, "errmsg": error.message, "code": number, "codeName": name}


def reply(request: Request, answer: Mapping[str, Any], request_id: int) -> bytes:
    """
    @return: an answer of ours, as OP_MSG or OP_REPLY; empty where none is waited for.
    """
    if not request.expects_reply:
        return b""
    asked = request.header.request_id
    if isinstance(request, Query):
        failed = not answer.get("ok") and not request.collection.endswith(".$cmd")
        return wire.encode_reply({"$err": answer.get("errmsg"), **answer} if failed else answer, request_id, asked,
                                 failed=failed)  # fmt: skip
    return wire.encode_message(answer, request_id, asked)


HELLO: Mapping[str, Any] = {
    "helloOk": True,
    "ismaster": True,
    "isWritablePrimary": True,
    "maxBsonObjectSize": 16 * 1024 * 1024,
    "maxMessageSizeBytes": 48_000_000,
    "maxWriteBatchSize": 100_000,
    "minWireVersion": 0,
    "maxWireVersion": 21,
    "readOnly": False,
    "ok": 1.0,
}
"""
What a refused client hears when it says hello. A driver that hears an error here looks for another server, for half a
minute; this way its first command fails at once, with our words.
"""


def refused(request: Request, asked: commands.Command, error: TeleportError, request_id: int) -> bytes:
    """
    @return: the answer to a request of a client that is not let in.
    """
    return reply(request, HELLO if asked.key in commands.HELLO else document(error), request_id)
