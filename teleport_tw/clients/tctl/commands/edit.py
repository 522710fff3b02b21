"""
Change a resource in your editor (TELEPORT_EDITOR, VISUAL, EDITOR, or vi).

When the result has a mistake, or somebody else changed the resource meanwhile, your text is kept in a file.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.clients.program import Context
from teleport_tw.clients.tctl.commands.get import fetch
from teleport_tw.clients.tctl.references import parse_reference
from teleport_tw.resources.text import dump, load

EXAMPLES = """\
tctl edit role/dev
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl edit}.
    """
    parser.add_argument("reference", metavar="kind/name", help="for instance role/dev, cap")
    parser.set_defaults(run=run)


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    Nothing is written when the text was not changed.
    """
    reference = parse_reference(options.reference)
    if not reference.name:
        raise bad_parameter(f"say which {reference.kind}: {reference.kind}/NAME")
    api = await context.api()
    (resource,) = await fetch(api, reference, with_secrets=False)
    before = dump([resource])
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", prefix="tctl-", delete=False, encoding="utf-8") as file:
        file.write(before)
    path = Path(file.name)
    editor = next(filter(None, map(os.environ.get, ("TELEPORT_EDITOR", "VISUAL", "EDITOR"))), "vi")
    if subprocess.call([*shlex.split(editor), str(path)]):
        raise bad_parameter(f"{editor} failed; nothing was changed")
    after = path.read_text(encoding="utf-8")
    if after == before:
        path.unlink()
        print("Nothing was changed.")
        return
    try:
        edited = load(after)
        if len(edited) != 1 or (edited[0].kind, edited[0].name) != (resource.kind, resource.name):
            raise bad_parameter("kind and name cannot be changed here; use `tctl create` for another resource")
        await api.update(edited[0].with_revision(resource.revision))
    except TeleportError as error:
        raise TeleportError(error.kind, f"{error.message}\nYour text is kept in {path}") from error
    path.unlink()
    print(f'{resource.kind} "{resource.name}" has been updated')
