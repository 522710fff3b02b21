"""
Join a session that goes on.
"""

from __future__ import annotations

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

from teleport_tw.clients.tsh.target import add_cluster

if TYPE_CHECKING:
    from teleport_tw.clients.tsh.context import UserContext

MODES = ("observer", "peer", "moderator")

EXAMPLES = """\
tsh sessions ls                          sessions you may join
tsh join SESSION                         watch; Ctrl-C leaves
tsh join --mode=peer SESSION             watch and type; ~. leaves
tsh join --mode=moderator SESSION        watch; t ends the session for everybody, f and d answer for files
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh join}.
    """
    parser.add_argument("session", help="id of a session, as `tsh sessions ls` has it")
    parser.add_argument("-m", "--mode", choices=MODES, default="observer", help="what you may do there [observer]")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why you join; everybody in the session reads it")
    add_cluster(parser)
    parser.set_defaults(run=run)


async def run(context: UserContext, options: argparse.Namespace) -> int:
    """
    @return: 0 when one left or the session ended, 255 when it could not be joined.
    @raise TeleportError: NOT_FOUND, there is none that one may see.
    """
    from teleport_tw.base.errors import Kind, TeleportError, bad_parameter, not_found
    from teleport_tw.clients.tsh.attending import prover
    from teleport_tw.clients.tsh.features import Features
    from teleport_tw.clients.tsh.interactive import Session as Interactive
    from teleport_tw.clients.tsh.proving import answering
    from teleport_tw.clients.tsh.way import Notices, way
    from teleport_tw.dial import joining
    from teleport_tw.resources.sessions import KIND, Session

    missing = not_found(f"there is no session {options.session} that you may join; `tsh sessions ls` lists those")
    try:
        session = Session.parse(await (await context.api()).get(KIND, options.session))
    except TeleportError as error:
        if error.kind in (Kind.NOT_FOUND, Kind.ACCESS_DENIED):
            raise missing from error
        raise
    if session.session_kind != "ssh":
        raise bad_parameter(f"that is a session of kind {session.session_kind}; those of servers can be joined")
    notices = Notices()
    features = Features(reactor=context.reactor, local=(), remote=())
    try:
        connection = await way(context, notices).connect(
            session.address, joining.LOGIN, names=(session.address, session.hostname), responder=features.responder
        )
    except TeleportError as error:
        if error.kind is Kind.ACCESS_DENIED and notices.refusal:
            raise TeleportError(error.kind, f"you cannot join: {notices.refusal}", details=error.details) from error
        raise
    told = {**joining.variables(session.name, options.mode), joining.REASON: options.reason}
    attend = partial(prover, session.name, context.api, answering(context))
    return await Interactive(context.reactor, connection, features, attend).run(
        "",
        with_terminal=os.isatty(0),
        escapes=options.enable_escape_sequences == "true",
        variables={name: value for name, value in told.items() if value},
    )
