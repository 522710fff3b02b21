"""
Roles as YAML, for the tables of this room.
"""

from __future__ import annotations

import yaml

from teleport_tw.access import validate
from teleport_tw.access.checker import Checker
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.roles import Role

TRAITS = {"logins": ("alice", "ops"), "team": ("red", "blue"), "email": ("al@example.com", "bad"), "urn:x": ("v",)}


def spec_of(text: str, name: str = "r", version: str = "v7", labels: dict[str, str] | None = None) -> Resource:
    """
    A role as its author wrote it.
    """
    return Resource("role", version, Metadata(name, labels=labels or {}), yaml.safe_load(text) or {})


def stored(text: str, name: str = "r", version: str = "v7", labels: dict[str, str] | None = None) -> Role:
    """
    A role that passed the checks of storing.
    """
    return validate.role(spec_of(text, name, version, labels))


def unchecked(text: str, name: str = "r", version: str = "v7") -> Role:
    """
    A role that was stored before its patterns were checked.
    """
    return Role.parse(spec_of(text, name, version))


def checker_of(*roles: str | Role, traits: dict[str, tuple[str, ...]] | None = None) -> Checker:
    """
    For alice; texts become roles named C{r0}, C{r1} and so on.
    """
    found = [stored(each, f"r{index}") if isinstance(each, str) else each for index, each in enumerate(roles)]
    return Checker.for_identity(found, username="alice", traits=TRAITS if traits is None else traits)
