"""
Parameters of prepared statements, and attributes of queries, as text for the audit log.

Values come in the binary protocol, after a bitmap of those that are NULL. Their types come with the first execution
and again when they change; those that were sent ahead as long data are left out.

@see: MySQL 8.4 source documentation, I{COM_STMT_EXECUTE}, I{Binary Protocol Resultset Row}; MariaDB knowledge base,
    I{COM_STMT_BULK_EXECUTE}.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from enum import IntEnum
from struct import Struct

from attrs import define, field, frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql.wire import Fields, malformed

TRUNCATED = "… [truncated]"
MAX_LONG_BYTES = 4 * 1024
"""Of one parameter's long data; an audit event keeps no more characters of any."""
MAX_ROWS = 200
"""Values that are told of; an audit event keeps no more parameters."""

_UNSIGNED = 0x80
_PARAMETER_COUNT_AVAILABLE = 8
_BULK_TYPES = 128


class Type(IntEnum):
    """
    Of a value, C{MYSQL_TYPE_} left out.
    """

    DECIMAL = 0
    TINY = 1
    SHORT = 2
    LONG = 3
    FLOAT = 4
    DOUBLE = 5
    NULL = 6
    TIMESTAMP = 7
    LONGLONG = 8
    INT24 = 9
    DATE = 10
    TIME = 11
    DATETIME = 12
    YEAR = 13


_WIDTHS = {Type.TINY: 1, Type.SHORT: 2, Type.YEAR: 2, Type.LONG: 4, Type.INT24: 4, Type.LONGLONG: 8}
_FLOAT, _DOUBLE = Struct("<f"), Struct("<d")


class Indicator(IntEnum):
    """
    What stands before each value of a bulk execution.
    """

    NONE = 0
    NULL = 1
    DEFAULT = 2
    IGNORE = 3
    IGNORE_ROW = 4


@define
class _Long:
    """
    @ivar size: bytes in all.
    """

    head: bytes = b""
    size: int = 0


@define(eq=False)
class Statement:
    """
    One that the server has prepared.

    @ivar query: its text, as far as it is kept.
    @ivar parameters: how many it takes.
    @ivar secret: its parameters may be passwords.
    @ivar types: two bytes each, of the last execution that told.
    @ivar long: what was sent ahead, by number of the parameter.
    """

    query: str
    parameters: int
    secret: bool = False
    types: list[int] = field(factory=list)
    long: dict[int, _Long] = field(factory=dict)

    def send_long(self, number: int, data: bytes, size: int) -> None:
        """
        @param data: the beginning of it.
        @param size: of all of it.
        """
        if number >= self.parameters:
            return  # the server will say so at the execution
        known = self.long.setdefault(number, _Long())
        if number < MAX_ROWS:
            known.head += data[: MAX_LONG_BYTES - len(known.head)]
        known.size += size

    def reset(self) -> None:
        """
        Forget what was sent ahead.
        """
        self.long.clear()


@frozen
class Query:
    """
    A statement in a command of its own, with its attributes.
    """

    text: bytes
    attributes: tuple[tuple[str, str | None], ...] = ()


def query(body: bytes, named: bool) -> Query:
    """
    COM_QUERY: with C{QUERY_ATTRIBUTES}, length-encoded number of attributes and of sets of them; where there are any,
    a bitmap of NULLs, C{uint8} 1, per attribute C{uint16} type and length-encoded name, the values; then the text.

    @param named: whether both sides have C{QUERY_ATTRIBUTES}.
    @raise RemoteProtocolError: the attributes cannot be read, so that nobody knows where the text begins.
    """
    if not named:
        return Query(body)
    fields = Fields(body)
    count, sets = fields.length(), fields.length()
    if sets != 1:
        raise malformed(f"{sets} sets of attributes")
    if not count:
        return Query(fields.rest())
    nulls = fields.take(count + 7 >> 3)
    if fields.number(1) != 1:
        raise malformed("attributes without types")
    types, names = _types(fields, count, named=True)
    values = [None if _is_null(nulls, number) else _value(fields, kind) for number, kind in enumerate(types)]
    return Query(fields.rest(), tuple(zip(names, values, strict=True)))


def execution(body: bytes, statement: Statement, named: bool, whole: bool) -> tuple[str | None, ...]:
    """
    COM_STMT_EXECUTE: C{uint32} statement; C{uint8} flags; C{uint32} 1; where there are parameters: with
    C{QUERY_ATTRIBUTES} their length-encoded number; a bitmap of NULLs; C{uint8} whether types follow; per parameter
    C{uint16} type and, with C{QUERY_ATTRIBUTES}, length-encoded name; the values.

    @param body: from the statement on.
    @param named: whether both sides have C{QUERY_ATTRIBUTES}.
    @param whole: whether C{body} was not cut.
    @return: the values as text, base64 where they are no text; attributes come last.
    @raise RemoteProtocolError: they cannot be read.
    """
    fields = Fields(body, 4)
    flags, count = fields.number(1), statement.parameters
    fields.take(4)
    if named and (count or flags & _PARAMETER_COUNT_AVAILABLE):
        count = fields.length()
    if not count:
        return ()
    try:
        nulls = fields.take(count + 7 >> 3)
        if fields.number(1):
            statement.types = _types(fields, count, named)[0]
        if len(statement.types) != count:
            raise malformed("parameters without types")
    except RemoteProtocolError:
        if whole:
            raise
        return (TRUNCATED,)
    found: list[str | None] = []
    for number, kind in enumerate(statement.types):
        if number in statement.long:
            long = statement.long[number]
            found.append(_shown(long.head) + (TRUNCATED if long.size > len(long.head) else ""))
        elif _is_null(nulls, number):
            found.append(None)
        elif not _add(found, fields, kind, whole):
            break
    statement.long.clear()
    return tuple(found)


