"""
Reading nested mappings (YAML, JSON) by key path, with every mistake told at once.

A L{Reader} stands on one mapping. Each call reads one key, notes that it is known, and writes a mistake down and
answers the default where the value is wrong; L{Reader.finish} then reports the keys nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

from attrs import define, field, frozen

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.timing import Duration, parse_duration

T = TypeVar("T")

YES = frozenset({"yes", "true", "on", "y", "1"})
NO = frozenset({"no", "false", "off", "n", "0"})


@frozen
class Mistake:
    """
    @ivar path: C{proxy_service.web_listen_addr}, C{spec.allow.rules[2].verbs}.
    @ivar text: what is wrong with it; never quotes a secret.
    """

    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


@define
class Reader:
    """
    One mapping of the document.

    @ivar path: where it stands; empty at the top.
    @ivar mistakes: shared by all readers of one document.
    """

    source: Mapping[Any, Any]
    path: str = ""
    mistakes: list[Mistake] = field(factory=list)
    _known: set[str] = field(factory=set)

    def at(self, key: str) -> str:
        """
        @return: the path of a key of this mapping.
        """
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, text: str) -> None:
        """
        Write a mistake down.
        """
        self.mistakes.append(Mistake(self.at(key) if key else self.path, text))

    def raw(self, key: str) -> Any:
        """
        @return: the value as it stands; C{None} when absent or null.
        """
        self._known.add(key)
        return self.source.get(key)

    def has(self, key: str) -> bool:
        """
        Whether the key is there with a value.
        """
        return self.raw(key) is not None

    def text(self, key: str, default: str = "") -> str:
        """
        A string; a bare number counts as one.
        """
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self.wrong(key, "must be a string" + ("; quote yes, no, on and off" if isinstance(value, bool) else ""))
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """
        A list of strings; a single string counts as a list of one.
        """
        value = self.raw(key)
        if value is None:
            return ()
        return self.strings(key, value)

    def strings(self, key: str, value: Any) -> tuple[str, ...]:
        """
        @param value: a string or a list of strings, found at C{key}.
        """
        if isinstance(value, str):
            return (value,)
        if not isinstance(value, Sequence) or not all(
            isinstance(item, str | int | float) and not isinstance(item, bool) for item in value
        ):
            self.wrong(key, "must be a string or a list of strings")
            return ()
        return tuple(map(str, value))

    def flag(self, key: str, default: bool | None) -> bool | None:
        """
        Yes or no, in any of YAML's spellings.
        """
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in YES:
            return True
        if word in NO:
            return False
        self.wrong(key, "must be yes or no")
        return default

    def yes(self, key: str, default: bool = False) -> bool:
        """
        Like L{flag}, where there is a default.
        """
        return bool(self.flag(key, default))

    def number(self, key: str, default: int = 0, *, least: int = 0, most: int | None = None) -> int:
        """
        A whole number from C{least} to C{most}, both included.
        """
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            self.wrong(key, "must be a whole number")
            return default
        if value < least or (most is not None and value > most):
            self.wrong(key, f"must be at least {least}" if most is None else f"must be from {least} to {most}")
            return default
        return value

    def duration(self, key: str, default: T) -> Duration | T:
        """
        Go's notation; C{never} is zero. Negative ones are refused.
        """
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str | int | float):
            self.wrong(key, "must be a duration like 1h30m or never")
            return default
        try:
            found = parse_duration(value)
        except (TeleportError, OverflowError) as error:
            self.wrong(key, str(error))
            return default
        if found < Duration(0):
            self.wrong(key, "must not be negative")
            return default
        return found

    def choice(self, key: str, allowed: Mapping[Any, T], default: T) -> T:
        """
        One of several words.

        @param allowed: the words as they may stand in the document, and what each means.
        """
        value = self.raw(key)
        if value is None:
            return default
        if isinstance(value, str) and value in allowed:
            return allowed[value]
        if isinstance(value, bool | int):
            for word, meaning in allowed.items():
                if type(word) is type(value) and word == value:
                    return meaning
        words = [word for word in allowed if isinstance(word, str)]
        self.wrong(key, f"must be one of {', '.join(words)}" + suggestion(str(value), words))
        return default

    def section(self, key: str) -> Reader:
        """
        A mapping inside; an absent one reads as empty.
        """
        value = self.raw(key)
        if value is None:
            value = {}
        elif not isinstance(value, Mapping):
            self.wrong(key, "must be a mapping")
            value = {}
        return Reader(value, self.at(key), self.mistakes)

    def sections(self, key: str) -> list[Reader]:
        """
        A list of mappings inside.
        """
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            self.wrong(key, "must be a list")
            return []
        found = []
        for index, item in enumerate(value):
            if isinstance(item, Mapping):
                found.append(Reader(item, f"{self.at(key)}[{index}]", self.mistakes))
            else:
                self.wrong(f"{key}[{index}]", "must be a mapping")
        return found

    def each(self, key: str, build: Callable[[Reader], T]) -> tuple[T, ...]:
        """
        A list of mappings, each built and finished.
        """
        found = []
        for reader in self.sections(key):
            found.append(build(reader))
            reader.finish()
        return tuple(found)

    def inside(self, key: str, build: Callable[[Reader], T]) -> T:
        """
        A mapping inside, built and finished.
        """
        reader = self.section(key)
        found = build(reader)
        reader.finish()
        return found

    def pairs(self, key: str) -> dict[str, str]:
        """
        A mapping of strings to strings.
        """
        reader = self.section(key)
        return {str(name): reader.text(str(name)) for name in reader.source}

    def lists(self, key: str) -> dict[str, tuple[str, ...]]:
        """
        A mapping of strings to a string or a list of them.
        """
        reader = self.section(key)
        return {str(name): reader.strings(str(name), value) for name, value in reader.source.items()}

    def ignore(self, *keys: str) -> None:
        """
        These may stand here and mean nothing.
        """
        self._known.update(keys)

    def finish(self) -> None:
        """
        Report the keys that were not asked for.
        """
        for key in self.source:
            if str(key) not in self._known:
                self.wrong(str(key), "is not a key known here" + suggestion(str(key), self._known))


def suggestion(word: str, known: Sequence[str] | set[str]) -> str:
    """
    @return: C{; did you mean …?}, or nothing where no known word is near.
    """
    near = get_close_matches(word, sorted(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


def refuse(what: str, mistakes: Sequence[Mistake]) -> None:
    """
    @raise TeleportError: BAD_PARAMETER with all mistakes, where there are any.
    """
    if mistakes:
        raise bad_parameter(f"{what}: " + "; ".join(map(str, mistakes)))
