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
from teleport_tw.access.labels import Traits
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import ClaimMapping, Role, Threshold


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


def may_request(checker: Checker, name: str) -> bool:
    """
    @param name: of the role that is asked for.
    """
    if any(_named(each.deny.request.roles, each.deny.request.claims_to_roles, checker, name) for each in checker.roles):
        return False
    return any(
        _named(
            (*each.allow.request.roles, *each.allow.request.search_as_roles),
            each.allow.request.claims_to_roles,
            checker,
            name,
        )
        for each in checker.roles
    )


def may_review(checker: Checker, request: Request) -> bool:
    """
    Never one's own; every role of the request must be covered, and none denied.
    """
    if request.user == checker.username:
        return False
    return all(_reviews(checker, request, name) for name in request.roles) and bool(request.roles)


def thresholds(roles: Sequence[Role], asked: Iterable[str]) -> tuple[Threshold, ...]:
    """
    @return: of every role that lets one of C{asked} be requested; one approval or denial where none says.
    """
    names = tuple(asked)
    found = tuple(
        threshold
        for role in roles
        if any(patterns.any_matches((*role.allow.request.roles, *role.allow.request.search_as_roles), n) for n in names)
        for threshold in role.allow.request.thresholds
    )
    return found or (Threshold(),)


def state(wanted: Sequence[Threshold], request: Request, reviews: Sequence[Review]) -> State:
    """
    Any one threshold that is reached decides; denial is looked at first, and each author counts once.
    """
    latest = tuple({review.author: review for review in reviews}.values())
    for threshold in wanted:
        counted = [review for review in latest if _counts(threshold.filter, request, review)]
        if threshold.deny and sum(not review.approves for review in counted) >= threshold.deny:
            return State.DENIED
    for threshold in wanted:
        counted = [review for review in latest if _counts(threshold.filter, request, review)]
        if threshold.approve and sum(review.approves for review in counted) >= threshold.approve:
            return State.APPROVED
    return State.PENDING


def _reviews(checker: Checker, request: Request, name: str) -> bool:
    for each in checker.roles:
        denied = each.deny.review
        if _named(denied.roles, denied.claims_to_roles, checker, name) and _holds(
            denied.where, _bindings(request, checker.username, checker.role_names, checker.traits), on_error=True
        ):
            return False
    bindings = _bindings(request, checker.username, checker.role_names, checker.traits)
    return any(
        _named(each.allow.review.roles, each.allow.review.claims_to_roles, checker, name)
        and _holds(each.allow.review.where, bindings, on_error=False)
        for each in checker.roles
    )


def _named(names: Sequence[str], claims: Sequence[ClaimMapping], checker: Checker, name: str) -> bool:
    if any(_matches(pattern, name) for pattern in names):
        return True
    return any(
        patterns.matches(granted, name)
        for mapping in claims
        for value in checker.traits.get(mapping.claim, ())
        for pattern in mapping.roles
        if (granted := patterns.replaced(patterns.compiled(mapping.value), pattern, value)) is not None
    )


def _matches(pattern: str, name: str) -> bool:
    found = traits.template(pattern)
    return found.matches(name) if found is not None else patterns.matches(pattern, name)


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
