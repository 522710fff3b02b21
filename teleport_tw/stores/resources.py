"""
Every kind of resource in one repository: what the resource API of auth serves.

Names order a kind, so a page by name reads just that page, however many there are. A filter looks through as many
pages as it takes to fill one; any other order than by name reads the whole kind once per page and keeps only the
smallest; what was put in its place for an earlier page is not decoded again.
"""

from __future__ import annotations

import base64
import heapq
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from attrs import define, field, frozen

from teleport_tw.api.contract import Change, Page, Watched
from teleport_tw.backends.interface import Backend, ChangeType, Condition, Expected, Item, Watch
from teleport_tw.backends.interface import Change as Written
from teleport_tw.backends.keys import Key, encode_key
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.stores.codec import decode, encode, spec_of
from teleport_tw.stores.layout import NAMED_WITHIN_SUB_KIND, kind_prefix, resource_key

PAGE = 500
"""Resources in one page unless asked for fewer, and the most there are."""

Wanted = Callable[[Resource], bool]

Rank = tuple[Any, ...]
"""Where a resource stands in an order by a field: the sort of value, the value, and its key."""

MAX_ORDERS = 8
"""Orders (kind and field) that are remembered between pages."""

MAX_RANKS = 200_000
"""Resources in one of them; some 20 MB. A larger kind is put in order anew for each page."""


LISTED_BY: Mapping[str, str] = {
    "user": "tctl users ls",
    "role": "tctl get roles",
    "token": "tctl tokens ls",
    "lock": "tctl get locks",
    "node": "tctl nodes ls",
    "db": "tctl db ls",
    "instance": "tctl inventory ls",
}
"""What shows those there are, for who misspelt a name."""


