"""
List the clusters that this login reaches.
"""

from __future__ import annotations

import argparse

from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.tsh.context import UserContext

EXAMPLES = """\
tsh clusters
tsh clusters --format=json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh clusters}.
    """
    parser.add_argument("-q", "--quiet", action="store_true", help="no header")
    parser.add_argument("-v", "--verbose", action="store_true", help="labels whole")
    parser.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    parser.set_defaults(run=run)


async def run(context: UserContext, options: argparse.Namespace) -> None:
    """
    Auth is asked whether it is there.
    """
    info = await (await context.api()).ping()
    selected = context.signed.profile.cluster == info.cluster
    value = [
        {"cluster_name": info.cluster, "status": "online", "cluster_type": "root", "labels": {}, "selected": selected}
    ]
    row = (info.cluster, "online", "root", "", "*" if selected else "")
    text = table(("Cluster Name", "Status", "Cluster Type", "Labels", "Selected"), [row])
    show(options.format, value, "".join(text.splitlines(keepends=True)[2:]) if options.quiet else text)
