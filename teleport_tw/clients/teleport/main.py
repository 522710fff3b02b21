"""
C{teleport}: the operator's command on a host.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from teleport_tw.clients.commandline import Parser, Verb, parse

_ROOM = "teleport_tw.clients.teleport.commands"

VERBS = (
    Verb("start", f"{_ROOM}.start", "run the services that the configuration enables"),
    Verb("configure", f"{_ROOM}.configure", "print a sample configuration"),
    Verb("node", f"{_ROOM}.node", "configure: print the configuration of a host that serves SSH"),
    Verb("db", f"{_ROOM}.db", "serve databases; print the configuration of a host that does"),
    Verb("join", f"{_ROOM}.join", "openssh: register this host's OpenSSH server with a cluster"),
    Verb("status", f"{_ROOM}.status", "inside a session: whose it is, and which"),
    Verb("version", "teleport_tw.clients.tctl.commands.version", "print the version"),
    Verb("completion", f"{_ROOM}.completion", "print shell completion for bash, zsh, tcsh or fish"),
)

DESCRIPTION = """\
Runs and sets up the services of a cluster on this host. `teleport start -c FILE` is `twistd -n teleport -c FILE`."""


def flags(parser: Parser) -> None:
    """
    No flag is common to all commands.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The console script.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    if words[:1] == ["start"]:
        from teleport_tw.clients.teleport.commands.start import hand_over

        hand_over(words[1:])
        return
    options = parse("teleport", DESCRIPTION, VERBS, flags, words)
    from teleport_tw.base.errors import TeleportError
    from teleport_tw.clients.commandline import report

    try:
        sys.exit(options.run(options) or 0)
    except TeleportError as error:
        sys.exit(report(error))


if __name__ == "__main__":
    main()
