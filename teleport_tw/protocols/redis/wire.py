"""
RESP values to bytes and back, whole: for what is short, such as our own login at the target.

What users and servers say to each other is not decoded like this; see L{teleport_tw.protocols.redis.requests} and
L{teleport_tw.protocols.redis.replies}.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.redis.messages import (
    Array,
    Attributed,
    BigNumber,
    Boolean,
    Bulk,
    Double,
    Error,
    Integer,
    Map,
    Null,
    Push,
    Set,
    SimpleString,
    Type,
    Value,
    Verbatim,
)

MAX_VALUE_BYTES = 1 << 20
"""Of a value that is read whole: a thousand times what a login is answered with."""

MAX_LINE_BYTES = 64
"""Of the line that says how long a value is: 20 digits would do."""

MAX_TEXT_BYTES = 64 * 1024
"""Of a line of text, such as an error, in a value that is read whole."""

MAX_DEPTH = 1024
"""Of values in values; scripts that answer with tables reach a few hundred at the most."""

MAX_LENGTH = (1 << 63) - 1
"""Servers count in 64 bits."""

STREAMED: Final = -2
"""A length that is not known yet: C{?}."""

_AGGREGATES = frozenset({Type.ARRAY, Type.SET, Type.PUSH, Type.MAP, Type.ATTRIBUTE})
_BULKS = frozenset({Type.BULK, Type.BULK_ERROR, Type.VERBATIM})


def refused(what: str) -> RemoteProtocolError:
    """
    @param what: the peer did, worded as Redis does.
    """
    return RemoteProtocolError(f"Protocol error: {what}", code="ERR")


def number(line: bytes | bytearray) -> int:
    """
    A number as Redis reads one: no spaces, no plus, no leading zeros, at most 64 bits.

    @raise RemoteProtocolError: it is none.
    @see: C{string2ll} of Redis
    """
    digits = line[1:] if line[:1] == b"-" else line
    if digits.isdigit() and len(digits) < 20 and (digits[:1] != b"0" or line == b"0"):
        value = int(line)
        if -MAX_LENGTH - 1 <= value <= MAX_LENGTH:
            return value
    raise refused("invalid number")


def length(kind: int, line: bytes | bytearray) -> int:
    """
    @param kind: first byte of the value.
    @param line: what stands between that byte and the end of the line.
    @return: zero or more; -1 for RESP2's nulls; L{STREAMED}.
    @raise RemoteProtocolError: neither.
    """
    if line == b"?" and kind not in (Type.BULK_ERROR, Type.VERBATIM, Type.CHUNK, Type.ATTRIBUTE):
        return STREAMED
    value = number(line)
    if value < 0 and not (value == -1 and kind in (Type.BULK, Type.ARRAY)):
        raise refused("invalid bulk length" if kind in _BULKS else "invalid multibulk length")
    return value


def command(*words: bytes | str) -> bytes:
    """
    @return: a command as clients send it: an array of bulk strings.
    """
    octets = [word.encode("utf-8") if isinstance(word, str) else word for word in words]
    parts = [b"*%d\r\n" % len(octets)]
    parts += [b"$%d\r\n%b\r\n" % (len(each), each) for each in octets]
    return b"".join(parts)


def error(text: str) -> bytes:
    """
    @param text: begins with its code; line ends in it become spaces.
    @return: an error's line.
    """
    return b"-%b\r\n" % " ".join(text.split()).encode("utf-8")


def encode(value: Value) -> bytes:
    """
    @return: the value's bytes; aggregates and strings are not streamed.
    """
    match value:
        case SimpleString(text):
            return b"+%b\r\n" % text
        case Error(text, is_bulk):
            return b"!%d\r\n%b\r\n" % (len(text), text) if is_bulk else b"-%b\r\n" % text
        case Integer(integer):
            return b":%d\r\n" % integer
        case Bulk(octets):
            return b"$%d\r\n%b\r\n" % (len(octets), octets)
        case Null(form):
            return b"_\r\n" if form == Type.NULL else b"%c-1\r\n" % form
        case Boolean(truth):
            return b"#t\r\n" if truth else b"#f\r\n"
        case Double(text):
            return b",%b\r\n" % text
        case BigNumber(digits):
            return b"(%b\r\n" % digits
        case Verbatim(form, text):
            return b"=%d\r\n%b:%b\r\n" % (len(text) + 4, form, text)
        case Map(items):
            return b"%%%d\r\n%b" % (len(items), _pairs(items))
        case Attributed(attributes, inner):
            return b"|%d\r\n%b%b" % (len(attributes), _pairs(attributes), encode(inner))
        case _:
            kind = {Array: b"*", Set: b"~", Push: b">"}[type(value)]
            return b"%b%d\r\n%b" % (kind, len(value.items), b"".join(map(encode, value.items)))


def _pairs(items: Iterable[tuple[Value, Value]]) -> bytes:
    return b"".join(encode(key) + encode(value) for key, value in items)


class _Open:
    """
    An aggregate, or a streamed string, whose parts are still to come.
    """

    __slots__ = ("kind", "left", "parts")

    def __init__(self, kind: int, left: int) -> None:
        self.kind = kind
        self.left = left
        self.parts: list[Any] = []


class Decoder:
    """
    Bytes to values, within bounds.
    """

    __slots__ = ("_buffer", "_max_value_bytes", "_position", "_stack", "_taken")

    def __init__(self, max_value_bytes: int = MAX_VALUE_BYTES) -> None:
        """
        @param max_value_bytes: the longest value to take, all its parts together.
        """
        self._max_value_bytes = max_value_bytes
        self._buffer = bytearray()
        self._position = 0  # behind what was read of the buffer
        self._taken = 0  # bytes of the value under way that have left the buffer
        self._stack: list[_Open] = []

    @property
    def rest(self) -> bytes:
        """
        What came behind the last complete value.
        """
        return bytes(self._buffer)

    def feed(self, data: bytes) -> list[Value]:
        """
        @param data: any slice of the stream.
        @return: complete values, oldest first.
        @raise RemoteProtocolError: this is not RESP, or a value is too long or too deep.
        """
        values: list[Value] = []
        self._buffer += data
        while (step := self._step()) is not None:
            values += step
            if step:
                self._taken = 0
            else:
                self._taken += self._position
            del self._buffer[: self._position]
            self._position = 0
        if self._taken + len(self._buffer) > self._max_value_bytes:
            raise refused(f"a value of more than {self._max_value_bytes} bytes")
        return values

    def _step(self) -> list[Value] | None:
        """
        Read one line, with the string that belongs to it.

        @return: the value it completes, if any; None while more is needed.
        """
        buffer = self._buffer
        end = buffer.find(b"\r\n")
        if end < 0:
            if len(buffer) > MAX_TEXT_BYTES:
                raise refused("a line without an end")
            return None
        if not end:
            raise refused("an empty line")
        kind, line = buffer[0], buffer[1:end]
        after = end + 2
        if kind in _AGGREGATES:
            self._position = after
            return self._aggregate(kind, length(kind, line))
        if kind in _BULKS or kind == Type.CHUNK:
            size = length(kind, line)
            if size == STREAMED:
                self._position = after
                return self._opened(_Open(kind, STREAMED))
            if size > self._max_value_bytes:
                raise refused("invalid bulk length")
            if size >= 0 and not (kind == Type.CHUNK and not size):
                if len(buffer) < after + size + 2:
                    return None
                if buffer[after + size : after + size + 2] != b"\r\n":
                    raise refused("a string does not end where it should")
                line = buffer[after : after + size]
                after += size + 2
            self._position = after
            return self._string(kind, size, bytes(line))
        self._position = after
        if kind == Type.END:
            return self._end(line)
        return self._complete(_simple(kind, bytes(line)))

    def _aggregate(self, kind: int, count: int) -> list[Value]:
        if count == -1:
            return self._complete(Null(kind))
        each = 2 if kind in (Type.MAP, Type.ATTRIBUTE) else 1
        opened = _Open(kind, count if count == STREAMED else count * each)
        if count == 0 and kind != Type.ATTRIBUTE:
            return self._complete(_closed(opened))
        return self._opened(opened)

    def _opened(self, opened: _Open) -> list[Value]:
        if len(self._stack) == MAX_DEPTH:
            raise refused("too deep")
        if self._stack and self._stack[-1].kind == Type.BULK:
            raise refused("a value inside a streamed string")
        self._stack.append(opened)
        return []

    def _string(self, kind: int, size: int, octets: bytes) -> list[Value]:
        if kind == Type.CHUNK:
            if not self._stack or self._stack[-1].kind != Type.BULK:
                raise refused("a part of no string")
            if size:
                self._stack[-1].parts.append(octets)
                return []
            return self._complete(Bulk(b"".join(self._stack.pop().parts)))
        if size < 0:
            return self._complete(Null(kind))
        if kind == Type.BULK:
            return self._complete(Bulk(octets))
        if kind == Type.BULK_ERROR:
            return self._complete(Error(octets, is_bulk=True))
        if octets[3:4] != b":":
            raise refused("a verbatim string without a form")
        return self._complete(Verbatim(octets[:3], octets[4:]))

    def _end(self, line: bytearray) -> list[Value]:
        if line or not self._stack or self._stack[-1].left != STREAMED or self._stack[-1].kind == Type.BULK:
            raise refused("an end of nothing")
        if self._stack[-1].kind == Type.MAP and len(self._stack[-1].parts) % 2:
            raise refused("a key without a value")
        return self._complete(_closed(self._stack.pop()))

    def _complete(self, value: Value) -> list[Value]:
        """
        @return: the value, unless it is a part of another that goes on.
        """
        stack = self._stack
        while stack:
            top = stack[-1]
            if top.kind == Type.BULK:
                raise refused("a value inside a streamed string")
            if top.kind == Type.ATTRIBUTE and top.left <= 0:
                stack.pop()
                value = Attributed(tuple(zip(top.parts[::2], top.parts[1::2], strict=True)), value)
                continue
            top.parts.append(value)
            if top.left != STREAMED:
                top.left -= 1
                if top.kind == Type.ATTRIBUTE:
                    return []  # with or without more of it to come: the value it is about follows
            if top.left:
                return []
            value = _closed(stack.pop())
        return [value]


def _simple(kind: int, line: bytes) -> Value:
    match kind:
        case Type.SIMPLE_STRING:
            return SimpleString(line)
        case Type.ERROR:
            return Error(line)
        case Type.INTEGER:
            return Integer(number(line.removeprefix(b"+")))
        case Type.NULL if not line:
            return Null()
        case Type.BOOLEAN if line in (b"t", b"f"):
            return Boolean(line == b"t")
        case Type.DOUBLE:
            try:
                float(line)
            except ValueError:
                raise refused("invalid double") from None
            return Double(line)
        case Type.BIG_NUMBER if line.removeprefix(b"-").removeprefix(b"+").isdigit():
            return BigNumber(line)
    raise refused(f"unexpected byte {chr(kind)!r}")


def _closed(opened: _Open) -> Value:
    parts: tuple[Value, ...] = tuple(opened.parts)
    if opened.kind == Type.MAP:
        return Map(tuple(zip(parts[::2], parts[1::2], strict=True)))
    if opened.kind == Type.ARRAY:
        return Array(parts)
    return Set(parts) if opened.kind == Type.SET else Push(parts)
