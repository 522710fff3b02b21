"""
What RESP can say, as values.

@see: the Redis protocol specification, RESP2 and RESP3 (C{https://redis.io/docs/latest/develop/reference/protocol-spec/})
"""

from __future__ import annotations

from enum import IntEnum

from attrs import frozen


class Type(IntEnum):
    """
    The first byte of each value.
    """

    SIMPLE_STRING = ord("+")
    ERROR = ord("-")
    INTEGER = ord(":")
    BULK = ord("$")
    ARRAY = ord("*")
    NULL = ord("_")
    BOOLEAN = ord("#")
    DOUBLE = ord(",")
    BIG_NUMBER = ord("(")
    BULK_ERROR = ord("!")
    VERBATIM = ord("=")
    MAP = ord("%")
    SET = ord("~")
    PUSH = ord(">")
    ATTRIBUTE = ord("|")
    CHUNK = ord(";")
    END = ord(".")


@frozen
class SimpleString:
    """
    A status: one line of text.
    """

    text: bytes


@frozen
class Error:
    """
    Begins with a code in capitals, such as C{ERR}.

    @ivar is_bulk: RESP3's form, which may hold line ends.
    """

    text: bytes
    is_bulk: bool = False


@frozen
class Integer:
    """
    64 bits, signed.
    """

    value: int


@frozen
class Bulk:
    """
    Any bytes.
    """

    octets: bytes


@frozen
class Null:
    """
    Nothing.

    @ivar form: C{_} in RESP3; C{$} or C{*} in RESP2.
    """

    form: int = Type.NULL


@frozen
class Boolean:
    """
    True or false.
    """

    value: bool


@frozen
class Double:
    """
    A floating point number, an infinity, or not a number.

    @ivar text: as it came; C{inf}, C{-inf} and C{nan} among others.
    """

    text: bytes


@frozen
class BigNumber:
    """
    An integer of any size.

    @ivar digits: as they came; turning thousands of them into an integer takes its time.
    """

    digits: bytes


@frozen
class Verbatim:
    """
    Text for people.

    @ivar form: three bytes, C{txt} or C{mkd}.
    """

    form: bytes
    text: bytes


@frozen
class Array:
    """
    In order.
    """

    items: tuple[Value, ...]


@frozen
class Set:
    """
    No order meant.
    """

    items: tuple[Value, ...]


@frozen
class Push:
    """
    Answers no command; the first item says what it is.
    """

    items: tuple[Value, ...]


@frozen
class Map:
    """
    Keys with their values, in the order they came.
    """

    items: tuple[tuple[Value, Value], ...]


@frozen
class Attributed:
    """
    A value, and what the server has to say beside it.
    """

    attributes: tuple[tuple[Value, Value], ...]
    value: Value


Value = (
    SimpleString
    | Error
    | Integer
    | Bulk
    | Null
    | Boolean
    | Double
    | BigNumber
    | Verbatim
    | Array
    | Set
    | Push
    | Map
    | Attributed
)
