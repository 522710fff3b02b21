"""
Which labelled things a selector chooses.

@see: reference, section 3.4
"""

from __future__ import annotations

from collections.abc import Mapping

from teleport_tw.access import languages, patterns
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import Labels, Selector

Traits = Mapping[str, tuple[str, ...]]


def labels_match(wanted: Labels, labels: Mapping[str, str]) -> bool:
    """
    Every key must be there with a value that one of its patterns matches; C{*: *} matches anything at all, and no
    keys match nothing.

    @raise TeleportError: BAD_PARAMETER, a pattern is none.
    """
    if wanted.get("*") == ("*",):
        return True
    return bool(wanted) and all(
        key in labels and patterns.any_matches(values, labels[key]) for key, values in wanted.items()
    )


def expression_matches(expression: str, labels: Mapping[str, str], traits: Traits) -> bool:
    """
    @raise TeleportError: BAD_PARAMETER, the expression has no answer.
    """
    bindings = {"labels": labels, "user": {"spec": {"traits": traits}}}
    return languages.compiled(languages.LABELS, expression).holds(bindings)


def allows(selector: Selector, labels: Mapping[str, str], traits: Traits) -> bool:
    """
    Map and expression must both choose, where both are there. What cannot be decided is not allowed.
    """
    if not selector:
        return False
    try:
        return (not selector.labels or labels_match(selector.labels, labels)) and (
            not selector.expression or expression_matches(selector.expression, labels, traits)
        )
    except TeleportError:
        return False


def denies(selector: Selector, labels: Mapping[str, str], traits: Traits) -> bool:
    """
    Either map or expression is enough. What cannot be decided is denied.
    """
    try:
        return labels_match(selector.labels, labels) or (
            bool(selector.expression) and expression_matches(selector.expression, labels, traits)
        )
    except TeleportError:
        return True
