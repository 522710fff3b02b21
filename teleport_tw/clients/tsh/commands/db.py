"""
Databases: list them, sign in to them, connect to them with their own clients.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_time, utc_now
from teleport_tw.clients.output import FORMATS, as_json, as_yaml, show, table, terminal_width
from teleport_tw.clients.selection import add_selection, selection
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.resources.metadata import format_labels

if TYPE_CHECKING:
    from teleport_tw.clients.databases import DatabaseLogin, DatabaseLogins
    from teleport_tw.clients.tsh.reach import Reachable

EXAMPLES = """\
tsh db ls
tsh db login --db-user=app --db-name=orders postgres-prod
tsh db connect postgres-prod
eval $(tsh db env postgres-prod) && psql
tsh db env --unset postgres-prod
tsh db config --format=cmd postgres-prod
tsh db logout postgres-prod
tsh db exec "SELECT count(*) FROM users" --dbs=eu,us --db-user=reader --db-name=app
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh db …}.
    """
    from teleport_tw.clients.tsh.reach import add_choice, add_principals

    commands = parser.add_subparsers(metavar="command", required=True)

    ls = commands.add_parser("ls", help="list the databases you can reach")
    add_selection(ls)
    ls.add_argument("-v", "--verbose", action="store_true", help="protocol, address and labels whole")
    ls.add_argument("-R", "--all", action="store_true", help="name proxy and cluster too")
    ls.set_defaults(run=run_ls)

    login = commands.add_parser("login", help="get a certificate for a database")
    login.add_argument("db", nargs="?", default="", help="name of the database; the only one without")
    add_principals(login)
    add_choice(login)
    login.set_defaults(run=run_login)

    logout = commands.add_parser("logout", help="delete the certificate of a database, or of all")
    logout.add_argument("db", nargs="?", default="", help="name of the database; all without")
    logout.set_defaults(run=run_logout, offline=True)

    connect = commands.add_parser("connect", help="connect with the database's own client")
    connect.add_argument("db", nargs="?", default="", help="name of the database")
    add_principals(connect)
    add_choice(connect)
    connect.set_defaults(run=run_connect)

    env = commands.add_parser("env", help="print variables for the database's own client")
    env.add_argument("db", nargs="?", default="", help="name of a database you are signed in to")
    env.add_argument("--unset", action="store_true", help="print how to be rid of them")
    env.set_defaults(run=run_env, offline=True)

    config = commands.add_parser("config", help="print what graphical clients ask for")
    config.add_argument("db", nargs="?", default="", help="name of a database you are signed in to")
    config.set_defaults(run=run_config, offline=True)

    execute = commands.add_parser("exec", help="run one statement on several databases")
    execute.add_argument("statement", help="in the database's own language")
    execute.add_argument("--dbs", default="", metavar="NAMES", help="names of databases, comma-separated")
    add_principals(execute)
    add_choice(execute)
    execute.add_argument("--parallel", type=int, default=1, metavar="N", help="at once, 10 at most [1]")
    execute.add_argument("--output-dir", default="", metavar="DIR", help="a file of output for each, and a summary")
    execute.add_argument(
        "--confirm", action=argparse.BooleanOptionalAction, default=True, help="ask before it begins [at a terminal]"
    )
    execute.set_defaults(run=run_exec)

    for each in (ls, login, logout, connect, env, config, execute):
        each.add_argument("-c", "--cluster", default="", metavar="NAME", help="of another cluster")
    for each in (ls, env):
        each.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    config.add_argument("-f", "--format", choices=("text", "cmd", "json", "yaml"), default="text", help="[text]")


async def run_ls(context: UserContext, options: argparse.Namespace) -> None:
    """
    Filtered by auth; one line a database, however many agents serve it.
    """
    from teleport_tw.clients.tsh.reach import as_shown, logins, reachable

    found = await reachable(context, selection(options, accessible=True))
    if options.format != "text":
        shown = [as_shown(each) for each in found]
        sys.stdout.write(as_json(shown) if options.format == "json" else as_yaml(*shown) if shown else "")
        return
    now = utc_now()
    active = {} if options.identity else {each.name: each for each in logins(context).list() if each.expires > now}
    profile = context.signed.profile

    def row(target: Reachable) -> tuple[str, ...]:
        database = target.database
        login = active.get(database.name)
        name, connect = database.name, ""
        if login is not None:
            route = login.route
            said = [f"{what}: {value}" for what, value in (("user", route.username), ("db", route.database)) if value]
            name, connect = f"> {name}" + (f" ({', '.join(said)})" if said else ""), f"tsh db connect {database.name}"
        users = _users(target.users, target.automatic)
        labels = format_labels(labels_of(target, options.verbose))
        cells: tuple[str, ...] = (name, database.description, users, labels, connect)
        if options.verbose:
            roles = f"[{' '.join(target.roles)}]" if target.automatic else ""
            cells = (name, database.description, database.protocol, database.uri, users, roles, labels, connect)
        return (profile.web_proxy_addr, profile.cluster, *cells) if options.all else cells

    columns: tuple[str, ...] = ("Name", "Description", "Allowed Users", "Labels", "Connect")
    if options.verbose:
        columns = (*columns[:2], "Protocol", "URI", "Allowed Users", "Database Roles", "Labels", "Connect")
    if options.all:
        columns = ("Proxy", "Cluster", *columns)
    sys.stdout.write(table(columns, map(row, found), width=0 if options.verbose else terminal_width()))


def labels_of(target: Reachable, verbose: bool) -> Mapping[str, str]:
    """
    @return: those that people gave; with C{verbose} the cluster's own as well.
    """
    labels = target.resource.metadata.labels
    return labels if verbose else {name: value for name, value in labels.items() if not name.startswith("teleport.")}


def _users(users: Sequence[str], automatic: bool) -> str:
    listed = f"[{' '.join(users)}]" if users else "(none)"
    return f"{listed} (Auto-provisioned)" if automatic else listed


async def run_login(context: UserContext, options: argparse.Namespace) -> None:
    """
    The certificate is for this database, user and name alone.
    """
    from teleport_tw.clients.tsh.native import is_mariadb
    from teleport_tw.clients.tsh.reach import chosen, find, logins, sign_in, wanted

    stored = logins(context)
    target = await find(context, options.db, chosen(options))
    known = stored.valid(target.database.name, utc_now())
    login = await sign_in(context, wanted(target, options, known, whole=False))
    written = stored.announce(login, mariadb=is_mariadb())
    route = login.route
    print(f'Connection information for database "{login.name}" has been saved, until {format_time(login.expires)}.')
    missing = [
        flag
        for flag, value, needed in (
            ("--db-user=<user>", route.username, True),
            ("--db-name=<name>", route.database, route.protocol == "postgres"),
        )
        if needed and not value
    ]
    print(f"\nConnect to it:\n\n  tsh db connect {' '.join([*missing, login.name])}\n")
    if written is not None and not missing:
        connecting = stored.connecting(login)
        how = (
            f'psql "service={connecting.service}"'
            if route.protocol != "mysql"
            else f"mysql --defaults-group-suffix=_{connecting.service}"
        )
        print(f"or without tsh, as {written} says:\n\n  {how}\n")
    print(f"or with another client, on a port of this host:\n\n  tsh proxy db --tunnel {login.name}\n")


def run_logout(options: argparse.Namespace) -> int:
    """
    The proxy is not asked.
    """
    stored = _logins(options)
    listed = [stored.get(options.db)] if options.db else stored.list()
    for login in listed:
        stored.forget(login)
        print(f"Logged out of database {login.name}.")
    if not listed:
        print("Not logged in to any database.")
    return 0


def _logins(options: argparse.Namespace) -> DatabaseLogins:
    from teleport_tw.base.addresses import host_of
    from teleport_tw.clients.databases import DatabaseLogins
    from teleport_tw.clients.home import home
    from teleport_tw.clients.profile import ProfileFolder

    folder = ProfileFolder(home())
    profile = folder.read(host_of(options.proxy.partition(",")[0]) if options.proxy else "")
    return DatabaseLogins(folder, profile)


def _login(stored: DatabaseLogins, name: str) -> DatabaseLogin:
    from teleport_tw.clients.databases import only_login

    return only_login(stored, name, utc_now())


async def run_connect(context: UserContext, options: argparse.Namespace) -> int:
    """
    Signs in to the database first where that is needed; the client talks to a port of this host.

    @return: what the client ended with.
    """
    from teleport_tw.clients.tsh.native import native
    from teleport_tw.clients.tsh.proving import Prover
    from teleport_tw.clients.tsh.reach import chosen, find, logins, session

    if not options.db and not (options.labels or options.query or options.search):
        options.db = _login(logins(context), "").name
    target = await find(context, options.db, chosen(options))
    program = native(target.database.protocol)
    async with session(context, target, options, Prover(context)) as (login, port, _):
        return await _run(context, program.through(login.route, port))


async def _run(context: UserContext, command: Sequence[str]) -> int:
    """
    In the foreground; an interrupt is the program's own business.
    """
    from twisted.internet.threads import deferToThreadPool

    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # which, unlike SIG_IGN, a child does not inherit
    try:
        reactor = context.reactor
        return int(await deferToThreadPool(reactor, reactor.getThreadPool(), subprocess.call, command))
    finally:
        signal.signal(signal.SIGINT, before)


def run_env(options: argparse.Namespace) -> int:
    """
    For C{eval}: PostgreSQL's and MySQL's clients read variables, the others none.
    """
    from teleport_tw.clients.tsh.native import is_mariadb

    stored = _logins(options)
    login = _login(stored, options.db)
    connecting = stored.connecting(login)
    match login.route.protocol:
        case "postgres" | "cockroachdb":
            names = {
                "host": "PGHOST",
                "port": "PGPORT",
                "user": "PGUSER",
                "dbname": "PGDATABASE",
                "sslmode": "PGSSLMODE",
                "sslrootcert": "PGSSLROOTCERT",
                "sslcert": "PGSSLCERT",
                "sslkey": "PGSSLKEY",
            }
            values = {names[key]: value for key, value in connecting.postgres().items()}
        case "mysql" if connecting.port:
            stored.announce(login, mariadb=is_mariadb())
            values = {"MYSQL_GROUP_SUFFIX": f"_{connecting.service}"}
        case protocol:
            raise bad_parameter(
                f"clients of {protocol} read no variables; see tsh db config {login.name}, or tsh db connect"
            )
    if options.unset:
        sys.stdout.writelines(f"unset {name}\n" for name in values)
        return 0
    text = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    show(options.format, values, text)
    return 0


def run_config(options: argparse.Namespace) -> int:
    """
    Paths and names, to be typed in elsewhere.
    """
    from teleport_tw.clients.tsh.native import named

    stored = _logins(options)
    login = _login(stored, options.db)
    connecting, route = stored.connecting(login), login.route
    if not connecting.port:
        raise bad_parameter(
            f"this proxy has no port for {route.protocol} alone; use tsh proxy db --tunnel {login.name}"
        )
    certificate = login.both if route.protocol == "mongodb" else login.certificate
    facts = {
        "name": login.name,
        "host": connecting.host,
        "port": connecting.port,
        "user": route.username,
        "database": route.database,
        "ca": str(connecting.authorities),
        "cert": str(certificate),
        "key": str(login.key),
    }
    if options.format == "cmd":
        print(shlex.join(named(route.protocol).direct(connecting)))
        return 0
    titles = {"ca": "CA"}
    lines = [f"{titles.get(key, key.capitalize()) + ':':<11}{value}\n" for key, value in facts.items()]
    show(options.format, facts, "".join(lines))
    return 0


async def run_exec(context: UserContext, options: argparse.Namespace) -> int:
    """
    See L{teleport_tw.clients.tsh.fanout}.
    """
    from teleport_tw.clients.tsh.fanout import execute

    if not 1 <= options.parallel <= 10:
        raise bad_parameter("--parallel is a number from 1 to 10")
    if options.confirm and not (sys.stdin.isatty() and os.isatty(2)):
        options.confirm = False
    return await execute(context, options)
