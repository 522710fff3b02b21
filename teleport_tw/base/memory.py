"""
What the C library does with memory that was freed.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

KEPT_BYTES = 8 * 1024 * 1024
"""Free memory at the heap's end that is kept: many reads and writes of the largest size, and little for a service."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_MAPPED_BYTES = 4 * 1024 * 1024
"""Pieces from here on have pages of their own."""


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
