"""
What is done with memory that is not needed any more: by the C library, which gives it back, and by Python, which looks
for garbage that holds itself.

A service that is up consists of some hundred thousand objects that stay: modules, classes, compiled expressions.
Left to itself Python looks through all of them each time the younger ones have grown a little, which takes a tenth of a
second, during which nobody is served.
"""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress

KEPT_BYTES = 8 * 1024 * 1024
"""Free memory at the heap's end that is kept: many reads and writes of the largest size, and little for a service."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_MAPPED_BYTES = 4 * 1024 * 1024
"""Pieces from here on have pages of their own."""

YOUNG = 10_000
"""Objects more than have gone at which the young ones are looked through: a millisecond of work; Python has 700."""
MIDDLE, OLD = 20, 20
"""Rounds of the younger to one of the next older ones."""


def settle() -> None:
    """
    All that was needed to start is there: it is no garbage, and is not looked through again. Nothing is kept that would
    go by itself; but a circle of objects from before is kept for good.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def keep_freed() -> None:
    """
    Have the C library keep some freed memory. By itself glibc gives a relay's buffers, 256 KiB each, back to the kernel
    as they are freed and takes them anew a moment later, page by page: a sixth of a relay's processor time. Where
    there is no glibc, nothing happens.

    @see: mallopt(3)
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
