"""
A verb that has parts.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
prog group part --all
prog group other
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    One part.
    """
    parser.add_subparsers().add_parser("part", help="a part").set_defaults(run=lambda context, options: 0)
