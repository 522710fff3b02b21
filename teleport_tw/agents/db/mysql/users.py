"""
Automatic users of MySQL 8 and MariaDB.

Those that we made have the role C{teleport-auto-user}, which has no rights; others are left alone. They are known by
the certificate of their name, and have no password. In MariaDB, where an account has one default role, what a user gets
is gathered in a role of their own. A user that is kept is locked and has nothing.

@see: reference, protocols 1.13; MySQL 8.4 manual, I{Using Roles}; MariaDB, I{Roles Overview}
"""

# ruff: noqa: S608 -- every name and text is quoted by identifier() or literal(), since DDL takes no parameters
from __future__ import annotations

import base64
import hashlib

from attrs import define

from teleport_tw.agents.db.grants import Grants
from teleport_tw.agents.db.mysql.conversation import Conversation, ServerError, converse
from teleport_tw.agents.db.target import Targets
from teleport_tw.agents.db.users import Provisioning
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter
from teleport_tw.resources.databases import Database

GROUP = "teleport-auto-user"
PERSONAL = "tp-role-"
MAX_NAME = 32
"""Characters of an account's name in MySQL."""
LOCK_SECONDS = 10


def account_of(name: str) -> str:
    """
    @return: the account of a user, a hash where the name is too long.
    """
    if len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).digest()[:15]
    return "tp-" + base64.urlsafe_b64encode(digest).decode()


def identifier(name: str) -> str:
    """
    @return: quoted.
    @raise TeleportError: BAD_PARAMETER, it cannot be a name.
    """
    if not name or "\0" in name:
        raise bad_parameter(f"{name!r} cannot be a name in MySQL")
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """
    @return: quoted, for a session whose C{sql_mode} is empty.
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


@define(eq=False)
class MySQLUsers:
    """
    A L{teleport_tw.agents.db.users.Provisioner}.
    """

    targets: Targets

    async def activate(self, database: Database, name: str, grants: Grants) -> Provisioning:
        """
        See L{teleport_tw.agents.db.users.Provisioner.activate}.
        """
        if grants.permissions:
            raise bad_parameter("db_permissions are for PostgreSQL; give users of MySQL db_roles")
        if grants.user == database.admin_user.name:
            raise TeleportError(Kind.ACCESS_DENIED, "the administrator of the database's users is nobody's own user")
        talk = await self._talk(database)
        try:
            await self._activate(talk, grants)
        except (ServerError, RemoteProtocolError) as error:
            raise _failed(error) from error
        finally:
            talk.close()
        return Provisioning()

    async def deactivate(self, database: Database, name: str, user: str, drop: bool) -> bool:
        """
        See L{teleport_tw.agents.db.users.Provisioner.deactivate}.
        """
        talk = await self._talk(database)
        try:
            return await self._deactivate(talk, account_of(user), drop)
        except (ServerError, RemoteProtocolError) as error:
            raise _failed(error) from error
        finally:
            talk.close()

    async def _activate(self, talk: Conversation, grants: Grants) -> None:
        account = account_of(grants.user)
        who = f"{identifier(account)}@`%`"
        await talk.ask(f"create role if not exists {identifier(GROUP)}")
        await _lock(talk, account)
        standing = await _standing(talk, account)
        if standing is None:
            await talk.ask(f"create user {who} require subject {literal(f'/CN={grants.user}')}")
            await talk.ask(f"grant {identifier(GROUP)} to {who}")
        elif not standing:
            raise TeleportError(
                Kind.ALREADY_EXISTS,
                f"the database has a user {account!r} that was not made automatically; it is left alone",
            )
        elif not await _sessions(talk, account):
            await _strip(talk, account)
        if talk.is_mariadb:
            personal = identifier(PERSONAL + account)
            await talk.ask(f"create role if not exists {personal}")
            for role in grants.roles:
                await talk.ask(f"grant {identifier(role)} to {personal}")
            await talk.ask(f"grant {personal} to {who}")
            await talk.ask(f"set default role {personal} for {who}")
        else:
            for role in grants.roles:
                await talk.ask(f"grant {identifier(role)} to {who}")
            await talk.ask(f"set default role all to {who}")
        await talk.ask(f"alter user {who} account unlock")

    async def _deactivate(self, talk: Conversation, account: str, drop: bool) -> bool:
        await _lock(talk, account)
        if await _standing(talk, account) is not True:
            return True
        if await _sessions(talk, account):
            return False
        who = f"{identifier(account)}@`%`"
        await talk.ask(f"alter user {who} account lock")
        await _strip(talk, account)
        if drop:
            await talk.ask(f"drop user if exists {who}")
        return True

    async def _talk(self, database: Database) -> Conversation:
        talk = await converse(self.targets, database, database.admin_user.name)
        try:
            await talk.ask("set session sql_mode = ''")
        except BaseException:
            talk.close()
            raise
        return talk


async def _lock(talk: Conversation, account: str) -> None:
    """
    Agents of several hosts may make the same user; who gets the lock first does it, and loses it with the connection.
    """
    digest = hashlib.sha256(account.encode()).hexdigest()[:32]
    rows = await talk.ask(f"select get_lock('teleport-user-{digest}', {LOCK_SECONDS})")
    if rows != [("1",)]:
        raise TeleportError(Kind.CONNECTION_PROBLEM, "another agent is making this database user; try again")


async def _standing(talk: Conversation, account: str) -> bool | None:
    """
    @return: whether the account is one of ours, C{None} where there is none.
    """
    rows = await talk.ask(f"select 1 from mysql.user where user = {literal(account)} and host = '%'")
    if not rows:
        return None
    if talk.is_mariadb:
        found = f"from mysql.roles_mapping where user = {literal(account)} and host = '%' and role = '{GROUP}'"
    else:
        found = f"from mysql.role_edges where to_user = {literal(account)} and to_host = '%' and from_user = '{GROUP}'"
    return bool(await talk.ask(f"select 1 {found}"))


async def _sessions(talk: Conversation, account: str) -> bool:
    """
    @return: whether anybody is connected as that account.
    """
    return bool(await talk.ask(f"select 1 from information_schema.processlist where user = {literal(account)} limit 1"))


async def _strip(talk: Conversation, account: str) -> None:
    """
    Take away all but what marks it as ours.
    """
    who = f"{identifier(account)}@`%`"
    await talk.ask(f"revoke all privileges, grant option from {who}")
    if talk.is_mariadb:
        # where it takes roles off as well, the mark among them
        await talk.ask(f"grant {identifier(GROUP)} to {who}")
        await talk.ask(f"set default role none for {who}")
        await talk.ask(f"drop role if exists {identifier(PERSONAL + account)}")
        edges = f"select role from mysql.roles_mapping where user = {literal(account)} and host = '%'"
    else:
        edges = f"select from_user from mysql.role_edges where to_user = {literal(account)} and to_host = '%'"
    for (role,) in await talk.ask(edges):
        if role and role != GROUP:
            await talk.ask(f"revoke {identifier(role)} from {who}")


def _failed(error: Exception) -> TeleportError:
    return TeleportError(Kind.INTERNAL, f"the database's administrator could not do it: {error}", details=str(error))
