"""
Access requests: what may be asked for, who may review, and when reviews decide.

@see: reference, section 3.7
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any

from attrs import frozen

from teleport_tw.access import languages, patterns, traits
from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.access.labels import Traits
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import ClaimMapping, RequestConditions, Threshold

Thresholds = tuple[tuple[Threshold, ...], ...]
"""Sets of which each must be reached, by any one of its thresholds."""


class State(Enum):
    """
    Where a request stands.
    """

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    DENIED = "DENIED"


@frozen(kw_only=True)
class Review:
    """
    One person's word.
    """

    author: str
    roles: tuple[str, ...]
    traits: Traits
    approves: bool


@frozen(kw_only=True)
class Request:
    """
    What expressions may name of a request.
    """

    user: str
    roles: tuple[str, ...]
    reason: str = ""
    annotations: Traits


def may_request(checker: Checker, name: str) -> Decision:
    """
    @param name: of the role that is asked for.
    """
    for role in checker.roles:
        denied = role.deny.request
        if _named(_asked(denied), denied.claims_to_roles, checker, name, deny=True):
            finding = Finding(role.name, f"denies requests for role {name!r}{_aside(denied, checker)}")
            return Decision(allowed=False, reason=str(finding), role=role.name, findings=(finding,))
    findings = []
    for role in checker.roles:
        allowed = role.allow.request
        if _named(_asked(allowed), allowed.claims_to_roles, checker, name, deny=False):
            return Decision(allowed=True, reason=f"allowed by role {role.name!r}", role=role.name)
        if aside := _aside(allowed, checker):
            findings.append(Finding(role.name, f"cannot be read{aside}"))
    reason = "; ".join([f"no role allows requests for role {name!r}", *map(str, findings)])
    return Decision(allowed=False, reason=reason, findings=tuple(findings))


def may_review(checker: Checker, request: Request) -> Decision:
    """
    Never one's own; every role of the request must be covered, and none denied.
    """
    if request.user == checker.username:
        return Decision(allowed=False, reason="nobody reviews their own request")
    if not request.roles:
        return Decision(allowed=False, reason="the request asks for no role")
    bindings = _bindings(request, checker.username, checker.role_names, checker.traits)
    for name in request.roles:
        for role in checker.roles:
            denied = role.deny.review
            if _named(denied.roles, denied.claims_to_roles, checker, name, deny=True) and _holds(
                denied.where, bindings, on_error=True
            ):
                return Decision(allowed=False, reason=f"role {role.name!r} denies review of {name!r}", role=role.name)
        if not any(
            _named(role.allow.review.roles, role.allow.review.claims_to_roles, checker, name, deny=False)
            and _holds(role.allow.review.where, bindings, on_error=False)
            for role in checker.roles
        ):
            return Decision(allowed=False, reason=f"no role allows review of {name!r}")
    return Decision(allowed=True, reason="allowed by review_requests")


def thresholds(checker: Checker, asked: Iterable[str]) -> Thresholds:
    """
    @param checker: of whoever makes the request.
    @param asked: names of the roles that are asked for.
    @return: a set for each of the checker's roles that lets one of them be requested, so that a second role asked for
        beside the first, or a laxer role held beside a stricter, never lowers what is needed; one approval or denial
        where none says.
    """
    found = dict.fromkeys(
        role.allow.request.thresholds or (Threshold(),)
        for name in asked
        for role in checker.roles
        if _named(_asked(role.allow.request), role.allow.request.claims_to_roles, checker, name, deny=False)
    )
    return tuple(found) or ((Threshold(),),)


def state(wanted: Thresholds, request: Request, reviews: Sequence[Review]) -> State:
    """
    Any threshold's denials deny; approval needs one threshold of each set. Each author counts once, by their last
    word, and never on their own request.
    """
    latest = {review.author: review for review in reviews if review.author != request.user}.values()
    for threshold in (each for one in wanted for each in one):
        against = [review for review in latest if not review.approves and _counts(threshold.filter, request, review)]
        if threshold.deny and len(against) >= threshold.deny:
            return State.DENIED
    for one in wanted:
        if not any(_approved(threshold, request, latest) for threshold in one):
            return State.PENDING
    return State.APPROVED if wanted else State.PENDING


def _approved(threshold: Threshold, request: Request, reviews: Iterable[Review]) -> bool:
    found = [review for review in reviews if review.approves and _counts(threshold.filter, request, review)]
    return bool(threshold.approve) and len(found) >= threshold.approve


def _asked(conditions: RequestConditions) -> tuple[str, ...]:
    return (*conditions.roles, *conditions.search_as_roles)


def _named(names: Sequence[str], claims: Sequence[ClaimMapping], checker: Checker, name: str, *, deny: bool) -> bool:
    if any(_matches(pattern, name, deny) for pattern in names):
        return True
    return any(
        _granted(mapping, pattern, value, name, deny)
        for mapping in claims
        for value in checker.traits.get(mapping.claim, ())
        for pattern in mapping.roles
    )


def _matches(pattern: str, name: str, deny: bool) -> bool:
    try:
        found = traits.template(pattern)
        return found.matches(name) if found is not None else patterns.matches(pattern, name)
    except TeleportError:
        return deny


def _granted(mapping: ClaimMapping, pattern: str, value: str, name: str, deny: bool) -> bool:
    try:
        granted = patterns.replaced(patterns.compiled(mapping.value), pattern, value)
    except TeleportError:
        return deny
    if granted is None:
        return False
    # What came out of a claim is a name; else a claim of "*" would stand for every role.
    return granted == name if "$" in pattern else _matches(pattern, name, deny)


def _aside(conditions: RequestConditions, checker: Checker) -> str:
    for text in _asked(conditions):
        try:
            if traits.template(text) is None:
                patterns.compiled(text)
        except TeleportError as error:
            return f" ({error.message})"
    values = (mapping.value for mapping in conditions.claims_to_roles if mapping.claim in checker.traits)
    text = patterns.trouble(values)
    return f" ({text})" if text else ""


def _counts(filter_: str, request: Request, review: Review) -> bool:
    return _holds(filter_, _bindings(request, review.author, review.roles, review.traits), on_error=False)


def _bindings(request: Request, author: str, roles: tuple[str, ...], values: Traits) -> Mapping[str, Any]:
    return {
        "user": {"metadata": {"name": author}, "spec": {"roles": roles, "traits": values}},
        "reviewer": {"roles": roles, "traits": values},
        "request": {"roles": request.roles, "reason": request.reason, "system_annotations": request.annotations},
    }


def _holds(expression: str, bindings: Mapping[str, Any], *, on_error: bool) -> bool:
    if not expression:
        return True
    try:
        return languages.compiled(languages.REVIEW, expression).holds(bindings)
    except TeleportError:
        return on_error
