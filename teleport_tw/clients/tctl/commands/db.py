"""
Databases of the cluster: who serves them, and how they are.
"""

from __future__ import annotations

import argparse

from teleport_tw.api.contract import every
from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.output import FORMATS, show, table, terminal_width
from teleport_tw.clients.program import Context
from teleport_tw.clients.selection import add_selection, selection
from teleport_tw.resources.database_servers import SERVER_KIND, DatabaseServer
from teleport_tw.resources.metadata import Resource, format_labels

EXAMPLES = """\
tctl db ls
tctl db ls env=prod --format=json
tctl get db                                  dynamic databases; tctl create and tctl rm change them
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl db ls}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="list databases with the agents that serve them and their health")
    add_selection(ls)
    ls.add_argument("-v", "--verbose", action="store_true", help="why a database is not well, and labels whole")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    One line for each agent and database.
    """
    api = await context.api()
    found = [server async for server in every(api, SERVER_KIND, selection(options))]
    rows = sorted(row for server in found if (row := _row(server, options.verbose)))
    columns = ["Host", "Name", "Protocol", "URI", "Health", "Version", "Labels"]
    if options.verbose:
        columns.insert(5, "Last Problem")
    width = 0 if options.verbose else terminal_width()
    text = table(columns, rows, width=width and max(width, 100))
    show(options.format, [server.to_json() for server in found], text)


def _row(resource: Resource, verbose: bool) -> tuple[str, ...]:
    """
    @return: empty for what cannot be read.
    """
    try:
        server = DatabaseServer.parse(resource)
    except TeleportError:
        return ()
    database, health = server.database, server.health
    labels = {name: value for name, value in resource.metadata.labels.items() if not name.startswith("teleport.")}
    row = [
        server.hostname or server.host_id,
        database.name,
        database.protocol,
        database.uri,
        health.status.value,
        server.version,
        format_labels(resource.metadata.labels if verbose else labels),
    ]
    if verbose:
        row.insert(5, health.error)
    return tuple(row)
