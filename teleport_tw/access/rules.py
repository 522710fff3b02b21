"""
Verbs over the cluster's own resources: C{spec.allow.rules} and C{spec.deny.rules}.

@see: reference, section 3.6
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from teleport_tw.access import languages
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import Role, Rule

CONNECTORS = frozenset({"oidc", "saml", "github"})
"""Kinds that a rule on C{auth_connector} covers."""


def decide(roles: Sequence[Role], kind: str, verb: str, context: Mapping[str, Any]) -> Decision:
    """
    May the holder of these roles do C{verb} on resources of C{kind}?

    @param context: what C{where} may name: C{user}, C{resource} (its JSON), C{session}, C{can_view}. What is left
        out is empty.
    """
    for role in roles:
        for rule in role.deny.rules:
            if not _covers(rule, kind, verb):
                continue
            holds, trouble = _holds(rule.where, context)
            if holds or trouble:
                finding = Finding(role.name, f"denies {verb} on {kind}{trouble}")
                return Decision(allowed=False, reason=str(finding), role=role.name, findings=(finding,))
    findings: list[Finding] = []
    for role in roles:
        for rule in role.allow.rules:
            if not _covers(rule, kind, verb):
                continue
            holds, trouble = _holds(rule.where, context)
            if holds:
                return Decision(allowed=True, reason=f"allowed by role {role.name!r}", role=role.name)
            findings.append(Finding(role.name, f"has a where that does not hold{trouble}"))
    reason = "; ".join([f"no role allows {verb} on {kind}", *map(str, findings)])
    return Decision(allowed=False, reason=reason, findings=tuple(findings))


def possible(roles: Sequence[Role], kind: str, verb: str) -> bool:
    """
    Whether some resource of the kind might be allowed: C{where} of allow is taken to hold, and a deny counts only
    when it has none. A list is then filtered item by item.
    """
    denied = any(not rule.where and _covers(rule, kind, verb) for role in roles for rule in role.deny.rules)
    return not denied and any(_covers(rule, kind, verb) for role in roles for rule in role.allow.rules)


def _covers(rule: Rule, kind: str, verb: str) -> bool:
    kinds, verbs = rule.resources, rule.verbs
    if not ("*" in kinds or kind in kinds or (kind in CONNECTORS and "auth_connector" in kinds)):
        return False
    return "*" in verbs or verb in verbs or (verb == "readnosecrets" and "read" in verbs)


def _holds(where: str, bindings: Mapping[str, Any]) -> tuple[bool, str]:
    """
    @return: whether it holds; and why that cannot be said, in brackets, for administrators.
    """
    if not where:
        return True, ""
    try:
        return languages.compiled(languages.WHERE, where).holds(bindings), ""
    except TeleportError as error:
        return False, f" ({error.message})"
