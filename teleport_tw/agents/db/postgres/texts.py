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

from teleport_tw.agents.db.policy import MAX_PARAMETERS

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

_PASSWORD = re.compile(rb"password|://", re.IGNORECASE)
_TOKEN = re.compile(
    r"""
      (?P<space>\s+|--[^\n]*|=>?|:=)
    | (?P<comment>/\*)
    | (?P<escaped>[eE]'(?P<escaped_body>(?:[^'\\]|''|\\.)*)(?P<escaped_end>'|\Z))
    | (?P<plain>(?:[uU]&|[nNxXbB])?'(?P<plain_body>(?:[^']|'')*)(?P<plain_end>'|\Z))
    | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*)?)\$(?P<dollar_body>.*?)(?P<dollar_end>\$(?P=tag)\$|\Z))
    | (?P<quoted>"(?:[^"]|"")*(?:"|\Z))
    | (?P<word>[^\W\d][\w$]*)
    | (?P<number>\d[\w.]*)
    | (?P<other>.)
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_CONNECTION = r"(password\s*+=\s*+)(?:\\.|[^\s'\"&;$\\])++"
_URL = r"(\b[a-z][a-z0-9+.]{1,20}://[^\s:/@'\"]{0,200}:)[^\s/@'\";]++(?=@)"
_IN_CONNECTION = re.compile(_CONNECTION, re.IGNORECASE | re.DOTALL)
_IN_URL = re.compile(_URL, re.IGNORECASE)
"""Neither goes twice over what it has read: the time is linear, whatever somebody sends."""
_AMBIGUOUS = "\\'"
"""By the setting C{standard_conforming_strings} the quote ends a literal or does not; we cannot know in time."""

MASK = "'***'"
MAX_DEPTH = 3
"""Of statements in literals in statements that are looked into."""


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


def statement(text: bytes, encoding: str, most: int) -> tuple[str, int | None]:
    """
    @param most: characters that are of interest.
    @return: the statement, passwords masked, and its length where not all of it is there; bytes that the encoding does
        not know are shown as C{\\xNN}.
    """
    decoded = text.decode(encoding, "backslashreplace")
    if not _PASSWORD.search(text):
        return decoded, None
    return masked(decoded[:most]), len(decoded) if len(decoded) > most else None


def masked(text: str, depth: int = 0) -> str:
    """
    @return: the same with every literal behind the word PASSWORD hidden, and passwords of connection strings within
        literals. The text is read as the server reads it, so that nothing else can be hidden by looking like one.
    """
    careful = _AMBIGUOUS in text
    found: list[str] = []
    at, wanted = 0, False
    while at < len(text):
        token = _TOKEN.match(text, at)
        assert token is not None  # any character is a token
        whole = token[0]
        at = token.end()
        if token["space"] is not None:
            found.append(whole)
            continue
        if token["comment"] is not None:
            end = _comment_end(text, at)
            found.append(text[at - 2 : end])
            at = end
            continue
        body, quote = _body(token)
        if body is None:
            wanted = whole.strip('"')[-8:].lower() == "password"  # sslpassword, too
            found.append(whole)
        elif wanted and not (careful and ";" in body):
            found.append(MASK)  # and the next likewise, if nothing stands between: they are one text in several lines
        else:
            found.append(_inner(whole, body, quote, depth))
            wanted = False
    return "".join(found)


def _comment_end(text: str, at: int) -> int:
    """
    Comments nest.
    """
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, at)
        if edge is None:
            return len(text)
        depth += 1 if edge[0] == "/*" else -1
        at = edge.end()
    return at


def _body(token: re.Match[str]) -> tuple[str | None, str]:
    """
    @return: what a literal says, and what it is quoted with; C{None} for what is none.
    """
    if token["plain"] is not None:
        return token["plain_body"].replace("''", "'"), "'"
    if token["escaped"] is not None:
        return re.sub(r"\\(.)", r"\1", token["escaped_body"], flags=re.DOTALL).replace("''", "'"), "E'"
    if token["dollar"] is not None:
        return token["dollar_body"], f"${token['tag']}$"
    return None, ""


def _inner(whole: str, body: str, quote: str, depth: int) -> str:
    """
    @return: a literal, what it says masked in its turn.
    """
    if depth >= MAX_DEPTH or ("assword" not in body.lower() and "://" not in body):
        return whole
    hidden = body
    if quote[0] != "$":  # which quotes code, and not connection strings
        hidden = _IN_URL.sub(r"\1***", _IN_CONNECTION.sub(r"\1***", body))
    if "'" in hidden or "$" in hidden:
        hidden = masked(hidden, depth + 1)
    if hidden == body:
        return whole
    if quote[0] == "$":
        return f"{quote}{hidden}{quote}"
    doubled = hidden.replace("'", "''")
    return f"'{doubled}'" if quote == "'" else "E'" + doubled.replace("\\", "\\\\") + "'"


# --- parameters --------------------------------------------------------------------------------------------------

_EPOCH = datetime(2000, 1, 1)
MAX_GROUPS = 1000
"""Of four digits each, of a number that is written out."""


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
    if weight > MAX_GROUPS or scale > 4 * MAX_GROUPS:
        raise ValueError("a few bytes that would be pages of zeros")
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
    @return: as text; binary ones of types that are not known in base64, and for those that nobody keeps C{None}.
    """
    if len(values) > MAX_PARAMETERS:
        beyond = (None,) * (len(values) - MAX_PARAMETERS)
        return parameters(values[:MAX_PARAMETERS], formats, types, encoding) + beyond
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
