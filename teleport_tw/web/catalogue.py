"""
Lists of many thousands, a page at a time: sorted by any column, searched, filtered, only what a user's roles reach.

For each kind an index is kept up to date as the proxy's copy of the cluster changes. What is dear is done once: the
order by a column when it is first asked for, then a binary search for each change; what a set of roles reaches when it
first asks, then again for what changed; the answer to a question when it is asked, kept while nothing changes. A
heartbeat that says nothing new changes nothing here.
"""

from __future__ import annotations

import base64
import itertools
import json
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from attrs import define, field, frozen

from teleport_tw.access.checker import Checker
from teleport_tw.api.contract import Change, Watched
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.resources.database_servers import database_name
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.nodes import all_labels
from teleport_tw.resources.roles import Target
from teleport_tw.web.filtering import fitting

MAX_ANSWERS = 64
"""Questions whose whole answer is kept; a list of 50,000 takes 400 KB."""

MAX_REACHED = 16
"""Sets of roles for which it is known what they reach; for 50,000 a set takes 4 MB."""

MAX_WORDS = 32
"""Keywords of one search."""


@define(eq=False)
class Entry:
    """
    One thing that can be listed.

    @ivar key: its name, unique in the index.
    @ivar text: all that a search looks at, in small letters, a line each.
    """

    key: str
    resource: Resource
    labels: Mapping[str, str]
    text: str

    def column(self, name: str) -> str:
        """
        @return: what the list is sorted by.
        """
        return COLUMNS[name](self).casefold()

    def get(self, field: str, default: Any = None) -> Any:
        """See L{teleport_tw.web.filtering.Filtered}."""
        if field in ("hostname", "addr"):
            found = self.resource.spec.get(field)
            return found if isinstance(found, str) else ""
        match field:
            case "name":
                return _title(self)
            case "labels":
                return self.labels
            case "description":
                return description(self.resource)
            case "resource":
                return self.resource.to_json()
        return default


Place: TypeAlias = tuple[str, str, Entry]
"""Where something stands in an order: the column's text, then its key, which no other has."""


def _spec(name: str) -> Callable[[Entry], str]:
    return lambda entry: str(entry.resource.spec.get(name) or "")


