"""
Patterns that administrators and users write: literals, globs with C{*}, and C{^regular expressions$}.

All of them run on RE2, whose time is linear in the text, so that no pattern can be written that hangs a service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import re2

from teleport_tw.base.errors import TeleportError, bad_parameter

MAX_PATTERN = 4096
"""Characters; longer than any list of alternatives that was met in a role."""
MAX_TEXT = 65536
"""Characters that are looked at; a longer text matches nothing."""
MAX_MEMORY = 1 << 20
"""Bytes that one compiled pattern may take."""

_options = re2.Options()
_options.log_errors = False
_options.max_mem = MAX_MEMORY


@lru_cache(maxsize=4096)
def regular(expression: str) -> Any:
    """
    @return: the expression compiled by RE2, whose bindings carry no types.
    @raise TeleportError: BAD_PARAMETER, it is too long or not in RE2's language.
    """
    if len(expression) > MAX_PATTERN:
        raise bad_parameter(f"a pattern may have at most {MAX_PATTERN} characters")
    try:
        return re2.compile(expression, _options)
    except (re2.error, UnicodeError) as error:
        raise bad_parameter(f"{expression!a} is not a regular expression of RE2") from error


def is_regular(pattern: str) -> bool:
    """
    Whether it is written as a regular expression: C{^…$}.
    """
    return len(pattern) > 1 and pattern.startswith("^") and pattern.endswith("$")


def compiled(pattern: str) -> Any:
    """
    @return: a literal, glob or C{^…$} pattern as an RE2 object to be searched with.
    @raise TeleportError: BAD_PARAMETER.
    """
    if is_regular(pattern):
        return regular(pattern)
    return regular("(?s)^" + "(.*)".join(map(re2.escape, pattern.split("*"))) + "$")


@lru_cache(maxsize=4096)
def matcher(pattern: str) -> Callable[[str], bool]:
    """
    @param pattern: a literal, glob or C{^regular expression$}.
    @return: whether a text matches it; globs need no RE2, whose bindings copy every text.
    @raise TeleportError: BAD_PARAMETER, the pattern is none.
    """
    if is_regular(pattern):
        expression = regular(pattern)
        return lambda text: text == pattern or search(expression, text)
    if len(pattern) > MAX_PATTERN:
        raise bad_parameter(f"a pattern may have at most {MAX_PATTERN} characters")
    if "*" not in pattern:
        return pattern.__eq__
    first, *middle, last = pattern.split("*")
    return lambda text: _glob(first, middle, last, text)


def _glob(first: str, middle: list[str], last: str, text: str) -> bool:
    if len(text) > MAX_TEXT or len(text) < len(first) + len(last):
        return False
    if not text.startswith(first) or not text.endswith(last):
        return False
    start, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, start, end)
        if found < 0:
            return False
        start = found + len(part)
    return True


def matches(pattern: str, text: str) -> bool:
    """
    @raise TeleportError: BAD_PARAMETER, the pattern is none.
    """
    return pattern == "*" or pattern == text or matcher(pattern)(text)


def search(expression: Any, text: str) -> bool:
    """
    @param expression: of L{regular} or L{compiled}.
    @return: whether it occurs; never in a text that is too long or not Unicode.
    """
    if len(text) > MAX_TEXT:
        return False
    try:
        return expression.search(text) is not None
    except UnicodeError:
        return False


def any_matches(patterns: Iterable[str], text: str, *, broken: bool = False) -> bool:
    """
    Whether one of the patterns matches.

    @param broken: what a pattern that is none counts as: false in an allow, true in a deny.
    """
    for pattern in patterns:
        try:
            if matches(pattern, text):
                return True
        except TeleportError:
            if broken:
                return True
    return False


def trouble(patterns: Iterable[str]) -> str:
    """
    @return: what is wrong with the first pattern that is none, for administrators; empty when all can be read.
    """
    for pattern in patterns:
        try:
            matcher(pattern)
        except TeleportError as error:
            return error.message
    return ""


def replaced(expression: Any, replacement: str, text: str) -> str | None:
    """
    Every match replaced, C{$1} and C{${1}} standing for groups.

    @return: C{None} where nothing matched.
    @raise TeleportError: BAD_PARAMETER, the replacement cannot be encoded.
    """
    if not search(expression, text):
        return None
    try:
        return str(expression.sub(lambda match: expand(replacement, match), text))
    except UnicodeError as error:
        raise bad_parameter(f"{replacement!a} is not Unicode") from error


def expand(replacement: str, match: Any) -> str:
    """
    @param replacement: with C{$1}, C{${1}}, C{$name}, C{${name}} and C{$$}, as Go has them.
    @return: the replacement for one match; an unknown group is empty.
    """

    def group(reference: Any) -> str:
        name = reference.group(1) or reference.group(2)
        if name is None:
            return "$"
        try:
            found = match.group(int(name) if name.isdecimal() else name)
        except (IndexError, KeyError):
            return ""
        return found or ""

    return str(_REFERENCE.sub(group, replacement))


_REFERENCE = re2.compile(r"\$(?:(\w+)|\{(\w+)\}|\$)", _options)
