"""
What the pages of administrators share: stored nouns as JSON and as YAML, and mistakes with the line they stand in.

A body may carry C{mfa}, the answer of a second factor, which some clusters want for every change; the call then runs
with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml
from attrs import evolve

from teleport_tw.api.contract import Api, Query, every
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.resources.metadata import Json, Resource
from teleport_tw.resources.text import dump, load_one
from teleport_tw.web.answers import ANSWER
from teleport_tw.web.shapes import FREE, Shape, Table, Text

MFA: Mapping[str, Shape] = {"mfa": Table(members=ANSWER, about="where the cluster wants a second factor for changes")}

MAX_YAML = 100_000
MAX_LISTED = 20_000
"""Of a kind; pages of administrators show and search all of it."""

WRITTEN = Table(
    members={"yaml": Text(least=1, most=MAX_YAML), "object": FREE, **MFA}, about="a resource, as yaml or as object"
)

_ALL = Query()

_LINE = re.compile(r"(?:the resource at )?line ([0-9]+): ")
_PATH = re.compile(r"^((?:spec|metadata|kind|version)[\w.\[\]\"*-]*)")


async def all_of(api: Api, kind: str, query: Query = _ALL) -> list[Resource]:
    """
    @return: all that the user may see of a kind, by name.
    """
    found = []
    async for resource in every(api, kind, query):
        found.append(resource)
        if len(found) >= MAX_LISTED:
            break
    return found


def written(body: Mapping[str, Any], kind: str, name: str = "") -> Resource:
    """
    @param body: checked by L{WRITTEN}.
    @param name: what it must be called; empty for any name.
    @raise TeleportError: BAD_PARAMETER, with the line where there is one.
    """
    if ("yaml" in body) == ("object" in body):
        raise bad_parameter("say yaml or object")
    resource = load_one(body["yaml"]) if "yaml" in body else Resource.from_json(body["object"])
    if resource.kind != kind:
        raise bad_parameter(f"kind must be {kind}, not {resource.kind[:64]!r}")
    if name and resource.name != name:
        raise bad_parameter(f"metadata.name must be {name}; a {kind} cannot be renamed")
    return resource


async def store(api: Api, resource: Resource) -> Resource:
    """
    Overwrite what is there: what was read with a revision, only if nobody changed it since.

    @raise TeleportError: NOT_FOUND; COMPARE_FAILED.
    """
    if resource.revision:
        return await api.update(resource)
    present = await api.get(resource.kind, resource.name, sub_kind=resource.sub_kind)
    return await api.update(resource.with_revision(present.revision))


def shown(resource: Resource) -> Json:
    """
    @return: the resource in both forms.
    """
    return {
        "kind": resource.kind,
        "name": resource.name,
        "description": resource.metadata.description,
        "revision": resource.revision,
        "object": resource.to_json(),
        "yaml": dump([resource]),
    }


def mistakes(text: str, check: Callable[[Resource], object]) -> tuple[Resource | None, list[Json]]:
    """
    @param text: YAML of one resource.
    @param check: raises BAD_PARAMETER naming every wrong key by its path.
    @return: the resource where it could be read, and each mistake with its line, counted from 1; 0 for none.
    """
    try:
        resource = load_one(text)
    except TeleportError as error:
        found = _LINE.match(error.message)
        line = int(found[1]) if found else 1
        return None, [_mistake(error.message[found.end() :] if found else error.message, line)]
    try:
        check(resource)
    except TeleportError as error:
        if error.kind is not Kind.BAD_PARAMETER:
            raise
        lines = _lines(text)
        said = re.sub(r"^\w+ '[^']*': ", "", error.message)
        return resource, [
            _mistake(each, _line_of(each, lines)) for each in re.split(r"; (?=(?:spec|metadata|kind|version)\b)", said)
        ]
    return resource, []


def _mistake(message: str, line: int) -> Json:
    return {"message": message, "line": line}


def _line_of(message: str, lines: Mapping[str, int]) -> int:
    found = _PATH.match(message)
    path = found[1].rstrip(".:") if found else ""
    while path:
        if path in lines:
            return lines[path]
        path = re.sub(r"(?:\.[^.\[]*|\[[^\]]*\])$", "", path) if re.search(r"[.\[]", path) else ""
    return 0


def _lines(text: str) -> dict[str, int]:
    """
    @return: path of a key to its line.
    """
    found: dict[str, int] = {}

    def walk(node: yaml.Node | None, path: str) -> None:
        match node:
            case yaml.MappingNode():
                for key, value in node.value:
                    below = f"{path}.{key.value}" if path else str(key.value)
                    found[below] = key.start_mark.line + 1
                    walk(value, below)
            case yaml.SequenceNode():
                for number, item in enumerate(node.value):
                    found[f"{path}[{number}]"] = item.start_mark.line + 1
                    walk(item, f"{path}[{number}]")

    walk(yaml.compose(text, Loader=yaml.SafeLoader), "")
    return found


def with_spec(resource: Resource, **changes: Any) -> Resource:
    """
    @return: the same with other members of its spec.
    """
    return evolve(resource, spec={**resource.spec, **changes})
