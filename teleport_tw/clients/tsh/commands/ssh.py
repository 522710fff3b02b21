"""
Open a shell on a server, or run a command there.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from teleport_tw.clients.tsh.target import add_cluster

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.context import UserContext

EXAMPLES = """\
tsh ssh root@node-1
tsh ssh root@node-1 uptime
tsh ssh root@env=prod -- uptime          on every server with that label, at the same time
tsh ssh --reason=INC-7 --invite=bob root@node-1
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
    parser.add_argument("--reason", default="", metavar="TEXT", help="why the session is held, for those who see it")
    parser.add_argument(
        "--invite", action="append", default=[], metavar="NAMES", help="users who are asked to join, comma-separated"
    )
    add_cluster(parser)
    parser.set_defaults(run=run, plain=plain)


def plain(options: argparse.Namespace) -> int | None:
    """
    The way without a reactor, for a command alone.

    @return: the exit status; none where the other way has to be taken.
    """
    from teleport_tw.clients.tsh.single import run_single

    return run_single(options)


async def run(context: UserContext, options: argparse.Namespace) -> int:
    """
    @return: the command's exit status; of several, the worst.
    """
    from teleport_tw.clients.tsh.remote import run_remote

    return await run_remote(context, options)
