"""
The reactor: Twisted's, over a uvloop loop that is asyncio's current loop too, and awaitables of one for the other.

L{install} comes before the first import of C{twisted.internet.reactor}. One loop then serves Twisted, the transports of
L{teleport_tw.base.net} and C{grpc.aio}. Without uvloop everything works on asyncio's own loop, slower.

A loop of libuv does not survive C{fork}: parent and child would share its epoll descriptor. C{twistd} forks after the
reactor is installed, so L{Reactor} is an C{IReactorDaemonize}: it closes its loop before the fork and opens a new one
in the child, taking its readers, writers and timers along. Whoever needs the loop asks L{loop_of} and keeps none.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, TypeVar

from twisted.internet import process
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorAlreadyInstalledError
from twisted.internet.interfaces import IReactorDaemonize, IReactorTime
from twisted.internet.main import installReactor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

T = TypeVar("T")

_log = Logger()

JUMP_SECONDS = 1.0
"""Less than this is the clock being slewed into step, which timers follow."""


def new_loop() -> asyncio.AbstractEventLoop:
    """
    @return: a new loop of uvloop's, or asyncio's own where uvloop is not installed.
    """
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


@implementer(IReactorDaemonize)
class Reactor(AsyncioSelectorReactor):
    """
    Twisted's asyncio reactor, made to live through C{fork}, to hear of ended children under uvloop, and to keep its
    timers when somebody sets the machine's clock.

    Twisted plans timers by the wall clock: set back by an hour, nothing would be due for an hour; set forward, all
    would be due at once. So whenever the time is asked for, wall clock and steady clock are compared, and what the wall
    clock has jumped is added to what is planned.

    @ivar _make_loop: opens a loop; also used again after C{fork}.
    @ivar wall: seconds since the epoch, as somebody sets them.
    @ivar steady: seconds that nobody sets; for how long something takes.
    """

    def __init__(
        self,
        make_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_loop = make_loop
        self.wall, self.steady = wall, steady
        self._ahead = wall() - steady()
        super().__init__(self._open_loop())

    def seconds(self) -> float:
        """
        @return: seconds since the epoch.
        """
        now = self.wall()
        jumped = now - self.steady() - self._ahead
        if abs(jumped) > JUMP_SECONDS:
            self._ahead += jumped
            for call in (*self._pendingTimedCalls, *self._newTimedCalls):
                call.time += jumped
            _log.warn("the clock was set by {seconds} seconds; timers go on as planned", seconds=round(jumped, 1))
        return now

    def timeout(self) -> float | None:
        """
        @return: seconds until the next timer is due; C{None} without one.
        """
        self.seconds()  # a jump is made up for before anything is compared with the time
        return super().timeout()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """
        The loop this reactor runs on; another one after C{fork}.
        """
        return self._asyncioEventloop

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        loop = self._make_loop()
        loop.set_exception_handler(_log_unhandled)
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # its warnings tell of writes to connections just lost
        asyncio.set_event_loop(loop)
        return loop

    def beforeDaemonize(self) -> None:
        """
        Let go of the loop; its descriptors must not be shared with a child.
        """
        if self._timerHandle is not None:
            self._timerHandle.cancel()
            self._timerHandle = self._scheduledAt = None
        for reader in self._readers.values():
            self.loop.remove_reader(reader)
        for writer in self._writers.values():
            self.loop.remove_writer(writer)
        self.loop.close()

    def afterDaemonize(self) -> None:
        """
        Go on with a new loop, in the child.
        """
        readers, writers = tuple(self._readers), tuple(self._writers)
        self._readers.clear()
        self._writers.clear()
        self._asyncioEventloop = self._open_loop()
        for reader in readers:
            self.addReader(reader)  # type: ignore[no-untyped-call]
        for writer in writers:
            self.addWriter(writer)  # type: ignore[no-untyped-call]
        self._reschedule()  # type: ignore[no-untyped-call]

    def startRunning(self, installSignalHandlers: bool = True) -> None:
        """
        uvloop takes the process's signal wake-up descriptor, by which Twisted hears of ended children; so a handler of
        our own tells it.
        """
        super().startRunning(installSignalHandlers)
        if installSignalHandlers:
            signal.signal(signal.SIGCHLD, self._child_ended)
            signal.siginterrupt(signal.SIGCHLD, False)

    def _child_ended(self, number: int, frame: FrameType | None) -> None:
        self.callFromThread(process.reapAllProcesses)  # type: ignore[no-untyped-call]


def _log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """
    What asyncio would print goes to Twisted's log.
    """
    error = context.get("exception")
    if error is None:
        _log.error("{message}", message=context["message"])
    else:
        _log.failure("{message}", failure=Failure(error, type(error), error.__traceback__), message=context["message"])


def install(make_loop: Callable[[], asyncio.AbstractEventLoop] = new_loop) -> Reactor:
    """
    Make ours the process's reactor. Calling it again changes nothing.

    @param make_loop: opens the loop, also after C{fork}.
    @return: the installed reactor.
    @raise ReactorAlreadyInstalledError: another reactor is there already.
    """
    installed: object = sys.modules.get("twisted.internet.reactor")
    if isinstance(installed, Reactor):
        return installed
    if installed is not None:
        raise ReactorAlreadyInstalledError(
            f"{type(installed).__name__} is installed already; call teleport_tw.base.loop.install() before anything "
            "imports twisted.internet.reactor, and give twistd no --reactor"
        )
    reactor = Reactor(make_loop)
    installReactor(reactor)
    return reactor


def loop_of(reactor: IReactorTime) -> asyncio.AbstractEventLoop:
    """
    @param reactor: the one L{install} returned, or any of Twisted's asyncio reactors.
    @return: its loop, good until the process forks.
    @raise TypeError: the reactor runs on no asyncio loop.
    """
    loop = getattr(reactor, "_asyncioEventloop", None)
    if not isinstance(loop, asyncio.AbstractEventLoop):
        raise TypeError(f"{type(reactor).__name__} runs on no asyncio loop; install the reactor by base.loop.install()")
    return loop


def as_deferred(awaitable: Awaitable[T]) -> Deferred[T]:
    """
    Start or follow an asyncio awaitable on the current loop.

    @param awaitable: a coroutine or future of asyncio's.
    @return: its result; cancelling it cancels the awaitable. An awaitable that was cancelled ends in Twisted's
        C{CancelledError}.
    """
    future = asyncio.ensure_future(awaitable, loop=asyncio.get_event_loop())

    def cancel(_: Deferred[T]) -> None:
        future.cancel()

    deferred: Deferred[T] = Deferred(cancel)

    def ended(done: asyncio.Future[T]) -> None:
        if done.cancelled():
            outcome: T | Failure = Failure(CancelledError())
        elif (error := done.exception()) is not None:
            outcome = Failure(error, type(error), error.__traceback__)
        else:
            outcome = done.result()
        if not deferred.called:
            deferred.callback(outcome) if not isinstance(outcome, Failure) else deferred.errback(outcome)

    future.add_done_callback(ended)
    return deferred


def as_future(deferred: Deferred[T]) -> asyncio.Future[T]:
    """
    @param deferred: handed over; its result is the future's from here on.
    @return: a future of the current loop; cancelling it cancels the Deferred, and a Deferred that was cancelled
        cancels it.
    """
    future: asyncio.Future[T] = asyncio.get_event_loop().create_future()

    def succeeded(result: T) -> None:
        if not future.done():
            future.set_result(result)

    def failed(failure: Failure) -> None:
        if future.done():
            return
        error = failure.value
        if isinstance(error, CancelledError) or error is None:
            future.cancel()
        else:
            future.set_exception(error)

    def future_ended(done: asyncio.Future[T]) -> None:
        if done.cancelled():
            deferred.cancel()

    future.add_done_callback(future_ended)
    deferred.addCallbacks(succeeded, failed)
    return future
