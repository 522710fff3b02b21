"""
Events as text, CSV, JSON lines, JSON or YAML, for C{tctl audit ls} and C{tctl audit export}.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

import yaml

from teleport_tw.base.errors import bad_parameter
from teleport_tw.events.lookup import describe
from teleport_tw.resources.metadata import Json

FORMATS = ("text", "csv", "json", "jsonl", "yaml")
COLUMNS = ("time", "event", "code", "user", "login", "server_hostname", "sid", "success", "addr.remote")


def render(events: Sequence[Json], form: str = "text") -> str:
    """
    @param events: as the log has them.
    @param form: one of L{FORMATS}.
    @return: with a newline at the end; text that a terminal can show, control characters escaped.
    @raise TeleportError: BAD_PARAMETER, no such format.
    """
    match form:
        case "json":
            return json.dumps(list(events), indent=4, ensure_ascii=False) + "\n"
        case "jsonl":
            return "".join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in events)
        case "yaml":
            return yaml.safe_dump([dict(event) for event in events], sort_keys=False, allow_unicode=True)
        case "csv":
            return _csv(events)
        case "text":
            return _text(events)
    raise bad_parameter(f"{form!r} is not a format; use one of {', '.join(FORMATS)}")


def _csv(events: Sequence[Json]) -> str:
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([*COLUMNS, "description"])
    for event in events:
        rows.writerow([_cell(event.get(name, "")) for name in COLUMNS] + [_cell(describe(event))])
    return out.getvalue()


def _cell(value: object) -> str:
    text = printable(json.dumps(value) if isinstance(value, bool | dict | list) else str(value))
    # a spreadsheet would take these for a formula
    return "'" + text if text[:1] in ("=", "+", "-", "@") else text


def _text(events: Sequence[Json]) -> str:
    table = [("Time", "Event", "Code", "User", "Description")]
    for event in events:
        names = ("time", "event", "code", "user")
        table.append((*(printable(str(event.get(name, ""))) for name in names), printable(describe(event))))  # type: ignore[arg-type]  # four and one are five
    widths = [max(len(row[column]) for row in table) for column in range(5)]
    table.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]  # five columns each
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table)
    return "\n".join(lines) + "\n"


def printable(text: str) -> str:
    """
    @return: C{text} with control characters written as C{\\x1b}, so that an event cannot play tricks on a terminal.
    """
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
