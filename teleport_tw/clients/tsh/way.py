"""
SSH connections of one command.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.dial.ssh import KEEPALIVE, Way

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.context import UserContext


def add_cluster(parser: argparse.ArgumentParser) -> None:
    """
    Add C{--cluster}.
    """
    parser.add_argument("-c", "--cluster", default="", metavar="NAME", help="the cluster the server is in")


def way(context: UserContext, keepalive: Duration = KEEPALIVE) -> Way:
    """
    @return: to servers, as the user.
    """
    signed = context.signed
    host, port = signed.proxy
    cluster = signed.profile.cluster if signed.profile.cluster != signed.identity.cluster else ""
    return Way(
        reactor=context.reactor,
        host=host,
        port=port,
        identity=signed.identity,
        cluster=cluster,
        show=lambda text: print(text.rstrip("\n"), file=sys.stderr),
        keepalive=keepalive,
    )


def say(text: str) -> None:
    """
    A line for the user, on a terminal that may be raw.
    """
    sys.stderr.write(f"{text}\r\n" if os.isatty(2) else f"{text}\n")
    sys.stderr.flush()


def worded(error: TeleportError, login: str, host: str, logins: tuple[str, ...]) -> TeleportError:
    """
    @return: the same failure, with what the user can do about it.
    """
    if error.kind is Kind.ACCESS_DENIED and login not in logins:
        listed = ", ".join(logins) or "none"
        return TeleportError(
            error.kind,
            f"access denied to {login} connecting to {host}: your logins are {listed}",
            details=error.details,
        )
    if error.kind is Kind.ACCESS_DENIED and "does not accept this login" in error.message:
        return TeleportError(error.kind, f"access denied to {login} connecting to {host}", details=error.details)
    return error
