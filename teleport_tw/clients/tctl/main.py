"""
C{tctl}: the administrator's client.

On the auth host it needs no login (C{-c FILE}); elsewhere an identity file (C{-i}) or a C{tsh} login will do.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from teleport_tw.clients.commandline import Parser, Verb, environment, parse

_ROOM = "teleport_tw.clients.tctl.commands"

VERBS = (
    Verb("status", f"{_ROOM}.status", "the cluster, its version, its authorities"),
    Verb("users", f"{_ROOM}.users", "add, list, update, remove users; reset their password"),
    Verb("nodes", f"{_ROOM}.nodes", "list servers; a command line that adds one"),
    Verb("db", f"{_ROOM}.db", "list databases, their agents and their health"),
    Verb("tokens", f"{_ROOM}.tokens", "invitations for servers to join"),
    Verb("get", f"{_ROOM}.get", "show resources as YAML, JSON or text"),
    Verb("create", f"{_ROOM}.create", "create resources out of a YAML file"),
    Verb("update", f"{_ROOM}.update", "change resources, refusing to undo somebody else's change"),
    Verb("edit", f"{_ROOM}.edit", "change a resource in your editor"),
    Verb("rm", f"{_ROOM}.rm", "remove a resource"),
    Verb("lock", f"{_ROOM}.lock", "end and refuse the sessions of a user, role, login or server"),
    Verb("auth", f"{_ROOM}.auth", "export authorities, sign certificates"),
    Verb("audit", f"{_ROOM}.audit", "list, export, search and verify the audit log"),
    Verb("recordings", f"{_ROOM}.recordings", "list, download and search session recordings"),
    Verb("inventory", f"{_ROOM}.inventory", "what runs where, in which version"),
    Verb("version", f"{_ROOM}.version", "print the version"),
    Verb("completion", f"{_ROOM}.completion", "print shell completion for bash, zsh, tcsh or fish"),
)

DESCRIPTION = """\
Administers a cluster: users, roles, tokens, servers, locks, certificates and the audit log.

On the host where auth runs, tctl needs no login: it reads the configuration (-c, or /etc/teleport.yaml). From
elsewhere give it an identity file with --identity and --auth-server, or log in with tsh first."""


def flags(parser: Parser) -> None:
    """
    What every command understands.
    """
    parser.add_argument(
        "-c",
        "--config",
        metavar="FILE",
        default=environment("TELEPORT_CONFIG_FILE"),
        help="configuration of the auth service on this host [/etc/teleport.yaml] (TELEPORT_CONFIG_FILE)",
    )
    parser.add_argument(
        "--auth-server",
        metavar="HOST:PORT",
        default=environment("TELEPORT_AUTH_SERVER"),
        help="address of the auth service or of a proxy (TELEPORT_AUTH_SERVER)",
    )
    parser.add_argument(
        "-i",
        "--identity",
        metavar="FILE",
        default=environment("TELEPORT_IDENTITY_FILE"),
        help="an identity file, as `tctl auth sign` makes them (TELEPORT_IDENTITY_FILE)",
    )
    parser.add_argument("--insecure", action="store_true", help="do not verify the proxy's certificate; for tests only")
    parser.add_argument("-d", "--debug", action="store_true", help="log what happens to standard error")


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The console script.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    options = parse("tctl", DESCRIPTION, VERBS, flags, words)
    if getattr(options, "offline", False):
        sys.exit(options.run(options) or 0)
    from teleport_tw.clients.program import finish
    from teleport_tw.clients.tctl.context import AdminContext

    sys.exit(finish(AdminContext(options).run(options.run)))


if __name__ == "__main__":
    main()
