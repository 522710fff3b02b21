"""
Print the version of this program.
"""

from __future__ import annotations

import argparse

from teleport_tw import __version__

EXAMPLES = """\
tsh version
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh version}.
    """
    parser.add_argument("--client", action="store_true", help="this program only; do not ask the proxy")
    parser.add_argument("-f", "--format", choices=("text", "json", "yaml"), default="text", help="[text]")
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Asks nobody and imports nothing.
    """
    if options.format == "json":
        print(f'{{"version": "{__version__}"}}')
    elif options.format == "yaml":
        print(f"version: {__version__}")
    else:
        print(f"Teleport v{__version__} teleport_tw")
    return 0