def bulk(body: bytes, statement: Statement, whole: bool) -> tuple[str | None, ...]:
    """
    COM_STMT_BULK_EXECUTE of MariaDB: C{uint32} statement; C{uint16} flags; if they say so C{uint16} type per
    parameter; then rows to the end, per parameter C{uint8} indicator and, where that is zero, the value.

    @return: the values, row after row.
    @raise RemoteProtocolError: they cannot be read.
    """
    fields = Fields(body, 4)
    if fields.number(2) & _BULK_TYPES:
        statement.types = [fields.number(2) for _ in range(statement.parameters)]
    if len(statement.types) != statement.parameters:
        raise malformed("parameters without types")
    found: list[str | None] = []
    while len(fields) and statement.types and len(found) < MAX_ROWS:
        for kind in statement.types:
            if not len(fields) and not whole:
                return (*found, TRUNCATED)
            indicator = fields.number(1)
            if indicator == Indicator.NONE:
                if not _add(found, fields, kind, whole):
                    return tuple(found)
            elif indicator == Indicator.NULL:
                found.append(None)
            elif indicator <= Indicator.IGNORE_ROW:
                found.append(Indicator(indicator).name)
            else:
                raise malformed(f"indicator {indicator}")
    return (*found, TRUNCATED) if len(fields) else tuple(found)


# --- values ----------------------------------------------------------------------------------------------------


def _types(fields: Fields, count: int, named: bool) -> tuple[list[int], list[str]]:
    types, names = [], []
    for _ in range(count):
        types.append(fields.number(2))
        names.append(_shown(fields.string()) if named else "")
    return types, names


def _is_null(bitmap: bytes, number: int) -> bool:
    return bool(bitmap[number >> 3] >> (number & 7) & 1)


def _add(found: list[str | None], fields: Fields, kind: int, whole: bool) -> bool:
    """
    @return: false if the value is not all there, since the command was cut.
    """
    try:
        found.append(_value(fields, kind))
    except RemoteProtocolError:
        if whole:
            raise
        found.append(_shown(fields.rest()[9:MAX_LONG_BYTES]) + TRUNCATED)
        return False
    return True


def _value(fields: Fields, kind: int) -> str | None:
    """
    @param kind: the type, and above it whether it is without sign.
    """
    number = kind & 0xFF
    width = _WIDTHS.get(number)  # type: ignore[call-overload] # members of IntEnum are numbers
    if width is not None:
        return str(int.from_bytes(fields.take(width), "little", signed=not kind >> 8 & _UNSIGNED))
    special: Callable[[Fields], str | None] | None = _SPECIAL.get(number)  # type: ignore[call-overload] # the same
    if special is not None:
        return special(fields)
    return _shown(fields.string())


def _shown(data: bytes) -> str:
    """
    @return: the text, or base64 of what is none.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _float(fields: Fields) -> str:
    return f"{_FLOAT.unpack(fields.take(4))[0]:.9g}"


def _double(fields: Fields) -> str:
    return repr(_DOUBLE.unpack(fields.take(8))[0])


def _moment(fields: Fields) -> str:
    """
    C{uint8} length, 0, 4, 7 or 11; C{uint16} year; C{uint8} month, day, hour, minute, second; C{uint32} microseconds.
    """
    inner = Fields(fields.string())
    if not len(inner):
        return "0000-00-00"
    text = f"{inner.number(2):04}-{inner.number(1):02}-{inner.number(1):02}"
    if len(inner):
        text += f" {inner.number(1):02}:{inner.number(1):02}:{inner.number(1):02}"
    return f"{text}.{inner.number(4):06}" if len(inner) else text


def _time(fields: Fields) -> str:
    """
    C{uint8} length, 0, 8 or 12; C{uint8} negative; C{uint32} days; C{uint8} hour, minute, second; C{uint32}
    microseconds.
    """
    inner = Fields(fields.string())
    if not len(inner):
        return "00:00:00"
    sign = "-" if inner.number(1) else ""
    hours = inner.number(4) * 24 + inner.number(1)
    text = f"{sign}{hours:02}:{inner.number(1):02}:{inner.number(1):02}"
    return f"{text}.{inner.number(4):06}" if len(inner) else text


_SPECIAL: dict[Type, Callable[[Fields], str | None]] = {
    Type.FLOAT: _float,
    Type.DOUBLE: _double,
    Type.NULL: lambda fields: None,
    Type.TIMESTAMP: _moment,
    Type.DATE: _moment,
    Type.DATETIME: _moment,
    Type.TIME: _time,
}
"""Types not here are strings: text, blobs, decimals, JSON, geometry, bits."""
