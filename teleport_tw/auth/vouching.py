"""
Recordings that nobody finished, and whether those that are kept are the ones the audit log vouches for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from attrs import evolve

from teleport_tw.api.contract import EventQuery, Verification
from teleport_tw.auth.core import Core
from teleport_tw.auth.delivery import DELIVERED_BY, Ownership
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.events.kinds import Recorded, Session, SessionUpload
from teleport_tw.recordings.archive import ABANDONED_SECONDS
from teleport_tw.resources.metadata import Json

MOST_CLOSED = 100
"""Abandoned recordings that one round closes."""
MOST_FORGOTTEN = 1000
"""Recordings that one round deletes for their age."""
GRACE = Duration(days=2)
"""A day of the log is deleted when it is over, and an event may be a little later than its recording."""
MOST_COMPARED = 5000
"""Recordings that one verification reads, the newest."""
BUDGET_SECONDS = 60.0
"""A verification reads recordings for so long; a call over gRPC has two minutes."""


async def close_abandoned(core: Core) -> int:
    """
    Finish recordings whose host died, and have the log vouch for what there is of them.

    @return: how many.
    """
    storage = core.recordings.storage
    found = (await storage.abandoned(core.clock.seconds() - ABANDONED_SECONDS))[:MOST_CLOSED]
    for session, parts in found:
        checked = await core.recordings.complete(session, parts)
        recorded = Recorded(digest=checked.digest, parts=parts)
        core.events.emit(SessionUpload(session=Session(id=session), recorded=recorded))
    return len(found)


async def forget_old(core: Core, age: Duration) -> int:
    """
    Delete what is older than is kept: first the log's days, then recordings. A recording goes a day after the day whose
    events vouch for it, so that the log never vouches for one that is not there.

    @param age: nothing younger is deleted.
    @return: how many recordings were deleted.
    """
    before = core.now() - age
    await core.trail.truncate(before)
    found = await core.recordings.storage.finished((before - GRACE).timestamp())
    for session in found[:MOST_FORGOTTEN]:
        await core.recordings.delete(session)
    return len(found[:MOST_FORGOTTEN])


async def verify(core: Core, ownership: Ownership) -> Verification:
    """
    Walk the log's chain, and compare the recordings with the digests in it.
    """
    chain = await core.trail.verify()
    problems, seen, until = list(chain.problems), dict[str, str](), core.clock.seconds() + BUDGET_SECONDS
    async for event in _vouchers(core):
        session, digest = str(event.get("sid") or ""), str(event.get("recording_digest") or "")
        if not digest or session in seen:
            continue
        owner = await ownership.owner(session)
        if owner and event.get(DELIVERED_BY, owner) != owner:
            continue  # another host's claim vouches for nothing
        seen[session] = digest
        if len(seen) > MOST_COMPARED or core.clock.seconds() > until:
            problems.append(f"only the {len(seen) - 1} newest recordings were compared; there are more")
            break
        problem = await _compare(core, session, digest)
        if problem:
            problems.append(problem)
    return evolve(chain, checked=chain.checked + len(seen), problems=tuple(problems))


async def _compare(core: Core, session: str, digest: str) -> str:
    try:
        checked = await core.recordings.check(session)
    except TeleportError as error:
        if error.kind is not Kind.NOT_FOUND:
            raise
        return f"the recording of session {session} is missing, and the log says that there was one"
    if checked.problem:
        return f"the recording of session {session} was changed: {checked.problem}"
    if checked.digest != digest:
        return f"the recording of session {session} is not the one that the log vouches for"
    return ""


async def _vouchers(core: Core) -> AsyncIterator[Json]:
    query = EventQuery(types=("session.upload",), descending=True, limit=500)
    while True:
        page = await core.trail.search(query)
        for event in page.events:
            yield event
        if not page.next_start:
            return
        query = evolve(query, start=page.next_start)
