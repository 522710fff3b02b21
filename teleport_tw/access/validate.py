"""
What L{Role.parse} cannot know: whether a role's patterns, templates and expressions mean anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from teleport_tw.access import languages, patterns, traits
from teleport_tw.access.predicate import Language
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import Conditions, Role


def role(resource: Resource) -> Role:
    """
    @return: the role, fit to be stored.
    @raise TeleportError: BAD_PARAMETER, naming the key path of every mistake.
    """
    found = Role.parse(resource)
    mistakes = [
        mistake
        for path, conditions in (("spec.allow", found.allow), ("spec.deny", found.deny))
        for mistake in _conditions(path, conditions)
    ]
    if mistakes:
        raise bad_parameter(f"role {found.name!r}: " + "; ".join(mistakes))
    return found


def _conditions(path: str, conditions: Conditions) -> Iterator[str]:
    for target, selector in conditions.selectors.items():
        key = f"{path}.{target.value}_labels"
        for name, values in selector.labels.items():
            yield from _texts(f"{key}.{name}", values)
        yield from _expression(f"{key}_expression", languages.LABELS, selector.expression)
    for principal, names in conditions.principals.items():
        yield from _texts(f"{path}.{principal.value}", names)
    for index, rule in enumerate(conditions.rules):
        yield from _expression(f"{path}.rules[{index}].where", languages.WHERE, rule.where)
    yield from _texts(f"{path}.impersonate.users", conditions.impersonate.users)
    yield from _texts(f"{path}.impersonate.roles", conditions.impersonate.roles)
    yield from _expression(f"{path}.impersonate.where", languages.IMPERSONATE, conditions.impersonate.where)
    yield from _texts(f"{path}.request.roles", conditions.request.roles)
    for index, threshold in enumerate(conditions.request.thresholds):
        yield from _expression(f"{path}.request.thresholds[{index}].filter", languages.REVIEW, threshold.filter)
    yield from _texts(f"{path}.review_requests.roles", conditions.review.roles)
    yield from _expression(f"{path}.review_requests.where", languages.REVIEW, conditions.review.where)
    for index, policy in enumerate(conditions.require_session_join):
        yield from _expression(f"{path}.require_session_join[{index}].filter", languages.SESSION_FILTER, policy.filter)
    for index, entry in enumerate(conditions.kubernetes_resources):
        yield from _texts(f"{path}.kubernetes_resources[{index}]", (entry.name, entry.namespace))


def _texts(path: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        try:
            if traits.template(text) is None:
                patterns.compiled(text)
        except TeleportError as error:
            yield f"{path}: {error}"


def _expression(path: str, language: Language, expression: str) -> Iterator[str]:
    if expression:
        try:
            languages.compiled(language, expression)
        except TeleportError as error:
            yield f"{path}: {error}"
