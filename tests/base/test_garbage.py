"""
Freed memory that is kept, and garbage: what is there when a service is up is not looked through again, what comes later
is.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from platform import libc_ver
from resource import RUSAGE_SELF, getrusage
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from teleport_tw.base.garbage import YOUNG, keep_freed, settle  # noqa: F401 -- for the process the test starts

PIECE = 1024 * 1024


def faults() -> int:
    """
    @return: pages taken from the kernel by what a relay does: a large buffer, and another while that is there.
    """
    before = getrusage(RUSAGE_SELF).ru_minflt
    for _ in range(64):
        first = bytearray(PIECE)
        second = bytes(first)
        del first, second
    return getrusage(RUSAGE_SELF).ru_minflt - before


class KeepingTests(SynchronousTestCase):
    """
    Large buffers are not taken from the kernel each time anew.
    """

    def test_buffers_are_reused(self) -> None:
        """
        In a process of its own, since what was set stays set.
        """
        if libc_ver()[0] != "glibc":
            raise SkipTest("this is about glibc")
        code = "from tests.base.test_garbage import *; keep_freed(); faults(); print(faults())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertLess(int(done.stdout), 2 * PIECE // 4096)


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
