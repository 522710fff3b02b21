"""
Print the version of this program.
"""

from __future__ import annotations

import argparse
import json

from teleport_tw import __version__

EXAMPLES = """\
tctl version
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl version}.
    """
    parser.add_argument("-f", "--format", choices=("text", "json", "yaml"), default="text", help="[text]")
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Needs no connection.
    """
    if options.format == "text":
        print(f"Teleport v{__version__} teleport_tw")
    elif options.format == "json":
        print(json.dumps({"version": __version__}))
    else:
        print(f"version: {__version__}")
    return 0
