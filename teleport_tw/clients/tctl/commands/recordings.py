"""
Session recordings: list, download, and search what was on the screen.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from attrs import evolve

from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.clients.sessions import recorded_row, recorded_sessions
from teleport_tw.clients.tctl.commands.audit import add_period, event_query

EXAMPLES = """\
tctl recordings ls --last=7d
tctl recordings search "drop table"
tctl recordings download SESSION --out=session.rec
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl recordings ls|download|search}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="ended sessions, newest first")
    add_period(ls)
    ls.add_argument("--limit", type=int, default=50, help="[50]")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)

    search = commands.add_parser("search", help="sessions in whose terminal a text was shown")
    search.add_argument("text")
    add_period(search)
    search.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    search.set_defaults(run=run_search)

    download = commands.add_parser("download", help="fetch a recording; `tsh play FILE` shows it")
    download.add_argument("session")
    download.add_argument("-o", "--out", default="", help="file to write [SESSION.rec]")
    download.set_defaults(run=run_download)


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    Out of the audit log.
    """
    api = await context.api()
    events = await recorded_sessions(api, event_query(options), options.limit)
    columns = ("ID", "Type", "Participants", "Target", "Timestamp")
    show(options.format, events, table(columns, [recorded_row(event) for event in events]))


async def run_search(context: Context, options: argparse.Namespace) -> None:
    """
    Any case; escape sequences of the terminal do not count.
    """
    api = await context.api()
    hits = await api.search_recordings(options.text, evolve(event_query(options), limit=100))
    value = [{"session": hit.session, "offset": hit.at, "line": hit.line} for hit in hits]
    rows = [(hit.session, f"{hit.at.total_seconds():.1f}s", hit.line) for hit in hits]
    show(options.format, value, table(("Session", "At", "Line"), rows))


async def run_download(context: Context, options: argparse.Namespace) -> None:
    """
    The file appears whole or not at all.
    """
    api = await context.api()
    target = Path(options.out or f"{options.session}.rec")
    partial = target.with_name(target.name + ".partial")
    size = 0
    try:
        with partial.open("wb") as file:
            async for chunk in api.get_recording(options.session):
                file.write(chunk)
                size += len(chunk)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    print(f"{size} bytes written to {target}")
