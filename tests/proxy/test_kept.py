"""
Certificates asked for once.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.proxy.kept import Kept


class KeptTests(SynchronousTestCase):
    """
    Values good for a while.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.kept: Kept[str, int] = Kept(self.clock, most=2)
        self.questions: list[Deferred[tuple[int, float]]] = []

    def get(self, key: str = "k") -> Deferred[int]:
        """
        Ask; the answer is given by the test.
        """

        async def make() -> tuple[int, float]:
            question: Deferred[tuple[int, float]] = Deferred()
            self.questions.append(question)
            return await question

        return Deferred.fromCoroutine(self.kept.get(key, make))

    def test_one_question_for_all_who_wait(self) -> None:
        """
        And none while the answer is good; at its end another.
        """
        waiting = [self.get() for _ in range(3)]
        self.assertEqual(len(self.questions), 1)
        self.questions[0].callback((7, 10.0))
        self.assertEqual([self.successResultOf(each) for each in waiting], [7, 7, 7])
        self.clock.advance(9.9)
        self.assertEqual(self.successResultOf(self.get()), 7)
        self.clock.advance(0.1)
        late = self.get()
        self.assertEqual(len(self.questions), 2)
        self.questions[1].callback((8, 20.0))
        self.assertEqual(self.successResultOf(late), 8)

    def test_who_asked_first_may_leave(self) -> None:
        """
        The others have their answer all the same, and nobody asks twice.
        """
        first, second = self.get(), self.get()
        first.cancel()
        self.failureResultOf(first)
        third = self.get()
        self.assertEqual(len(self.questions), 1)
        self.questions[0].callback((7, 10.0))
        self.assertEqual((self.successResultOf(second), self.successResultOf(third)), (7, 7))

    def test_a_refusal_is_not_kept(self) -> None:
        """
        All who wait hear it; the next one asks again.
        """
        waiting = [self.get(), self.get()]
        self.questions[0].errback(access_denied())
        for each in waiting:
            self.failureResultOf(each, TeleportError)
        self.get()
        self.assertEqual(len(self.questions), 2)

    def test_the_oldest_goes_when_there_are_too_many(self) -> None:
        """
        Used lately counts as young.
        """
        for number, key in enumerate("ab"):
            self.get(key)
            self.questions[number].callback((number, 99.0))
        self.successResultOf(self.get("a"))
        self.get("c")
        self.questions[2].callback((2, 99.0))
        self.assertEqual(len(self.kept), 2)
        self.successResultOf(self.get("a"))
        self.assertNoResult(self.get("b"))

    def test_clearing(self) -> None:
        """
        Asks anew.
        """
        self.get()
        self.questions[0].callback((1, 99.0))
        self.kept.clear()
        self.assertNoResult(self.get())
