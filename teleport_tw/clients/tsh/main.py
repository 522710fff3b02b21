"""
C{tsh}: the user's client.

Sign in once (C{tsh login}), then reach servers (C{tsh ls}, C{tsh ssh}, C{tsh scp}) while the certificates last.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Sequence

from teleport_tw.base.lazy import load_later
from teleport_tw.clients.aliases import unaliased
from teleport_tw.clients.commandline import Parser, Verb, environment, parse, report, settle

_ROOM = "teleport_tw.clients.tsh.commands"

VERBS = (
    Verb("login", f"{_ROOM}.login", "sign in to a cluster and get certificates"),
    Verb("logout", f"{_ROOM}.logout", "delete keys and certificates"),
    Verb("status", f"{_ROOM}.status", "who you are, where, and for how long"),
    Verb("ls", f"{_ROOM}.ls", "list the servers you can reach"),
    Verb("ssh", f"{_ROOM}.ssh", "open a shell on a server, or run a command there"),
    Verb("scp", f"{_ROOM}.scp", "copy files from and to servers"),
    Verb("resolve", f"{_ROOM}.resolve", "tell which server a name stands for"),
    Verb("clusters", f"{_ROOM}.clusters", "list clusters"),
    Verb("config", f"{_ROOM}.config", "print configuration for OpenSSH"),
    Verb("play", f"{_ROOM}.play", "play a recorded session"),
    Verb("recordings", f"{_ROOM}.recordings", "list, search and export recorded sessions"),
    Verb("sessions", f"{_ROOM}.sessions", "list live sessions"),
    Verb("join", f"{_ROOM}.join", "join a live session"),
    Verb("db", f"{_ROOM}.db", "list databases, sign in to them, connect to them"),
    Verb("headless", f"{_ROOM}.headless", "approve what you started elsewhere by tsh --headless"),
    Verb("mfa", f"{_ROOM}.mfa", "list, add and remove your second factors"),
    Verb("proxy", f"{_ROOM}.proxy", "connections through the proxy for other programs"),
    Verb("env", f"{_ROOM}.env", "print environment variables of the cluster in use"),
    Verb("version", f"{_ROOM}.version", "print the version"),
    Verb("completion", f"{_ROOM}.completion", "print shell completion for bash, zsh, tcsh or fish"),
)

DESCRIPTION = """\
Reaches servers by short-lived certificates: tsh login once, then tsh ls, tsh ssh, tsh scp."""

_PUT_OFF = (
    *("http.cookiejar", "asyncio.subprocess", "google.protobuf.text_format"),
    *("twisted.internet.tcp", "twisted.internet.udp", "twisted.internet.unix"),
)
"""What libraries import and C{tsh} hardly ever uses: cookies, text forms, transports that are not ours."""

MFA_MODES = ("auto", "otp", "cross-platform")
AGENT_MODES = ("auto", "yes", "no", "only")


def flags(parser: Parser) -> None:
    """
    What every command understands, before its name or after.
    """
    parser.add_argument(
        "-l",
        "--login",
        metavar="LOGIN",
        default=environment("TELEPORT_LOGIN"),
        help="login at the server (TELEPORT_LOGIN)",
    )
    parser.add_argument(
        "--proxy",
        metavar="HOST[:PORT[,SSHPORT]]",
        default=environment("TELEPORT_PROXY"),
        help="address of the proxy; 3080 and 443 are tried without a port (TELEPORT_PROXY)",
    )
    parser.add_argument(
        "--user", metavar="NAME", default=environment("TELEPORT_USER"), help="your name in the cluster (TELEPORT_USER)"
    )
    parser.add_argument(
        "--auth",
        metavar="CONNECTOR",
        default=environment("TELEPORT_AUTH"),
        help="how to sign in: local, passwordless, browser (TELEPORT_AUTH)",
    )
    parser.add_argument("--ttl", metavar="MINUTES", default="", help="how long the certificates last: 30, 8h")
    parser.add_argument(
        "-i",
        "--identity",
        metavar="FILE",
        default=environment("TELEPORT_IDENTITY_FILE"),
        help="an identity file in place of a login; needs --proxy (TELEPORT_IDENTITY_FILE)",
    )
    parser.add_argument(
        "--ca-pin", metavar="PIN", action="append", default=[], help="sha256:…, of the cluster's authority"
    )
    parser.add_argument("--insecure", action="store_true", help="do not verify the proxy's certificate; for tests only")
    parser.add_argument(
        "-k",
        "--add-keys-to-agent",
        choices=AGENT_MODES,
        default=environment("TELEPORT_ADD_KEYS_TO_AGENT", "auto"),
        help="lend the certificate to the running ssh-agent [auto] (TELEPORT_ADD_KEYS_TO_AGENT)",
    )
    parser.add_argument(
        "--mfa-mode",
        choices=MFA_MODES,
        default=environment("TELEPORT_MFA_MODE", "auto"),
        help="which second factors to use: codes (otp), security keys (cross-platform) or both [auto]"
        " (TELEPORT_MFA_MODE)",
    )
    parser.add_argument(
        "--headless",
        action="store_true",
        default=environment("TELEPORT_HEADLESS").lower() in ("1", "true", "yes"),
        help="for ls, ssh and scp: no login here; you approve it at another machine (TELEPORT_HEADLESS)",
    )
    parser.add_argument(
        "--relogin",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="sign in again when the certificates have expired [at a terminal]",
    )
    parser.add_argument(
        "--enable-escape-sequences",
        choices=("true", "false"),
        default="true",
        help="whether ~. and ~? mean something in an SSH session [true]",
    )
    parser.add_argument(
        "-d",
        "--debug",
        action="store_true",
        default=environment("TELEPORT_DEBUG").lower() in ("1", "true", "yes"),
        help="log what happens to standard error (TELEPORT_DEBUG)",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The console script.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    code = run(words)
    try:
        for stream in filter(None, (sys.stdout, sys.stderr)):  # none, where it was closed before we started
            stream.flush()
    except OSError:  # a pipe that nobody reads any more; the interpreter words it
        sys.exit(code)
    # Everything has been closed and said. Taking all modules apart would take a tenth of the time of "tsh ssh".
    atexit._run_exitfuncs()
    os._exit(code)


def run(words: Sequence[str]) -> int:
    """
    @return: the exit code.
    """
    # Twisted's own TLS is not used here, and pyOpenSSL takes as long to load as all of Twisted's core. Nor is there
    # garbage worth collecting while modules load.
    if "OpenSSL" not in sys.modules:
        sys.modules["OpenSSL"] = None  # type: ignore[assignment]  # how Python spells "not there"
    load_later(*_PUT_OFF)
    gc.disable()
    words = unaliased(words, VERBS)
    options = parse("tsh", DESCRIPTION, VERBS, flags, words, everywhere=True)
    offline, plain = getattr(options, "offline", False), getattr(options, "plain", None)
    if offline or plain is not None:
        settle()
        try:
            code: int | None = plain(options) if plain is not None else options.run(options) or 0
        except KeyboardInterrupt:
            return 130
        except Exception as error:
            if options.debug:
                raise
            return report(error)
        if code is not None:
            return code
    from teleport_tw.clients.program import finish
    from teleport_tw.clients.tsh.context import UserContext

    return finish(UserContext(options).run(options.run))


if __name__ == "__main__":
    main()
