"""
Create resources out of a YAML file of one or several documents; - reads standard input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.text import load

EXAMPLES = """\
tctl create role.yaml
tctl create -f role.yaml         overwrite what is there already
tctl get all | tctl create -f -
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl create}.
    """
    parser.add_argument("file", nargs="?", default="-", help="YAML or JSON; - for standard input [-]")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite what exists")
    parser.set_defaults(run=run)


def read(file: str) -> list[Resource]:
    """
    @raise TeleportError: BAD_PARAMETER, the file cannot be read or a document is wrong; every mistake is named.
    """
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise bad_parameter(f"cannot read {file}: {error}") from error
    resources = load(text)
    if not resources:
        raise bad_parameter(f"{'standard input' if file == '-' else file} holds no resource")
    return resources


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    Every document is checked before the first is written.
    """
    resources = read(options.file)
    api = await context.api()
    for resource in resources:
        try:
            await (api.upsert(resource) if options.force else api.create(resource))
        except TeleportError as error:
            if error.kind is not Kind.ALREADY_EXISTS:
                raise
            raise TeleportError(
                error.kind, f'{resource.kind} "{resource.name}" exists; use --force to overwrite it'
            ) from error
        print(f'{resource.kind} "{resource.name}" has been {"written" if options.force else "created"}')
