"""
Show who you are signed in as, where, and for how long.
"""

from __future__ import annotations

import argparse
import sys

from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import utc_now
from teleport_tw.clients import standing
from teleport_tw.clients.home import home
from teleport_tw.clients.output import FORMATS, harmless, show
from teleport_tw.clients.profile import Profile, ProfileFolder

EXAMPLES = """\
tsh status
tsh status --format=json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh status}.
    """
    parser.add_argument("-v", "--verbose", action="store_true", help="traits as well")
    parser.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Reads files only; the profile in use comes first.
    """
    folder = ProfileFolder(home())
    known = _known(folder)
    wanted = host_of(options.proxy.partition(",")[0]) if options.proxy else ""
    known = [(profile, found) for profile, found in known if not wanted or profile.name == wanted]
    if not known:
        print("Not logged in.")
        return 1
    now, current = utc_now(), folder.current()
    known.sort(key=lambda pair: (pair[0].name != current, pair[0].name))
    blocks = [
        standing.described(
            profile,
            found,
            now,
            active=profile.name == current,
            verbose=options.verbose,
            databases=_databases(folder, profile),
        )
        for profile, found in known
    ]
    values = [standing.as_value(profile, found, _databases(folder, profile)) for profile, found in known]
    active = values[0] if known[0][0].name == current else None
    rest = values[1:] if active else values
    text = "\n".join("\n".join(map(harmless, block.splitlines())) + "\n" for block in blocks)
    show(options.format, {"active": active, "profiles": rest}, text)
    return 0 if known[0][1].left(now) else 1


def _databases(folder: ProfileFolder, profile: Profile) -> list[str]:
    """
    Their certificates are not read, which would take as long as all the rest.
    """
    return sorted(path.name.removesuffix(".crt") for path in folder.paths(profile).databases.glob("*.crt"))


def _known(folder: ProfileFolder) -> list[tuple[Profile, standing.Standing]]:
    found = []
    for name in folder.names():
        try:
            profile = folder.read(name)
            found.append((profile, standing.of_profile(folder, profile)))
        except TeleportError as error:
            if error.kind is not Kind.NOT_FOUND:
                sys.stderr.write(f"WARNING: {name}: {error}\n")
    return found
