"""
Bodies of messages, both ways: each message's fields behind its type and length.

Integers are big-endian; strings end in a zero byte; a value is its length as C{int32} and that many bytes, a length of
-1 standing for NULL.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.postgres import messages as m

_int16 = struct.Struct(">H").unpack_from
_int32 = struct.Struct(">I").unpack_from
_signed = struct.Struct(">i").unpack_from
_put16 = struct.Struct(">H").pack
_put32 = struct.Struct(">I").pack

NULL = 0xFFFFFFFF
USUAL_BYTES = 32
"""Of a body that is remembered with what it says."""


class Short(Exception):
    """
    The body ends inside a field; an error unless it was cut on purpose.
    """


def text(data: bytes, at: int) -> tuple[bytes, int]:
    """
    @return: a string and where the next field begins.
    """
    end = data.find(b"\0", at)
    if end < 0:
        raise Short
    return data[at:end], end + 1


def numbers16(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """
    C{int16} count, then as many C{int16}.
    """
    if data[at : at + 2] == b"\0\0":
        return (), at + 2
    count, end = _count(data, at, 2)
    return struct.unpack_from(f">{count}H", data, at + 2), end


def numbers32(data: bytes, at: int) -> tuple[tuple[int, ...], int]:
    """
    C{int16} count, then as many C{int32}.
    """
    count, end = _count(data, at, 4)
    return struct.unpack_from(f">{count}I", data, at + 2), end


def values(data: bytes, at: int, cut: bool = False) -> tuple[tuple[bytes | None, ...], int]:
    """
    C{int16} count, then as many values.

    @param cut: where the body ends early, what is there will do.
    """
    found: list[bytes | None] = []
    try:
        count, _ = _count(data, at, 0)
        at += 2
        for _ in range(count):
            if at + 4 > len(data):
                raise Short
            (size,) = _signed(data, at)
            at += 4
            if size == -1:
                found.append(None)
                continue
            if size < 0 or at + size > len(data):
                raise Short
            found.append(data[at : at + size])
            at += size
    except Short:
        if not cut:
            raise
        at = len(data)
    return tuple(found), at


def _count(data: bytes, at: int, width: int) -> tuple[int, int]:
    if at + 2 > len(data):
        raise Short
    (count,) = _int16(data, at)
    end = at + 2 + count * width
    if end > len(data):
        raise Short
    return count, end


def _whole(end: int, data: bytes, what: Any) -> Any:
    if end != len(data):
        raise RemoteProtocolError(f"{type(what).__name__} has {len(data) - end} bytes too many", code="08P01")
    return what


def _empty(kind: type) -> Callable[[bytes, int], Any]:
    only = kind()

    def read(data: bytes, size: int) -> Any:
        return _whole(0, data, only)

    return read


# --- reading -----------------------------------------------------------------------------------------------------


def _query(data: bytes, size: int) -> m.Query:
    if size:
        return m.Query(data, size - 1)
    found, end = text(data, 0)
    query: m.Query = _whole(end, data, m.Query(found))
    return query


def _parse(data: bytes, size: int) -> m.Parse:
    name, at = text(data, 0)
    if size:
        return m.Parse(name, data[at:], (), size - at)
    query, at = text(data, at)
    types, end = numbers32(data, at)
    parse: m.Parse = _whole(end, data, m.Parse(name, query, types))
    return parse


def _bind(data: bytes, size: int) -> m.Bind:
    portal, at = text(data, 0)
    statement, at = text(data, at)
    formats, at = numbers16(data, at)
    if size:
        return m.Bind(portal, statement, formats, values(data, at, cut=True)[0], (), size)
    bound, at = values(data, at)
    results, end = numbers16(data, at)
    bind: m.Bind = _whole(end, data, m.Bind(portal, statement, formats, bound, results))
    return bind


def _function(data: bytes, size: int) -> m.FunctionCall:
    function = number(data, 0)
    formats, at = numbers16(data, 4)
    if size:
        return m.FunctionCall(function, formats, values(data, at, cut=True)[0], 0, size)
    arguments, at = values(data, at)
    if at + 2 > len(data):
        raise Short
    call: m.FunctionCall = _whole(at + 2, data, m.FunctionCall(function, formats, arguments, _int16(data, at)[0]))
    return call


def _kind_and_name(kind: type[m.Describe] | type[m.Close]) -> Callable[[bytes, int], Any]:
    def read(data: bytes, size: int) -> Any:
        if data[:1] not in (b"S", b"P"):
            raise RemoteProtocolError(f"{kind.__name__} of neither a statement nor a portal", code="08P01")
        name, end = text(data, 1)
        return _whole(end, data, kind(data[:1], name))

    return read


def _execute(data: bytes, size: int) -> m.Execute:
    portal, at = text(data, 0)
    execute: m.Execute = _whole(at + 4, data, m.Execute(portal, number(data, at)))
    return execute


def _copy_fail(data: bytes, size: int) -> m.CopyFail:
    reason, end = text(data, 0)
    fail: m.CopyFail = _whole(end, data, m.CopyFail(reason))
    return fail


def number(data: bytes, at: int) -> int:
    """
    C{int32}, unsigned.
    """
    if at + 4 > len(data):
        raise Short
    found: int = _int32(data, at)[0]
    return found


def error_fields(data: bytes) -> dict[str, bytes]:
    """
    Letter and string, again and again, up to a zero byte.
    """
    fields: dict[str, bytes] = {}
    at = 0
    while data[at : at + 1] != b"\0":
        if at >= len(data):
            raise Short
        value, after = text(data, at + 1)
        fields[chr(data[at])] = value
        at = after
    return fields


def _pair(kind: type[m.ParameterStatus]) -> Callable[[bytes, int], Any]:
    def read(data: bytes, size: int) -> Any:
        name, at = text(data, 0)
        value, end = text(data, at)
        return _whole(end, data, kind(name, value))

    return read


def _negotiate(data: bytes, size: int) -> m.NegotiateProtocolVersion:
    version, count, at = number(data, 0), number(data, 4), 8
    unknown = []
    for _ in range(count):
        name, at = text(data, at)
        unknown.append(name)
    negotiate: m.NegotiateProtocolVersion = _whole(at, data, m.NegotiateProtocolVersion(version, tuple(unknown)))
    return negotiate


def _row(data: bytes, size: int) -> m.DataRow:
    found, end = values(data, 0)
    row: m.DataRow = _whole(end, data, m.DataRow(found))
    return row


def _copy_response(kind: type) -> Callable[[bytes, int], Any]:
    def read(data: bytes, size: int) -> Any:
        formats, end = numbers16(data, 1)
        return _whole(end, data, kind(data[0] == 1, formats))

    return read


def _function_response(data: bytes, size: int) -> m.FunctionCallResponse:
    length = number(data, 0)
    if length == NULL:
        null: m.FunctionCallResponse = _whole(4, data, m.FunctionCallResponse(None))
        return null
    given: m.FunctionCallResponse = _whole(4 + length, data, m.FunctionCallResponse(data[4:]))
    return given


def _notification(data: bytes, size: int) -> m.NotificationResponse:
    process = number(data, 0)
    channel, at = text(data, 4)
    payload, end = text(data, at)
    notification: m.NotificationResponse = _whole(end, data, m.NotificationResponse(process, channel, payload))
    return notification


_READY = {status: m.ReadyForQuery(status) for status in (b"I", b"T", b"E")}


def _ready(data: bytes, size: int) -> m.ReadyForQuery:
    ready = _READY.get(data)
    if ready is None:
        raise RemoteProtocolError("ReadyForQuery with a status that is none", code="08P01")
    return ready


def _command_complete(data: bytes, size: int) -> m.CommandComplete:
    return _usual_complete(data) if len(data) <= USUAL_BYTES else _complete(data)


def _complete(data: bytes) -> m.CommandComplete:
    tag, end = text(data, 0)
    complete: m.CommandComplete = _whole(end, data, m.CommandComplete(tag))
    return complete


_usual_complete = lru_cache(500)(_complete)
"""Most say C{SELECT 1}."""


def _parameter_description(data: bytes, size: int) -> m.ParameterDescription:
    types, end = numbers32(data, 0)
    description: m.ParameterDescription = _whole(end, data, m.ParameterDescription(types))
    return description


def _authentication(data: bytes, size: int) -> m.Authentication:
    return m.Authentication(number(data, 0), data[4:])


def _key_data(data: bytes, size: int) -> m.BackendKeyData:
    if not 8 <= len(data) <= 4 + 256:
        raise RemoteProtocolError("BackendKeyData of an impossible length", code="08P01")
    return m.BackendKeyData(number(data, 0), data[4:])


Read = Callable[[bytes, int], Any]
"""Takes a body, and the length of the whole where it was cut, else zero."""

FRONTEND: Mapping[int, Read] = {
    ord("p"): lambda data, size: m.PasswordMessage(Secret(data)),
    ord("Q"): _query,
    ord("P"): _parse,
    ord("B"): _bind,
    ord("D"): _kind_and_name(m.Describe),
    ord("E"): _execute,
    ord("C"): _kind_and_name(m.Close),
    ord("H"): _empty(m.Flush),
    ord("S"): _empty(m.Sync),
    ord("F"): _function,
    ord("d"): lambda data, size: m.CopyData(data),
    ord("c"): _empty(m.CopyDone),
    ord("f"): _copy_fail,
    ord("X"): _empty(m.Terminate),
}

BACKEND: Mapping[int, Read] = {
    ord("R"): _authentication,
    ord("K"): _key_data,
    ord("S"): _pair(m.ParameterStatus),
    ord("v"): _negotiate,
    ord("Z"): _ready,
    ord("E"): lambda data, size: m.ErrorResponse(error_fields(data)),
    ord("N"): lambda data, size: m.NoticeResponse(error_fields(data)),
    ord("C"): _command_complete,
    ord("D"): _row,
    ord("I"): _empty(m.EmptyQueryResponse),
    ord("1"): _empty(m.ParseComplete),
    ord("2"): _empty(m.BindComplete),
    ord("3"): _empty(m.CloseComplete),
    ord("s"): _empty(m.PortalSuspended),
    ord("n"): _empty(m.NoData),
    ord("G"): _copy_response(m.CopyInResponse),
    ord("H"): _copy_response(m.CopyOutResponse),
    ord("W"): _copy_response(m.CopyBothResponse),
    ord("d"): lambda data, size: m.CopyData(data),
    ord("c"): _empty(m.CopyDone),
    ord("V"): _function_response,
    ord("A"): _notification,
    ord("T"): lambda data, size: m.RowDescription(data),
    ord("t"): _parameter_description,
}

# --- writing -----------------------------------------------------------------------------------------------------


def _many16(items: tuple[int, ...]) -> bytes:
    return struct.pack(f">H{len(items)}H", len(items), *items)


def _many32(items: tuple[int, ...]) -> bytes:
    return struct.pack(f">H{len(items)}I", len(items), *items)


def _put_value(value: bytes | None) -> bytes:
    return _put32(NULL) if value is None else _put32(len(value)) + value


def _put_values(items: tuple[bytes | None, ...]) -> bytes:
    return _put16(len(items)) + b"".join(map(_put_value, items))


def _put_text(value: bytes) -> bytes:
    if b"\0" in value:
        raise LocalProtocolError("a string with a zero byte in it")
    return value + b"\0"


def _put_fields(fields: Mapping[str, bytes]) -> bytes:
    return b"".join(name.encode("ascii") + _put_text(value) for name, value in fields.items()) + b"\0"


def body(message: m.Frontend | m.Backend) -> tuple[bytes, bytes]:
    """
    @return: the type's byte and the body.
    """
    if isinstance(message, _FRONTEND_CLASSES):
        return _frontend_body(message)
    return _backend_body(message)


def _frontend_body(message: m.Frontend) -> tuple[bytes, bytes]:
    match message:
        case m.PasswordMessage(data):
            return b"p", data.reveal()
        case m.Query(query):
            return b"Q", _put_text(query)
        case m.Parse(name, query, types):
            return b"P", _put_text(name) + _put_text(query) + _many32(types)
        case m.Bind(portal, statement, formats, bound, results):
            names = _put_text(portal) + _put_text(statement)
            return b"B", names + _many16(formats) + _put_values(bound) + _many16(results)
        case m.Describe(kind, name):
            return b"D", kind + _put_text(name)
        case m.Execute(portal, rows):
            return b"E", _put_text(portal) + _put32(rows)
        case m.Close(kind, name):
            return b"C", kind + _put_text(name)
        case m.FunctionCall(function, formats, arguments, result):
            return b"F", _put32(function) + _many16(formats) + _put_values(arguments) + _put16(result)
        case m.CopyData(data):
            return b"d", data
        case m.CopyFail(reason):
            return b"f", _put_text(reason)
    return _BARE[type(message)], b""


def _backend_body(message: m.Backend) -> tuple[bytes, bytes]:
    match message:
        case m.Authentication(code, data):
            return b"R", _put32(code) + data
        case m.BackendKeyData(process, secret):
            return b"K", _put32(process) + secret
        case m.ParameterStatus(name, value):
            return b"S", _put_text(name) + _put_text(value)
        case m.NegotiateProtocolVersion(version, unknown):
            return b"v", _put32(version) + _put32(len(unknown)) + b"".join(map(_put_text, unknown))
        case m.ReadyForQuery(status):
            return b"Z", status
        case m.ErrorResponse(fields):
            return b"E", _put_fields(fields)
        case m.NoticeResponse(fields):
            return b"N", _put_fields(fields)
        case m.CommandComplete(tag):
            return b"C", _put_text(tag)
        case m.DataRow(row):
            return b"D", _put_values(row)
        case (
            m.CopyInResponse(binary, formats) | m.CopyOutResponse(binary, formats) | m.CopyBothResponse(binary, formats)
        ):
            return _COPYING[type(message)], bytes((binary,)) + _many16(formats)
        case m.FunctionCallResponse(value):
            return b"V", _put_value(value)
        case m.NotificationResponse(process, channel, payload):
            return b"A", _put32(process) + _put_text(channel) + _put_text(payload)
        case m.RowDescription(data):
            return b"T", data
        case m.ParameterDescription(types):
            return b"t", _many32(types)
    return _BARE[type(message)], b""


_FRONTEND_CLASSES = (
    *(m.PasswordMessage, m.Query, m.Parse, m.Bind, m.Describe, m.Execute, m.Close, m.Flush, m.Sync),
    *(m.FunctionCall, m.CopyData, m.CopyDone, m.CopyFail, m.Terminate),
)
_COPYING: Mapping[type, bytes] = {m.CopyInResponse: b"G", m.CopyOutResponse: b"H", m.CopyBothResponse: b"W"}
_BARE: Mapping[type, bytes] = {
    m.Flush: b"H",
    m.Sync: b"S",
    m.CopyDone: b"c",
    m.Terminate: b"X",
    m.EmptyQueryResponse: b"I",
    m.ParseComplete: b"1",
    m.BindComplete: b"2",
    m.CloseComplete: b"3",
    m.PortalSuspended: b"s",
    m.NoData: b"n",
}
