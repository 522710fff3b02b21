"""
List the servers that you can reach.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from teleport_tw.api.contract import every
from teleport_tw.clients.output import as_json, as_yaml, harmless, table, terminal_width
from teleport_tw.clients.selection import add_selection, selection
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.resources.metadata import Resource, format_labels
from teleport_tw.resources.nodes import all_labels

TUNNEL = "⟵ Tunnel"

EXAMPLES = """\
tsh ls
tsh ls env=prod
tsh ls --search=db,eu --query='labels["tier"] != "test"'
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh ls}.
    """
    add_selection(parser)
    parser.add_argument("-v", "--verbose", action="store_true", help="UUIDs too, and labels whole")
    parser.add_argument("-f", "--format", choices=("text", "json", "yaml", "names"), default="text", help="[text]")
    parser.add_argument("-R", "--all", action="store_true", help="name proxy and cluster too")
    parser.add_argument("-c", "--cluster", default="", metavar="NAME", help="of another cluster")
    parser.set_defaults(run=run)


async def run(context: UserContext, options: argparse.Namespace) -> None:
    """
    Filtered and paged by auth.
    """
    api = await context.api()
    nodes = [node async for node in every(api, "node", selection(options, accessible=True))]
    nodes.sort(key=lambda node: (hostname(node), node.name))
    if options.format == "json":
        sys.stdout.write(as_json([node.to_json() for node in nodes]))
    elif options.format == "yaml":
        sys.stdout.write(as_yaml(*[node.to_json() for node in nodes]) if nodes else "")
    elif options.format == "names":
        sys.stdout.writelines(harmless(hostname(node)) + "\n" for node in nodes)
    else:
        columns, rows = shown(nodes, options.verbose)
        if options.all:
            profile = context.signed.profile
            columns = ("Proxy", "Cluster", *columns)
            rows = [(profile.web_proxy_addr, profile.cluster, *row) for row in rows]
        sys.stdout.write(table(columns, rows, width=0 if options.verbose else terminal_width()))


def shown(nodes: Sequence[Resource], verbose: bool) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """
    @return: columns and rows.
    """
    rows: list[tuple[str, ...]]
    if verbose:
        rows = [(hostname(node), node.name, address(node), format_labels(all_labels(node))) for node in nodes]
        return ("Node Name", "Node ID", "Address", "Labels"), rows
    return ("Node Name", "Address", "Labels"), [
        (hostname(node), address(node), format_labels(all_labels(node))) for node in nodes
    ]


def hostname(node: Resource) -> str:
    """
    @return: the server's name.
    """
    return str(node.spec.get("hostname") or node.name)


def address(node: Resource) -> str:
    """
    @return: where it listens, or an arrow for one behind a tunnel.
    """
    return TUNNEL if node.spec.get("use_tunnel") else str(node.spec.get("addr") or "")
