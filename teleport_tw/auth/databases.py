"""
May a user have a certificate for this database: asked when it is issued, so that who may not learns so at once and why.

The agent decides again, on the roles as they are then; what stands here makes the certificate honest, not the access.

@see: reference for protocols, sections 1.1 and 1.13
"""

from __future__ import annotations

from attrs import evolve

from teleport_tw.access import dbusers
from teleport_tw.access.checker import Checker
from teleport_tw.auth.gate import Gate
from teleport_tw.base.errors import TeleportError, bad_parameter, not_found
from teleport_tw.pki.identity import RouteToDatabase
from teleport_tw.resources.database_servers import SERVER_KIND, DatabaseServer, database_name
from teleport_tw.resources.databases import KIND, Database
from teleport_tw.resources.roles import Principal, Target
from teleport_tw.stores.resources import ResourceStore

USAGE = "usage:db"
"""What a certificate for a database says: it is good for nothing else."""


async def find_database(store: ResourceStore, name: str) -> Database | None:
    """
    @return: the database as an agent serves it, else as it is stored.
    """
    async for resource in store.every(SERVER_KIND):
        if database_name(resource) == name:
            try:
                server = DatabaseServer.parse(resource)
            except TeleportError:
                continue
            return evolve(server.database, labels=server.to_resource().metadata.labels)
    stored = await store.find(KIND, name)
    return Database.parse(stored) if stored is not None else None


async def checked_route(gate: Gate, checker: Checker, store: ResourceStore, route: RouteToDatabase) -> RouteToDatabase:
    """
    @param gate: of whoever asks, to refuse by.
    @param checker: of whom the certificate is for.
    @return: the route with its protocol, and with the name of an automatic user where there is one.
    @raise TeleportError: NOT_FOUND, there is no such database that the roles reach; ACCESS_DENIED, the user, name or
        roles may not be used; BAD_PARAMETER, what was asked for does not fit the database.
    """
    database = await find_database(store, route.service)
    if database is None or not checker.target(Target.DATABASE, database.all_labels):
        raise not_found(f"database {route.service!r} is not found; tsh db ls shows those you reach")
    if route.protocol not in ("", database.protocol):
        raise bad_parameter(f"database {database.name!r} speaks {database.protocol}, not {route.protocol}")
    makers = dbusers.making(checker, database)
    if makers:
        return _automatic(gate, checker, database, route, dbusers.offered(checker, makers))
    if route.roles:
        raise bad_parameter(
            f"database roles are for users that are made automatically, which {database.name!r} or your roles do not do"
        )
    name = route.database if database.checks_names else ""
    if route.username or name:
        _check(gate, checker, database, route.username, name)
    return evolve(route, protocol=database.protocol)


def _automatic(
    gate: Gate, checker: Checker, database: Database, route: RouteToDatabase, offered: tuple[str, ...]
) -> RouteToDatabase:
    if route.username not in ("", checker.username):
        raise bad_parameter(f"database users are made automatically here: connect as {checker.username!r}")
    wrong = sorted({*route.roles} - {*offered})
    if wrong:
        raise gate.refuse(
            f"database roles {', '.join(wrong)} are not offered",
            f"access denied: you may have {_listed(offered)} as database roles, not {', '.join(wrong)}",
        )
    if database.checks_names and route.database:
        decision = checker.target(Target.DATABASE, database.all_labels, {Principal.DB_NAMES: route.database})
        if not decision:
            raise _refused(gate, checker, database, "", route.database, decision.reason)
    return evolve(route, protocol=database.protocol, username=checker.username)


def _check(gate: Gate, checker: Checker, database: Database, user: str, name: str) -> None:
    asked = {Principal.DB_USERS: user, Principal.DB_NAMES: name}
    decision = checker.target(
        Target.DATABASE, database.all_labels, {principal: value for principal, value in asked.items() if value}
    )
    if not decision:
        raise _refused(gate, checker, database, user, name, decision.reason)


def _refused(gate: Gate, checker: Checker, database: Database, user: str, name: str, reason: str) -> TeleportError:
    wanted = " and ".join(
        f"{what} {value!r}" for what, value in (("database user", user), ("database name", name)) if value
    )
    labels = database.all_labels
    offers = [f"users {_listed(checker.principals(Principal.DB_USERS, Target.DATABASE, labels))}"] if user else []
    if name:
        offers.append(f"names {_listed(checker.principals(Principal.DB_NAMES, Target.DATABASE, labels))}")
    text = f"access denied: your roles do not allow {wanted} on {database.name!r}; they name {' and '.join(offers)}"
    if user and not database.checks_names:
        text += f" ({database.protocol} has no check of database names)"
    return gate.refuse(reason, text)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
