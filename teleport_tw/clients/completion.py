"""
Shell completion, made from a program's own parsers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import shtab

from teleport_tw.clients.commandline import Parser, Verb, build


def script(program: str, description: str, verbs: Sequence[Verb], flags: Callable[[Parser], None], shell: str) -> str:
    """
    @param shell: C{bash}, C{zsh} or C{tcsh}.
    @return: the script to be sourced.
    """
    return str(shtab.complete(build(program, description, verbs, flags), shell=shell))
