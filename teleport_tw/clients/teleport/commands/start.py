"""
Run the services that the configuration enables, in the foreground.

The flags are those of C{twistd teleport}; C{teleport start --help} lists them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

EXAMPLES = """\
teleport start -c /etc/teleport.yaml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport start}: what follows is C{twistd}'s to read.
    """
    parser.add_argument("-c", "--config", metavar="FILE", help="configuration [/etc/teleport.yaml]")
    parser.set_defaults(run=lambda options: hand_over(["-c", options.config] if options.config else []))


def hand_over(words: Sequence[str]) -> None:
    """
    Become C{twistd -n teleport}, in this process.

    @param words: what was typed behind C{start}.
    """
    from twisted.scripts import twistd

    sys.argv = ["twistd", "--nodaemon", "--pidfile=", "teleport", *words]
    twistd.run()
