"""
Events to lines of JSON and back, by the thousand a second.

Lines are ASCII, so that no terminal is told anything by what somebody typed, and the same event gives the same line.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from teleport_tw.base.errors import bad_parameter

_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def read(text: str | bytes) -> dict[str, Any]:
    """
    @param text: one event.
    @raise TeleportError: BAD_PARAMETER, it is not a JSON object.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        value = _read_slowly(text)
    if not isinstance(value, dict):
        raise bad_parameter("not a JSON object")
    return value


def _read_slowly(text: str | bytes) -> Any:
    """
    What Python writes and the faster reader does not take: half of a surrogate pair.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad_parameter(f"not JSON: {error}") from error


def line(event: dict[str, Any]) -> bytes:
    """
    @return: the event in ASCII, with a newline.
    @raise ValueError: a number that JSON does not have.
    @raise TypeError: something else it does not have.
    """
    try:
        text = orjson.dumps(event, option=_OPTIONS)
    except TypeError:
        text = b"\xff"
    if not text.isascii() or b"null" in text:  # which a NaN becomes as well
        text = json.dumps(event, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode("ascii")
    return text + b"\n"
