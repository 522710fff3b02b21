"""
The seam that audit events go out by.
"""

from __future__ import annotations

from typing import Protocol

from teleport_tw.events.kinds import Event


class EventSink(Protocol):
    """
    Takes audit events; given to whoever acts.
    """

    def emit(self, event: Event) -> None:
        """
        Take the event in order. Returns at once: it is on its way to disk and is never dropped in silence; where
        that fails, the sink ends the sessions that must not go unrecorded and reports on its log.
        """
        ...
