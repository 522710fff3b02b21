"""
The dialects of L{teleport_tw.access.predicate}: which names and functions each place knows.

@see: reference, section 3.5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from teleport_tw.access import patterns
from teleport_tw.access.predicate import Bindings, Expression, Function, Language, Value, same, text, texts
from teleport_tw.access.syntax import PredicateError

MANY = 1 << 16
"""More arguments than an expression can hold."""


def _pure(call: Callable[..., Value], least: int, most: int | None = None) -> Function:
    return Function(call=lambda _, values: call(*values), least=least, most=least if most is None else most)


def _contains(items: Value, item: Value) -> bool:
    return text(item) in texts(items)


def _contains_any(items: Value, wanted: Value) -> bool:
    return not set(texts(items)).isdisjoint(texts(wanted))


def _contains_all(items: Value, wanted: Value) -> bool:
    needed = set(texts(wanted))
    return bool(needed) and needed <= set(texts(items))


def _set(*items: Value) -> tuple[str, ...]:
    return tuple(text(item) for item in items)


def _regexp_match(items: Value, expression: Value) -> bool:
    compiled = patterns.regular(text(expression))
    return any(patterns.search(compiled, item) for item in texts(items))


def _regexp_replace(items: Value, expression: Value, replacement: Value) -> tuple[str, ...]:
    compiled = patterns.regular(text(expression))
    found = (patterns.replaced(compiled, text(replacement), item) for item in texts(items))
    return tuple(item for item in found if item is not None)


def email_local(address: str) -> str | None:
    """
    @return: what stands before the C{@}; C{None} where it is no address.
    """
    local, at, domain = address.strip().rpartition("@")
    return local if at and local and domain and not any(c.isspace() for c in local + domain) else None


def _email_local(items: Value) -> tuple[str, ...]:
    return tuple(local for item in texts(items) if (local := email_local(item)) is not None)


def _labels_matching(bindings: Bindings, values: tuple[Value, ...]) -> tuple[str, ...]:
    labels = bindings.get("labels", {})
    pattern = text(values[0])
    return tuple(value for key, value in labels.items() if patterns.matches(pattern, key))


def _search(bindings: Bindings, values: tuple[Value, ...]) -> bool:
    labels: Mapping[str, str] = bindings.get("labels", {})
    places = [str(bindings.get(key, "")) for key in ("name", "hostname", "addr", "description")]
    places += [*labels.keys(), *labels.values()]
    folded = [place.casefold() for place in places]
    return all(any(text(word).casefold() in place for place in folded) for word in values)


def _exists(value: Value) -> bool:
    return bool(value)


def _all_end_with(items: Value, suffix: Value) -> bool:
    ending, found = text(suffix), texts(items)
    return bool(found) and all(item.endswith(ending) for item in found)


def _can_view(bindings: Bindings, _: tuple[Value, ...]) -> bool:
    return bindings.get("can_view") is True


_COMMON: Mapping[str, Function] = {
    "contains": _pure(_contains, 2),
    "contains_any": _pure(_contains_any, 2),
    "contains_all": _pure(_contains_all, 2),
    "equals": _pure(same, 2),
    "set": _pure(_set, 0, MANY),
    "list": _pure(_set, 0, MANY),
    "has_prefix": _pure(lambda value, prefix: text(value).startswith(text(prefix)), 2),
    "all_end_with": _pure(_all_end_with, 2),
}

_USER: Mapping[str, Any] = {
    "user.metadata.name": "",
    "user.spec.roles": (),
    "user.spec.traits": {},
}
_USER_ITEMS: Mapping[str, Any] = {"user.spec.traits": ()}

WHERE = Language(
    name="where",
    fields={
        **_USER,
        "resource": None,
        "session.participants": (),
        "session.owner": "",
        "session_tracker.participants": (),
        "ssh_session.participants": (),
    },
    items=_USER_ITEMS,
    functions={**_COMMON, "can_view": Function(call=_can_view, least=0, most=0)},
)

IMPERSONATE = Language(
    name="impersonate where",
    fields={
        **_USER,
        "impersonate_role.metadata.name": "",
        "impersonate_role.metadata.labels": {},
        "impersonate_user.metadata.name": "",
        "impersonate_user.metadata.labels": {},
    },
    items=_USER_ITEMS,
    functions=_COMMON,
)

LABELS = Language(
    name="labels expression",
    fields={"labels": {}, "user.spec.traits": {}},
    items=_USER_ITEMS,
    functions={
        **_COMMON,
        "regexp.match": _pure(_regexp_match, 2),
        "regexp.replace": _pure(_regexp_replace, 3),
        "email.local": _pure(_email_local, 1),
        "strings.upper": _pure(lambda items: tuple(item.upper() for item in texts(items)), 1),
        "strings.lower": _pure(lambda items: tuple(item.lower() for item in texts(items)), 1),
        "labels_matching": Function(call=_labels_matching, least=1, most=1),
    },
)

QUERY = Language(
    name="query",
    fields={
        "labels": {},
        "name": "",
        "hostname": "",
        "addr": "",
        "description": "",
        "resource": None,
    },
    functions={
        **_COMMON,
        "exists": _pure(_exists, 1),
        "search": Function(call=_search, least=1, most=MANY),
        "hasPrefix": _pure(lambda value, prefix: text(value).startswith(text(prefix)), 2),
        "split": _pure(lambda value, separator: _split(text(value), text(separator)), 2),
    },
)

SESSION_FILTER = Language(
    name="session filter",
    fields={"user.name": "", "user.spec.roles": (), **_USER},
    items=_USER_ITEMS,
    functions=_COMMON,
)

REVIEW = Language(
    name="review condition",
    fields={
        **_USER,
        "reviewer.roles": (),
        "reviewer.traits": {},
        "request.roles": (),
        "request.reason": "",
        "request.system_annotations": {},
    },
    items={**_USER_ITEMS, "reviewer.traits": (), "request.system_annotations": ()},
    functions={**_COMMON, "regexp.match": _pure(_regexp_match, 2)},
)


def _split(value: str, separator: str) -> tuple[str, ...]:
    if not separator:
        raise PredicateError("split() needs a separator")
    return tuple(value.split(separator))


@lru_cache(maxsize=4096)
def _compiled(name: str, expression: str) -> Expression:
    return _BY_NAME[name].compile(expression)


def compiled(language: Language, expression: str) -> Expression:
    """
    L{Language.compile}, remembered.
    """
    return _compiled(language.name, expression)


_BY_NAME = {each.name: each for each in (WHERE, IMPERSONATE, LABELS, QUERY, SESSION_FILTER, REVIEW)}

__all__ = ["IMPERSONATE", "LABELS", "QUERY", "REVIEW", "SESSION_FILTER", "WHERE", "compiled", "email_local"]
