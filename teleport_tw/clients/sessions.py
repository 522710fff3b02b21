"""
Ended sessions as the audit log tells of them, for C{tsh recordings ls} and C{tctl recordings ls}.
"""

from __future__ import annotations

from attrs import evolve

from teleport_tw.api.contract import Audit, EventQuery
from teleport_tw.resources.metadata import Json

ENDS = ("session.end", "db.session.end", "windows.desktop.session.end", "app.session.end")


async def recorded_sessions(audit: Audit, query: EventQuery, limit: int) -> list[Json]:
    """
    @return: C{session.end} and its kin, newest first, at most C{limit}.
    """
    query = evolve(query, types=query.types or ENDS, descending=True)
    found: list[Json] = []
    while len(found) < limit:
        page = await audit.search(query)
        found += [event for event in page.events if event.get("session_recording") != "off"]
        if not page.next_start:
            break
        query = evolve(query, start=page.next_start)
    return found[:limit]


def recorded_row(event: Json) -> tuple[str, ...]:
    """
    @return: ID, type, participants, target, time.
    """
    kind = {"session.end": "ssh", "db.session.end": "db", "app.session.end": "app"}.get(
        str(event.get("event")), "desktop"
    )
    target = (
        event.get("server_hostname") or event.get("db_service") or event.get("app_name") or event.get("desktop_name")
    )
    return (
        str(event.get("sid", "")),
        kind,
        ", ".join(map(str, event.get("participants") or [event.get("user", "")])),
        str(target or ""),
        str(event.get("time", "")),
    )
