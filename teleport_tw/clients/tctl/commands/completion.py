"""
Print a completion script for your shell.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
source <(tctl completion bash)
tctl completion fish | source
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl completion}.
    """
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh", "fish"))
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Made from the commands themselves.
    """
    from teleport_tw.clients.completion import script
    from teleport_tw.clients.tctl.main import DESCRIPTION, VERBS, flags

    print(script("tctl", DESCRIPTION, VERBS, flags, options.shell))
    return 0
