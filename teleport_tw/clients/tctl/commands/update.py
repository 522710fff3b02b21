"""
Write changed resources back. Each must carry the revision it was read with: what somebody else changed in the
meantime is not overwritten.
"""

from __future__ import annotations

import argparse

from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.clients.program import Context
from teleport_tw.clients.tctl.commands.create import read

EXAMPLES = """\
tctl get role/dev > role.yaml; $EDITOR role.yaml; tctl update role.yaml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl update}.
    """
    parser.add_argument("file", nargs="?", default="-", help="YAML or JSON; - for standard input [-]")
    parser.set_defaults(run=run)


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    Stops at the first resource that was changed elsewhere.
    """
    resources = read(options.file)
    missing = [resource.name for resource in resources if not resource.revision]
    if missing:
        raise bad_parameter(f"metadata.revision is missing in {', '.join(missing)}: start from what `tctl get` prints")
    api = await context.api()
    for resource in resources:
        try:
            await api.update(resource)
        except TeleportError as error:
            if error.kind is not Kind.COMPARE_FAILED:
                raise
            raise TeleportError(
                error.kind,
                f'{resource.kind} "{resource.name}" was changed by somebody else since it was read; '
                "get it again and repeat the change",
            ) from error
        print(f'{resource.kind} "{resource.name}" has been updated')
