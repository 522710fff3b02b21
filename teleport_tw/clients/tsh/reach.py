"""
Which databases a user reaches, as whom, and the certificates for it: what C{tsh db} and C{tsh proxy db} share.
"""

from __future__ import annotations

import argparse
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import define, evolve, field, frozen

from teleport_tw.access import dbusers
from teleport_tw.access.checker import Checker
from teleport_tw.api.contract import IssueRequest, MfaTarget, PublicKeys, Query, every
from teleport_tw.base.errors import TeleportError, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, utc_now
from teleport_tw.clients.databases import DatabaseLogin, DatabaseLogins, tunnel_context
from teleport_tw.clients.home import home
from teleport_tw.clients.profile import ProfileFolder
from teleport_tw.clients.selection import parse_labels, search_words
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.proving import Prover
from teleport_tw.clients.tsh.way import say
from teleport_tw.dial.database import Tunnel
from teleport_tw.pki.identity import RouteToDatabase
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.resources.database_servers import SERVER_KIND, DatabaseServer
from teleport_tw.resources.databases import Database
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import Principal, Role, Target

EARLY = Duration(seconds=10)
"""So long before its end a certificate of a minute is replaced."""


@frozen(kw_only=True)
class Reachable:
    """
    One database, as its user sees it.

    @ivar resource: of kind C{db}, with all labels there are.
    @ivar users: of the database, that the roles name; patterns stay patterns. C{names} likewise.
    @ivar automatic: whether the user is made for the session, under the person's own name.
    @ivar roles: of the database, that an automatic user may have.
    """

    database: Database
    resource: Resource
    users: tuple[str, ...]
    names: tuple[str, ...]
    automatic: bool = False
    roles: tuple[str, ...] = ()


