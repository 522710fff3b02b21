"""
How an event class says what its fields are called in JSON and who may see them.

A field's annotation carries its rating, C{size: Public[str]}, and, where JSON has another name,
C{exit_code: Annotated[str, Rating.PUBLIC, Name("exitCode")]}. A field without a rating counts as secret, so what
somebody forgot to rate is redacted and not published. L{teleport_tw.audit.redact} decides what a rating lets out.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Annotated, Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

import attrs
from attrs import frozen

from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_duration, format_time

T = TypeVar("T")


class Rating(Enum):
    """
    Who may see a field.
    """

    PUBLIC = "public"
    """Whoever may read the log, and the program's own log."""
    SENSITIVE = "sensitive"
    """Whoever may read the audit log: command lines, paths, claims of a user."""
    SECRET = "secret"  # noqa: S105 a rating, not a password
    """Nobody: it is replaced before the event leaves the process."""


Public = Annotated[T, Rating.PUBLIC]
Sensitive = Annotated[T, Rating.SENSITIVE]


@frozen
class Name:
    """
    The field's name in JSON, where it is not the attribute's.
    """

    json: str


@frozen(kw_only=True)
class Group:
    """
    Facts that many events share; its fields are flattened into the event's JSON.
    """


@frozen
class Rated:
    """
    One field of a class as its annotation describes it.
    """

    attribute: str
    json: str
    rating: Rating


REDACTED = "<redacted>"
"""What stands for a value that must not be seen."""


MAX_GROUPS = 4096
"""Groups whose fields are remembered; each event of a session has about four."""

_AS_IS = frozenset({str, int, float, bool})
"""Types that JSON carries as they are."""

_groups: dict[int, tuple[Group, list[tuple[str, Any, Rating]]]] = {}
"""By identity; holding the group keeps its identity from being another's."""

_known: dict[type, tuple[Rated, ...]] = {}


def rated_fields(cls: type) -> tuple[Rated, ...]:
    """
    @param cls: an event or a group, an attrs class.
    @return: its fields in order of definition.
    """
    found = _known.get(cls)
    if found is None:
        found = _known[cls] = _read_annotations(cls)
    return found


def _read_annotations(cls: type) -> tuple[Rated, ...]:
    hints = get_type_hints(cls, include_extras=True)
    return tuple(_rated(attribute.name, hints.get(attribute.name)) for attribute in attrs.fields(cls))


def _rated(attribute: str, hint: Any) -> Rated:
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    ratings = [mark for mark in marks if isinstance(mark, Rating)]
    names = [mark.json for mark in marks if isinstance(mark, Name)]
    return Rated(attribute, names[0] if names else attribute, ratings[0] if ratings else Rating.SECRET)


def flattened(thing: Any) -> list[tuple[str, Any, Rating]]:
    """
    @param thing: an event or a group.
    @return: JSON name, JSON value and rating of each field that is not empty; groups opened.
    """
    found: list[tuple[str, Any, Rating]] = []
    for rated in rated_fields(type(thing)):
        value = getattr(thing, rated.attribute)
        if type(value) in _AS_IS:
            if value != "":
                found.append((rated.json, value, rated.rating))
        elif isinstance(value, Group):
            found += _of_group(value)
        elif value is not None and value != "" and value != () and value != {} and value != []:
            found.append((rated.json, plain(value), rated.rating))
    return found


def _of_group(group: Group) -> list[tuple[str, Any, Rating]]:
    """
    A session's groups are in each of its events, thousands a second in a busy one: what was found is kept while it is
    the very same object that is asked about.
    """
    kept = _groups.get(id(group))
    if kept is not None:
        return kept[1]
    found = flattened(group)
    if len(_groups) >= MAX_GROUPS:
        _groups.clear()
    _groups[id(group)] = group, found
    return found


def plain(value: Any) -> Any:
    """
    @return: the value as JSON can carry it: RFC 3339 times, Go durations, base64 bytes; a L{Secret} is never opened.
    """
    match value:
        case Secret():
            return REDACTED
        case Enum():
            return value.value
        case bool() | int() | float() | str() | None:
            return value
        case datetime():
            return format_time(value)
        case timedelta():
            return format_duration(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case set() | frozenset():
            return sorted(plain(item) for item in value)
        case _ if attrs.has(type(value)):
            return {name: item if rating is not Rating.SECRET else REDACTED for name, item, rating in flattened(value)}
        case _:
            return str(value)


_HOLE = re.compile(r"\{([^{}]+)\}")


@frozen(kw_only=True)
class Fact:
    """
    What an event class starts from: names and codes on the class, fields by their annotations.

    @cvar SAYS: a sentence for people; C{{user}} is filled from the JSON field of that name.
    """

    NAME: ClassVar[str]
    CODE: ClassVar[str]
    SAYS: ClassVar[str]

    @property
    def code(self) -> str:
        """
        The reference's code.
        """
        return self.CODE

    def fields(self) -> dict[str, Any]:
        """
        @return: the JSON fields, empty ones left out.
        """
        return {name: value for name, value, _ in flattened(self)}

    def rated(self) -> list[tuple[str, Any, Rating]]:
        """
        @return: the JSON fields, each with its rating.
        """
        return flattened(self)

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: every code an event of this class may carry.
        """
        return (cls.CODE,)

    @classmethod
    def sentence(cls, stored: Mapping[str, Any]) -> str:
        """
        @param stored: an event of this name as the log has it.
        @return: what happened, for people.
        """
        return filled(cls.SAYS, stored)


def filled(template: str, stored: Mapping[str, Any]) -> str:
    """
    @param template: text with C{{json name}} holes; C{{a|b}} takes the first that is there.
    @return: the text, a question mark in holes that nothing fills.
    """

    def hole(match: re.Match[str]) -> str:
        for name in match[1].split("|"):
            value = stored.get(name)
            if isinstance(value, list):
                value = ", ".join(map(str, value))
            if value not in (None, ""):
                return str(value)
        return "?"

    return _HOLE.sub(hole, template)


@frozen(kw_only=True)
class Judged(Fact):
    """
    An event that tells of success or failure, and whose code says which.

    @ivar error: the reason of a failure, for the administrator.
    @ivar message: what the user was told.
    @cvar FAILED: the code of a failure.
    @cvar SAYS_FAILED: the sentence for a failure.
    """

    FAILED: ClassVar[str]
    SAYS_FAILED: ClassVar[str]

    success: Public[bool] = True
    error: Sensitive[str] = ""
    message: Public[str] = ""

    @property
    def code(self) -> str:
        """
        The reference's code for success or failure.
        """
        return self.CODE if self.success else self.FAILED

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: the codes for success and failure.
        """
        return (cls.CODE, cls.FAILED)

    @classmethod
    def sentence(cls, stored: Mapping[str, Any]) -> str:
        """
        @return: the sentence for success or failure, as the code says.
        """
        return filled(cls.SAYS_FAILED if str(stored.get("code", ""))[-1:] in "WE" else cls.SAYS, stored)


def masked(name: str) -> str:
    """
    @param name: a token's name, which is the secret of join method C{token}.
    @return: only its last quarter readable, and nothing of one shorter than 16 characters.
    """
    shown = name[-(len(name) // 4) :] if len(name) >= 16 else ""
    return "*" * (len(name) - len(shown)) + shown
