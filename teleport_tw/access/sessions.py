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
    @ivar required: the same policies, worded for people.
    @ivar pause: whether it pauses, rather than ends, while they are missing: each role that is not satisfied wants so.
    """

    satisfied: bool
    missing: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    pause: bool = False


def moderated(owner_roles: Sequence[Role], kind: str) -> bool:
    """
    @return: whether somebody else must be present in the sessions of who holds these roles.
    """
    return any(_policies(role, kind) for role in owner_roles)


def presence(
    owner_roles: Sequence[Role], kind: str, participants: Iterable[Participant], *, owner: str = ""
) -> Presence:
    """
    Any one policy satisfies a role, and every role that has policies must be satisfied.

    @param kind: C{ssh}, C{k8s}, ….
    @param owner: who never counts, however often they join their own session; nobody else counts twice.
    """
    present = tuple(each for each in participants if not owner or each.username != owner)
    lacking = [
        policies
        for role in owner_roles
        if (policies := _policies(role, kind)) and not any(_enough(policy, present) for policy in policies)
    ]
    if not lacking:
        return Presence(satisfied=True)
    return Presence(
        satisfied=False,
        missing=tuple(policy.name for policy in lacking[0]),
        required=tuple(map(_worded, lacking[0])),
        pause=all(any(policy.pause for policy in policies) for policies in lacking),
    )


def counts(owner_roles: Sequence[Role], kind: str, participant: Participant) -> bool:
    """
    @return: whether any policy asks for such as them, be there enough or not.
    """
    return any(
        participant.mode in policy.modes and _counts(policy.filter, participant)
        for role in owner_roles
        for policy in _policies(role, kind)
    )


def _policies(role: Role, kind: str) -> tuple[RequireJoin, ...]:
    if role.version in NEEDS_V5:
        return ()
    return tuple(policy for policy in role.allow.require_session_join if _of_kind(policy.kinds, kind))


def _worded(policy: RequireJoin) -> str:
    modes = " or ".join(mode.value for mode in policy.modes)
    who = f" where {policy.filter}" if policy.filter else ""
    return f"{policy.count} {modes}{who}" + (f" ({policy.name})" if policy.name else "")


def join_modes(joiner_roles: Sequence[Role], owner_roles: Sequence[str], kind: str) -> frozenset[JoinMode]:
    """
    @param owner_roles: names of the session owner's roles.
    @return: how the joiner may join; empty when not at all.
    """
    allowed = (policy for role in joiner_roles for policy in role.allow.join_sessions)
    denied = (policy for role in joiner_roles for policy in role.deny.join_sessions)
    return _modes(allowed, owner_roles, kind, broken=False) - _modes(denied, owner_roles, kind, broken=True)


def modes_of(
    joiner: str, joiner_roles: Sequence[Role], owner: str, owner_roles: Sequence[str], kind: str
) -> frozenset[JoinMode]:
    """
    @return: how somebody may join a session; its owner always may, and is no moderator of themselves.
    """
    if joiner == owner:
        return frozenset({JoinMode.PEER, JoinMode.OBSERVER})
    return join_modes(joiner_roles, owner_roles, kind)


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
    return len({each.username for each in present if each.mode in policy.modes and _counts(policy.filter, each)}) >= (
        policy.count
    )


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
