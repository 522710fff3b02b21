"""
Print variables that make other terminals use this proxy and cluster.
"""

from __future__ import annotations

import argparse
import shlex

from teleport_tw.base.addresses import host_of
from teleport_tw.clients.home import home
from teleport_tw.clients.output import FORMATS, show
from teleport_tw.clients.profile import ProfileFolder

EXAMPLES = """\
eval $(tsh env)
eval $(tsh env --unset)
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh env}.
    """
    parser.add_argument("--unset", action="store_true", help="print how to be rid of them")
    parser.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Reads the profile only.
    """
    names = ("TELEPORT_PROXY", "TELEPORT_CLUSTER")
    if options.unset:
        print("\n".join(f"unset {name}" for name in names))
        return 0
    profile = ProfileFolder(home()).read(host_of(options.proxy.partition(",")[0]) if options.proxy else "")
    values = dict(zip(names, (profile.web_proxy_addr, profile.cluster), strict=True))
    show(options.format, values, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))
    return 0
