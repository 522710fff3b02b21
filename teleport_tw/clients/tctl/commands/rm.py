"""
Remove resources by kind and name.
"""

from __future__ import annotations

import argparse

from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients.program import Context
from teleport_tw.clients.tctl.references import parse_references

EXAMPLES = """\
tctl rm role/dev
tctl rm lock/0d3f…,token/abc
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl rm}.
    """
    parser.add_argument("references", metavar="kind/name,…", help="for instance role/dev")
    parser.set_defaults(run=run)


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    In the order given; stops at the first that is not there.
    """
    references = parse_references(options.references)
    unnamed = [reference.kind for reference in references if not reference.name]
    if unnamed:
        raise bad_parameter(f"say which {unnamed[0]}: {unnamed[0]}/NAME")
    api = await context.api()
    for reference in references:
        await api.delete(reference.kind, reference.name, sub_kind=reference.sub_kind)
        print(f'{reference.kind} "{reference.name}" has been deleted')
