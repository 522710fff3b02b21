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
        if _any_rule(role.deny.rules, kind, verb, context, deny=True):
            finding = Finding(role.name, f"denies {verb} on {kind}")
            return Decision(allowed=False, reason=str(finding), role=role.name, findings=(finding,))
    for role in roles:
        if _any_rule(role.allow.rules, kind, verb, context, deny=False):
            return Decision(allowed=True, reason=f"allowed by role {role.name!r}", role=role.name)
    return Decision(allowed=False, reason=f"no role allows {verb} on {kind}")


def possible(roles: Sequence[Role], kind: str, verb: str) -> bool:
    """
    Whether some resource of the kind might be allowed: C{where} of allow is taken to hold, and a deny counts only
    when it has none. A list is then filtered item by item.
    """
    denied = any(not rule.where and _covers(rule, kind, verb) for role in roles for rule in role.deny.rules)
    return not denied and any(_covers(rule, kind, verb) for role in roles for rule in role.allow.rules)


def _any_rule(rules: Sequence[Rule], kind: str, verb: str, bindings: Mapping[str, Any], *, deny: bool) -> bool:
    return any(_covers(rule, kind, verb) and _holds(rule.where, bindings, deny=deny) for rule in rules)


def _covers(rule: Rule, kind: str, verb: str) -> bool:
    kinds, verbs = rule.resources, rule.verbs
    if not ("*" in kinds or kind in kinds or (kind in CONNECTORS and "auth_connector" in kinds)):
        return False
    return "*" in verbs or verb in verbs or (verb == "readnosecrets" and "read" in verbs)


def _holds(where: str, bindings: Mapping[str, Any], *, deny: bool) -> bool:
    """
    What cannot be decided is not allowed, and is denied.
    """
    if not where:
        return True
    try:
        return languages.compiled(languages.WHERE, where).holds(bindings)
    except TeleportError:
        return deny
