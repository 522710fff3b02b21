"""
Show resources.
"""

from __future__ import annotations

import argparse

from teleport_tw.api.contract import Query, every
from teleport_tw.clients.output import as_json, table
from teleport_tw.clients.program import Context
from teleport_tw.clients.tctl.references import ALL, Reference, parse_references
from teleport_tw.resources.kinds import lookup
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.text import dump

EXAMPLES = """\
tctl get users                    all of a kind
tctl get role/access,role/editor  one or several by name
tctl get cap                      the authentication settings
tctl get all                      everything that can be written back; tokens with --with-secrets
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl get}.
    """
    parser.add_argument("references", metavar="kind[/name],…", help="for instance: users, role/access, cap, all")
    parser.add_argument("-f", "--format", choices=("yaml", "json", "text"), default="yaml", help="[yaml]")
    parser.add_argument("--with-secrets", action="store_true", help="private keys, token values and hashes as well")
    parser.add_argument("-v", "--verbose", action="store_true", help="with --format=text: do not cut long cells")
    parser.set_defaults(run=run)


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    Documents come in the order they were asked for.
    """
    api = await context.api()
    found: list[Resource] = []
    hidden = not options.with_secrets and "all" in (word.strip() for word in options.references.split(","))
    for reference in parse_references(options.references):
        if hidden and reference.kind == "token" and not reference.name:
            continue  # a token is its name, which is not shown; what is left can be written back
        found += await fetch(api, reference, with_secrets=options.with_secrets)
    if options.format == "json":
        print(as_json([resource.to_json() for resource in found]), end="")
    elif options.format == "yaml":
        print(dump(found), end="")
    else:
        print(_as_text(found), end="")


async def fetch(api, reference: Reference, *, with_secrets: bool) -> list[Resource]:  # type: ignore[no-untyped-def]
    """
    @return: one resource for a name, all of the kind without.
    """
    if reference.name:
        resource = await api.get(reference.kind, reference.name, sub_kind=reference.sub_kind, with_secrets=with_secrets)
        return [resource]
    query = Query(with_secrets=with_secrets, sub_kind=reference.sub_kind)
    return [resource async for resource in every(api, reference.kind, query)]


def _as_text(found: list[Resource]) -> str:
    blocks: list[str] = []
    for kind in dict.fromkeys(resource.kind for resource in found):
        described = lookup(kind)
        rows = [described.row(resource) for resource in found if resource.kind == kind]
        blocks.append(table(described.columns, rows))
    return "\n".join(blocks)


__all__ = ["ALL", "configure", "fetch", "run"]
