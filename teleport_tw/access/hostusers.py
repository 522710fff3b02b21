"""
Whether a Unix user is made for a session, and with which groups and sudoers lines.

@see: reference, sections 3.2 and 3.3
"""

from __future__ import annotations

from collections.abc import Mapping

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
    """

    mode: HostUserMode
    groups: tuple[str, ...] = ()
    sudoers: tuple[str, ...] = ()
    shell: str = ""


def host_user(checker: Checker, labels: Mapping[str, str]) -> HostUser | None:
    """
    @return: C{None} when any role that matches the node does not ask for it; different modes give C{keep}.
    """
    roles = [
        role for role in checker.roles if matching.allows(role.allow.selector(Target.NODE), labels, checker.traits)
    ]
    modes = {role.options.create_host_user_mode or HostUserMode.OFF for role in roles}
    if not modes or HostUserMode.OFF in modes:
        return None
    return HostUser(
        mode=modes.pop() if len(modes) == 1 else HostUserMode.KEEP,
        groups=_without(roles, checker, labels, Principal.HOST_GROUPS),
        sudoers=_without(roles, checker, labels, Principal.HOST_SUDOERS),
        shell=checker.options.host_user_shell,
    )


def _without(roles: list[Role], checker: Checker, labels: Mapping[str, str], principal: Principal) -> tuple[str, ...]:
    denied = [
        name
        for role in checker.roles
        if matching.denies(role.deny.selector(Target.NODE), labels, checker.traits)
        or not role.deny.selector(Target.NODE)
        for name in role.deny.names(principal)
    ]
    offered = (name for role in roles for name in role.allow.names(principal))
    return tuple(name for name in dict.fromkeys(offered) if not patterns.any_matches(denied, name))
