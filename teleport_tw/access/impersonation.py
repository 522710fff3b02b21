"""
Whose certificates an identity may have.

@see: reference, section 3.3
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from teleport_tw.access import languages, patterns
from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision
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
        if _user(denied, user.name) or any(patterns.any_matches(denied.roles, role.name) for role in roles):
            return Decision(allowed=False, reason=f"role {own.name!r} denies impersonation", role=own.name)
    wanted: list[Role | None] = [*roles] or [None]
    for role in wanted:
        if not any(_allows(checker, own.allow.impersonate, user, role) for own in checker.roles):
            what = f"user {user.name!r}" + (f" with role {role.name!r}" if role else "")
            return Decision(allowed=False, reason=f"no role of {checker.username!r} may impersonate {what}")
    return Decision(allowed=True, reason="allowed by impersonate")


def _user(conditions: Impersonate, name: str) -> bool:
    return patterns.any_matches(conditions.users, name)


def _allows(checker: Checker, conditions: Impersonate, user: Resource, role: Role | None) -> bool:
    if not _user(conditions, user.name):
        return False
    if role is not None and not patterns.any_matches(conditions.roles, role.name):
        return False
    if not conditions.where:
        return True
    bindings: dict[str, Any] = {
        "user": checker.user,
        "impersonate_user": {"metadata": {"name": user.name, "labels": user.metadata.labels}},
    }
    if role is not None:
        bindings["impersonate_role"] = {"metadata": {"name": role.name, "labels": role.labels}}
    try:
        return languages.compiled(languages.IMPERSONATE, conditions.where).holds(bindings)
    except TeleportError:
        return False
