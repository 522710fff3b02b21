"""
What runs where: every service that is alive, its version and since when.
"""

from __future__ import annotations

import argparse
from collections import Counter

from teleport_tw.api.contract import every
from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Resource

EXAMPLES = """\
tctl inventory ls
tctl inventory status
tctl inventory forget 6e9a2a58-3f5e-4b7c-9d59-1f3a6f1d0001
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl inventory ls|status|forget}.
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
    forget = commands.add_parser("forget", help="let a host that was installed anew join with the id it had")
    forget.add_argument("host", help="its id, or its name where one host alone has it")
    forget.set_defaults(run=run_forget)


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


async def run_forget(context: Context, options: argparse.Namespace) -> None:
    """
    The host leaves all lists, and a token makes a host of its id again.
    """
    host = options.host
    named = [each.name for each in await _instances(context) if each.spec.get("hostname") == host]
    if len(named) > 1:
        raise bad_parameter(f"{len(named)} hosts are called {host}; give the id of one: {', '.join(named)}")
    known = named[0] if named else host
    api = await context.api()
    await api.delete("instance", known)
    print(f"Host {known} has been forgotten and may join again with a token.")
    print(f"Certificates that it has are good until they end; to keep their holder out: tctl lock --server-id={known}")
