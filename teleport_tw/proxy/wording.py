"""
Why there is no way to a database, in the words of its protocol. Pure.

Once an agent has the stream, it words what happens; until then the proxy does, and knows no more of the protocols than
this takes: when a client listens, and what an error looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from teleport_tw.base.errors import Kind, TeleportError


@frozen
class Said:
    """
    @ivar take: bytes of the client's that are done with.
    @ivar over: whether that was all, and the connection is closed.
    """

    take: int
    answer: bytes
    over: bool = True


Wording = Callable[[TeleportError, bytes, bool], Said | None]
"""The error, what the client has said so far, and whether it was greeted; C{None} while it must say more."""

_SQLSTATE: Mapping[Kind, bytes] = {
    Kind.ACCESS_DENIED: b"28000",
    Kind.NOT_FOUND: b"3D000",
    Kind.LIMIT_EXCEEDED: b"53300",
    Kind.CONNECTION_PROBLEM: b"08006",
    Kind.NOT_IMPLEMENTED: b"0A000",
    Kind.BAD_PARAMETER: b"08P01",
}
_ERRNO: Mapping[Kind, int] = {
    Kind.ACCESS_DENIED: 1045,
    Kind.NOT_FOUND: 1049,
    Kind.LIMIT_EXCEEDED: 1040,
    Kind.CONNECTION_PROBLEM: 1429,
    Kind.NOT_IMPLEMENTED: 1235,
}
_MONGO: Mapping[Kind, tuple[int, str]] = {
    Kind.ACCESS_DENIED: (13, "Unauthorized"),
    Kind.NOT_FOUND: (26, "NamespaceNotFound"),
    Kind.CONNECTION_PROBLEM: (6, "HostUnreachable"),
    Kind.BAD_PARAMETER: (2, "BadValue"),
}


def _postgres(error: TeleportError, data: bytes, greeted: bool) -> Said | None:
    from teleport_tw.protocols.postgres import wire  # loaded where databases are reached
    from teleport_tw.protocols.postgres.messages import ErrorResponse
    from teleport_tw.protocols.postgres.startup import Code

    if len(data) < 8:
        return None
    if int.from_bytes(data[4:8], "big") in (Code.SSL_REQUEST, Code.GSSENC_REQUEST):
        return Said(8, b"N", over=False)
    state = _SQLSTATE.get(error.kind, b"XX000")
    fields = {"S": b"FATAL", "V": b"FATAL", "C": state, "M": error.message.encode("utf-8", "replace")}
    return Said(len(data), wire.encode(ErrorResponse(fields)))


def _mysql(error: TeleportError, data: bytes, greeted: bool) -> Said | None:
    from teleport_tw.protocols.mysql import handshake, wire  # loaded where databases are reached

    if greeted and len(data) < 4:
        return None
    sequence = (data[3] + 1) % 256 if greeted else 0
    packet = handshake.error(_ERRNO.get(error.kind, 1105), error.message)
    return Said(len(data), wire.packets(packet, sequence))


def _mongodb(error: TeleportError, data: bytes, greeted: bool) -> Said | None:
    from teleport_tw.protocols.mongodb import wire  # loaded where databases are reached: it brings bson
    from teleport_tw.protocols.mongodb.messages import OpCode

    if len(data) < 16:
        return None
    request, code = int.from_bytes(data[4:8], "little", signed=True), int.from_bytes(data[12:16], "little")
    number, name = _MONGO.get(error.kind, (8, "UnknownError"))
    document = {"ok": 0, "errmsg": error.message, "code": number, "codeName": name}
    if code == OpCode.OP_QUERY:
        return Said(len(data), wire.encode_reply(document, 0, request))
    return Said(len(data), wire.encode_message(document, 0, request))


def _redis(error: TeleportError, data: bytes, greeted: bool) -> Said | None:
    from teleport_tw.protocols.redis import wire  # loaded where databases are reached

    return Said(len(data), wire.error(f"ERR {error.message}")) if data else None


_WORDINGS: Mapping[str, Wording] = {
    "postgres": _postgres,
    "cockroachdb": _postgres,
    "mysql": _mysql,
    "mongodb": _mongodb,
    "redis": _redis,
}


def said(protocol: str, error: TeleportError, data: bytes, *, greeted: bool = False) -> Said | None:
    """
    @param protocol: as C{db} resources have it; for one that is not known nothing is said.
    @param data: what the client has said so far; none at first.
    @param greeted: whether the client got the proxy's greeting, where servers speak first.
    @return: what to answer; C{None} while the client must say more.
    """
    wording = _WORDINGS.get(protocol)
    return Said(len(data), b"") if wording is None else wording(error, data, greeted)
