"""
Servers of the cluster: list them, or get the command that adds one.
"""

from __future__ import annotations

import argparse

from teleport_tw.api.contract import Query, every
from teleport_tw.clients.output import FORMATS, show, table, terminal_width
from teleport_tw.clients.program import Context
from teleport_tw.clients.selection import add_selection, selection
from teleport_tw.clients.tctl.commands import tokens
from teleport_tw.resources.metadata import format_labels
from teleport_tw.resources.nodes import all_labels

EXAMPLES = """\
tctl nodes ls
tctl nodes add --ttl=1h
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl nodes add|ls}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="list servers")
    add_selection(ls)
    ls.add_argument("-v", "--verbose", action="store_true", help="do not cut labels to the width of the terminal")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)

    add = commands.add_parser("add", help="make a token and print how a server joins with it")
    add.add_argument("--roles", default="node", help="comma-separated: node, proxy, app, db [node]")
    add.add_argument("--ttl", default="30m", help="how long the token works [30m]")
    add.add_argument("--token", default="", help="the token's value; random when not given")
    add.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    add.set_defaults(run=run_add)


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    Filtered and paged by auth.
    """
    api = await context.api()
    query: Query = selection(options)
    nodes = [node async for node in every(api, "node", query)]
    rows = [
        (
            str(node.spec.get("hostname") or ""),
            node.name,
            ",".join(node.spec.get("public_addrs") or ()) or str(node.spec.get("addr") or ""),
            format_labels(all_labels(node)),
            str(node.spec.get("version") or ""),
        )
        for node in nodes
    ]
    rows.sort()
    width = 0 if options.verbose else terminal_width()
    columns = ("Host", "UUID", "Public Address", "Labels", "Version")
    show(options.format, [node.to_json() for node in nodes], table(columns, rows, width=width and max(width, 100)))


async def run_add(context: Context, options: argparse.Namespace) -> None:
    """
    The same as C{tctl tokens add --type=node}.
    """
    await tokens.add(context, kinds=options.roles, ttl=options.ttl, value=options.token, form=options.format)
