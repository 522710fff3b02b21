"""
The audit log: searched, exported, and followed while it grows.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from attrs import Factory, evolve, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from teleport_tw.api.contract import Api, EventPage, EventQuery
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import from_timestamp, parse_time
from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import when
from teleport_tw.web.places import Places
from teleport_tw.web.routes import Answer, Call, Limit, Reply, Route, Who
from teleport_tw.web.shapes import FREE, TIME, Many, Shape, Table, Text, Whole
from teleport_tw.web.tickets import Tickets

RECORDED = ("session.end", "db.session.end", "windows.desktop.session.end")
"""What tells of a session that may have a recording."""

PAGE = 50
MAX_PAGE = 500
EXPORT_PAGE = 500

MAX_LOOKS = 20
"""Into the log for one page of recordings: commands that were run without a terminal have none, and may be many."""

TAIL_SECONDS = 25.0
"""How long a page that follows is kept waiting; proxies in front end what is silent for half a minute."""

LOOK_SECONDS = 1.0
"""Between two looks for news, for one who waits."""

MAX_TAILS = 500
"""Pages that are kept waiting, in one proxy."""

MAX_TAILS_OF_ONE = 10
"""Of those, of one sign-in."""

COLUMNS = ("time", "code", "event", "user", "login", "server_hostname", "sid", "success", "uid", "json")
"""Of an export as CSV."""

PERIOD: Mapping[str, Shape] = {
    "from": TIME,
    "to": TIME,
    "include": Many(of=Text(least=1, most=128), most=64, about="names of events."),
    "search": Text(most=256, about="words that must all occur"),
    "order": Text(choices=("asc", "desc")),
    "user": Text(most=256, about="whose events"),
    "sid": Text(most=128, about="of one session"),
}
"""What is asked of the log."""

EVENTS = Table(members={"events": Many(of=FREE), "startKey": Text(most=65536)}, needs=("events", "startKey"))


@frozen
class Events:
    """
    All calls run as the user, who needs the right to list events.
    """

    clock: IReactorTime
    _tails: Places = field(
        init=False,
        factory=lambda: Places(of_all=MAX_TAILS, of_one=MAX_TAILS_OF_ONE, what="pages follow the audit log"),
    )
    _tickets: Tickets[Mapping[str, Any]] = field(
        init=False, default=Factory(lambda self: Tickets(self.clock), takes_self=True)
    )

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        paged: dict[str, Shape] = {
            **PERIOD,
            "limit": Whole(least=1, most=MAX_PAGE),
            "startKey": Text(most=4096, about="of the page before"),
        }
        exported: dict[str, Shape] = {**PERIOD, "format": Text(choices=("csv", "json"))}
        get = "GET"
        return (
            Route(
                method=get,
                path="/sites/<site>/events/search",
                handler=self.search,
                about="Events of a period, newest first.",
                query=paged,
                answer=EVENTS,
            ),
            Route(
                method=get,
                path="/sites/<site>/events/search/sessions",
                handler=self.sessions,
                about="Ends of sessions, each with what its recording is found by.",
                query=paged,
                answer=EVENTS,
            ),
            Route(
                method=get,
                path="/sites/<site>/recordings/search",
                handler=self.in_recordings,
                about="Recordings in which a text was on the screen, and where.",
                query={
                    "text": Text(least=1, most=256),
                    "limit": Whole(least=1, most=MAX_PAGE),
                    "from": TIME,
                    "to": TIME,
                },
                answer=Table(members={"items": Many(of=FREE), "sessions": FREE}, needs=("items", "sessions")),
            ),
            Route(
                method=get,
                path="/sites/<site>/events/tail",
                handler=self.tail,
                about="Events after those of the answer before, oldest first; waits half a minute for some.",
                passive=True,
                query={
                    "startKey": Text(most=256, about="of the answer before; from now on without one"),
                    "include": PERIOD["include"],
                    "search": PERIOD["search"],
                    "user": PERIOD["user"],
                },
                answer=EVENTS,
            ),
            Route(
                method=get,
                path="/sites/<site>/events/export",
                handler=self.export,
                about="All events of a period as a file.",
                query=exported,
                media="application/octet-stream",
            ),
            Route(
                method="POST",
                path="/sites/<site>/events/export/ticket",
                handler=self.ticket,
                about="An address from which the browser itself fetches that file, once, within a minute.",
                query=exported,
                answer=Table(members={"url": Text()}, needs=("url",)),
            ),
            Route(
                method=get,
                path="/events/<ticket>",
                handler=self.fetch,
                about="What a ticket is for; for the browser that asked for it.",
                who=Who.BROWSER,
                limit=Limit.CHEAP,
                media="application/octet-stream",
            ),
        )

    async def search(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/events/search}.
        """
        return _told(await call.api.search(_query(call.query)))

    async def sessions(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/events/search/sessions}.
        """
        wanted = _query(call.query)
        wanted = evolve(wanted, types=wanted.types or RECORDED)
        found: list[Json] = []
        start = wanted.start
        for _ in range(MAX_LOOKS):
            page = await call.api.search(evolve(wanted, start=start, limit=wanted.limit - len(found)))
            found += [event for event in page.events if _may_be_recorded(event)]
            start = page.next_start
            if not start or len(found) >= wanted.limit:
                break
        return _told(EventPage(tuple(found), start))

    async def in_recordings(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/recordings/search}: C{sessions} has the end of each that has one. A
        period is that of the end; whatever goes on ends after its beginning.
        """
        text = call.query.get("text", "")
        if not text.strip():
            raise bad_parameter("say which text")
        period = _query({key: value for key, value in call.query.items() if key in ("from", "to")})
        hits = await call.api.search_recordings(text, EventQuery(limit=call.query.get("limit", PAGE)))
        ends = {}
        for session in dict.fromkeys(hit.session for hit in hits):
            page = await call.api.search(evolve(period, types=RECORDED, session=session, limit=1))
            if page.events:
                ends[session] = page.events[0]
            elif period.until is None:
                ends[session] = {}
        items = [
            {"sid": hit.session, "ms": int(hit.at.total_seconds() * 1000), "line": hit.line}
            for hit in hits
            if hit.session in ends
        ]
        return {"items": items, "sessions": {session: end for session, end in ends.items() if end}}

    async def tail(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/events/tail}: the first answer comes at once, with where to go on from.
        """
        with self._tails.taken(call.user.id):
            return await self._tail(call)

    async def _tail(self, call: Call) -> Reply:
        query, now = call.query, from_timestamp(self.clock.seconds())
        moment, _, uid = query.get("startKey", "").partition(" ")
        since = parse_time(moment) if moment else now
        wanted = EventQuery(
            since=since,
            types=query.get("include", ()),
            users=(query["user"],) if query.get("user") else (),
            text=query.get("search", ""),
            limit=MAX_PAGE,
        )
        ends = self.clock.seconds() + TAIL_SECONDS
        while True:
            page = await call.api.search(wanted)
            events = _after(page.events, uid)
            if events:
                return {"events": list(events), "startKey": f"{events[-1].get('time')} {events[-1].get('uid')}"}
            if not moment or self.clock.seconds() >= ends:
                return {"events": [], "startKey": f"{when(since)} {uid}".strip()}
            await deferLater(self.clock, LOOK_SECONDS)

    async def export(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/events/export}.
        """
        return await self._file(call.api, call.query)

    async def ticket(self, call: Call) -> Reply:
        """
        C{POST /webapi/sites/:site/events/export/ticket}: what may not be had is said here, where the page can show it.
        """
        await call.api.search(evolve(_query(call.query), limit=1))
        return {"url": f"/webapi/events/{self._tickets.issue(call.user.id, dict(call.query))}"}

    async def fetch(self, call: Call) -> Reply:
        """
        C{GET /webapi/events/:ticket}.
        """
        return await self._file(call.api, self._tickets.take(call.user.id, call.path["ticket"]))

    async def _file(self, api: Api, query: Mapping[str, Any]) -> Answer:
        form = query.get("format", "json")
        wanted = evolve(_query(query), limit=EXPORT_PAGE)
        first = await api.search(wanted)  # who may not is told so, and gets no empty file
        kind = b"text/csv; charset=utf-8" if form == "csv" else b"application/x-ndjson"
        name = f"events-{from_timestamp(self.clock.seconds()):%Y%m%d-%H%M%S}.{'csv' if form == 'csv' else 'jsonl'}"
        return Answer(
            body=_exported(api, wanted, first, form),
            content_type=kind,
            headers={b"Content-Disposition": f'attachment; filename="{name}"'.encode()},
        )


