"""
Tell which server a name stands for; exits with 1 when it stands for none, or several.
"""

from __future__ import annotations

import argparse

from teleport_tw.api.contract import Query, every
from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.selection import parse_labels
from teleport_tw.clients.tsh.commands.ls import shown
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.resources.metadata import Resource

EXAMPLES = """\
tsh resolve node-1
tsh resolve -q node-1 && echo there      for Match exec in ssh_config
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh resolve}.
    """
    parser.add_argument("host")
    parser.add_argument("-q", "--quiet", action="store_true", help="print nothing")
    parser.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    parser.add_argument("-c", "--cluster", default="", metavar="NAME", help="in another cluster")
    parser.set_defaults(run=run)


async def run(context: UserContext, options: argparse.Namespace) -> int:
    """
    Among the servers that the user can reach.
    """
    api = await context.api()
    host = options.host.rpartition("@")[2]
    query = Query(labels=parse_labels(host) if "=" in host else {}, accessible=True)
    nodes = [node async for node in every(api, "node", query)]
    if "=" not in host:
        nodes = [node for node in nodes if known_as(node, host, context.signed.profile.cluster)]
    if options.quiet:
        return 0 if len(nodes) == 1 else 1
    if not nodes:
        raise not_found(f"no server is known as {host}; `tsh ls` shows those you can reach")
    if len(nodes) > 1:
        raise bad_parameter(f"{len(nodes)} servers are known as {host}: {', '.join(node.name for node in nodes)}")
    show(options.format, nodes[0].to_json(), table(*shown(nodes, True)))
    return 0


def known_as(node: Resource, host: str, cluster: str) -> bool:
    """
    @return: whether C{host} is the server's UUID, name or address, or that with the cluster's name behind it.
    """
    names = {node.name, str(node.spec.get("hostname") or "")}
    names |= {
        str(address).rpartition(":")[0]
        for address in [node.spec.get("addr"), *(node.spec.get("public_addrs") or ())]
        if address
    }
    return bool({host, host.removesuffix(f".{cluster}")} & (names - {""}))
