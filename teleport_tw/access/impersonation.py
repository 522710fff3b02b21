"""
Whose certificates an identity may have.

@see: reference, section 3.3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teleport_tw.access import languages, patterns
from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import Impersonate, Role


def may_impersonate(checker: Checker, user: Resource, roles: Sequence[Role]) -> Decision:
    """
    The user and each of its roles must be allowed and none denied.

    @param user: whose certificate is asked for.
    @param roles: that the certificate would carry.
    """
    for own in checker.roles:
        denied = own.deny.impersonate
        if patterns.any_matches(denied.users, user.name, broken=True) or any(
            patterns.any_matches(denied.roles, role.name, broken=True) for role in roles
        ):
            finding = Finding(own.name, f"denies impersonation of user {user.name!r}{_aside(denied)}")
            return Decision(allowed=False, reason=str(finding), role=own.name, findings=(finding,))
    wanted: list[Role | None] = [*roles] or [None]
    for role in wanted:
        shortcomings = [_shortcoming(checker, own.allow.impersonate, user, role) for own in checker.roles]
        if "" in shortcomings:
            continue
        findings = tuple(Finding(own.name, text) for own, text in zip(checker.roles, shortcomings, strict=True))
        what = f"user {user.name!r}" + (f" with role {role.name!r}" if role else "")
        reason = "; ".join([f"no role of {checker.username!r} may impersonate {what}", *map(str, findings)])
        return Decision(allowed=False, reason=reason, findings=findings)
    return Decision(allowed=True, reason="allowed by impersonate")


def _shortcoming(checker: Checker, conditions: Impersonate, user: Resource, role: Role | None) -> str:
    """
    @return: why one role's conditions do not cover it; empty when they do.
    """
    if not patterns.any_matches(conditions.users, user.name):
        return f"does not allow user {user.name!r}{_aside(conditions)}"
    if role is not None and not patterns.any_matches(conditions.roles, role.name):
        return f"does not allow role {role.name!r}{_aside(conditions)}"
    if not conditions.where:
        return ""
    bindings: dict[str, Any] = {
        "user": checker.user,
        "impersonate_user": {"metadata": {"name": user.name, "labels": user.metadata.labels}},
    }
    if role is not None:
        bindings["impersonate_role"] = {"metadata": {"name": role.name, "labels": role.labels}}
    try:
        holds = languages.compiled(languages.IMPERSONATE, conditions.where).holds(bindings)
    except TeleportError as error:
        return f"has a where without an answer ({error.message})"
    return "" if holds else "has a where that does not hold"


def _aside(conditions: Impersonate) -> str:
    text = patterns.trouble((*conditions.users, *conditions.roles))
    return f" ({text})" if text else ""
