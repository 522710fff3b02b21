"""
A verb that has parts.
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """
    One part.
    """
    parser.add_subparsers().add_parser("part").set_defaults(run=lambda context, options: 0)
