"""
Automatic users of MongoDB: C{CN=name} in C{$external}, with roles such as C{readWrite@shop}.

Users that we made say so in their C{customData}; others are left alone. A user that is kept has no roles and may come
from no address. Agents of several hosts may make the same user: whoever finds that it still has connections leaves it
to the last, for which the administrator needs C{clusterMonitor} as well; without it nobody knows of the others.

@see: MongoDB manual, I{User Management Commands}; reference, protocols 1.13
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from teleport_tw.agents.db.grants import Grants
from teleport_tw.agents.db.mongodb.login import login, proof_of
from teleport_tw.agents.db.mongodb.talk import Talk
from teleport_tw.agents.db.target import Targets
from teleport_tw.agents.db.users import Provisioning
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.protocols.mongodb import commands, documents
from teleport_tw.resources.databases import Database

EXTERNAL = "$external"
MARK = {"teleport": "automatic user"}

_NOWHERE = [{"clientSource": ["0.0.0.0/32"]}]
_NO_SUCH_USER = 11


@define(eq=False)
class MongoDBUsers:
    """
    A L{teleport_tw.agents.db.users.Provisioner}.
    """

    targets: Targets

    async def activate(self, database: Database, name: str, grants: Grants) -> Provisioning:
        """
        See L{teleport_tw.agents.db.users.Provisioner.activate}.
        """
        if grants.permissions:
            raise bad_parameter("db_permissions are for PostgreSQL; give MongoDB users db_roles such as readWrite@shop")
        talk = await self._talk(database)
        try:
            given = [_role(each) for each in grants.roles]
            existing = await self._existing(talk, grants.user)
            if existing is not None and existing.get("customData") != MARK:
                raise TeleportError(
                    Kind.ALREADY_EXISTS,
                    f"MongoDB has a user CN={grants.user} that was not made automatically; it is left alone",
                )
            if existing is not None and await _connected(talk, grants.user):
                given = [*given, *(each for each in _roles_of(existing) if each not in given)]
            facts = {"roles": given, "customData": MARK, "authenticationRestrictions": [], "$db": EXTERNAL}
            if existing is None:
                await _create(talk, grants.user, facts)
            else:
                await _do(talk, {"updateUser": f"CN={grants.user}", **facts})
        finally:
            talk.close()
        return Provisioning()

    async def deactivate(self, database: Database, name: str, user: str, drop: bool) -> bool:
        """
        See L{teleport_tw.agents.db.users.Provisioner.deactivate}.
        """
        talk = await self._talk(database)
        try:
            existing = await self._existing(talk, user)
            if existing is None or existing.get("customData") != MARK:
                return True
            if await _connected(talk, user):
                return False
            if drop:
                await _do(talk, {"dropUser": f"CN={user}", "$db": EXTERNAL}, passing=_NO_SUCH_USER)
            else:
                await _do(
                    talk,
                    {
                        "updateUser": f"CN={user}",
                        "roles": [],
                        "authenticationRestrictions": _NOWHERE,
                        "$db": EXTERNAL,
                    },
                )
        finally:
            talk.close()
        return True

    async def _talk(self, database: Database) -> Talk:
        targets, admin = self.targets, database.admin_user.name
        proof = proof_of(database, await targets.password(database, admin), targets.threads)
        talk = Talk(await targets.connect(database, admin))
        try:
            await login(talk.ask, admin, proof)
        except BaseException:
            talk.close()
            raise
        return talk

    async def _existing(self, talk: Talk, user: str) -> Mapping[str, Any] | None:
        asked = {"usersInfo": {"user": f"CN={user}", "db": EXTERNAL}, "showCustomData": True, "$db": EXTERNAL}
        answer = documents.deep(await _do(talk, asked))
        found = answer.get("users") or []
        return found[0] if found else None


def _role(text: str) -> dict[str, str]:
    """
    @param text: C{role@database}; without a database C{admin} is meant.
    """
    role, _, database = text.partition("@")
    return {"role": role, "db": database or "admin"}


def _roles_of(user: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"role": str(each.get("role")), "db": str(each.get("db"))} for each in user.get("roles") or ()]


async def _connected(talk: Talk, user: str) -> bool:
    """
    @return: whether anybody is connected as that user; no where the server does not tell us.
    """
    who = {"$elemMatch": {"user": f"CN={user}", "db": EXTERNAL}}
    stages = [
        {"$currentOp": {"allUsers": True, "idleConnections": True}},
        {"$match": {"effectiveUsers": who}},
        {"$limit": 1},
    ]
    answer = await talk.ask({"aggregate": 1, "pipeline": stages, "cursor": {}, "$db": "admin"})
    return not commands.verdict(answer).error and bool(commands.verdict(answer).rows)


async def _create(talk: Talk, user: str, facts: Mapping[str, Any]) -> None:
    """
    MongoDB takes no word of mechanisms for users outside; servers that only speak like it may ask for one (SecantusDB
    0.7 does).
    """
    create = {"createUser": f"CN={user}", **facts}
    said = commands.verdict(await talk.ask(create))
    if "mechanisms" in said.error:
        await _do(talk, {**create, "mechanisms": ["MONGODB-X509"]})
    elif said.error:
        raise _failed(create, said.error)


async def _do(talk: Talk, command: Mapping[str, Any], passing: int = 0) -> bytes:
    """
    @param passing: the code of an error that is none.
    """
    answer = await talk.ask(command)
    said = commands.verdict(answer)
    if said.error and said.code != passing:
        raise _failed(command, said.error)
    return answer


def _failed(command: Mapping[str, Any], error: str) -> TeleportError:
    verb = next(iter(command))
    return TeleportError(Kind.INTERNAL, f"the database's administrator could not {verb}: {error}")
