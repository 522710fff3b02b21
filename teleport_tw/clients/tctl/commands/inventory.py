"""
What runs where: every service that is alive, its version and since when.
"""

from __future__ import annotations

import argparse
from collections import Counter

from teleport_tw.api.contract import every
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Resource

EXAMPLES = """\
tctl inventory ls
tctl inventory status
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl inventory ls|status}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", aliases=["list"], help="one line a host")
    ls.add_argument("--services", default="", help="only hosts with these services: node,proxy")
    ls.add_argument("--exact-version", default="", help="only this version")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)
    status = commands.add_parser("status", help="counts by service and version")
    status.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    status.set_defaults(run=run_status)


async def _instances(context: Context) -> list[Resource]:
    api = await context.api()
    return [instance async for instance in every(api, "instance")]


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    A host leaves the list when its heartbeats end.
    """
    wanted = {word.strip().lower() for word in options.services.split(",") if word.strip()}
    found = [
        instance
        for instance in await _instances(context)
        if wanted <= {str(service).lower() for service in instance.spec.get("services") or ()}
        and options.exact_version in ("", instance.spec.get("version"))
    ]
    rows = [
        (
            instance.name,
            str(instance.spec.get("hostname") or ""),
            ",".join(instance.spec.get("services") or ()),
            str(instance.spec.get("version") or ""),
            "",
            "",
        )
        for instance in found
    ]
    columns = ("Server ID", "Hostname", "Services", "Agent Version", "Upgrader", "Upgrader Version")
    show(options.format, [instance.to_json() for instance in found], table(columns, rows))


async def run_status(context: Context, options: argparse.Namespace) -> None:
    """
    How many of what.
    """
    found = await _instances(context)
    versions = Counter(str(instance.spec.get("version") or "unknown") for instance in found)
    services = Counter(str(service) for instance in found for service in instance.spec.get("services") or ())
    value = {"hosts": len(found), "versions": dict(versions), "services": dict(services)}
    text = f"Hosts: {len(found)}\n\n"
    text += table(("Service", "Count"), [(name, str(count)) for name, count in sorted(services.items())]) + "\n"
    text += table(("Version", "Count"), [(name, str(count)) for name, count in sorted(versions.items())])
    show(options.format, value, text)
