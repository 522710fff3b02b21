"""
Automatic users of PostgreSQL.

Those that we made are members of the role C{teleport-auto-user}, which has no rights; others are left alone. What a
user gets is taken off it again with its last session. A user that is kept may not log in; one that is to be dropped and
owns something is kept as well. Rights on objects (C{db_permissions}) are for tables of the session's database.

Names go into statements as quoted identifiers and literals; a name that holds a zero byte is none.

@see: reference, protocols 1.13; PostgreSQL 17 manual, I{Database Roles}
"""

# ruff: noqa: S608 -- every name and text is quoted by identifier() or literal(), since DDL takes no parameters
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import define

from teleport_tw.access import patterns
from teleport_tw.agents.db.grants import Grants
from teleport_tw.agents.db.postgres.conversation import Conversation, ServerError
from teleport_tw.agents.db.postgres.login import Login, unattended
from teleport_tw.agents.db.target import Targets
from teleport_tw.agents.db.users import Provisioning
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.protocols.postgres.startup import StartupMessage
from teleport_tw.resources.databases import Database
from teleport_tw.resources.roles import DatabasePermission

GROUP = "teleport-auto-user"
APPLICATION = "teleport users"
MAX_NAME_BYTES = 63
"""PostgreSQL cuts longer names, and two of them could become one."""
RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"})
"""Of tables; a role may write them in any case."""

_OWNS_SOMETHING = "2BP01"
_DUPLICATE = "42710"


def identifier(name: str) -> str:
    """
    @return: quoted.
    @raise TeleportError: BAD_PARAMETER, it cannot be a name.
    """
    if not name or "\0" in name or len(name.encode("utf-8")) > MAX_NAME_BYTES:
        raise bad_parameter(f"{name!r} cannot be a name in PostgreSQL")
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """
    @return: quoted, whatever the server's settings.
    @raise TeleportError: BAD_PARAMETER, it cannot be a text.
    """
    if "\0" in text:
        raise bad_parameter(f"{text!r} cannot be a text in PostgreSQL")
    return " E'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


@define(eq=False)
class PostgresUsers:
    """
    A L{teleport_tw.agents.db.users.Provisioner}.
    """

    targets: Targets

    async def activate(self, database: Database, name: str, grants: Grants) -> Provisioning:
        """
        See L{teleport_tw.agents.db.users.Provisioner.activate}.
        """
        user = identifier(grants.user)
        if grants.user == database.admin_user.name:
            raise TeleportError(Kind.ACCESS_DENIED, "the administrator of the database's users is nobody's own user")
        talk = await self._talk(database)
        try:
            await _group(talk)
            await _do(talk, "begin")
            await _lock(talk, grants.user)
            standing = await _standing(talk, grants.user)
            if standing is None:
                await _do(talk, f"create role {user} login in role {identifier(GROUP)}")
            elif not standing:
                raise TeleportError(
                    Kind.ALREADY_EXISTS,
                    f"PostgreSQL has a user {grants.user!r} that was not made automatically; it is left alone",
                )
            elif not await _sessions(talk, grants.user):
                await _strip(talk, grants.user)
                await _do(talk, f"alter role {user} login")
            for role in grants.roles:
                await _do(talk, f"grant {identifier(role)} to {user}")
            await _do(talk, "commit")
        finally:
            talk.close()
        if not grants.permissions:
            return Provisioning()
        return Provisioning(objects=await self._permit(database, name, grants))

    async def deactivate(self, database: Database, name: str, user: str, drop: bool) -> bool:
        """
        See L{teleport_tw.agents.db.users.Provisioner.deactivate}.
        """
        talk = await self._talk(database)
        try:
            if await _standing(talk, user) is not True:
                return True
            if await _sessions(talk, user):
                return False
        finally:
            talk.close()
        await self._forbid(database, name, user)
        talk = await self._talk(database)
        try:
            await _do(talk, "begin")
            await _lock(talk, user)
            if await _sessions(talk, user):
                await _do(talk, "rollback")
                return False
            await _strip(talk, user)
            await _do(talk, f"alter role {identifier(user)} nologin")
            await _do(talk, "commit")
            if drop:
                await _drop(talk, user)
        finally:
            talk.close()
        return True

    async def _permit(self, database: Database, name: str, grants: Grants) -> tuple[Mapping[str, Any], ...]:
        """
        @return: per right, how many tables.
        """
        user = identifier(grants.user)
        talk = await self._talk(database, name)
        try:
            await _do(talk, "begin")
            await _revoke(talk, grants.user)
            counts: dict[str, int] = {}
            schemas = set()
            for schema, table in await _tables(talk):
                labels = {
                    **database.all_labels,
                    "protocol": database.protocol,
                    "database_service_name": database.name,
                    "database": name,
                    "schema": schema,
                    "name": table,
                    "object_kind": "table",
                }
                rights = rights_on(labels, grants.permissions, grants.denied)
                if not rights:
                    continue
                where = f"{identifier(schema)}.{identifier(table)}"
                await _do(talk, f"grant {', '.join(sorted(rights))} on table {where} to {user}")
                schemas.add(schema)
                for right in rights:
                    counts[right] = counts.get(right, 0) + 1
            for schema in sorted(schemas):
                await _do(talk, f"grant usage on schema {identifier(schema)} to {user}")
            await _do(talk, "commit")
        finally:
            talk.close()
        return tuple({"permission": right, "counts": {"table": count}} for right, count in sorted(counts.items()))

    async def _forbid(self, database: Database, name: str, user: str) -> None:
        """
        Take off rights on objects of the database that the session was in; it may be gone.
        """
        try:
            talk = await self._talk(database, name)
        except ServerError as error:
            if error.response.sqlstate == "3D000":
                return
            raise
        try:
            await _revoke(talk, user)
        finally:
            talk.close()

    async def _talk(self, database: Database, name: str = "") -> Conversation:
        admin = database.admin_user
        startup = StartupMessage(
            (
                (b"user", admin.name.encode("utf-8")),
                (b"database", (name or admin.default_database or "postgres").encode("utf-8")),
                (b"application_name", APPLICATION.encode()),
                (b"client_encoding", b"UTF8"),
            )
        )
        targets = self.targets
        login = Login(
            targets.reactor,
            targets.threads,
            lambda: targets.connect_plain(database),
            lambda plain: targets.secure(database, admin.name, plain),
            unattended(targets, database, admin.name),
        )
        try:
            return (await login.run(startup)).conversation
        except ServerError as error:
            if error.response.sqlstate == "3D000":
                raise
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                f"database users cannot be made in {database.name!r}: its administrator is refused",
                details=error.message,
            ) from error


