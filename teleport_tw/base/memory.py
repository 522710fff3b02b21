"""
When Python looks for garbage that holds itself, and through what.

A service that is up consists of some hundred thousand objects that stay: modules, classes, compiled expressions. Left to
itself Python looks through all of them each time the younger ones have grown a little, which takes a tenth of a second,
during which nobody is served.
"""

from __future__ import annotations

import gc

YOUNG = 10_000
"""Objects more than have gone at which the young ones are looked through: a millisecond of work. Python's own is 700."""
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
