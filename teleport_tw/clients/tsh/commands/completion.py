"""
Print a completion script for your shell.
"""

from __future__ import annotations

import argparse

EXAMPLES = """\
source <(tsh completion bash)
tsh completion fish | source
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh completion}.
    """
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh", "fish"))
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Made from the commands themselves.
    """
    from teleport_tw.clients.completion import script
    from teleport_tw.clients.tsh.main import DESCRIPTION, VERBS, flags

    print(script("tsh", DESCRIPTION, VERBS, flags, options.shell))
    return 0