def add_principals(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags that say as whom, and in which logical database.
    """
    parser.add_argument("-u", "--db-user", default="", metavar="NAME", help="database user to connect as")
    parser.add_argument("-n", "--db-name", default="", metavar="NAME", help="logical database to connect to")
    parser.add_argument(
        "-r", "--db-roles", default="", metavar="ROLES", help="database roles of an automatic user, comma-separated"
    )


def add_choice(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags that choose among databases where none is named.
    """
    parser.add_argument("--labels", default="", help="labels that must match: env=prod,region=us-*")
    parser.add_argument("--query", default="", metavar="EXPRESSION", help="""for instance 'labels["env"] == "prod"'""")
    parser.add_argument("--search", default="", metavar="WORDS", help="words that must occur in name or labels")


def chosen(options: argparse.Namespace) -> Query:
    """
    @raise TeleportError: BAD_PARAMETER, the labels are not C{key=value,…}.
    """
    return Query(
        labels=parse_labels(options.labels),
        search=search_words(options.search),
        expression=options.query,
        accessible=True,
    )


def logins(context: UserContext) -> DatabaseLogins:
    """
    @return: what is on disk of the profile in use.
    @raise TeleportError: BAD_PARAMETER, there is none: an identity file is used.
    """
    if context.options.identity:
        raise bad_parameter("databases need a login: certificates are kept in its profile; leave --identity out")
    return DatabaseLogins(ProfileFolder(home()), context.signed.profile)


async def reachable(context: UserContext, query: Query) -> list[Reachable]:
    """
    @return: what the user's roles reach, each database once, by name.
    """
    api = await context.api()
    found: dict[str, DatabaseServer] = {}
    async for resource in every(api, SERVER_KIND, query):
        try:
            server = DatabaseServer.parse(resource)
        except TeleportError:
            continue
        found.setdefault(server.database.name, server)
    checker = await _checker(context)
    return [_reach(found[name], checker) for name in sorted(found)]


async def _checker(context: UserContext) -> Checker:
    api, standing = await context.api(), context.signed.standing
    roles = []
    for name in standing.roles:
        try:
            roles.append(Role.parse(await api.get("role", name)))
        except TeleportError:
            continue
    return Checker.for_identity(roles, username=standing.username, traits=standing.traits)


def _reach(server: DatabaseServer, checker: Checker) -> Reachable:
    database = server.database
    labels = database.all_labels
    makers = dbusers.making(checker, database)
    return Reachable(
        database=database,
        resource=evolve(
            database.to_resource(), metadata=evolve(database.to_resource().metadata, labels=labels, revision="")
        ),
        users=(checker.username,) if makers else checker.principals(Principal.DB_USERS, Target.DATABASE, labels),
        names=checker.principals(Principal.DB_NAMES, Target.DATABASE, labels),
        automatic=bool(makers),
        roles=dbusers.offered(checker, makers),
    )


async def find(context: UserContext, name: str, query: Query | None = None) -> Reachable:
    """
    @param name: of the database; empty where C{query} chooses.
    @raise TeleportError: NOT_FOUND; BAD_PARAMETER, several are meant.
    """
    found = await reachable(context, query or Query(accessible=True))
    if name:
        exact = [each for each in found if each.database.name == name]
        found = exact or [each for each in found if each.database.name.startswith(name)]
    if not found:
        what = repr(name) if name else "that fits"
        raise not_found(f"database {what} is not found; tsh db ls shows those you reach")
    if len(found) > 1:
        names = ", ".join(each.database.name for each in found[:10])
        raise bad_parameter(f"{name or 'the selection'} stands for several databases: {names}")
    return found[0]


def wanted(
    target: Reachable, options: argparse.Namespace, known: DatabaseLogin | None, *, whole: bool = True
) -> RouteToDatabase:
    """
    As whom and where to: what was typed, else what one was signed in as, else what alone is allowed.

    @param whole: whether user and name must both be known, as they are about to be used.
    @raise TeleportError: BAD_PARAMETER, say more.
    """
    database = target.database
    before = known.route if known is not None else RouteToDatabase(service=database.name)
    user = options.db_user or before.username
    if not user or (target.automatic and not options.db_user):
        user = _only(target.users) or ("default" if database.protocol == "redis" else "")
    name = options.db_name or before.database or (_only(target.names) if database.checks_names else "")
    if whole and not user:
        allowed = ", ".join(target.users) or "none"
        raise bad_parameter(f"say as which database user: --db-user=NAME (your roles allow: {allowed})")
    if whole and not name and database.protocol == "postgres":
        allowed = ", ".join(target.names) or "none"
        raise bad_parameter(f"say which logical database: --db-name=NAME (your roles allow: {allowed})")
    roles = tuple(part.strip() for part in options.db_roles.split(",") if part.strip()) or before.roles
    return RouteToDatabase(service=database.name, protocol=database.protocol, username=user, database=name, roles=roles)


def _only(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 and not set("*?^") & set(names[0]) else ""


async def sign_in(
    context: UserContext, route: RouteToDatabase, folder: Path | None = None, *, prover: Prover | None = None
) -> DatabaseLogin:
    """
    Have a certificate made for one database, with a key of its own, and keep both.

    @param folder: where, if not in the profile.
    @param prover: shows a second factor, for a certificate that says of it and lasts a minute; C{None} for none.
    @raise TeleportError: ACCESS_DENIED, with what the roles allow.
    """
    stored = evolve(logins(context), elsewhere=folder)
    key = PrivateKey.generate_tls()
    api = await context.api()
    request = IssueRequest(
        keys=PublicKeys(tls=spki_pem(key.public)), database=route, route_to_cluster=context.signed.profile.cluster
    )
    if prover is not None:
        target = target_of(route)
        answer = await prover.answer(target, f"A second factor is required to connect to database {route.service}.")
        request = evolve(request, target=target, answer=answer)
    issued = await api.issue(request)
    return stored.store(route, Secret(key.pem().reveal()), issued.tls)


def target_of(route: RouteToDatabase) -> MfaTarget:
    """
    @return: what a session with it asks a second factor for.
    """
    return MfaTarget(kind="db", name=route.service, login=route.username)


async def signed_in(
    context: UserContext,
    target: Reachable,
    options: argparse.Namespace,
    *,
    whole: bool = True,
    folder: Path | None = None,
) -> DatabaseLogin:
    """
    @param folder: where a new login is kept, if not in the profile.
    @return: the login there is, where it fits what was typed; else a new one.
    """
    known = logins(context).valid(target.database.name, utc_now())
    route = wanted(target, options, known, whole=whole)
    if known is not None and known.route == route:
        return known
    return await sign_in(context, route, folder)


@asynccontextmanager
async def session(
    context: UserContext,
    target: Reachable,
    options: argparse.Namespace,
    prover: Prover,
    *,
    port: int = 0,
    bind: str = "127.0.0.1",
    passing: bool = False,
) -> AsyncIterator[tuple[DatabaseLogin, int, datetime]]:
    """
    Sign in to the database where that is needed, and have it on a local port while inside. Where sessions with it take
    a second factor, the certificates are asked for anew whenever one is needed, and are kept nowhere.

    @param passing: the login is not to be remembered.
    @return: the login, the port, and until when it can be used.
    """
    known = logins(context).valid(target.database.name, utc_now())
    route = wanted(target, options, known)
    need = await (await context.api()).mfa_required(target_of(route))
    with TemporaryDirectory(prefix="tsh-") as name:
        if not need.required:
            login = await signed_in(context, target, options, folder=Path(name) if passing else None)
            async with tunnel(context, login, port, bind) as opened:
                yield login, opened, login.expires
            return
        proven = _Proven(context, route, Path(name), prover)
        login = await proven.login()
        host, proxy_port = context.signed.proxy
        made = Tunnel(context.reactor, host, proxy_port, proven.context_now, lambda text: say(f"ERROR: {text}"))
        try:
            yield login, await made.listen(bind, port), context.signed.standing.expires
        finally:
            await made.close()


@define(eq=False)
class _Proven:
    """
    Certificates of a minute, each for as many connections as begin in it.
    """

    context: UserContext
    route: RouteToDatabase
    folder: Path
    prover: Prover
    _login: DatabaseLogin | None = field(default=None, init=False)
    _made: ssl.SSLContext | None = field(default=None, init=False)

    async def login(self) -> DatabaseLogin:
        if self._login is None or self._login.expires - utc_now() < EARLY:
            self._login = await sign_in(self.context, self.route, self.folder, prover=self.prover)
            self._made = None
        return self._login

    async def context_now(self) -> ssl.SSLContext:
        login = await self.login()
        if self._made is None:
            self._made = tunnel_context(login, logins(self.context).connecting(login).authorities)
        return self._made


@asynccontextmanager
async def tunnel(
    context: UserContext, login: DatabaseLogin, port: int = 0, bind: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """
    The database on a local port, without certificates, while inside.

    @return: the port.
    """
    host, proxy_port = context.signed.proxy
    authorities = logins(context).connecting(login).authorities
    made = tunnel_context(login, authorities)
    opened = Tunnel(context.reactor, host, proxy_port, lambda: made, lambda text: say(f"ERROR: {text}"))
    try:
        yield await opened.listen(bind, port)
    finally:
        await opened.close()


def as_shown(target: Reachable) -> Mapping[str, object]:
    """
    @return: the resource as C{tsh db ls --format=json} has it, with who may connect.
    """
    users: dict[str, object] = {"allowed": list(target.users)}
    shown: dict[str, object] = {**target.resource.to_json(), "users": users}
    if target.automatic:
        shown["database_roles"] = list(target.roles)
    return shown
