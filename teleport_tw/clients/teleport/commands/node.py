"""
Print the configuration of a host that serves SSH and nothing else.
"""

from __future__ import annotations

import argparse

from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients.teleport.commands.configure import joining, put
from teleport_tw.config import sample
from teleport_tw.config.overrides import parse_labels

EXAMPLES = """\
teleport node configure --token=/etc/teleport.token --proxy=teleport.example.com:443 -o file
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport node configure}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    child = commands.add_parser("configure", help="print a configuration", description=__doc__)
    joining(child)
    child.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """
    Needs no cluster.
    """
    if not options.token:
        raise bad_parameter("--token is missing; `tctl tokens add --type=node` makes one")
    if not options.proxy and not options.auth_server:
        raise bad_parameter("say where the cluster is: --proxy=HOST:PORT")
    text = sample.node_configure(
        token=options.token,
        proxy_server=options.proxy,
        auth_server=options.auth_server,
        ca_pins=tuple(options.ca_pin),
        data_dir=options.data_dir,
        nodename=options.node_name,
        labels=parse_labels(options.labels),
    )
    return put(text, options.output)
