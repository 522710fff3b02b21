"""
SSH connections of one command.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from teleport_tw.api.taps import BANNER
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.clients.output import harmless

if TYPE_CHECKING:
    from teleport_tw.base.timing import Duration
    from teleport_tw.clients.tsh.context import UserContext
    from teleport_tw.dial.ssh import Way


class Notices:
    """
    What a server says before it lets somebody in. It words a refusal as C{ERROR: …} for clients that know nothing but
    yes and no; here that is kept, to be said once, by L{worded}.

    @ivar refusal: what was kept; empty for nothing.
    """

    def __init__(self) -> None:
        self.refusal = ""

    def show(self, text: str) -> None:
        """
        Take a banner.
        """
        lines = text.rstrip().splitlines()
        if lines == [BANNER]:
            return  # we ask ourselves
        if len(lines) == 1 and lines[0].startswith("ERROR: "):
            self.refusal = lines[0].removeprefix("ERROR: ")
        else:
            print("\n".join(map(harmless, lines)), file=sys.stderr)


def way(context: UserContext, notices: Notices, keepalive: Duration | None = None) -> Way:
    """
    @param keepalive: of silence, before a server is asked whether it is there; as usual when not said.
    @return: to servers, as the user.
    """
    from teleport_tw.clients.tsh.proving import Prover
    from teleport_tw.dial.ssh import KEEPALIVE, Way

    signed = context.signed
    host, port = signed.proxy
    cluster = signed.profile.cluster if signed.profile.cluster != signed.identity.cluster else ""
    return Way(
        reactor=context.reactor,
        host=host,
        port=port,
        identity=signed.identity,
        cluster=cluster,
        show=notices.show,
        keepalive=keepalive or KEEPALIVE,
        prove=Prover(context).identity,
        prove_first=bool(getattr(context.options, "proof_needed", False)),
    )


def say(text: str) -> None:
    """
    A line for the user, on a terminal that may be raw.
    """
    sys.stderr.write(f"{text}\r\n" if os.isatty(2) else f"{text}\n")
    sys.stderr.flush()


def worded(
    error: TeleportError, login: str, host: str, logins: tuple[str, ...], notices: Notices | None = None
) -> TeleportError:
    """
    @return: the same failure, with what the user can do about it.
    """
    if error.kind is not Kind.ACCESS_DENIED:
        return error
    denied = f"access denied to {login} connecting to {host}"
    if login not in logins:
        text = (
            f"{denied}: your logins are {', '.join(logins) or 'none'}. "
            f"Try {_suggestion(logins, host)}; an administrator may give you more logins"
        )
    elif "does not accept this login" not in error.message:
        return error
    elif notices is not None and notices.refusal not in ("", "access denied"):
        text = f"{denied}: {harmless(notices.refusal)}"
    else:
        text = (
            f"{denied}. `tsh ls` shows the servers you can reach; the reason is in the audit log, for an administrator "
            "to see and to help with"
        )
    return TeleportError(error.kind, text, details=error.details)


def _suggestion(logins: tuple[str, ...], host: str) -> str:
    return f"tsh ssh {logins[0]}@{host}" if logins else "another role: `tsh status` shows yours"
