"""
Statements and parameters as people read them in the audit log: decoded, and without passwords. Pure.
"""

from __future__ import annotations

import base64
import codecs
import re
import struct
import uuid
from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta

ENCODINGS: Mapping[str, str] = {
    "SQLASCII": "utf-8",
    "UNICODE": "utf-8",
    "EUCCN": "gb2312",
    "EUCJP": "euc_jp",
    "EUCKR": "euc_kr",
    "SJIS": "shift_jis",
    "UHC": "cp949",
    "WIN": "cp1251",
    "ALT": "cp866",
    **{f"WIN{number}": f"cp{number}" for number in (866, 874, *range(1250, 1259))},
    **{f"LATIN{number}": f"latin{number}" for number in range(1, 11)},
}
"""PostgreSQL's names, upper case and without punctuation, where Python has others."""

_PASSWORD = re.compile(rb"password", re.IGNORECASE)
_GAP = r"(?:\s|/\*.*?\*/|--[^\n]*(?:\n|\Z))*"
_LITERAL = r"""(?:
      ''(?:[^']|'''')*(?:''|\Z)            # inside a literal itself
    | (?:[eE])'(?:[^'\\]|''|\\.)*(?:'|\Z)
    | (?:[uU]&|[nNxXbB])?'(?:[^']|'')*(?:'|\Z)
    | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
)"""
_LITERALS = re.compile(
    rf"(?P<word>\bpassword\b{_GAP}(?:=>?|:=)?{_GAP}){_LITERAL}", re.IGNORECASE | re.DOTALL | re.VERBOSE
)
_IN_CONNECTION = re.compile(r"(?P<word>\bpassword\s*=\s*)(?!\s*[$'])[^\s'\"&;]+", re.IGNORECASE)
_IN_URL = re.compile(r"(?P<word>\b[a-z][a-z0-9+.]*://[^\s:/@'\"]*:)[^\s@'\"]+(?=@)", re.IGNORECASE)

MASK = "'***'"


def encoding_of(name: bytes) -> str:
    """
    @param name: value of C{client_encoding}.
    @return: Python's name for it; UTF-8 for what neither knows.
    """
    plain = re.sub(r"[^A-Za-z0-9]", "", name.decode("ascii", "replace")).upper()
    try:
        return codecs.lookup(ENCODINGS.get(plain, plain)).name
    except LookupError:
        return "utf-8"


def statement(text: bytes, encoding: str) -> str:
    """
    @return: the statement, passwords masked; bytes that the encoding does not know are shown as C{\\xNN}.
    """
    decoded = text.decode(encoding, "backslashreplace")
    return masked(decoded) if _PASSWORD.search(text) or b"://" in text else decoded


def masked(text: str) -> str:
    """
    @return: the same with every literal behind the word PASSWORD hidden, and passwords of connection strings.
    """
    hidden = _LITERALS.sub(rf"\g<word>{MASK}", text)
    hidden = _IN_CONNECTION.sub(r"\g<word>***", hidden)
    return _IN_URL.sub(r"\g<word>***", hidden)


# --- parameters --------------------------------------------------------------------------------------------------

_EPOCH = datetime(2000, 1, 1)


def _number(form: str) -> Callable[[bytes], str]:
    reader = struct.Struct(form)

    def read(data: bytes) -> str:
        value = reader.unpack(data)[0]
        return str(value) if isinstance(value, int) else repr(value)

    return read


def _text(data: bytes) -> str:
    return data.decode("utf-8")


def _bool(data: bytes) -> str:
    return {b"\0": "f", b"\1": "t"}[data]


def _jsonb(data: bytes) -> str:
    if data[:1] != b"\1":
        raise ValueError("another version")
    return data[1:].decode("utf-8")


def _moment(data: bytes) -> str:
    return str(_EPOCH + timedelta(microseconds=struct.unpack(">q", data)[0]))


def _day(data: bytes) -> str:
    return str(date(2000, 1, 1) + timedelta(days=struct.unpack(">i", data)[0]))


def _numeric(data: bytes) -> str:
    """
    C{int16} count of digits of base 10,000; C{int16} weight of the first; C{uint16} sign; C{int16} scale; digits.
    """
    count, weight, sign, scale = struct.unpack_from(">hhHh", data)
    digits = struct.unpack_from(f">{count}h", data, 8)
    special = {0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"}.get(sign)
    if special is not None:
        return special
    whole = "".join(f"{digits[i] if i < count else 0:04d}" for i in range(weight + 1)).lstrip("0") or "0"
    start = weight + 1
    groups = -(-scale // 4)
    fraction = "".join(f"{digits[i] if 0 <= i < count else 0:04d}" for i in range(start, start + groups))[:scale]
    return ("-" if sign == 0x4000 else "") + whole + (f".{fraction}" if scale else "")


_BINARY: Mapping[int, Callable[[bytes], str]] = {
    16: _bool,
    20: _number(">q"),
    21: _number(">h"),
    23: _number(">i"),
    26: _number(">I"),
    700: _number(">f"),
    701: _number(">d"),
    **dict.fromkeys((18, 19, 25, 114, 142, 705, 1042, 1043), _text),
    1082: _day,
    1114: _moment,
    1184: _moment,
    1700: _numeric,
    2950: lambda data: str(uuid.UUID(bytes=data)),
    3802: _jsonb,
}
"""By the type's object id, for the types that drivers send in binary."""


def parameters(
    values: tuple[bytes | None, ...], formats: tuple[int, ...], types: tuple[int, ...], encoding: str
) -> tuple[str | None, ...]:
    """
    @param formats: none for all text, one for all, or one each.
    @param types: object ids, as far as they are known.
    @return: as text; binary ones of types that are not known in base64.
    """
    if not formats:
        return tuple(None if value is None else value.decode(encoding, "backslashreplace") for value in values)
    each = formats * len(values) if len(formats) == 1 else formats
    found: list[str | None] = []
    for index, value in enumerate(values):
        if value is None:
            found.append(None)
        elif index < len(each) and each[index] == 0:
            found.append(value.decode(encoding, "backslashreplace"))
        else:
            found.append(_binary(value, types[index] if index < len(types) else 0))
    return tuple(found)


def _binary(value: bytes, kind: int) -> str:
    reader = _BINARY.get(kind)
    if reader is not None:
        try:
            return reader(value)
        except (ValueError, KeyError, OverflowError, struct.error):
            pass  # it is not what its type says; the server will say so
    return base64.b64encode(value).decode("ascii")
