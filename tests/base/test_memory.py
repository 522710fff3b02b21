"""
What is there when a service is up is not looked through again; what comes later is.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.memory import YOUNG, settle


class _Holds:
    itself: Any = None


def _circle() -> weakref.ref[_Holds]:
    made = _Holds()
    made.itself = made
    return weakref.ref(made)


class SettleTests(SynchronousTestCase):
    """
    In a process that goes on.
    """

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)

    def test_garbage_of_the_start_goes_and_what_stays_is_out_of_the_way(self) -> None:
        """
        What is looked through after it is little.
        """
        before, lost = len(gc.get_objects()), _circle()
        settle()
        self.assertIsNone(lost())
        self.assertGreater(gc.get_freeze_count(), before // 2)
        self.assertLess(len(gc.get_objects()), before // 10)

    def test_later_garbage_goes_by_itself(self) -> None:
        """
        Once there is some of it.
        """
        settle()
        lost = _circle()
        kept = [[number] for number in range(2 * YOUNG)]
        self.assertIsNone(lost())
        del kept
