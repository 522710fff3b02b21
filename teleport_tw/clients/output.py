"""
What commands print: tables of text, JSON and YAML, the same facts in each.

Control characters in names and labels never reach the terminal: what came from elsewhere is shown escaped.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TextIO

FORMATS = ("text", "json", "yaml")

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def harmless(text: str) -> str:
    """
    @return: the text with control and direction characters written as escapes, so that no name can move the cursor.
    """
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, width: int = 0) -> str:
    """
    Columns under dashes, as the reference's commands print them.

    @param width: cut the last column to this many characters a line; zero for no limit.
    @return: the lines, each ended by a newline; header and rule only, when there are no rows.
    """
    cells = [[harmless(cell) for cell in row] for row in rows]
    widths = [max([len(name), *(len(row[index]) for row in cells)]) for index, name in enumerate(columns)]
    if width and len(widths) > 1:
        before = sum(widths[:-1]) + len(widths) - 1
        widths[-1] = max(len(columns[-1]), min(widths[-1], width - before))

    def line(row: Sequence[str]) -> str:
        shown = [cell.ljust(size) for cell, size in zip(row, widths, strict=True)]
        if len(row[-1]) > widths[-1]:
            shown[-1] = row[-1][: widths[-1] - 1] + "…"
        return " ".join(shown).rstrip() + "\n"

    return "".join([line(columns), line(["-" * size for size in widths]), *map(line, cells)])


def terminal_width(stream: TextIO | None = None) -> int:
    """
    @return: columns of the terminal that C{stream} is; zero when it is none, so that nothing is cut in a pipe.
    """
    stream = sys.stdout if stream is None else stream
    return shutil.get_terminal_size().columns if stream.isatty() else 0


def as_json(value: Any) -> str:
    """
    @return: indented JSON, ended by a newline.
    """
    text = json.dumps(value, indent=4, ensure_ascii=False, default=_plain)
    # JSON leaves alone what moves a terminal's cursor from beyond ASCII; its own newlines stay.
    return _CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text) + "\n"


def as_yaml(*documents: Any) -> str:
    """
    @return: the documents, C{---} between them.
    """
    import yaml

    plain = [json.loads(json.dumps(document, default=_plain)) for document in documents]
    return str(yaml.safe_dump_all(plain, sort_keys=False, allow_unicode=True, default_flow_style=False))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, timedelta):
        from teleport_tw.base.timing import format_duration  # with attrs, which not every command needs

        return format_duration(value)
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def show(form: str, value: Any, text: str, *, stream: TextIO | None = None) -> None:
    """
    Print C{value} as JSON or YAML, or C{text}.

    @param form: one of L{FORMATS}.
    """
    stream = sys.stdout if stream is None else stream
    if form == "json":
        stream.write(as_json(value))
    elif form == "yaml":
        stream.write(as_yaml(*value) if isinstance(value, list) else as_yaml(value))
    else:
        stream.write(text)
