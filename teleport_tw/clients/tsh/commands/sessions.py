"""
List sessions that are going on.
"""

from __future__ import annotations

import argparse

from teleport_tw.api.contract import every
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.resources.metadata import Resource

COLUMNS = ("ID", "Kind", "Created", "Hostname", "Address", "Login", "Reason", "Command")

EXAMPLES = """\
tsh sessions ls
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh sessions ls}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="live sessions that you may see")
    ls.add_argument("--kind", default="", help="comma-separated: ssh,k8s,db,app,desktop")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)


async def run_ls(context: UserContext, options: argparse.Namespace) -> None:
    """
    Newest last.
    """
    api = await context.api()
    kinds = set(filter(None, options.kind.split(",")))
    found = [tracker async for tracker in every(api, "session_tracker")]
    found = [tracker for tracker in found if not kinds or str(tracker.spec.get("kind") or "ssh") in kinds]
    found.sort(key=lambda tracker: str(tracker.spec.get("created") or ""))
    show(options.format, [tracker.to_json() for tracker in found], table(COLUMNS, map(_row, found)))


def _row(tracker: Resource) -> tuple[str, ...]:
    spec = tracker.spec
    words = spec.get("command") or spec.get("initial_command") or ""
    return (
        tracker.name,
        str(spec.get("kind") or "ssh"),
        str(spec.get("created") or ""),
        str(spec.get("hostname") or spec.get("target_hostname") or ""),
        str(spec.get("address") or spec.get("target_address") or ""),
        str(spec.get("login") or ""),
        str(spec.get("reason") or ""),
        " ".join(map(str, words)) if isinstance(words, list) else str(words),
    )
