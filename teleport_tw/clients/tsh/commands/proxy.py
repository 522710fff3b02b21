"""
Connections through the proxy for other programs.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from teleport_tw.base.errors import bad_parameter

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.context import UserContext

EXAMPLES = """\
ssh -o ProxyCommand='tsh proxy ssh %r@%h:%p' root@node-1
tsh proxy db --tunnel --db-user=app --db-name=orders --port=5432 postgres-prod
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh proxy ssh}, C{tsh proxy db}.
    """
    from teleport_tw.clients.tsh.reach import add_choice, add_principals

    commands = parser.add_subparsers(metavar="command", required=True)
    ssh = commands.add_parser("ssh", help="standard input and output joined to a server's SSH: for ProxyCommand")
    ssh.add_argument("target", metavar="[user@]host[:port]")
    ssh.add_argument("-c", "--cluster", default="", metavar="NAME", help="the cluster the server is in")
    ssh.set_defaults(run=run_ssh, offline=True)

    db = commands.add_parser("db", help="a database on a port of this host")
    db.add_argument("db", nargs="?", default="", help="name of the database")
    add_principals(db)
    add_choice(db)
    db.add_argument("-p", "--port", default="0", metavar="PORT", help="to listen on [any that is free]")
    db.add_argument("--listen", default="", metavar="HOST:PORT", help="address to listen on [127.0.0.1]")
    db.add_argument(
        "--tunnel",
        action="store_true",
        help="sign in here, so that clients need no certificates there; for sessions with a second factor too",
    )
    db.add_argument("-c", "--cluster", default="", metavar="NAME", help="of another cluster")
    db.set_defaults(run=run_db)


def run_ssh(options: argparse.Namespace) -> int:
    """
    No reactor: it starts in a tenth of a second.
    """
    from teleport_tw.clients.tsh.context import signed_in
    from teleport_tw.dial.blocking import open_stream
    from teleport_tw.dial.pipe import join

    signed = signed_in(options)
    cluster = signed.profile.cluster
    connection, early = open_stream(
        *signed.proxy, signed.identity, dialled(options.target, cluster, signed.identity.cluster)
    )
    with connection:
        try:
            join(connection, 0, 1, early)
        except BrokenPipeError:
            return 1
    return 0


async def run_db(context: UserContext, options: argparse.Namespace) -> None:
    """
    Serves until it is interrupted.
    """
    from teleport_tw.clients.tsh.gateway import serve

    await serve(context, options)


def dialled(text: str, cluster: str, own: str) -> str:
    """
    @param text: C{[user@]host[:port]}, as OpenSSH fills in C{%r@%h:%p}.
    @param cluster: to go to.
    @param own: the cluster whose proxy is asked.
    @return: C{host[:port][@cluster]}; port 3022 is left out, as that stands for none.
    """
    host = text.rpartition("@")[2]
    if host.endswith((":3022", ":0")):
        host = host.rpartition(":")[0]
    if not host.strip("[]") or (host.startswith(":") and not host.startswith("::")):
        raise bad_parameter(f"{text!r} is not [user@]host[:port]")
    return f"{host}@{cluster}" if cluster and cluster != own else host
