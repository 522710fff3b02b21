"""
Documents, as far as we look into them: the first level of a command, an answer's verdict, and text for the log.

The C{bson} package decodes; what it refuses is the peer's fault.

@see: BSON specification 1.1
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.json_util import RELAXED_JSON_OPTIONS, dumps
from bson.raw_bson import RawBSONDocument

from teleport_tw.base.errors import RemoteProtocolError

MIN_BYTES = 5
"""A length and the closing zero."""

MAX_FIELDS = 10_000
"""Of the first level of what is judged; commands have a dozen. A message has room for millions."""
MAX_DOCUMENTS = 100_000
"""Beside one another, which is what servers take in a batch (C{maxWriteBatchSize})."""

_SHALLOW: CodecOptions[RawBSONDocument] = CodecOptions(
    document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)
_DEEP: CodecOptions[dict[str, Any]] = CodecOptions(
    document_class=dict, datetime_conversion=DatetimeConversion.DATETIME_AUTO, unicode_decode_error_handler="replace"
)
_JSON = RELAXED_JSON_OPTIONS

MASKED = "****"

Document = Mapping[str, Any]
"""What BSON holds is of many types; C{bson} makes them."""


def shallow(document: bytes) -> Document:
    """
    @return: the first level; documents inside stay bytes until they are asked for.
    @raise RemoteProtocolError: it is none, or has a field twice.
    """
    _check_size(document)
    count = _count(document)
    try:
        read = RawBSONDocument(document, _SHALLOW)
        names = list(read)
    except (InvalidBSON, ValueError, RecursionError, OverflowError, TypeError) as error:
        raise RemoteProtocolError(f"a document that cannot be read: {error}") from error
    if len(names) != count:
        raise RemoteProtocolError("a document with a field of one name twice")
    return read


def deep(document: bytes | RawBSONDocument) -> dict[str, Any]:
    """
    @return: all levels; for what has a bound on its length.
    @raise RemoteProtocolError: it is none.
    """
    raw = bytes(document.raw) if isinstance(document, RawBSONDocument) else document
    _check_size(raw)
    try:
        return bson.decode(raw, _DEEP)
    except (InvalidBSON, ValueError, RecursionError, OverflowError, TypeError) as error:
        raise RemoteProtocolError(f"a document that cannot be read: {error}") from error


def encode(document: Document) -> bytes:
    """
    @return: BSON.
    """
    return bson.encode(document)


def split(documents: bytes) -> Iterator[bytes]:
    """
    @param documents: one behind the other.
    @raise RemoteProtocolError: the last is cut short, or there are too many.
    """
    start, end, count = 0, len(documents), 0
    while start < end:
        count += 1
        if count > MAX_DOCUMENTS:
            raise RemoteProtocolError(f"more than {MAX_DOCUMENTS} documents at once")
        size = int.from_bytes(documents[start : start + 4], "little", signed=True)
        if size < MIN_BYTES or size > end - start:
            raise RemoteProtocolError(f"a document of {size} bytes in {end - start}")
        yield documents[start : start + size]
        start += size


def text(
    body: bytes,
    sequences: Iterable[tuple[str, bytes]] = (),
    *,
    most: int,
    mask: frozenset[str] = frozenset(),
    drop: frozenset[str] = frozenset(),
) -> tuple[str, int | None]:
    """
    A command as people write it, in relaxed extended JSON.

    @param sequences: documents beside the command, by the field they stand for.
    @param most: characters of text that are kept.
    @param mask: fields of the first level whose values are kept from the log.
    @param drop: fields of the first level that are left out.
    @return: the text, and the whole's length in bytes where it was cut.
    """
    size = len(body)
    if size > 4 * most:
        found = {name: value for name, value in _first_level(body, most, mask).items() if name not in drop}
        return dumps(found, json_options=_JSON, ensure_ascii=False)[:most], size
    found = {name: value for name, value in deep(body).items() if name not in drop}
    for name in mask & found.keys():
        found[name] = MASKED
    room = 4 * most - size
    cut = False
    for name, documents in sequences:
        size += len(documents)
        kept: list[Any] = []
        for document in split(documents):
            room -= len(document)
            if room < 0:
                cut = True
                break
            kept.append(deep(document))
        found[name] = MASKED if name in mask else kept
    words = dumps(found, json_options=_JSON, ensure_ascii=False)
    return words[:most], size if cut or len(words) > most else None


def _first_level(body: bytes, most: int, mask: frozenset[str]) -> dict[str, Any]:
    """
    Of a command that is too long to be read as a whole.
    """
    found: dict[str, Any] = {}
    for name, value in shallow(body).items():
        if isinstance(value, RawBSONDocument):
            found[name] = deep(value) if len(value.raw) <= most else f"… {len(value.raw)} bytes"
        elif isinstance(value, list):
            short = len(value) <= most // 16 and len(bson.encode({"": value})) <= most
            found[name] = value if short else f"… {len(value)} long"
        elif isinstance(value, (str, bytes)):
            found[name] = value if len(value) <= most // 16 else f"… {len(value)} long"
        else:
            found[name] = value
        if name in mask:
            found[name] = MASKED
    return found


def _check_size(document: bytes) -> None:
    if len(document) < MIN_BYTES or int.from_bytes(document[:4], "little", signed=True) != len(document):
        raise RemoteProtocolError("a document of another length than it says")


_FIXED = dict.fromkeys((0x01, 0x09, 0x11, 0x12), 8) | dict.fromkeys((0x06, 0x0A, 0x7F, 0xFF), 0)
_FIXED |= {0x07: 12, 0x08: 1, 0x10: 4, 0x13: 16}
"""Bytes of values of one size."""


def _count(document: bytes) -> int:
    """
    @return: fields of the first level, repeated ones too: a server takes the first or the last, and we cannot know.
    """
    position, end, count = 4, len(document) - 1, 0
    while position < end:
        kind = document[position]
        name_end = document.find(b"\0", position + 1, end)
        if name_end < 0:
            raise RemoteProtocolError("a document whose field has no end")
        position = _behind(document, kind, name_end + 1, end)
        count += 1
        if count > MAX_FIELDS:
            raise RemoteProtocolError(f"a document with more than {MAX_FIELDS} fields")
    return count


def _behind(document: bytes, kind: int, position: int, end: int) -> int:
    """
    @return: where the value of a field ends.
    """
    if kind in _FIXED:
        stop = position + _FIXED[kind]
    elif kind == 0x0B:  # a regular expression: two texts that end in zero
        middle = document.find(b"\0", position, end)
        stop = document.find(b"\0", middle + 1, end) + 1 if middle >= 0 else 0
    else:
        size = int.from_bytes(document[position : position + 4], "little", signed=True)
        extra = {0x02: 4, 0x0D: 4, 0x0E: 4, 0x05: 5, 0x0C: 16, 0x03: 0, 0x04: 0, 0x0F: 0}.get(kind)
        if extra is None or size < 0:
            raise RemoteProtocolError(f"a document with a field of type {kind}")
        stop = position + size + extra
    if not position <= stop <= end:
        raise RemoteProtocolError("a document whose field goes past its end")
    return stop