@frozen
class ResourceStore:
    """
    Create, read, change and watch resources. Whether a resource is well formed and the caller may touch it was
    decided before.
    """

    backend: Backend
    _ranks: OrderedDict[tuple[str, str], dict[Key, tuple[int, Rank]]] = field(
        factory=OrderedDict, init=False, eq=False, repr=False
    )

    async def get(self, kind: str, name: str, *, sub_kind: str = "") -> Resource:
        """
        @raise TeleportError: NOT_FOUND, with what lists those there are.
        """
        try:
            item = await self.backend.get(resource_key(kind, sub_kind, name))
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND and kind in LISTED_BY:
                raise TeleportError(
                    Kind.NOT_FOUND, f"{error.message}; `{LISTED_BY[kind]}` lists what there is"
                ) from error
            raise
        resource = decode(item)
        if sub_kind and resource.sub_kind != sub_kind:
            raise TeleportError(Kind.NOT_FOUND, f"{kind} {name!r} of sub_kind {sub_kind!r} is not found")
        return resource

    async def find(self, kind: str, name: str, *, sub_kind: str = "") -> Resource | None:
        """
        @return: C{None} where L{get} says NOT_FOUND.
        """
        try:
            return await self.get(kind, name, sub_kind=sub_kind)
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise

    async def create(self, resource: Resource) -> Resource:
        """
        @return: as stored, with its revision.
        @raise TeleportError: ALREADY_EXISTS.
        """
        key = resource_key(resource.kind, resource.sub_kind, resource.name)
        return _stored(resource, await self.backend.create(key, encode(resource), resource.metadata.expires))

    async def upsert(self, resource: Resource) -> Resource:
        """
        Create or overwrite, whatever the revision.

        @return: as stored, with its revision.
        """
        key = resource_key(resource.kind, resource.sub_kind, resource.name)
        return _stored(resource, await self.backend.put(key, encode(resource), resource.metadata.expires))

    async def update(self, resource: Resource) -> Resource:
        """
        Overwrite what has exactly the revision that C{resource} carries.

        @return: as stored, with its new revision.
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED when somebody changed it since.
        """
        key = resource_key(resource.kind, resource.sub_kind, resource.name)
        expected = parse_revision(resource.revision)
        revision = await self.backend.compare_and_swap(key, expected, encode(resource), resource.metadata.expires)
        return _stored(resource, revision)

    async def change(
        self, kind: str, name: str, step: Callable[[Resource], Resource], *, sub_kind: str = ""
    ) -> Resource:
        """
        Read, change and write, again from the start when somebody else was quicker.

        @param step: gives the changed resource from the present one; may be called several times.
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED after many lost races.
        """
        for _ in range(_RACES):
            try:
                return await self.update(step(await self.get(kind, name, sub_kind=sub_kind)))
            except TeleportError as error:
                if error.kind is not Kind.COMPARE_FAILED:
                    raise
        raise TeleportError(Kind.COMPARE_FAILED, f"{kind} {name!r} is changing too fast; try again")

    async def delete(self, kind: str, name: str, *, sub_kind: str = "", revision: str = "") -> None:
        """
        @param revision: empty for any.
        @raise TeleportError: NOT_FOUND; COMPARE_FAILED, it has another revision.
        """
        expected: Expected = parse_revision(revision) if revision else Condition.PRESENT
        await self.backend.delete(resource_key(kind, sub_kind, name), expected)

    async def list(
        self,
        kind: str,
        *,
        sub_kind: str = "",
        wanted: Wanted | None = None,
        sort: str = "name",
        limit: int = 0,
        start: str = "",
    ) -> Page:
        """
        One page.

        @param wanted: whether to give a resource; called in the order of names.
        @param sort: C{name} or a field: C{metadata.expires}, C{spec.hostname}, or C{hostname} alone for one of the
            spec's; with a leading C{-} for descending.
        @param limit: most items of the page; zero means L{PAGE}, which also is the most.
        @param start: C{next_start} of the page before.
        @raise TeleportError: BAD_PARAMETER, C{start} is not from a page of the same sort.
        """
        if limit < 0:
            raise bad_parameter("the limit of a page must not be negative")
        size = min(limit or PAGE, PAGE)
        descending, sort = sort.startswith("-"), sort.removeprefix("-")

        def fits(resource: Resource) -> bool:
            return (not sub_kind or resource.sub_kind == sub_kind) and (wanted is None or wanted(resource))

        if sort in ("", "name", "metadata.name"):
            return await self._by_name(kind, fits, descending, size, start)
        return await self._by_field(kind, fits, sort, descending, size, start)

    async def every(self, kind: str, *, sub_kind: str = "") -> AsyncIterator[Resource]:
        """
        All of a kind in the order of names, a page at a time.
        """
        async for item in self._items(kind, False, ()):
            resource = decode(item)
            if not sub_kind or resource.sub_kind == sub_kind:
                yield resource

    def watch(self, kinds: Sequence[str], *, with_initial: bool = True) -> ResourceWatch:
        """
        What is there, then INIT, then news; watching starts with this call.

        @return: close it when done. It fails with CONNECTION_PROBLEM when changes were missed; watch again then.
        """
        watch = self.backend.watch([kind_prefix(kind) for kind in kinds])
        return ResourceWatch(self, watch, tuple(kinds), with_initial)

    async def _by_name(self, kind: str, fits: Wanted, descending: bool, size: int, start: str) -> Page:
        found: list[Resource] = []
        after = _key_after(kind, _decode_start(start)) if start else ()
        async for item in self._items(kind, descending, after, size + 1):
            resource = decode(item)
            if fits(resource):
                if len(found) == size:
                    last = found[-1]
                    key = resource_key(kind, last.sub_kind, last.name)
                    return Page(tuple(found), _encode_start(list(key[2:])))
                found.append(resource)
        return Page(tuple(found))

    async def _by_field(self, kind: str, fits: Wanted, sort: str, descending: bool, size: int, start: str) -> Page:
        after = tuple(_decode_start(start)) if start else None
        if after is not None and not _is_rank(after):
            raise bad_parameter("this start is not from a page of the same order")
        smallest: list[_Ranked] = []
        past = 0
        by_item = sort.startswith("metadata.")  # revision and expiry stand beside the value, and heartbeats change them
        known, seen = self._ranks.get((kind, sort), {}), dict[Key, tuple[int, Rank]]()
        async for item in self._items(kind, False, ()):
            remembered = known.get(item.key)
            mark = item.revision if by_item else hash(item.value)
            if remembered is None or remembered[0] != mark:
                remembered = mark, (*_rank_of(item, sort), encode_key(item.key).decode())
            seen[item.key] = remembered
            rank = remembered[1]
            if after is not None and (rank >= after if descending else rank <= after):
                continue
            if past > size:  # another page is known of, so only what belongs on this one still counts
                worst = smallest[0].rank
                if rank <= worst if descending else rank >= worst:
                    continue
            if not fits(decode(item)):
                continue
            past += 1
            heapq.heappush(smallest, _Ranked(rank, item, not descending))
            if len(smallest) > size:
                heapq.heappop(smallest)
        self._remember(kind, sort, seen)
        smallest.sort(reverse=True)
        more = past > size
        return Page(
            tuple(decode(ranked.item) for ranked in smallest), _encode_start(list(smallest[-1].rank)) if more else ""
        )

    def _remember(self, kind: str, sort: str, ranks: dict[Key, tuple[int, Rank]]) -> None:
        """
        Keep an order for the next page: what was not written since need not be read again to be put in its place.
        """
        self._ranks.pop((kind, sort), None)
        if len(ranks) <= MAX_RANKS:
            self._ranks[kind, sort] = ranks
        while len(self._ranks) > MAX_ORDERS:
            self._ranks.popitem(last=False)

    async def _items(self, kind: str, descending: bool, after: Key, first: int = PAGE) -> AsyncIterator[Item]:
        prefix, limit = kind_prefix(kind), min(first, PAGE)
        while True:
            page = await self.backend.range(prefix, start_after=after, limit=limit, descending=descending)
            for item in page.items:
                yield item
            if not page.more:
                return
            after, limit = page.items[-1].key, PAGE


