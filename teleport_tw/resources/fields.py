"""
Reading a spec field by field, so that all mistakes of a resource are told at once, each with its key path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from attrs import field, frozen

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.timing import NEVER, Duration, parse_duration, parse_time
from teleport_tw.resources.metadata import Json, Resource

E = TypeVar("E", bound=Enum)

_TRUE = frozenset({"true", "yes", "on", "y"})
_FALSE = frozenset({"false", "no", "off", "n"})


@frozen
class Fields:
    """
    One mapping of a spec.

    @ivar path: of the mapping itself, with a trailing dot: C{spec.options.}.
    @ivar wrong: one sentence for each mistake so far, shared with the mappings within.
    """

    values: Json
    path: str = "spec."
    wrong: list[str] = field(factory=list)

    @classmethod
    def of(cls, resource: Resource, kind: str) -> Fields:
        """
        @param kind: what the resource must be.
        @return: its spec.
        """
        fields = cls(resource.spec)
        if resource.kind != kind:
            fields.wrong.append(f"kind must be {kind}, not {resource.kind!r}")
        if not resource.name:
            fields.wrong.append("metadata.name is missing")
        return fields

    def done(self, resource: Resource) -> None:
        """
        @raise TeleportError: BAD_PARAMETER with every mistake.
        """
        if self.wrong:
            raise bad_parameter(f"{resource.kind} {resource.name!r}: " + "; ".join(self.wrong))

    def only(self, *known: str) -> None:
        """
        Every other key is a mistake, most likely of spelling.
        """
        self.wrong.extend(
            f"{self.path}{key} is not a known key" for key in sorted(set(map(str, self.values)) - {*known})
        )

    def must_be(self, key: str, what: str) -> None:
        """
        Note a mistake.
        """
        self.wrong.append(f"{self.path}{key} must be {what}")

    def text(self, key: str, default: str = "", *, needed: bool = False, among: Collection[str] = ()) -> str:
        """
        @param among: the only values there are.
        """
        value = self.values.get(key)
        if value is None or value == "":
            if needed:
                self.wrong.append(f"{self.path}{key} is missing")
            return default
        if not isinstance(value, str):
            self.must_be(key, "a string")
            return default
        if among and value not in among:
            self.must_be(key, f"one of {', '.join(sorted(among))}, not {value!r}")
            return default
        return value

    def member(self, key: str, type_: type[E], default: E) -> E:
        """
        A value of an enum.
        """
        text = self.text(key, str(default.value), among=[str(each.value) for each in type_])
        return type_(text)

    def flag(self, key: str, default: bool = False) -> bool:
        """
        True and false, also as YAML 1.1 spells them.
        """
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _TRUE | _FALSE:
            return value.lower() in _TRUE
        self.must_be(key, "true or false")
        return default

    def number(self, key: str, default: int = 0, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """
        A whole number; JSON from elsewhere may have it as 3.0.
        """
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.must_be(key, f"a whole number from {least} to {most}")
            return default
        return value

    def duration(self, key: str, default: Duration = NEVER, *, least: Duration = NEVER) -> Duration:
        """
        Go's notation or seconds.
        """
        value = self.values.get(key)
        if value is None or value == "":
            return default
        if not isinstance(value, str | int | float):
            self.must_be(key, "a duration like 1h30m")
            return default
        try:
            duration = parse_duration(value)
        except (TeleportError, OverflowError, ValueError):
            self.must_be(key, "a duration like 1h30m, 90s or never")
            return default
        if duration < least:
            self.must_be(key, f"a duration not below {least.total_seconds():g}s")
            return default
        return duration

    def time(self, key: str) -> datetime | None:
        """
        @return: aware UTC.
        """
        value = self.values.get(key)
        if value is None or value == "":
            return None
        try:
            return parse_time(value) if isinstance(value, str) else parse_time("")
        except TeleportError:
            self.must_be(key, "a time like 2026-01-31T15:04:05Z")
            return None

    def texts(self, key: str, *, needed: bool = False) -> tuple[str, ...]:
        """
        A list of strings; one string alone stands for a list of one.
        """
        value = self.values.get(key)
        if isinstance(value, str) and value:
            value = [value]
        if value is None or value == "":
            value = []
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each for each in value):
            self.must_be(key, "a list of strings")
            return ()
        if needed and not value:
            self.wrong.append(f"{self.path}{key} is missing")
        return tuple(value)

    def text_map(self, key: str) -> Mapping[str, str]:
        """
        Strings to strings, such as labels.
        """
        value = self.values.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping) or not all(isinstance(each, str) for pair in value.items() for each in pair):
            self.must_be(key, "a mapping of strings to strings; quote numbers and booleans")
            return {}
        return dict(value)

    def texts_map(self, key: str) -> Mapping[str, tuple[str, ...]]:
        """
        Strings to lists of strings, such as traits.
        """
        inner = self.section(key)
        return {str(name): inner.texts(name) for name in inner.values}

    def section(self, key: str) -> Fields:
        """
        @return: the mapping within; an empty one when absent.
        """
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, Mapping):
            self.must_be(key, "a mapping")
            value = {}
        return Fields(value, f"{self.path}{key}.", self.wrong)

    def sections(self, key: str) -> tuple[Fields, ...]:
        """
        @return: the mappings of a list.
        """
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list | tuple):
            self.must_be(key, "a list")
            return ()
        found = []
        for position, each in enumerate(value):
            if isinstance(each, Mapping):
                found.append(Fields(each, f"{self.path}{key}[{position}].", self.wrong))
            else:
                self.must_be(f"{key}[{position}]", "a mapping")
        return tuple(found)


def without_empty(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """
    @return: a spec without the members that say nothing.
    """
    return {key: value for key, value in pairs if value not in (None, "", [], {}, ())}
