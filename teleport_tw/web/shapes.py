"""
What a request may say: small descriptions that check a JSON value and tell OpenAPI of themselves.

A member that is not described is refused, so a misspelt one is noticed by whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from attrs import field, frozen

from teleport_tw.base.errors import bad_parameter
from teleport_tw.resources.metadata import Json

MAX_TEXT = 1024
"""Characters of a text that says nothing else."""

MAX_ITEMS = 1000


class Shape(Protocol):
    """
    One sort of value.
    """

    def check(self, value: Any, where: str) -> Any:
        """
        @param where: the member's name, for the message.
        @return: the value, of the type that is described.
        @raise TeleportError: BAD_PARAMETER.
        """
        ...

    def read(self, text: str, where: str) -> Any:
        """
        The same of what stands in a query.
        """
        ...

    def describe(self) -> Json:
        """
        @return: JSON Schema.
        """
        ...


@frozen(kw_only=True)
class Text:
    """
    @ivar least: fewest characters.
    @ivar choices: all there are; none for any text.
    @ivar pattern: of the whole text.
    @ivar secret: shown in no log and no example.
    """

    least: int = 0
    most: int = MAX_TEXT
    choices: tuple[str, ...] = ()
    pattern: str = ""
    secret: bool = False
    form: str = ""
    about: str = ""

    def check(self, value: Any, where: str) -> str:
        """See L{Shape.check}."""
        if not isinstance(value, str):
            raise bad_parameter(f"{where} must be a string")
        if not self.least <= len(value) <= self.most:
            raise bad_parameter(f"{where} must have {self.least} to {self.most} characters")
        if self.choices and value not in self.choices:
            raise bad_parameter(f"{where} must be one of {', '.join(filter(None, self.choices))}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise bad_parameter(f"{where} is not well formed")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise bad_parameter(f"{where} is not Unicode text") from error
        return value

    def read(self, text: str, where: str) -> str:
        """See L{Shape.read}."""
        return self.check(text, where)

    def describe(self) -> Json:
        """See L{Shape.describe}."""
        said: dict[str, Any] = {"type": "string", "maxLength": self.most}
        if self.least:
            said["minLength"] = self.least
        if self.choices:
            said["enum"] = list(self.choices)
        if self.pattern:
            said["pattern"] = f"^(?:{self.pattern})$"
        if self.secret:
            said |= {"format": "password", "writeOnly": True}
        if self.form:
            said["format"] = self.form
        return _about(said, self.about)


@frozen(kw_only=True)
class Whole:
    """
    A whole number, both ends included.
    """

    least: int = 0
    most: int = 2**31 - 1
    about: str = ""

    def check(self, value: Any, where: str) -> int:
        """See L{Shape.check}."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise bad_parameter(f"{where} must be a whole number from {self.least} to {self.most}")
        return value

    def read(self, text: str, where: str) -> int:
        """See L{Shape.read}."""
        return self.check(int(text) if re.fullmatch(r"-?[0-9]{1,18}", text, re.ASCII) else None, where)

    def describe(self) -> Json:
        """See L{Shape.describe}."""
        return _about({"type": "integer", "minimum": self.least, "maximum": self.most}, self.about)


@frozen(kw_only=True)
class Flag:
    """
    Yes or no.
    """

    about: str = ""

    def check(self, value: Any, where: str) -> bool:
        """See L{Shape.check}."""
        if not isinstance(value, bool):
            raise bad_parameter(f"{where} must be true or false")
        return value

    def read(self, text: str, where: str) -> bool:
        """See L{Shape.read}."""
        return self.check({"true": True, "false": False}.get(text), where)

    def describe(self) -> Json:
        """See L{Shape.describe}."""
        return _about({"type": "boolean"}, self.about)


@frozen(kw_only=True)
class Many:
    """
    A list of one sort.

    @ivar of: each item.
    @ivar apart: what stands between items in a query.
    """

    of: Shape
    most: int = MAX_ITEMS
    apart: str = ";"
    about: str = ""

    def check(self, value: Any, where: str) -> tuple[Any, ...]:
        """See L{Shape.check}."""
        if not isinstance(value, list) or len(value) > self.most:
            raise bad_parameter(f"{where} must be a list of at most {self.most}")
        return tuple(self.of.check(item, f"{where}[{number}]") for number, item in enumerate(value))

    def read(self, text: str, where: str) -> tuple[Any, ...]:
        """See L{Shape.read}."""
        items = [item for item in text.split(self.apart) if item]
        if len(items) > self.most:
            raise bad_parameter(f"{where} must be a list of at most {self.most}")
        return tuple(self.of.read(item, where) for item in items)

    def describe(self) -> Json:
        """See L{Shape.describe}."""
        return _about({"type": "array", "maxItems": self.most, "items": self.of.describe()}, self.about)


@frozen(kw_only=True)
class Table:
    """
    An object.

    @ivar members: what it may have.
    @ivar needs: of these, what it must have.
    @ivar free: members that are not described are taken as they are: another specification describes them.
    """

    members: Mapping[str, Shape] = field(factory=dict)
    needs: tuple[str, ...] = ()
    free: bool = False
    about: str = ""

    def check(self, value: Any, where: str) -> dict[str, Any]:
        """See L{Shape.check}."""
        if not isinstance(value, dict):
            raise bad_parameter(f"{where} must be an object")
        unknown = sorted(value.keys() - self.members.keys())
        if unknown and not self.free:
            raise bad_parameter(f"{where} has no member {unknown[0][:40]!r}; it has {', '.join(sorted(self.members))}")
        missing = [name for name in self.needs if name not in value]
        if missing:
            raise bad_parameter(f"{_below(where, missing[0])} is missing")
        return {
            name: self.members[name].check(each, _below(where, name)) if name in self.members else each
            for name, each in value.items()
        }

    def read(self, text: str, where: str) -> dict[str, Any]:
        """See L{Shape.read}."""
        raise bad_parameter(f"{where} has no place in a query")

    def describe(self) -> Json:
        """See L{Shape.describe}."""
        said: dict[str, Any] = {
            "type": "object",
            "properties": {name: shape.describe() for name, shape in self.members.items()},
            "additionalProperties": self.free,
        }
        if self.needs:
            said["required"] = list(self.needs)
        return _about(said, self.about)


FREE = Table(free=True)
"""Any object."""

NAME = Text(least=1, most=256)
TIME = Text(least=1, most=40, form="date-time", about="RFC 3339, as 2026-01-31T12:00:00Z")


def query_of(shapes: Mapping[str, Shape], args: Mapping[bytes, Sequence[bytes]]) -> dict[str, Any]:
    """
    @param args: as Twisted takes a query apart.
    @raise TeleportError: BAD_PARAMETER, unknown, said twice, not UTF-8, or not as described.
    """
    found = {}
    for key, values in args.items():
        name = key.decode("utf-8", "replace")
        shape = shapes.get(name)
        if shape is None:
            known = ", ".join(shapes) or "no keys at all"
            raise bad_parameter(f"the query has an unknown key {name[:40]!r}; it takes {known}")
        if len(values) != 1:
            raise bad_parameter(f"{name} stands in the query more than once")
        try:
            text = values[0].decode("utf-8")
        except UnicodeDecodeError as error:
            raise bad_parameter(f"{name} is not UTF-8") from error
        found[name] = shape.read(text, name)
    return found


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where != "the body" else name


def _about(said: dict[str, Any], about: str) -> Json:
    return {**said, "description": about} if about else said