async def _exported(api: Api, wanted: EventQuery, page: EventPage, form: str) -> AsyncIterator[bytes]:
    write = _as_csv if form == "csv" else _as_lines
    if form == "csv":
        yield _rows([COLUMNS])
    while True:
        if page.events:
            yield write(page.events)
        if not page.next_start:
            return
        page = await api.search(evolve(wanted, start=page.next_start))


def _as_lines(events: Sequence[Json]) -> bytes:
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in events).encode("utf-8", "replace")


def _as_csv(events: Sequence[Json]) -> bytes:
    return _rows(
        [*(_cell(event.get(column)) for column in COLUMNS[:-1]), json.dumps(event, ensure_ascii=False)]
        for event in events
    )


def _rows(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str:
    """
    @return: as text that a spreadsheet does not take for a formula.
    """
    text = "" if value is None else str(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _query(query: Mapping[str, Any]) -> EventQuery:
    since, until = (parse_time(query[key]) if key in query else None for key in ("from", "to"))
    if since is not None and until is not None and until < since:
        raise bad_parameter("from must be before to")
    return EventQuery(
        since=since,
        until=until,
        types=query.get("include", ()),
        users=(query["user"],) if query.get("user") else (),
        text=query.get("search", ""),
        session=query.get("sid", ""),
        limit=query.get("limit", PAGE),
        start=query.get("startKey", ""),
        descending=query.get("order", "desc") == "desc",
    )


def _may_be_recorded(event: Json) -> bool:
    return event.get("interactive") is not False and event.get("session_recording") != "off"


def _after(events: Sequence[Json], uid: str) -> Sequence[Json]:
    for number, event in enumerate(events):
        if uid and event.get("uid") == uid:
            return events[number + 1 :]
    return events


def _told(page: EventPage) -> Json:
    return {"events": list(page.events), "startKey": page.next_start}
