"""
Which resources a query wants; pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from teleport_tw.access import languages, patterns
from teleport_tw.api.contract import Query
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import all_labels

MAX_WORDS = 32
"""Keywords of one search."""


def wanted(query: Query) -> Callable[[Resource], bool]:
    """
    @return: whether all conditions hold.
    @raise TeleportError: BAD_PARAMETER, the expression cannot be read.
    """
    expression = languages.compiled(languages.QUERY, query.expression) if query.expression.strip() else None
    words = [word.casefold() for word in query.search[:MAX_WORDS]]

    def fits(resource: Resource) -> bool:
        if not query.labels and not words and expression is None:
            return True
        labels = all_labels(resource)
        for name, pattern in query.labels.items():
            if name == "*" and pattern == "*":
                continue
            if name not in labels or not patterns.matches(pattern, labels[name]):
                return False
        if words:
            places = [place.casefold() for place in _places(resource, labels)]
            if not all(any(word in place for place in places) for word in words):
                return False
        return expression is None or bool(expression.holds(_bindings(resource, labels)))

    return fits


def _places(resource: Resource, labels: Mapping[str, str]) -> list[str]:
    spec = resource.spec
    places = [
        resource.name,
        resource.metadata.description,
        str(spec.get("hostname") or ""),
        str(spec.get("addr") or ""),
    ]
    return places + [word for pair in labels.items() for word in pair]


def _bindings(resource: Resource, labels: Mapping[str, str]) -> dict[str, Any]:
    spec = resource.spec
    return {
        "labels": labels,
        "name": str(spec.get("hostname") or resource.name),
        "hostname": str(spec.get("hostname") or ""),
        "addr": str(spec.get("addr") or ""),
        "description": resource.metadata.description,
        "resource": resource.to_json(),
    }
