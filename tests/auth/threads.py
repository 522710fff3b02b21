"""
Threads that are none: calls run at once, or when the test says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute

from teleport_tw.base.tasks import Threads


class InlineThreads(Threads):
    """
    Runs each call in place.
    """

    def __init__(self) -> None:
        self.calls = 0

    def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """See L{Threads}."""
        self.calls += 1
        return execute(call, *args, **kwargs)


class HeldThreads(Threads):
    """
    Runs each call when it is released, oldest first.
    """

    def __init__(self) -> None:
        self.held: list[tuple[Deferred[None], Callable[..., Any]]] = []

    def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Deferred[Any]:
        """See L{Threads}."""
        started: Deferred[None] = Deferred()
        started.addCallback(lambda _: call(*args, **kwargs))
        self.held.append((started, call))
        return started

    def release(self) -> None:
        """
        Let the oldest run.
        """
        self.held.pop(0)[0].callback(None)
