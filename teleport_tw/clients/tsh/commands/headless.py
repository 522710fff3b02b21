"""
Approve what you started elsewhere by tsh --headless.
"""

from __future__ import annotations

import argparse
import sys

from teleport_tw.api.contract import MfaTarget, Scope
from teleport_tw.base.errors import access_denied
from teleport_tw.base.timing import format_time
from teleport_tw.clients.factors import asked
from teleport_tw.clients.login import Asker
from teleport_tw.clients.output import harmless
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.proving import answering

EXAMPLES = """\
tsh headless approve 864cccd9-1d91-4f8d-9b0f-6a3c8d1d8f52
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh headless approve}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    approve = commands.add_parser("approve", help="let it go on, with a tap of your security key")
    approve.add_argument("request", metavar="ID", help="as the other machine shows it")
    approve.add_argument("--skip-confirm", action="store_true", help="do not ask whether it was you")
    approve.set_defaults(run=run_approve)


async def run_approve(context: UserContext, options: argparse.Namespace) -> None:
    """
    Shows who asks before it asks for the key.
    """
    api, asker = await context.api(), Asker()
    request = await api.get_headless(options.request)
    facts = (
        ("User", request.username),
        ("From", request.address),
        ("Program", request.user_agent),
        ("Until", format_time(request.expires)),
    )
    sys.stderr.writelines(f"{name + ':':<9}{harmless(value)}\n" for name, value in facts)
    if not options.skip_confirm:
        said = asked(lambda: asker.line("Did you start this yourself, a moment ago? [y/N] "))
        if said.lower() not in ("y", "yes"):
            await api.answer_headless(request.id, False)
            raise access_denied("it was denied")
    challenge = await api.create_challenge(Scope.HEADLESS, MfaTarget(kind="headless", name=request.id))
    answer = asked(lambda: answering(context).answer(challenge))
    await api.answer_headless(request.id, True, answer)
    print("Approved: the other machine goes on.")