def _database(entry: Entry) -> Mapping[str, Any]:
    inner = entry.resource.spec.get("database")
    found = inner.get("spec") if isinstance(inner, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _title(entry: Entry) -> str:
    if entry.resource.kind == "db_server":
        return entry.key
    return str(entry.resource.spec.get("hostname") or entry.key)


COLUMNS: Mapping[str, Callable[[Entry], str]] = {
    "name": _title,
    "id": lambda entry: entry.key,
    "addr": _spec("addr"),
    "version": _spec("version"),
    "subKind": lambda entry: entry.resource.sub_kind,
    "kind": lambda entry: entry.resource.kind,
    "protocol": lambda entry: str(_database(entry).get("protocol") or ""),
    "description": lambda entry: description(entry.resource),
    "labels": lambda entry: "\n".join(f"{name}={entry.labels[name]}" for name in sorted(entry.labels)),
}
"""What a list can be sorted by."""

ALIASES = {"hostname": "name", "type": "protocol"}
"""Other words for some of them."""

READY = ("name", "addr", "labels")
"""Orders that are there before anybody asks, where there is such a column."""


@frozen(kw_only=True)
class Question:
    """
    @ivar words: each must occur somewhere.
    @ivar expression: of the language of C{tsh ls --query}; empty for all.
    @ivar sort: a key of L{COLUMNS}.
    """

    words: tuple[str, ...] = ()
    expression: str = ""
    sort: str = "name"


@define(eq=False)
class Index:
    """
    All of one kind.
    """

    kind: str
    target: Target
    entries: dict[str, Entry] = field(factory=dict, init=False)
    _members: dict[str, dict[str, Resource]] = field(factory=dict, init=False)
    _orders: dict[str, list[Place]] = field(factory=dict, init=False)
    _reached: OrderedDict[int, tuple[Checker, set[str]]] = field(factory=OrderedDict, init=False)
    _answers: OrderedDict[tuple[int, Question], list[Place]] = field(factory=OrderedDict, init=False)

    def put(self, resource: Resource) -> None:
        """
        It is new, or changed.
        """
        key = _key(resource)
        if self.kind == "db_server":
            self._members.setdefault(key, {})[resource.name] = resource
        self._set(key, _entry(key, resource))

    def drop(self, resource: Resource) -> None:
        """
        @param resource: with kind and name at least.
        """
        if self.kind != "db_server":
            self._set(resource.name, None)
            return
        for key, members in tuple(self._members.items()):
            if members.pop(resource.name, None) is not None:
                left = next(iter(members.values()), None)
                if left is None:
                    del self._members[key]
                self._set(key, _entry(key, left) if left is not None else None)

    def _set(self, key: str, entry: Entry | None) -> None:
        known = self.entries.get(key)
        if known is not None and entry is not None and _same(known, entry):
            known.resource = entry.resource
            return
        for column, order in self._orders.items():
            if known is not None:
                del order[bisect_left(order, (known.column(column), key))]  # a shorter tuple is less
            if entry is not None:
                insort(order, (entry.column(column), key, entry))
        if entry is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry
        for checker, reached in self._reached.values():
            if entry is not None and checker.target(self.target, entry.labels).allowed:
                reached.add(key)
            else:
                reached.discard(key)
        self._answers.clear()

    def answer(self, checker: Checker, question: Question) -> list[Place]:
        """
        @return: everything that fits, in ascending order.
        @raise TeleportError: BAD_PARAMETER, the expression cannot be read.
        """
        reached = self._reach(checker)
        asked = (id(checker), question)  # kept alive by what it reaches
        found = self._answers.pop(asked, None)
        if found is None:
            found = self._find(reached, question)
        self._answers[asked] = found
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        return found

    def _find(self, reached: set[str], question: Question) -> list[Place]:
        order = self.order(question.sort)
        found = list(order) if len(reached) == len(self.entries) else [place for place in order if place[1] in reached]
        for word in question.words[:MAX_WORDS]:
            wanted = word.casefold()
            found = [place for place in found if wanted in place[2].text]
        if question.expression.strip():
            found = fitting(question.expression, found)
        return found

    def _reach(self, checker: Checker) -> set[str]:
        """
        @return: keys of what the roles let their user reach.
        """
        known = self._reached.pop(id(checker), None)
        if known is None:
            sees = checker.seer(self.target)
            known = checker, {key for key, entry in self.entries.items() if sees(entry.labels)}
        self._reached[id(checker)] = known
        while len(self._reached) > MAX_REACHED:
            gone, _ = self._reached.popitem(last=False)
            for asked in [asked for asked in self._answers if asked[0] == gone]:
                del self._answers[asked]
        return known[1]

    def order(self, column: str) -> list[Place]:
        """
        @return: everything, by that column.
        """
        known = self._orders.get(column)
        if known is None:
            places = [(self.entries[key].column(column), key, self.entries[key]) for key in sorted(self.entries)]
            places.sort(key=itemgetter(0))  # of equals, the smaller key stays first
            known = self._orders[column] = places
        return known


@frozen(kw_only=True)
class Part:
    """
    A page of a list.

    @ivar total: how many fit altogether.
    @ivar next_start: of the page after it; empty for the last.
    """

    entries: Sequence[Entry]
    total: int
    next_start: str = ""


@define(eq=False)
class Catalogue:
    """
    The indices, fed by the proxy's copy.
    """

    indices: Mapping[str, Index] = field(
        factory=lambda: {
            "node": Index("node", Target.NODE),
            "db": Index("db_server", Target.DATABASE),
        },
        init=False,
    )

    def follow(self, copy: Any) -> Callable[[], None]:
        """
        @param copy: L{teleport_tw.api.mirror.Mirror}.
        @return: ends it.
        """
        leave: Callable[[], None] = copy.subscribe(self.learn)
        for index in self.indices.values():
            if index.kind in copy.kinds:
                for resource in copy.list(index.kind):
                    index.put(resource)
        self._make_ready()
        return leave

    def _make_ready(self) -> None:
        """
        So that the first who asks need not wait for it.
        """
        for index in self.indices.values():
            for column in READY:
                index.order(column)

    def learn(self, news: Watched) -> None:
        """
        Told of each change.
        """
        resource = news.resource
        if resource is None:
            self._make_ready()
            return
        for index in self.indices.values():
            if index.kind == resource.kind:
                (index.put if news.change is Change.PUT else index.drop)(resource)

    def page(
        self, checker: Checker, kinds: Iterable[str], question: Question, *, limit: int, start: str, descending: bool
    ) -> Part:
        """
        @param kinds: keys of C{indices}; several make one list.
        @param start: C{next_start} of the page before.
        """
        answers = [self.indices[kind].answer(checker, question) for kind in kinds]
        after = _read_start(start) if start else None
        places = answers[0] if len(answers) == 1 else sorted(itertools.chain(*answers), key=_by_place)
        if descending:
            end = len(places) if after is None else bisect_left(places, after, key=_by_place)
            found, more = places[max(0, end - limit) : end][::-1], end > limit
        else:
            begin = 0 if after is None else bisect_right(places, after, key=_by_place)
            found, more = places[begin : begin + limit], begin + limit < len(places)
        next_start = _start_of(found[-1]) if more and found else ""
        return Part(entries=[place[2] for place in found], total=len(places), next_start=next_start)


def _by_place(place: Place) -> tuple[str, str, str]:
    return place[0], place[1], place[2].resource.kind


def description(resource: Resource) -> str:
    """
    @return: what its author says of it.
    """
    if resource.metadata.description or resource.kind != "db_server":
        return resource.metadata.description
    inner = resource.spec.get("database")
    metadata = inner.get("metadata") if isinstance(inner, Mapping) else None
    return str(metadata.get("description") or "") if isinstance(metadata, Mapping) else ""


def _start_of(place: Place) -> str:
    text = json.dumps(_by_place(place), separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode()


def _read_start(text: str) -> tuple[str, ...]:
    try:
        parts = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, RecursionError) as error:
        raise bad_parameter("startKey is not from a page before") from error
    if not isinstance(parts, list) or len(parts) != 3 or not all(isinstance(part, str) for part in parts):
        raise bad_parameter("startKey is not from a page before")
    return tuple(parts)


def _key(resource: Resource) -> str:
    return (database_name(resource) or resource.name) if resource.kind == "db_server" else resource.name


def _entry(key: str, resource: Resource) -> Entry:
    labels = labels_of(resource)
    spec = resource.spec
    words = [key, description(resource), str(spec.get("hostname") or ""), str(spec.get("addr") or "")]
    words += [word for pair in labels.items() for word in (*pair, "=".join(pair))]
    return Entry(key, resource, labels, "\n".join(words).casefold())


def labels_of(resource: Resource) -> Mapping[str, str]:
    """
    @return: what roles match on: of a database server, the database's.
    """
    if resource.kind != "db_server":
        return all_labels(resource)
    inner = resource.spec.get("database")
    try:
        return all_labels(Resource.from_json({"kind": "db", "version": "v3", **inner})) if inner else {}
    except (TeleportError, TypeError):
        return {}


def _same(one: Entry, other: Entry) -> bool:
    return one.text == other.text and one.resource.spec == other.resource.spec and one.labels == other.labels
