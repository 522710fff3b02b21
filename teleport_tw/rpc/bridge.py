"""
The way between grpcio's asyncio and everybody else's Deferreds.

grpcio's coroutines wait on asyncio futures, ours on Deferreds; neither may await the other's. L{run} carries our
coroutine inside an asyncio task, L{wait} an asyncio awaitable inside our coroutine. Cancelling either side cancels
the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


async def run(work: Coroutine[Deferred[Any], Any, T]) -> T:
    """
    Run a coroutine over Deferreds from an asyncio task; one that never waits costs no trip through the loop.

    @raise asyncio.CancelledError: the work was cancelled.
    """
    results: list[T] = []
    failures: list[Failure] = []
    deferred = Deferred.fromCoroutine(work)
    deferred.addCallbacks(results.append, failures.append)
    if not results and not failures:
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        deferred.addBoth(end)
        try:
            await ended
        except asyncio.CancelledError:
            deferred.cancel()
            raise
    if failures:
        if isinstance(failures[0].value, CancelledError):
            raise asyncio.CancelledError
        failures[0].raiseException()
    return results[0]


async def wait(awaitable: Awaitable[T]) -> T:
    """
    Wait for something of asyncio's from a coroutine over Deferreds.

    @raise CancelledError: Twisted's; the awaitable was cancelled.
    """
    try:
        return await Deferred.fromFuture(asyncio.ensure_future(_task(awaitable)))
    except asyncio.CancelledError as error:
        raise CancelledError from error


async def _task(awaitable: Awaitable[T]) -> T:
    return await awaitable