@define(eq=False)
class ResourceWatch:
    """
    An open watch over kinds of resources.
    """

    _store: ResourceStore
    _watch: Watch
    _kinds: tuple[str, ...]
    _with_initial: bool
    _ready: list[Watched] = field(factory=list, init=False)
    _listing: AsyncIterator[Watched] | None = field(default=None, init=False)
    _listed: dict[Key, int] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        if self._with_initial:
            self._listing = self._initial()
        else:
            self._ready.append(Watched(Change.INIT))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Watched:
        while True:
            if self._ready:
                return self._ready.pop()
            if self._listing is not None:
                try:
                    return await self._listing.__anext__()
                except StopAsyncIteration:
                    self._listing = None
            else:
                changes = await self._watch.__anext__()
                self._ready = [self._told(change) for change in reversed(changes) if self._is_news(change)]

    def close(self) -> None:
        """
        Stop; a waiting turn ends.
        """
        self._watch.close()

    async def aclose(self) -> None:
        """
        As generators have it.
        """
        self.close()

    async def _initial(self) -> AsyncIterator[Watched]:
        for kind in self._kinds:
            async for item in self._store._items(kind, False, ()):
                if item.revision > self._watch.revision:
                    self._listed[item.key] = item.revision
                yield Watched(Change.PUT, decode(item))
        yield Watched(Change.INIT)

    def _is_news(self, change: Written) -> bool:
        # What was written while the list was read may be in the list already, newer than this change tells.
        return change.item.revision > self._listed.get(change.item.key, 0)

    def _told(self, change: Written) -> Watched:
        self._listed.pop(change.item.key, None)
        resource = decode(change.item)
        if change.type is ChangeType.PUT:
            return Watched(Change.PUT, resource)
        gone = Resource(
            kind=resource.kind, version="", sub_kind=resource.sub_kind, metadata=Metadata(name=resource.name)
        )
        return Watched(Change.DELETE, gone)


def parse_revision(text: str) -> int:
    """
    @param text: of L{Resource.revision}.
    @raise TeleportError: BAD_PARAMETER when empty, COMPARE_FAILED when it is none of ours.
    """
    if not text:
        raise bad_parameter("an update must carry the revision it was read with; use create or overwrite (-f) instead")
    if not (text.isascii() and text.isdigit() and len(text) < _REVISION_DIGITS):
        raise TeleportError(Kind.COMPARE_FAILED, f"{text[:40]!r} is not the revision of anything stored here")
    return int(text)


_RACES = 16
_REVISION_DIGITS = 19


@frozen(eq=False, order=False)
class _Ranked:
    rank: Rank
    item: Item
    descending: bool

    def __lt__(self, other: _Ranked) -> bool:
        return other.rank < self.rank if self.descending else self.rank < other.rank


def _rank_of(item: Item, sort: str) -> tuple[int, Any]:
    """
    The specification's own fields are read without the rest.
    """
    path = (sort if "." in sort or sort in ("kind", "sub_kind", "version") else f"spec.{sort}").split(".")
    return _rank(spec_of(item), path[1:]) if path[0] == "spec" else _rank(decode(item).to_json(), path)


def _rank(value: Any, path: Sequence[str]) -> tuple[int, Any]:
    """
    Missing first, then numbers, then times and texts: values of unlike types never meet in a comparison.
    """
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    match value:
        case None:
            return 0, ""
        case bool() | int() | float():
            return 1, value
        case datetime():
            return 2, value.isoformat()
        case str():
            return 2, value
        case _:
            return 3, json.dumps(value, sort_keys=True, default=str)


def _is_rank(parts: tuple[Any, ...]) -> bool:
    match parts:
        case (1, int() | float(), str()):
            return True
        case (0 | 2 | 3, str(), str()):
            return True
        case _:
            return False


def _stored(resource: Resource, revision: int) -> Resource:
    return resource.with_revision(str(revision))


def _key_after(kind: str, parts: Sequence[Any]) -> Key:
    expected = 2 if kind in NAMED_WITHIN_SUB_KIND else 1
    if len(parts) != expected or not all(isinstance(part, str) for part in parts):
        raise bad_parameter("this start is not from a page of the same order")
    return resource_key(kind, parts[0], parts[-1])


def _encode_start(parts: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(parts, separators=(",", ":")).encode()).decode()


def _decode_start(text: str) -> list[Any]:
    try:
        parts = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, RecursionError) as error:
        raise bad_parameter("this is not the start of a page") from error
    if not isinstance(parts, list):
        raise bad_parameter("this is not the start of a page")
    return parts
