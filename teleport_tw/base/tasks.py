"""
Work that nobody awaits, and work that blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")
P = ParamSpec("P")


@define(eq=False)
class Tasks:
    """
    The unawaited work of one service: named, its failures logged, cancelled when the service stops.
    """

    _running: set[Deferred[Any]] = field(factory=set, init=False)
    _log = Logger()

    def spawn(self, name: str, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T | None]:
        """
        Start C{work} now.

        @param name: says in the log what failed.
        @return: fires when the work ended; its failure was logged by then and is not passed on.
        """
        task: Deferred[Any] = Deferred.fromCoroutine(work)
        self._running.add(task)

        def ended(result: T) -> T:
            self._running.discard(task)
            return result

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, CancelledError):
                self._log.failure("{task} failed", failure=failure, task=name)

        return task.addBoth(ended).addErrback(failed)

    def cancel(self) -> None:
        """
        Cancel what still runs.
        """
        for task in tuple(self._running):
            task.cancel()

    def __len__(self) -> int:
        return len(self._running)


_loose = Tasks()


def spawn(name: str, work: Coroutine[Deferred[Any], Any, T]) -> Deferred[T | None]:
    """
    Start work that belongs to no service and ends by itself; otherwise hold a L{Tasks}.
    """
    return _loose.spawn(name, work)


@define(eq=False)
class Threads:
    """
    Where blocking calls run: password hashing, SQLite, files.
    """

    reactor: IReactorFromThreads
    pool: ThreadPool

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
        """
        @return: what the call returned, back on the reactor's thread. Given up, the call goes on in its thread: what
            it uses must not be closed, nor used by the next one, before it is done.
        """
        return deferToThreadPool(self.reactor, self.pool, call, *args, **kwargs)


def in_thread(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Deferred[T]:
    """
    Run a blocking call in the reactor's own thread pool.
    """
    from twisted.internet import reactor  # the pool belongs to the running reactor, whichever that is

    return deferToThreadPool(reactor, reactor.getThreadPool(), call, *args, **kwargs)  # type: ignore[attr-defined, arg-type]
