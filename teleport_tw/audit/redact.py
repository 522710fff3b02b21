"""
What a rating lets out, and where to.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from teleport_tw.events.kinds import Event, Fact, Rating
from teleport_tw.events.rating import REDACTED
from teleport_tw.events.worded import Worded


class Outlet(Enum):
    """
    Who reads what comes out.
    """

    AUDIT = "audit"
    """The audit log, which needs a role to be read: all but secrets."""
    LOG = "log"
    """The program's own log: public fields only."""


_LETS_OUT = {
    Outlet.AUDIT: (Rating.PUBLIC, Rating.SENSITIVE),
    Outlet.LOG: (Rating.PUBLIC,),
}


def redacted(event: Event, outlet: Outlet = Outlet.AUDIT) -> dict[str, Any]:
    """
    @return: the event's JSON fields, what the outlet may not see replaced; of an event without ratings, all of it.
    """
    if isinstance(event, Worded) and outlet is Outlet.AUDIT:
        return event.fields()  # written without what is secret
    if not isinstance(event, Fact):
        return dict.fromkeys(event.fields(), REDACTED)
    allowed = _LETS_OUT[outlet]
    return {name: value if rating in allowed else REDACTED for name, value, rating in event.rated()}
