"""
Print a completion script for your shell.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
source <(teleport completion bash)
teleport completion fish | source
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport completion}.
    """
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh", "fish"))
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """
    Made from the commands themselves.
    """
    from teleport_tw.clients.completion import script
    from teleport_tw.clients.teleport.main import DESCRIPTION, VERBS, flags

    print(script("teleport", DESCRIPTION, VERBS, flags, options.shell))
    return 0
