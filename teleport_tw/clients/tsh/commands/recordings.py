"""
Recordings of ended sessions: list, search, export.
"""

from __future__ import annotations

import argparse
import sys
from datetime import datetime, timedelta
from pathlib import Path

from attrs import evolve

from teleport_tw.api.contract import EventQuery
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import parse_duration, parse_time, utc_now
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.sessions import recorded_row, recorded_sessions
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.fetched import records
from teleport_tw.recordings import play

EXAMPLES = """\
tsh recordings ls --last=7d
tsh recordings search "drop table"
tsh recordings export SESSION --format=cast --out=session.cast
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh recordings ls|search|export}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="ended sessions, newest first")
    _add_period(ls)
    ls.add_argument("--limit", type=int, default=50, help="[50]")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)
    search = commands.add_parser("search", help="sessions in whose terminal a text was shown")
    search.add_argument("text")
    _add_period(search)
    search.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    search.set_defaults(run=run_search)
    export = commands.add_parser("export", help="write a recording in another format")
    export.add_argument("session", help="an id, or a file")
    export.add_argument("-f", "--format", choices=play.FORMATS, default="cast", help="cast is asciicast v2 [cast]")
    export.add_argument("-o", "--out", default="", help="file to write; - for standard output [SESSION.cast]")
    export.set_defaults(run=run_export)


def _add_period(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from-utc", default="", metavar="DAY", help="from then on: 2026-01-31, 2026-01-31T15:04:05Z")
    parser.add_argument("--to-utc", default="", metavar="DAY", help="up to then, that day too")
    parser.add_argument("--last", default="", metavar="DURATION", help="the last so long: 2h, 7d")


def _moment(text: str, extra: timedelta) -> datetime | None:
    if not text:
        return None
    return parse_time(f"{text}T00:00:00Z") + extra if len(text) == 10 else parse_time(text)


def _period(options: argparse.Namespace) -> EventQuery:
    since = _moment(options.from_utc, timedelta(0))
    if options.last:
        since = utc_now() - parse_duration(options.last)
    return EventQuery(since=since, until=_moment(options.to_utc, timedelta(days=1)))


async def run_ls(context: UserContext, options: argparse.Namespace) -> None:
    """
    Out of the audit log, as far as the user may read it.
    """
    if options.limit < 1:
        raise bad_parameter("--limit must be more than zero")
    events = await recorded_sessions(await context.api(), _period(options), options.limit)
    columns = ("ID", "Type", "Participants", "Target", "Timestamp")
    show(options.format, events, table(columns, [recorded_row(event) for event in events]))


async def run_search(context: UserContext, options: argparse.Namespace) -> None:
    """
    Any case; escape sequences of the terminal do not count.
    """
    api = await context.api()
    hits = await api.search_recordings(options.text, evolve(_period(options), limit=100))
    value = [{"session": hit.session, "offset": hit.at, "line": hit.line} for hit in hits]
    rows = [(hit.session, f"{hit.at.total_seconds():.1f}s", hit.line) for hit in hits]
    show(options.format, value, table(("Session", "At", "Line"), rows))


async def run_export(context: UserContext, options: argparse.Namespace) -> None:
    """
    The file appears whole or not at all.
    """
    found = await records(context, options.session)
    if options.out == "-":
        sys.stdout.writelines(play.export(found, options.format))
        return
    target = Path(options.out or f"{Path(options.session).stem}.{options.format}")
    partial = target.with_name(target.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.writelines(play.export(found, options.format))
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    print(f"Written to {target}")
