"""
What C{tsh ssh} does on the reactor: everything SSH has.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.timing import Duration
from teleport_tw.clients.tsh import background
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.features import Features
from teleport_tw.clients.tsh.interactive import Session
from teleport_tw.clients.tsh.target import Node, Wanted, nodes, options_of, words_of
from teleport_tw.clients.tsh.way import Notices, way, worded
from teleport_tw.dial import joining
from teleport_tw.dial.session import LOST_STATUS
from teleport_tw.dial.ssh import KEEPALIVE, Way


async def run_remote(context: UserContext, options: argparse.Namespace) -> int:
    """
    @return: the command's exit status; of several, the worst.
    """
    if options.fork_after_authentication and not background.is_child():
        return background.start()
    command = words_of(options.command)
    wanted = Wanted.parse(options.target)
    if wanted.by_labels and not command:
        raise bad_parameter("say what to run on those servers: tsh ssh user@env=prod -- uptime")
    said = options_of(options.option)
    signed = context.signed
    login = wanted.login_for(options.login or said.get("user", ""), signed.standing)
    seconds = said.get("serveraliveinterval", "")
    notices = Notices()
    ways = way(context, notices, Duration(seconds=int(seconds)) if seconds.isdecimal() else KEEPALIVE)
    port = options.port or int(said.get("port", "0") or 0)
    found = await nodes(context, wanted, port)
    if wanted.by_labels:
        from teleport_tw.clients.tsh.many import run_on_all

        return await run_on_all(ways, found, login, command)
    try:
        return await _one(context, options, ways, found[0], login, command, said)
    except TeleportError as error:
        raise worded(error, login, found[0].name, signed.standing.logins, notices) from error


async def _one(
    context: UserContext,
    options: argparse.Namespace,
    ways: Way,
    node: Node,
    login: str,
    command: str,
    said: Mapping[str, str],
) -> int:
    features = Features.of(options, said, context.reactor)
    connection = await ways.connect(node.target, login, names=node.names, responder=features.responder)
    async with features.running(connection):
        background.ready()
        if options.no_remote_exec:
            await features.responder.over
            return LOST_STATUS
        wants_terminal = (not command or options.tty) and not options.no_tty
        has_terminal = os.isatty(0) or options.tty > 1
        session = Session(context.reactor, connection, features)
        escapes = options.enable_escape_sequences == "true" and said.get("escapechar", "") != "none"
        return await session.run(
            command,
            with_terminal=bool(wants_terminal and has_terminal),
            escapes=escapes,
            variables=told_of_session(options),
        )


def told_of_session(options: argparse.Namespace) -> dict[str, str]:
    """
    @return: what C{--reason} and C{--invite} tell the server.
    """
    invited = [name for said in options.invite for part in said.split(",") if (name := part.strip())]
    told = {joining.REASON: options.reason, joining.INVITED: json.dumps(invited) if invited else ""}
    return {name: value for name, value in told.items() if value}
