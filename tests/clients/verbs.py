"""
A verb that prints nothing.
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """
    Two flags.
    """
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--count", type=int)
    parser.set_defaults(run=lambda context, options: 7)
