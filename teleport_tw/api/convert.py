"""
Nouns, presence and audit to protobuf and back; L{teleport_tw.api.ceremonies} has the rest.

Functions come in pairs: C{x_to_pb} and C{x_from_pb}. What came over the wire may be wrong in every way; reading it
raises BAD_PARAMETER and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from google.protobuf.duration_pb2 import Duration as PbDuration
from google.protobuf.timestamp_pb2 import Timestamp

from teleport_tw.api.contract import (
    Change,
    EventPage,
    EventQuery,
    Hit,
    Page,
    Query,
    SemaphoreRequest,
    Verification,
    Watched,
)
from teleport_tw.api.proto import audit_pb2, presence_pb2, resource_pb2
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import Duration, format_time
from teleport_tw.resources.metadata import Json, Metadata, Resource

# --- time, JSON --------------------------------------------------------------------------------------------------


def time_to_pb(moment: datetime) -> Timestamp:
    """
    @param moment: aware.
    """
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC))
    return stamp


def time_from_pb(stamp: Timestamp) -> datetime:
    """
    @return: aware UTC.
    """
    try:
        return stamp.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise bad_parameter(f"a time is out of range: {error}") from error


def duration_to_pb(duration: Duration) -> PbDuration:
    """
    @param duration: of either sign.
    """
    span = PbDuration()
    span.FromTimedelta(duration)
    return span


def duration_from_pb(span: PbDuration) -> Duration:
    """
    @return: zero when the field was absent.
    """
    try:
        return span.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise bad_parameter(f"a duration is out of range: {error}") from error


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, datetime):
        return format_time(value if value.tzinfo else value.replace(tzinfo=UTC))
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, tuple | frozenset | set):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON")


def json_to_text(value: Json) -> str:
    """
    @return: the object as text, key order kept; empty for an empty object.
    @raise TeleportError: BAD_PARAMETER, something in it has no place in JSON.
    """
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")) if value else ""
    except (TypeError, ValueError, RecursionError) as error:
        raise bad_parameter(f"cannot be written as JSON: {error}") from error


def json_from_text(text: str) -> dict[str, Any]:
    """
    @raise TeleportError: BAD_PARAMETER, it is not a JSON object.
    """
    if not text:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise bad_parameter(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_parameter("not a JSON object")
    return value


# --- resources ---------------------------------------------------------------------------------------------------


def resource_to_pb(resource: Resource) -> resource_pb2.Resource:
    """
    @return: the envelope.
    """
    metadata = resource.metadata
    message = resource_pb2.Resource(
        kind=resource.kind,
        sub_kind=resource.sub_kind,
        version=resource.version,
        metadata=resource_pb2.Metadata(
            name=metadata.name,
            description=metadata.description,
            labels=metadata.labels,
            expires=time_to_pb(metadata.expires) if metadata.expires is not None else None,
            revision=metadata.revision,
        ),
        spec=json_to_text(resource.spec),
        status=json_to_text(resource.status),
    )
    return message


def resource_from_pb(message: resource_pb2.Resource) -> Resource:
    """
    @return: the noun, its spec as its author wrote it.
    """
    metadata = message.metadata
    return Resource(
        kind=message.kind,
        sub_kind=message.sub_kind,
        version=message.version,
        metadata=Metadata(
            name=metadata.name,
            description=metadata.description,
            labels=dict(metadata.labels),
            expires=time_from_pb(metadata.expires) if metadata.HasField("expires") else None,
            revision=metadata.revision,
        ),
        spec=json_from_text(message.spec),
        status=json_from_text(message.status),
    )


def query_to_pb(query: Query) -> resource_pb2.Query:
    """
    @return: the conditions.
    """
    return resource_pb2.Query(
        labels=query.labels,
        search=query.search,
        expression=query.expression,
        sub_kind=query.sub_kind,
        limit=query.limit,
        start=query.start,
        sort=query.sort,
        with_secrets=query.with_secrets,
        accessible=query.accessible,
    )


def query_from_pb(message: resource_pb2.Query) -> Query:
    """
    @return: the conditions.
    """
    return Query(
        labels=dict(message.labels),
        search=tuple(message.search),
        expression=message.expression,
        sub_kind=message.sub_kind,
        limit=message.limit,
        start=message.start,
        sort=message.sort or "name",
        with_secrets=message.with_secrets,
        accessible=message.accessible,
    )


def page_to_pb(page: Page) -> resource_pb2.ListResourcesResponse:
    """
    @return: one page.
    """
    return resource_pb2.ListResourcesResponse(
        items=[resource_to_pb(item) for item in page.items], next_start=page.next_start
    )


def page_from_pb(message: resource_pb2.ListResourcesResponse) -> Page:
    """
    @return: one page.
    """
    return Page(tuple(resource_from_pb(item) for item in message.items), message.next_start)


_CHANGES = {
    Change.INIT: resource_pb2.WatchEvent.CHANGE_INIT,
    Change.PUT: resource_pb2.WatchEvent.CHANGE_PUT,
    Change.DELETE: resource_pb2.WatchEvent.CHANGE_DELETE,
}
_CHANGES_BACK = {number: change for change, number in _CHANGES.items()}


def watched_to_pb(watched: Watched) -> resource_pb2.WatchEvent:
    """
    @return: one piece of news.
    """
    return resource_pb2.WatchEvent(
        change=_CHANGES[watched.change],
        resource=None if watched.resource is None else resource_to_pb(watched.resource),
    )


def watched_from_pb(message: resource_pb2.WatchEvent) -> Watched:
    """
    @return: one piece of news.
    """
    change = _CHANGES_BACK.get(message.change)
    if change is None or (change is not Change.INIT and not message.HasField("resource")):
        raise bad_parameter("a piece of news without its resource or of an unknown sort")
    return Watched(change, resource_from_pb(message.resource) if message.HasField("resource") else None)


# --- presence, audit ---------------------------------------------------------------------------------------------


def semaphore_to_pb(request: SemaphoreRequest) -> presence_pb2.Semaphore:
    """
    @return: what is counted.
    """
    return presence_pb2.Semaphore(
        kind=request.kind,
        name=request.name,
        limit=request.limit,
        ttl=duration_to_pb(request.ttl),
        holder=request.holder,
    )


def semaphore_from_pb(message: presence_pb2.Semaphore) -> SemaphoreRequest:
    """
    @return: what is counted.
    """
    return SemaphoreRequest(
        kind=message.kind,
        name=message.name,
        limit=message.limit,
        ttl=duration_from_pb(message.ttl),
        holder=message.holder,
    )


def event_query_to_pb(query: EventQuery) -> audit_pb2.EventQuery:
    """
    @return: the conditions.
    """
    return audit_pb2.EventQuery(
        since=None if query.since is None else time_to_pb(query.since),
        until=None if query.until is None else time_to_pb(query.until),
        types=query.types,
        users=query.users,
        text=query.text,
        session=query.session,
        limit=query.limit,
        start=query.start,
        descending=query.descending,
    )


def event_query_from_pb(message: audit_pb2.EventQuery) -> EventQuery:
    """
    @return: the conditions.
    """
    return EventQuery(
        since=time_from_pb(message.since) if message.HasField("since") else None,
        until=time_from_pb(message.until) if message.HasField("until") else None,
        types=tuple(message.types),
        users=tuple(message.users),
        text=message.text,
        session=message.session,
        limit=message.limit,
        start=message.start,
        descending=message.descending,
    )


def event_page_to_pb(page: EventPage) -> audit_pb2.EventPage:
    """
    @return: one page.
    """
    return audit_pb2.EventPage(events=[json_to_text(event) for event in page.events], next_start=page.next_start)


def event_page_from_pb(message: audit_pb2.EventPage) -> EventPage:
    """
    @return: one page.
    """
    return EventPage(tuple(json_from_text(event) for event in message.events), message.next_start)


def verification_to_pb(verification: Verification) -> audit_pb2.Verification:
    """
    @return: what was found.
    """
    return audit_pb2.Verification(checked=verification.checked, problems=verification.problems)


def verification_from_pb(message: audit_pb2.Verification) -> Verification:
    """
    @return: what was found.
    """
    return Verification(message.checked, tuple(message.problems))


def hits_to_pb(hits: tuple[Hit, ...]) -> audit_pb2.SearchRecordingsResponse:
    """
    @return: the places.
    """
    return audit_pb2.SearchRecordingsResponse(
        hits=[audit_pb2.RecordingHit(session=hit.session, at=duration_to_pb(hit.at), line=hit.line) for hit in hits]
    )


def hits_from_pb(message: audit_pb2.SearchRecordingsResponse) -> tuple[Hit, ...]:
    """
    @return: the places.
    """
    return tuple(Hit(hit.session, duration_from_pb(hit.at), hit.line) for hit in message.hits)
