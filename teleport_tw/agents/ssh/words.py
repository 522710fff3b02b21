"""
What people in a session are told by it.
"""

from __future__ import annotations

from teleport_tw.resources.roles import JoinMode


def help_of(mode: JoinMode) -> str:
    """
    @return: what keys do, for who just joined.
    """
    match mode:
        case JoinMode.PEER:
            return "You joined as peer: what you type goes to the session. Close your terminal, or type ~., to leave."
        case JoinMode.OBSERVER:
            return "You joined as observer: you watch. Ctrl-C leaves."
        case JoinMode.MODERATOR:
            return (
                "You joined as moderator: you watch. Ctrl-C leaves, t ends the session for everybody, f approves of "
                "copying a file and d denies it, when you are asked."
            )


def escaped(path: str) -> str:
    """
    @return: two paths never look the same.
    """
    return "".join(
        letter if letter.isprintable() and letter != "\\" else letter.encode("unicode_escape").decode()
        for letter in path
    )


def plain(name: str) -> str:
    """
    @return: what can be written into a line of a terminal.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:128]
