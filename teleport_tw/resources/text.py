"""
Resources as people write them: YAML documents, one after the other.

What is read is written again unchanged: times and durations stay the text they were, C{yes} and C{no} stay words (a
flag understands them, a label keeps them), and C{22:22} is no number. Every text quoted on the way out reads back as
text in any YAML reader.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Any

import yaml

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.resources.metadata import Resource

MAX_TEXT_BYTES = 8_000_000
"""Of one file: a good many resources, and no more than is parsed in a few seconds."""

MAX_NODES = 200_000
"""Scalars, lists and mappings of one document, what aliases repeat counted each time."""

_INDENT = 2


class _Loader(yaml.SafeLoader):
    """
    YAML 1.2's core words on top of PyYAML's reader.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """
        A mapping with each key once and every key a text.
        """
        seen: set[str] = set()
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode) or key.tag not in (_STRING, "tag:yaml.org,2002:merge"):
                raise bad_parameter(f"line {line}: a key must be text; quote it")
            if key.value in seen:
                raise bad_parameter(f"line {line}: {key.value!r} is here twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_STRING = "tag:yaml.org,2002:str"

for _tag, _pattern, _first in (
    ("null", r"(?:~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    ("int", r"(?:[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*)(?:[eE][-+][0-9]+)?\Z", list("-+0123456789")),
    ("merge", r"<<\Z", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


class _Dumper(yaml.SafeDumper):
    """
    Long texts as blocks, no aliases.
    """

    def ignore_aliases(self, data: Any) -> bool:
        """
        Equal parts are written out each time.
        """
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(_STRING, text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def load(text: str) -> list[Resource]:
    """
    @param text: YAML or JSON, any number of documents; empty ones are passed over.
    @raise TeleportError: BAD_PARAMETER; what is wrong, with the line.
    """
    if len(text) > MAX_TEXT_BYTES:
        raise bad_parameter(f"the text has {len(text)} characters, the most is {MAX_TEXT_BYTES}")
    resources = []
    try:
        loader = _Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                if node is None:
                    break
                line = node.start_mark.line + 1
                _count(node, {}, set())
                value = loader.construct_document(node)
                if value is not None:
                    resources.append(_resource(value, line))
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise bad_parameter(f"{where}not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise bad_parameter(f"not YAML: {str(error) or 'nested too deeply'}") from error
    return resources


def load_one(text: str) -> Resource:
    """
    @raise TeleportError: BAD_PARAMETER; there is not exactly one resource.
    """
    resources = load(text)
    if len(resources) != 1:
        raise bad_parameter(f"one resource is wanted, the text holds {len(resources)}")
    return resources[0]


def dump(resources: Iterable[Resource]) -> str:
    """
    @return: YAML, documents with C{---} between; what L{load} reads back the same.
    """
    documents = (
        yaml.dump(
            _plain(resource.to_json()),
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            indent=_INDENT,
            width=120,
        )
        for resource in resources
    )
    return "---\n".join(documents)


def _resource(value: Any, line: int) -> Resource:
    try:
        return Resource.from_json(value)
    except TeleportError as error:
        raise bad_parameter(f"the resource at line {line}: {error}") from error


def _plain(value: Any) -> Any:
    """
    Other mappings and sequences as the dict and list that YAML writes.
    """
    if hasattr(value, "items"):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _count(node: yaml.Node, known: dict[int, int], above: set[int]) -> int:
    """
    How many nodes the document has once its aliases are written out.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in known:
        return known[id(node)]
    line = node.start_mark.line + 1
    if id(node) in above:
        raise bad_parameter(f"line {line}: this holds itself")
    above.add(id(node))
    total = 1
    for child in node.value:
        for part in child if isinstance(child, tuple) else (child,):
            total += _count(part, known, above)
    above.discard(id(node))
    if total > MAX_NODES:
        raise bad_parameter(f"line {line}: more than {MAX_NODES} values in one document")
    known[id(node)] = total
    return total
