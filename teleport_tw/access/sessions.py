"""
Who must be present in a session, and who may join one.

@see: reference, section 8.5
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from teleport_tw.access import languages, patterns
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import JoinMode, JoinSessions, RequireJoin, Role

NEEDS_V5 = frozenset({"v3", "v4"})
"""Versions whose roles ask for nobody's presence."""


@frozen(kw_only=True)
class Participant:
    """
    Somebody in the session beside its owner.
    """

    username: str
    roles: tuple[str, ...]
    traits: Mapping[str, tuple[str, ...]]
    mode: JoinMode


@frozen(kw_only=True)
class Presence:
    """
    Whether the session may run.

    @ivar missing: the names of policies of the first role that is not satisfied.
    @ivar pause: whether it pauses, rather than ends, while they are missing.
    """

    satisfied: bool
    missing: tuple[str, ...] = ()
    pause: bool = False


def presence(owner_roles: Sequence[Role], kind: str, participants: Iterable[Participant]) -> Presence:
    """
    Any one policy satisfies a role, and every role that has policies must be satisfied.

    @param kind: C{ssh}, C{k8s}, ….
    """
    present = tuple(participants)
    for role in owner_roles:
        if role.version in NEEDS_V5:
            continue
        policies = [policy for policy in role.allow.require_session_join if _of_kind(policy.kinds, kind)]
        if policies and not any(_enough(policy, present) for policy in policies):
            return Presence(
                satisfied=False,
                missing=tuple(policy.name for policy in policies),
                pause=any(policy.pause for policy in policies),
            )
    return Presence(satisfied=True)


def join_modes(joiner_roles: Sequence[Role], owner_roles: Sequence[str], kind: str) -> frozenset[JoinMode]:
    """
    @param owner_roles: names of the session owner's roles.
    @return: how the joiner may join; empty when not at all.
    """
    allowed = (policy for role in joiner_roles for policy in role.allow.join_sessions)
    denied = (policy for role in joiner_roles for policy in role.deny.join_sessions)
    return _modes(allowed, owner_roles, kind, broken=False) - _modes(denied, owner_roles, kind, broken=True)


def may_list(joiner_roles: Sequence[Role], owner_roles: Sequence[str], kind: str, *, by_rules: bool) -> bool:
    """
    Who may join a session sees it in lists, whatever a deny on listing says.

    @param by_rules: what rules say of C{list} on C{session_tracker}.
    """
    return by_rules or bool(join_modes(joiner_roles, owner_roles, kind))


def _modes(
    policies: Iterable[JoinSessions], owner_roles: Sequence[str], kind: str, *, broken: bool
) -> frozenset[JoinMode]:
    return frozenset(
        mode
        for policy in policies
        if _of_kind(policy.kinds, kind)
        and any(patterns.any_matches(policy.roles, name, broken=broken) for name in owner_roles)
        for mode in policy.modes
    )


def _of_kind(kinds: Sequence[str], kind: str) -> bool:
    return kind in kinds or "*" in kinds


def _enough(policy: RequireJoin, present: Sequence[Participant]) -> bool:
    return sum(each.mode in policy.modes and _counts(policy.filter, each) for each in present) >= policy.count


def _counts(filter_: str, participant: Participant) -> bool:
    if not filter_:
        return True
    bindings: dict[str, Any] = {
        "user": {
            "name": participant.username,
            "metadata": {"name": participant.username},
            "spec": {"roles": participant.roles, "traits": participant.traits},
        }
    }
    try:
        return languages.compiled(languages.SESSION_FILTER, filter_).holds(bindings)
    except TeleportError:
        return False
