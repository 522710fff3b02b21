"""
Open a shell on a server, or run a command there.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.timing import Duration
from teleport_tw.clients.tsh import background
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.features import Features
from teleport_tw.clients.tsh.interactive import Session
from teleport_tw.clients.tsh.target import Node, Wanted, nodes
from teleport_tw.clients.tsh.way import add_cluster, way, worded
from teleport_tw.dial.session import LOST_STATUS
from teleport_tw.dial.ssh import KEEPALIVE, Way

EXAMPLES = """\
tsh ssh root@node-1
tsh ssh root@node-1 uptime
tsh ssh root@env=prod -- uptime          on every server with that label, at the same time
tsh ssh -L 8080:localhost:80 -N node-1   ports only
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh ssh}.
    """
    parser.add_argument("target", metavar="[user@]host", help="a name, UUID or address, or labels: user@env=prod")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run; a shell without")
    parser.add_argument("-p", "--port", type=int, default=0, help="port of a server that is dialled")
    parser.add_argument("-A", "--forward-agent", action="store_true", help="let the server use your ssh-agent")
    parser.add_argument("-L", "--forward", action="append", default=[], metavar="[BIND:]PORT:HOST:PORT")
    parser.add_argument("-D", "--dynamic-forward", action="append", default=[], metavar="[BIND:]PORT", help="SOCKS5")
    parser.add_argument("-R", "--remote-forward", action="append", default=[], metavar="[BIND:]PORT:HOST:PORT")
    parser.add_argument("-N", "--no-remote-exec", action="store_true", help="run nothing; for forwarded ports")
    parser.add_argument("-t", "--tty", action="count", default=0, help="a terminal for a command too")
    parser.add_argument("-T", "--no-tty", action="store_true", help="no terminal, not even for a shell")
    parser.add_argument("-X", "--x11-untrusted", action="store_true", help="windows on your display, restricted")
    parser.add_argument("-Y", "--x11-trusted", action="store_true", help="windows on your display")
    parser.add_argument("-o", "--option", action="append", default=[], metavar="NAME=VALUE", help="as of OpenSSH")
    parser.add_argument(
        "-f", "--fork-after-authentication", action="store_true", help="go to the background once signed in"
    )
    add_cluster(parser)
    parser.set_defaults(run=run)


def options_of(words: Sequence[str]) -> Mapping[str, str]:
    """
    @param words: of C{-o}: C{Name=value} or C{Name value}.
    @return: by name in lower case.
    """
    found = {}
    for word in words:
        name, _, value = word.replace(" ", "=", 1).partition("=")
        found[name.strip().lower()] = value.strip()
    return found


async def run(context: UserContext, options: argparse.Namespace) -> int:
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
    ways = way(context, Duration(seconds=int(seconds)) if seconds.isdecimal() else KEEPALIVE)
    port = options.port or int(said.get("port", "0") or 0)
    found = await nodes(context, wanted, port)
    if wanted.by_labels:
        from teleport_tw.clients.tsh.many import run_on_all

        return await run_on_all(ways, found, login, command)
    try:
        return await _one(context, options, ways, found[0], login, command, said)
    except TeleportError as error:
        raise worded(error, login, found[0].name, signed.standing.logins) from error


def words_of(command: Sequence[str]) -> str:
    """
    @return: the command as the server's shell gets it.
    """
    words = list(command)
    return " ".join(words[1:] if words[:1] == ["--"] else words)


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
        return await session.run(command, with_terminal=bool(wants_terminal and has_terminal), escapes=escapes)
