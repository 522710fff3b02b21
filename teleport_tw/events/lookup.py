"""
From an event's name or code to its class, and to a sentence for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from teleport_tw.events import kinds
from teleport_tw.events.kinds import Fact


@cache
def by_name() -> Mapping[str, type[Fact]]:
    """
    @return: every event class under its name.
    """
    found = (getattr(kinds, name) for name in kinds.__all__)
    return {cls.NAME: cls for cls in found if isinstance(cls, type) and issubclass(cls, Fact) and "NAME" in vars(cls)}


@cache
def by_code() -> Mapping[str, type[Fact]]:
    """
    @return: every event class under each of its codes; C{T3003*}, which four names share, gives the first of them.
    """
    found: dict[str, type[Fact]] = {}
    for cls in by_name().values():
        for code in cls.codes():
            if code:
                found.setdefault(code, cls)
    return found


def describe(stored: Mapping[str, Any]) -> str:
    """
    @param stored: an event as the log has it.
    @return: what happened, in a sentence; of an event we do not know, its name.
    """
    cls = by_name().get(str(stored.get("event", "")))
    return cls.sentence(stored) if cls else str(stored.get("event", "unknown"))
