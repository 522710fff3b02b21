"""
Threads that are none: each call runs at once, in place.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred

from teleport_tw.base.tasks import Threads

T = TypeVar("T")
P = ParamSpec("P")


class InPlace:
    """
    Looks like L{Threads} to whoever runs blocking calls.
    """

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        @return: has fired already.
        """
        return maybeDeferred(call, *args, **kwargs)


def in_place() -> Threads:
    """
    @return: threads for tests without a reactor.
    """
    return cast(Threads, cast(Any, InPlace()))  # the same one method
