"""
The way between grpcio's coroutines, which wait on asyncio futures, and ours, which wait on Deferreds.

Neither may await the other's. L{run} carries our coroutine inside an asyncio task, L{wait} an asyncio awaitable inside
our coroutine. Cancelling either side cancels the other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from teleport_tw.base.loop import as_deferred, as_future

T = TypeVar("T")


async def run(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """
    Run a coroutine over Deferreds from an asyncio task; one that never waits costs no trip through the loop.

    @raise asyncio.CancelledError: the work was cancelled.
    """
    deferred = Deferred.fromCoroutine(work)
    if deferred.called and not deferred.paused:
        result = deferred.result
        if not isinstance(result, Failure):
            return cast(T, result)  # the stubs know it as object
    return await as_future(deferred)


async def wait(awaitable: Awaitable[T]) -> T:
    """
    Wait for something of asyncio's from a coroutine over Deferreds.

    @raise CancelledError: Twisted's; the awaitable was cancelled.
    """
    return await as_deferred(awaitable)
