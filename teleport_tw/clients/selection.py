"""
Which servers are meant: C{--search}, C{--query} and labels, the same in C{tsh} and C{tctl}.
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping

from teleport_tw.api.contract import Query
from teleport_tw.base.errors import bad_parameter


def add_selection(parser: argparse.ArgumentParser) -> None:
    """
    Add the flags and the C{labels} argument.
    """
    parser.add_argument("labels", nargs="?", default="", help="labels that must match: env=prod,region=us-*")
    parser.add_argument(
        "--search", default="", metavar="WORDS", help="words that must occur in name or labels: 'db prod'"
    )
    parser.add_argument(
        "--query",
        default="",
        metavar="EXPRESSION",
        help="""for instance 'labels["env"] == "prod" && !hasPrefix(name, "x")'""",
    )


def selection(options: argparse.Namespace, *, accessible: bool = False) -> Query:
    """
    @raise TeleportError: BAD_PARAMETER, the labels are not C{key=value,…}.
    """
    return Query(
        labels=parse_labels(options.labels),
        search=search_words(options.search),
        expression=options.query,
        accessible=accessible,
    )


def search_words(text: str) -> tuple[str, ...]:
    """
    @return: words split at commas and spaces, quotes respected.
    """
    try:
        return tuple(shlex.split(text.replace(",", " ")))
    except ValueError as error:
        raise bad_parameter(f"--search {text!r}: {error}") from error


def parse_labels(text: str) -> Mapping[str, str]:
    """
    @param text: C{env=prod,region="us east"}; a value may hold globs.
    """
    found: dict[str, str] = {}
    for part in _commas(text):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise bad_parameter(f"{part!r} is not a label; write key=value,key=value")
        found[key.strip()] = value.strip().strip("\"'")
    return found


def _commas(text: str) -> list[str]:
    parts, quote, current = [], "", ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == ",":
            parts.append(current)
            current = ""
            continue
        current += character
    if quote:
        raise bad_parameter(f"{text!r}: a quotation mark is not closed")
    return [part for part in [*parts, current] if part.strip()]
