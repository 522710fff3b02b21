"""
Freed memory that is kept.
"""

from __future__ import annotations

import subprocess
import sys
from platform import libc_ver
from resource import RUSAGE_SELF, getrusage

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from teleport_tw.base.memory import keep_freed  # noqa: F401 -- for the process the test starts

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
        code = "from tests.base.test_memory import *; keep_freed(); faults(); print(faults())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertLess(int(done.stdout), 2 * PIECE // 4096)
