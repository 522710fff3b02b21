"""
A thread that runs calls in order, many in a row where many are waiting, and answers on the reactor's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from teleport_tw.backends.feed import Write
from teleport_tw.base.errors import Kind, TeleportError

T = TypeVar("T")

GROUP_CALLS = 512
"""Calls in one group, at most: what a flush of a few milliseconds is shared by, and what one failure undoes."""

QUEUED_CALLS = 100_000
"""Waiting calls: past it the caller is told to slow down."""


class Reactor(Protocol):
    """
    What is asked of the reactor: its time, its timers, and the way back from a thread.
    """

    def seconds(self) -> float: ...

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> IDelayedCall: ...

    def callFromThread(self, callable: Callable[..., Any], *args: object, **kwargs: object) -> None: ...


class Group(Protocol):
    """
    What is done round a group of calls.
    """

    def begin(self) -> None: ...

    def commit(self) -> list[Write]: ...

    def roll_back(self) -> None: ...


@define(eq=False)
class Job:
    """
    One call and whom to answer.
    """

    call: Callable[[], Any]
    answer: Deferred[Any]
    last: bool = False


Answers = list[tuple[Deferred[Any], Any]]


@define(eq=False, kw_only=True)
class Worker:
    """
    @ivar around: makes a group of calls one transaction; an error inside it that is no TeleportError undoes the group,
        whose calls then run one by one.
    @ivar told: gets what each commit returned, on the reactor's thread, before the calls are answered.
    @ivar broken: turns an error of a call into the one its caller gets.
    """

    name: str
    reactor: Reactor
    broken: Callable[[Exception], Exception]
    around: Group | None = None
    told: Callable[[list[Write]], None] = lambda writes: None
    _jobs: SimpleQueue[Job] = field(factory=SimpleQueue, init=False)
    _thread: Thread | None = field(default=None, init=False)

    def run(self, call: Callable[[], T]) -> Deferred[T]:
        """
        @return: what the call returned.
        @raise TeleportError: LIMIT_EXCEEDED, too many calls are waiting.
        """
        if self._jobs.qsize() >= QUEUED_CALLS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "the state store is too busy; try again later")
        if self._thread is None:
            self._thread = Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()
        answer: Deferred[T] = Deferred()
        self._jobs.put(Job(call, answer))
        return answer

    def stop(self, last: Callable[[], None]) -> Deferred[None]:
        """
        End the thread after all that was accepted.

        @param last: the last call.
        """
        answer: Deferred[None] = Deferred()
        if self._thread is None:
            last()
            answer.callback(None)
            return answer
        self._jobs.put(Job(last, answer, last=True))
        return answer

    def _work(self) -> None:
        while True:
            jobs = [self._jobs.get()]
            try:
                while len(jobs) < GROUP_CALLS and not jobs[-1].last:
                    jobs.append(self._jobs.get_nowait())
            except Empty:
                pass
            last = jobs.pop() if jobs[-1].last else None
            if jobs:
                self._group(jobs)
            if last is not None:
                self.reactor.callFromThread(self._answer, [], [(last.answer, _outcome(last.call, self.broken))])
                return

    def _group(self, jobs: list[Job]) -> None:
        if self.around is None:
            answers: Answers = [(job.answer, _outcome(job.call, self.broken)) for job in jobs]
            self.reactor.callFromThread(self._answer, [], answers)
            return
        try:
            self.around.begin()
            answers = [(job.answer, _judged(job.call)) for job in jobs]
            writes = self.around.commit()
        except Exception as error:
            self._undo()
            if len(jobs) == 1:
                self.reactor.callFromThread(self._answer, [], [(jobs[0].answer, Failure(self.broken(error)))])
            else:
                for job in jobs:
                    self._group([job])
            return
        self.reactor.callFromThread(self._answer, writes, answers)

    def _undo(self) -> None:
        try:
            if self.around is not None:
                self.around.roll_back()
        except Exception:
            # The next begin fails as well and says why; there is nobody else to tell.
            return

    def _answer(self, writes: list[Write], answers: Answers) -> None:
        self.told(writes)
        for deferred, outcome in answers:
            if not deferred.called:
                deferred.callback(outcome)


def _judged(call: Callable[[], Any]) -> Any:
    """
    The result, or the refusal, of a call that changes nothing when it refuses.
    """
    try:
        return call()
    except TeleportError:
        return Failure()


def _outcome(call: Callable[[], Any], broken: Callable[[Exception], Exception]) -> Any:
    try:
        return call()
    except TeleportError:
        return Failure()
    except Exception as error:
        return Failure(broken(error))