def rights_on(
    labels: Mapping[str, str], given: Iterable[DatabasePermission], denied: Iterable[DatabasePermission]
) -> frozenset[str]:
    """
    @param labels: of an object.
    @return: what may be done with it; only a denial may be a wildcard.
    """
    allowed = {right.upper() for each in given if _matches(each, labels) for right in each.permissions}
    refused = {right.upper() for each in denied if _matches(each, labels) for right in each.permissions}
    return frozenset() if "*" in refused else frozenset(allowed & RIGHTS - refused)


def _matches(permission: DatabasePermission, labels: Mapping[str, str]) -> bool:
    return all(
        (key == "*" and "*" in wanted) or (key in labels and patterns.any_matches(wanted, labels[key], broken=False))
        for key, wanted in permission.match.items()
    )


# --- statements --------------------------------------------------------------------------------------------------


async def _do(talk: Conversation, statement: str) -> list[tuple[bytes | None, ...]]:
    try:
        return await talk.rows(statement)
    except ServerError as error:
        raise _failed(error) from error


def _failed(error: ServerError) -> TeleportError:
    return TeleportError(
        Kind.CONNECTION_PROBLEM,
        "the database user cannot be made as your roles want it",
        details=f"{error.response.message} (SQLSTATE {error.response.sqlstate})",
    )


async def _group(talk: Conversation) -> None:
    if not await _do(talk, f"select 1 from pg_catalog.pg_roles where rolname ={literal(GROUP)}"):
        try:
            await talk.rows(f"create role {identifier(GROUP)}")
        except ServerError as error:
            if error.response.sqlstate not in (_DUPLICATE, "23505"):
                raise _failed(error) from error


async def _lock(talk: Conversation, user: str) -> None:
    """
    Agents of the same database take turns at a user, up to the end of the transaction.
    """
    text = literal(f"teleport {user}")
    await _do(talk, f"select pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended({text}, 0))")


async def _standing(talk: Conversation, user: str) -> bool | None:
    """
    @return: whether the user is ours; C{None} where there is none.
    """
    rows = await _do(
        talk,
        "select pg_catalog.count(g.oid) > 0 from pg_catalog.pg_roles u "
        "left join pg_catalog.pg_auth_members m on m.member = u.oid "
        f"left join pg_catalog.pg_roles g on g.oid = m.roleid and g.rolname ={literal(GROUP)} "
        f"where u.rolname ={literal(user)} group by u.oid",
    )
    return rows[0][0] == b"t" if rows else None


async def _sessions(talk: Conversation, user: str) -> int:
    rows = await _do(
        talk, f"select pg_catalog.count(*) from pg_catalog.pg_stat_activity where usename ={literal(user)}"
    )
    return int(rows[0][0] or 0)


async def _strip(talk: Conversation, user: str) -> None:
    """
    Take off every role but the mark.
    """
    rows = await _do(
        talk,
        "select g.rolname from pg_catalog.pg_auth_members m join pg_catalog.pg_roles g on g.oid = m.roleid "
        f"join pg_catalog.pg_roles u on u.oid = m.member where u.rolname ={literal(user)} "
        f"and g.rolname <>{literal(GROUP)}",
    )
    for (role,) in rows:
        await _do(talk, f"revoke {identifier((role or b'').decode('utf-8'))} from {identifier(user)}")


async def _drop(talk: Conversation, user: str) -> None:
    try:
        await talk.rows(f"drop role {identifier(user)}")
    except ServerError as error:
        if error.response.sqlstate != _OWNS_SOMETHING:
            raise _failed(error) from error


async def _tables(talk: Conversation) -> list[tuple[str, str]]:
    rows = await _do(
        talk,
        "select schemaname, tablename from pg_catalog.pg_tables "
        "where schemaname not in ('pg_catalog', 'information_schema') order by 1, 2",
    )
    return [((schema or b"").decode("utf-8"), (table or b"").decode("utf-8")) for schema, table in rows]


async def _revoke(talk: Conversation, user: str) -> None:
    rows = await _do(
        talk,
        "select distinct table_schema, table_name from information_schema.role_table_grants "
        f"where grantee ={literal(user)} and table_schema not in ('pg_catalog', 'information_schema')",
    )
    for schema, table in rows:
        where = f"{identifier((schema or b'').decode('utf-8'))}.{identifier((table or b'').decode('utf-8'))}"
        await _do(talk, f"revoke all on table {where} from {identifier(user)}")
    rows = await _do(
        talk,
        "select nspname from pg_catalog.pg_namespace n, pg_catalog.aclexplode(n.nspacl) a "
        f"join pg_catalog.pg_roles u on u.oid = a.grantee where u.rolname ={literal(user)}",
    )
    for (schema,) in rows:
        await _do(talk, f"revoke all on schema {identifier((schema or b'').decode('utf-8'))} from {identifier(user)}")
