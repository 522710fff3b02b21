"""
Users that are made in a database for the length of a session: for whom, and which roles of the database they may have.

Auth asks before it certifies, the agent at each session, C{tsh} to show what there is: all by this.

@see: reference for protocols, section 1.13
"""

from __future__ import annotations

from collections.abc import Sequence

from teleport_tw.access import patterns
from teleport_tw.access.checker import Checker
from teleport_tw.resources.databases import AUTO_USERS, Database
from teleport_tw.resources.roles import Principal, Role, Target
from teleport_tw.resources.roles_options import DatabaseUserMode


def making(checker: Checker, database: Database) -> tuple[Role, ...]:
    """
    @return: the roles that choose the database and want users to be made; none where it cannot have any.
    """
    if database.protocol not in AUTO_USERS or not database.admin_user.name:
        return ()
    return tuple(
        role
        for role in checker.matching(Target.DATABASE, database.all_labels)
        if role.options.create_db_user_mode not in (None, DatabaseUserMode.OFF)
    )


def offered(checker: Checker, makers: Sequence[Role]) -> tuple[str, ...]:
    """
    @param makers: of L{making}.
    @return: the database roles that the user may have, in order; what any role of the user's denies is taken off.
    """
    denied = tuple(pattern for role in checker.roles for pattern in role.deny.names(Principal.DB_ROLES))
    named = {name for role in makers for name in role.allow.names(Principal.DB_ROLES)}
    return tuple(sorted(name for name in named if not patterns.any_matches(denied, name, broken=True)))
