"""
Control sequences of a terminal: how they are found in output, and which modes are told apart.

@see: ECMA-48; xterm's control sequences
"""

from __future__ import annotations

import re

SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[([0-?]*)([ -/]*)([@-~])"
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|[PX^_][^\x1b]*\x1b\\"
    r"|([ -/])([0-~])"
    r"|([0-OQ-WYZ\\`-~])"
    r")"
)
STOP = re.compile(r"[\x00-\x1f\x7f]")
_MODES = re.compile(rb"\x1b\[\?([0-9;]{1,32})([hl])")
DRAWING = dict(zip("jklmnqtuvwx`afgy{z|}~", "┘┐┌└┼─├┤┴┬│◆▒°±≤π≥≠£·", strict=True))
KEPT_MODES = (1, 9, 1000, 1002, 1003, 1005, 1006, 1015, 2004)
"""Private modes that change what the client's terminal sends."""
ALTERNATE = (47, 1047, 1049)
FOLLOWED_MODES = frozenset({*KEPT_MODES, *ALTERNATE, 6, 7, 25})


def modes_in(data: bytes) -> dict[int, bool]:
    """
    @param data: output that nobody follows.
    @return: the modes that it leaves on or off, in the order in which they were set last.
    """
    last: dict[int, bool] = {}
    for found in _MODES.finditer(data):
        for word in found[1].decode().split(";"):
            mode = number(word)
            if mode in FOLLOWED_MODES:
                last.pop(mode, None)
                last[mode] = found[2] == b"h"
    return last


def bounded(side: int, most: int) -> int:
    """
    @return: a terminal's side that can be followed.
    """
    return max(1, min(side, most))


def number(word: str) -> int:
    """
    @return: a parameter; zero for what is none.
    """
    return int(word) if word.isdecimal() and len(word) < 6 else 0
