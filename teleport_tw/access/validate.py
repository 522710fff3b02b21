"""
What L{Role.parse} cannot know: whether a role's patterns, templates and expressions mean anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from teleport_tw.access import languages, patterns, traits
from teleport_tw.access.predicate import Language
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import ClaimMapping, Conditions, Labels, Principal, Role

Check: TypeAlias = Callable[[str], object]
"""Raises L{TeleportError} BAD_PARAMETER for a text that means nothing."""


def role(resource: Resource) -> Role:
    """
    @return: the role, fit to be stored.
    @raise TeleportError: BAD_PARAMETER, naming the key path of every mistake.
    """
    found = Role.parse(resource)
    mistakes = [
        *_texts("spec.options.cert_extensions", (each.value for each in found.options.cert_extensions), _filled),
        *_conditions("spec.allow", found.allow),
        *_conditions("spec.deny", found.deny),
    ]
    if mistakes:
        raise bad_parameter(f"role {found.name!r}: " + "; ".join(mistakes))
    return found


def _filled(text: str) -> None:
    """
    A literal or a template over traits.
    """
    found = traits.template(text)
    if found is not None and found.asks:
        raise bad_parameter(f"{text!a} asks about a role's name; it can stand in request and review_requests only")


def _pattern(text: str) -> None:
    """
    A literal, glob, regular expression or template over traits.
    """
    _filled(text)
    if traits.template(text) is None:
        patterns.compiled(text)


def _role_pattern(text: str) -> None:
    """
    A literal, glob, regular expression, or a template that asks about a role's name.
    """
    found = traits.template(text)
    if found is None:
        patterns.compiled(text)
    elif not found.asks:
        raise bad_parameter(f"{text!a}: only regexp.match and regexp.not_match can stand here; see claims_to_roles")


def _conditions(path: str, conditions: Conditions) -> Iterator[str]:
    for target, selector in conditions.selectors.items():
        yield from _labels(f"{path}.{target.value}_labels", selector.labels, _pattern)
        yield from _expression(f"{path}.{target.value}_labels_expression", languages.LABELS, selector.expression)
    for principal, names in conditions.principals.items():
        check = _filled if principal is Principal.HOST_SUDOERS else _pattern
        yield from _texts(f"{path}.{principal.value}", names, check)
    for index, entry in enumerate(conditions.kubernetes_resources):
        each = (entry.name, entry.namespace, entry.api_group)
        yield from _texts(f"{path}.kubernetes_resources[{index}]", each, _pattern)
    for index, permission in enumerate(conditions.db_permissions):
        yield from _labels(f"{path}.db_permissions[{index}].match", permission.match, _pattern)
    yield from _texts(f"{path}.mcp.tools", conditions.mcp_tools, _pattern)
    yield from _texts(f"{path}.github_permissions", conditions.github_organizations, _pattern)
    for index, rule in enumerate(conditions.rules):
        yield from _expression(f"{path}.rules[{index}].where", languages.WHERE, rule.where)
    yield from _texts(f"{path}.impersonate.users", conditions.impersonate.users, _pattern)
    yield from _texts(f"{path}.impersonate.roles", conditions.impersonate.roles, _pattern)
    yield from _expression(f"{path}.impersonate.where", languages.IMPERSONATE, conditions.impersonate.where)
    yield from _requests(path, conditions)
    for index, policy in enumerate(conditions.require_session_join):
        yield from _expression(f"{path}.require_session_join[{index}].filter", languages.SESSION_FILTER, policy.filter)
    for index, joining in enumerate(conditions.join_sessions):
        yield from _texts(f"{path}.join_sessions[{index}].roles", joining.roles, patterns.compiled)


def _requests(path: str, conditions: Conditions) -> Iterator[str]:
    request, review = conditions.request, conditions.review
    yield from _texts(f"{path}.request.roles", request.roles, _role_pattern)
    yield from _texts(f"{path}.request.search_as_roles", request.search_as_roles, _role_pattern)
    yield from _claims(f"{path}.request.claims_to_roles", request.claims_to_roles)
    yield from _labels(f"{path}.request.annotations", request.annotations, _filled)
    for index, threshold in enumerate(request.thresholds):
        yield from _expression(f"{path}.request.thresholds[{index}].filter", languages.REVIEW, threshold.filter)
    yield from _texts(f"{path}.review_requests.roles", review.roles, _role_pattern)
    yield from _texts(f"{path}.review_requests.preview_as_roles", review.preview_as_roles, _role_pattern)
    yield from _claims(f"{path}.review_requests.claims_to_roles", review.claims_to_roles)
    yield from _expression(f"{path}.review_requests.where", languages.REVIEW, review.where)


def _claims(path: str, mappings: Sequence[ClaimMapping]) -> Iterator[str]:
    for index, mapping in enumerate(mappings):
        yield from _texts(f"{path}[{index}].value", (mapping.value,), patterns.compiled)
        plain = (name for name in mapping.roles if "$" not in name)
        yield from _texts(f"{path}[{index}].roles", plain, _role_pattern)


def _labels(path: str, labels: Labels, check: Check) -> Iterator[str]:
    for name, values in labels.items():
        yield from _texts(path, (name,), _filled)
        yield from _texts(f"{path}.{name}", values, check)


def _texts(path: str, texts: Iterable[str], check: Check) -> Iterator[str]:
    for text in texts:
        try:
            check(text)
        except TeleportError as error:
            yield f"{path}: {error}"


def _expression(path: str, language: Language, expression: str) -> Iterator[str]:
    if expression:
        try:
            languages.compiled(language, expression)
        except TeleportError as error:
            yield f"{path}: {error}"
