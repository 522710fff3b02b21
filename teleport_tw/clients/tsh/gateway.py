"""
A database on a local port until somebody ends it: C{tsh proxy db}.
"""

from __future__ import annotations

import argparse
import shlex
from datetime import datetime

from twisted.internet.defer import Deferred

from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_time, utc_now
from teleport_tw.clients.databases import Connecting, DatabaseLogin
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.native import TITLES, is_mariadb, named
from teleport_tw.clients.tsh.proving import Prover
from teleport_tw.clients.tsh.reach import chosen, find, logins, session, signed_in, target_of, wanted
from teleport_tw.clients.tsh.way import say
from teleport_tw.dial.database import Tunnel


async def serve(context: UserContext, options: argparse.Namespace) -> None:
    """
    @raise TeleportError: BAD_PARAMETER, the port cannot be had, or clients cannot show by themselves what is asked.
    """
    bind, port = _address(options)
    target = await find(context, options.db, chosen(options))
    if options.tunnel:
        async with session(context, target, options, Prover(context), port=port, bind=bind) as (login, opened, until):
            _tell(context, login, bind, opened, until, authenticated=True)
            await _until(context, login, until)
        return
    known = wanted(target, options, logins(context).valid(target.database.name, utc_now()))
    if (await (await context.api()).mfa_required(target_of(known))).required:
        raise bad_parameter(
            f"sessions with {target.database.name} take a second factor, which no certificate on disk says of; with "
            f"--tunnel this asks for it: tsh proxy db --tunnel {target.database.name}"
        )
    login = await signed_in(context, target, options)
    connecting = logins(context).connecting(login)
    if not connecting.port:
        raise bad_parameter(
            f"this proxy has no port for {login.route.protocol} alone, so bytes cannot go on as they are; use --tunnel"
        )
    passing = Tunnel(context.reactor, connecting.host, connecting.port, None, lambda text: say(f"ERROR: {text}"))
    try:
        opened = await passing.listen(bind, port)
        _tell(context, login, bind, opened, login.expires, authenticated=False)
        await _until(context, login, login.expires)
    finally:
        await passing.close()


def _address(options: argparse.Namespace) -> tuple[str, int]:
    if options.listen:
        bind, port = split_address(options.listen, 0)
        return bind or "127.0.0.1", port
    if not options.port.isdecimal() or int(options.port) > 65535:
        raise bad_parameter(f"--port={options.port} is not a port")
    return "127.0.0.1", int(options.port)


async def _until(context: UserContext, login: DatabaseLogin, end: datetime) -> None:
    waiting: Deferred[None] = Deferred()
    left = max(0.0, (end - utc_now()).total_seconds())
    context.reactor.callLater(left, waiting.callback, None)
    await waiting
    say(f"The certificate for {login.name} has expired. Log in again, and start this again.")


def _tell(
    context: UserContext, login: DatabaseLogin, bind: str, port: int, end: datetime, *, authenticated: bool
) -> None:
    route, cluster = login.route, context.signed.profile.cluster
    what = "authenticated tunnel" if authenticated else "proxy"
    print(
        f'Started {what} for the {TITLES[route.protocol]} database "{login.name}" in cluster "{cluster}" on '
        f"{bind}:{port}, until {format_time(end)}."
    )
    if authenticated:
        print("Anybody who can reach this port uses the database as you. To avoid port numbers that change, --port.\n")
        command = named(route.protocol).through(route, port)
    else:
        print("Clients show the certificate themselves; names and paths are those of tsh db config.\n")
        local = Connecting(
            login=login,
            host="localhost",
            port=port,
            authorities=logins(context).connecting(login).authorities,
            cluster=cluster,
        )
        command = named(route.protocol).direct(local)
        if route.protocol == "mysql":
            said = local.mysql(mariadb=is_mariadb())
            command = ["mysql", *(f"--{key}={value}" for key, value in said.items())]
    print(f"Connect to it:\n\n  {shlex.join(command)}\n", flush=True)
