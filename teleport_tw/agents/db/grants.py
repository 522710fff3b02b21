"""
What an automatic user gets: which roles of the database, or which rights on its objects.

@see: reference, protocols 1.13
"""

from __future__ import annotations

from attrs import frozen

from teleport_tw.access import dbusers
from teleport_tw.access.checker import Checker
from teleport_tw.base.errors import access_denied
from teleport_tw.resources.databases import Database
from teleport_tw.resources.roles import DatabasePermission
from teleport_tw.resources.roles_options import DatabaseUserMode


@frozen(kw_only=True)
class Grants:
    """
    @ivar user: its name in the database.
    @ivar drop: whether it is dropped at the end, and not only locked.
    @ivar roles: of the database.
    @ivar permissions: on objects; with these there are no roles.
    @ivar denied: rights taken off again.
    """

    user: str
    drop: bool
    roles: tuple[str, ...] = ()
    permissions: tuple[DatabasePermission, ...] = ()
    denied: tuple[DatabasePermission, ...] = ()


def grants_of(checker: Checker, database: Database, wanted: tuple[str, ...]) -> Grants | None:
    """
    @param wanted: roles that the user asked for; none asks for all.
    @return: C{None} where no role that chooses the database wants users to be made, or the database cannot have it.
    @raise TeleportError: ACCESS_DENIED, a role was asked for that is not allowed, or the roles contradict each other.
    """
    making = dbusers.making(checker, database)
    if not making:
        return None
    # off, keep, drop: the least that any role wants to be left behind
    drop = any(role.options.create_db_user_mode is DatabaseUserMode.BEST_EFFORT_DROP for role in making)
    roles = dbusers.offered(checker, making)
    for name in wanted:
        if name not in roles:
            raise access_denied(f"database role {name!r} is not among those allowed", details=f"allowed: {roles}")
    permissions = tuple(each for role in making for each in role.allow.db_permissions)
    if permissions and roles:
        raise access_denied(
            "access denied: a role gives database roles and another rights on objects; only one of both can be had",
            details="db_roles and db_permissions exclude each other",
        )
    return Grants(
        user=checker.username,
        drop=drop,
        roles=tuple(sorted(wanted)) or roles,
        permissions=permissions,
        denied=tuple(each for role in checker.roles for each in role.deny.db_permissions),
    )
