"""
The audit log: list, export, search and verify it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TextIO

from attrs import evolve

from teleport_tw.api.contract import Audit, EventQuery
from teleport_tw.audit.render import FORMATS, render
from teleport_tw.base.timing import parse_duration, parse_time, utc_now
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Json

EXAMPLES = """\
tctl audit ls --last=2h --user=alice
tctl audit export --from=2026-01-01T00:00:00Z --format=csv --out=january.csv
tctl audit search "rm -rf"
tctl audit verify
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl audit ls|export|search|verify}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="newest events first")
    add_period(ls)
    ls.add_argument("--limit", type=int, default=100, help="at most so many events [100]")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls, words=[])

    search = commands.add_parser("search", help="events that hold all the given words")
    search.add_argument("words", nargs="+")
    add_period(search)
    search.add_argument("--limit", type=int, default=100, help="at most so many events [100]")
    search.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    search.set_defaults(run=run_ls)

    export = commands.add_parser("export", help="all events of a period, oldest first")
    add_period(export)
    export.add_argument("-f", "--format", choices=FORMATS, default="jsonl", help="[jsonl]")
    export.add_argument("-o", "--out", default="-", help="file to write; - for standard output [-]")
    export.set_defaults(run=run_export)

    verify = commands.add_parser("verify", help="prove that no event was changed or cut out")
    verify.set_defaults(run=run_verify)


def add_period(parser: argparse.ArgumentParser) -> None:
    """
    Flags that say which events.
    """
    parser.add_argument("--from", dest="since", default="", metavar="TIME", help="from then on: 2026-01-31T15:04:05Z")
    parser.add_argument("--to", dest="until", default="", metavar="TIME", help="until before then")
    parser.add_argument("--last", default="", metavar="DURATION", help="the last so long: 2h, 7d")
    parser.add_argument("--type", default="", help="comma-separated event names: user.login,session.start")
    parser.add_argument("--user", default="", help="comma-separated users")
    parser.add_argument("--session", default="", help="id of a session")


def event_query(options: argparse.Namespace) -> EventQuery:
    """
    @raise TeleportError: BAD_PARAMETER, a time or duration cannot be read.
    """
    since = parse_time(options.since) if options.since else None
    if options.last:
        since = utc_now() - parse_duration(options.last)
    return EventQuery(
        since=since,
        until=parse_time(options.until) if options.until else None,
        types=tuple(word for word in options.type.split(",") if word),
        users=tuple(word for word in options.user.split(",") if word),
        session=options.session,
    )


async def all_events(audit: Audit, query: EventQuery, limit: int = 0) -> AsyncIterator[Json]:
    """
    All pages, or the first C{limit} events.
    """
    count = 0
    while True:
        page = await audit.search(query)
        for event in page.events:
            yield event
            count += 1
            if count == limit:
                return
        if not page.next_start:
            return
        query = evolve(query, start=page.next_start)


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    For a person to look at; L{run_export} is for programs.
    """
    api = await context.api()
    query = evolve(event_query(options), descending=True, text=" ".join(options.words))
    print(render([event async for event in all_events(api, query, options.limit)], options.format), end="")


async def run_export(context: Context, options: argparse.Namespace) -> None:
    """
    C{jsonl} and C{csv} stream page by page, whatever the number of events; the rest is collected first.
    """
    api = await context.api()
    query = event_query(options)
    if options.out == "-":
        await _export(api, query, options.format, sys.stdout)
        return
    with Path(options.out).open("w", encoding="utf-8") as stream:
        count = await _export(api, query, options.format, stream)
    print(f"{count} events written to {options.out}")


async def _export(audit: Audit, query: EventQuery, form: str, stream: TextIO) -> int:
    if form not in ("jsonl", "csv"):
        events = [event async for event in all_events(audit, query)]
        stream.write(render(events, form))
        return len(events)
    count = 0
    while True:
        page = await audit.search(query)
        text = render(page.events, form)
        stream.write(text.partition("\n")[2] if form == "csv" and count else text)
        count += len(page.events)
        if not page.next_start:
            return count
        query = evolve(query, start=page.next_start)


async def run_verify(context: Context, options: argparse.Namespace) -> int:
    """
    Exit code 1 when something is wrong.
    """
    api = await context.api()
    result = await api.verify()
    for problem in result.problems:
        print(f"PROBLEM: {problem}")
    if result.problems:
        print(f"{result.checked} events checked, {len(result.problems)} problems found.")
        return 1
    print(f"{result.checked} events checked: the log is whole, nothing was changed or cut out.")
    return 0
