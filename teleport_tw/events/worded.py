"""
Events that are written as JSON by whoever tells of them: those that come by the thousand a second.

What all events of a session say is put into words once, and each adds its own. Names are those of the typed class, and
what that class rates as secret is left out, so that nobody who reads can tell the difference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from json.encoder import encode_basestring_ascii
from typing import Any, ClassVar

from teleport_tw.events.rating import Fact, Group, Judged, Rating, flattened, rated_fields

_encode: Callable[[Any], str] = json.JSONEncoder(separators=(",", ":")).encode


class Worded:
    """
    One event; classes are made by L{worded}.

    @ivar words: the JSON fields without braces, ASCII.
    @ivar session: its id, as it stands in the words.
    @cvar BEGINS: attribute of the typed class to comma, name in JSON and colon, of what may be seen.
    """

    __slots__ = ("code", "session", "words")

    NAME: ClassVar[str] = ""
    CODE: ClassVar[str] = ""
    FAILED: ClassVar[str] = ""
    BEGINS: ClassVar[Mapping[str, str]] = {}

    def __init__(self, common: str, session: str, own: Mapping[str, Any]) -> None:
        """
        @param common: of L{words_of}.
        @param own: the event's own fields by their attributes, of plain JSON types, or tuples of texts and C{None};
            empty ones are left out.
        """
        begins = self.BEGINS
        words = [common]
        for key, value in own.items():
            # the kinds of value that come by the thousand, then all others
            kind = type(value)
            if kind is str:
                if value:
                    words += begins[key], _quoted(value)
            elif value is True:
                words += begins[key], "true"
            elif kind is int or (kind is float and -_LARGE < value < _LARGE):
                words += begins[key], repr(value)
            elif kind is tuple:
                if value:
                    inner = ",".join("null" if each is None else _quoted(each) for each in value)
                    words += begins[key], "[", inner, "]"
            elif value is not None:
                words += begins[key], _encode(value)
        self.words = "".join(words)
        self.session = session
        self.code = self.FAILED if self.FAILED and own.get("success") is False else self.CODE

    def fields(self) -> dict[str, Any]:
        """
        @return: the JSON fields.
        """
        found: dict[str, Any] = json.loads(f"{{{self.words}}}")
        return found


_quoted: Callable[[str], str] = encode_basestring_ascii
_LARGE = 1e15
"""A float beyond may be no number at all."""

_made: dict[type, type[Worded]] = {}


def worded(kind: type[Fact]) -> type[Worded]:
    """
    @return: the class of events of this kind.
    """
    made = _made.get(kind)
    if made is None:
        made = _made[kind] = _make(kind)
    return made


def _make(kind: type[Fact]) -> type[Worded]:
    begins = {each.attribute: f',"{each.json}":' for each in rated_fields(kind) if each.rating is not Rating.SECRET}
    failed = kind.FAILED if issubclass(kind, Judged) else ""
    parts = {"__slots__": (), "NAME": kind.NAME, "CODE": kind.CODE, "FAILED": failed, "BEGINS": begins}
    return type(f"Worded{kind.__name__}", (Worded,), parts)


def words_of(groups: Iterable[Group]) -> str:
    """
    @return: what these say, for L{Worded.words}; secrets left out.
    """
    told = {name: value for group in groups for name, value, rating in flattened(group) if rating is not Rating.SECRET}
    return _encode(told)[1:-1]
