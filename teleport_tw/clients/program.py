"""
What every command of a program is handed, and how a command is run to its end on the reactor.
"""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from teleport_tw.api.contract import Api


class Context(Protocol):
    """
    The world of an administrator's command: one connection to auth, opened when first asked for.
    """

    async def api(self) -> Api:
        """
        @raise TeleportError: CONNECTION_PROBLEM, auth or proxy cannot be reached; ACCESS_DENIED, no usable identity.
        """
        ...

    async def web_address(self) -> str:
        """
        @return: C{host:port} of the cluster's proxy as users reach it; empty where the cluster has none.
        """
        ...


Body = Callable[[Any, argparse.Namespace], Awaitable[int | None]]


def finish(work: Coroutine[Any, Any, int | None]) -> int:
    """
    Install the project's reactor, run C{work} on it to its end, stop it.

    @return: the exit code: what C{work} returned (none is 0), or what its failure maps to, said on standard error.
    """
    from twisted.internet.defer import Deferred
    from twisted.python.failure import Failure

    from teleport_tw.base.loop import install
    from teleport_tw.clients.commandline import report, settle

    install()
    from twisted.internet import reactor

    settle()
    codes: list[int] = []

    def ended(result: int | Failure | None) -> None:
        codes.append(report(result.value or Exception(str(result))) if isinstance(result, Failure) else result or 0)
        reactor.callLater(0, reactor.stop)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work).addBoth(ended))
    reactor.run()
    return codes[0] if codes else 130
