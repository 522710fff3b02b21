"""
Whether a Unix user is made for a session, and with which groups and sudoers lines.

@see: reference, sections 3.2 and 3.3
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from teleport_tw.access import labels as matching
from teleport_tw.access import patterns
from teleport_tw.access.checker import Checker
from teleport_tw.resources.roles import Principal, Role, Target
from teleport_tw.resources.roles_options import HostUserMode


@frozen(kw_only=True)
class HostUser:
    """
    What the node is to make.

    @ivar mode: never C{off}.
    @ivar shell: empty for the system's own.
    """

    mode: HostUserMode
    groups: tuple[str, ...] = ()
    sudoers: tuple[str, ...] = ()
    shell: str = ""


def host_user(checker: Checker, labels: Mapping[str, str]) -> HostUser | None:
    """
    @return: C{None} when any role that matches the node does not ask for it; different modes give C{keep}.
    """
    roles = sorted(checker.matching(Target.NODE, labels), key=lambda role: role.name)
    modes = {role.options.create_host_user_mode or HostUserMode.OFF for role in roles}
    if not modes or HostUserMode.OFF in modes:
        return None
    shells = (role.options.create_host_user_default_shell for role in roles)
    return HostUser(
        mode=modes.pop() if len(modes) == 1 else HostUserMode.KEEP,
        groups=_without(roles, checker, labels, Principal.HOST_GROUPS),
        sudoers=_without(roles, checker, labels, Principal.HOST_SUDOERS),
        shell=next(filter(None, shells), ""),
    )


def _without(
    roles: Sequence[Role], checker: Checker, labels: Mapping[str, str], principal: Principal
) -> tuple[str, ...]:
    denied = [
        name
        for role in checker.roles
        if not (selector := role.deny.selector(Target.NODE))
        or matching.chooser(selector, checker.traits, deny=True).chooses(labels)
        for name in role.deny.names(principal)
    ]
    offered = (name for role in roles for name in role.allow.names(principal))
    if principal is Principal.HOST_SUDOERS:
        # Stars inside a sudoers line are sudo's own.
        return tuple(name for name in dict.fromkeys(offered) if name not in denied and "*" not in denied)
    return tuple(name for name in dict.fromkeys(offered) if not patterns.any_matches(denied, name, broken=True))
