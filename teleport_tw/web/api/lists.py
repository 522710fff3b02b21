"""
What a user can reach: servers, databases, and all of it in one list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from teleport_tw.access.checker import Checker
from teleport_tw.base.errors import bad_parameter
from teleport_tw.resources.metadata import Json
from teleport_tw.resources.roles import Principal, Target
from teleport_tw.web.catalogue import ALIASES, COLUMNS, Catalogue, Entry, Question, description
from teleport_tw.web.people import Rights
from teleport_tw.web.routes import Call, Reply, Route
from teleport_tw.web.shapes import FREE, Many, Shape, Table, Text, Whole

MAX_LIMIT = 500
PAGE = 50

QUERY: Mapping[str, Shape] = {
    "limit": Whole(least=1, most=MAX_LIMIT, about="items of a page, at most"),
    "startKey": Text(most=4096, about="of the page before"),
    "search": Text(most=256, about="words that must all occur"),
    "query": Text(most=2048, about='a predicate, as labels["env"] == "prod"'),
    "sort": Text(most=64, about="a column and a direction, as hostname:asc"),
}
"""What every list takes."""


def listing(item: Shape) -> Table:
    """
    @return: a page of such items.
    """
    return Table(
        members={"items": Many(of=item), "startKey": Text(most=65536), "totalCount": Whole()},
        needs=("items", "startKey", "totalCount"),
    )


def order_of(text: str, columns: Sequence[str], default: str) -> tuple[str, bool]:
    """
    @return: the column, and whether it goes down.
    @raise TeleportError: BAD_PARAMETER.
    """
    column, _, direction = (text or default).partition(":")
    if column not in columns or direction not in ("", "asc", "desc"):
        raise bad_parameter(f"sort must be one of {', '.join(columns)}, with :asc or :desc")
    return column, direction == "desc"


@frozen
class Lists:
    """
    @ivar rights: what the users' roles say.
    """

    catalogue: Catalogue
    rights: Rights

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        several = {**QUERY, "kinds": Many(of=Text(choices=tuple(self.catalogue.indices)), apart=";")}
        get, answer = "GET", listing(FREE)
        return (
            Route(
                method=get,
                path="/sites/<site>/nodes",
                handler=self.nodes,
                about="Servers that the user's roles reach.",
                query=QUERY,
                answer=answer,
            ),
            Route(
                method=get,
                path="/sites/<site>/databases",
                handler=self.databases,
                about="Databases that the user's roles reach.",
                query=QUERY,
                answer=answer,
            ),
            Route(
                method=get,
                path="/sites/<site>/resources",
                handler=self.resources,
                about="Everything that the user's roles reach.",
                query=several,
                answer=answer,
            ),
        )

    async def nodes(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/nodes}.
        """
        return self._page(call, ("node",), "hostname:asc")

    async def databases(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/databases}.
        """
        return self._page(call, ("db",), "name:asc")

    async def resources(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/resources}.
        """
        return self._page(call, call.query.get("kinds") or tuple(self.catalogue.indices), "name:asc")

    def _page(self, call: Call, kinds: Sequence[str], default: str) -> Json:
        query = call.query
        column, descending = order_of(query.get("sort", ""), (*COLUMNS, *ALIASES), default)
        words = tuple(query.get("search", "").split())
        question = Question(words=words, expression=query.get("query", ""), sort=ALIASES.get(column, column))
        checker = self.rights.checker(call.user)
        part = self.catalogue.page(
            checker,
            tuple(dict.fromkeys(kinds)),
            question,
            limit=query.get("limit", PAGE),
            start=query.get("startKey", ""),
            descending=descending,
        )
        items = [
            _node(entry, checker) if entry.resource.kind == "node" else _database(entry, checker)
            for entry in part.entries
        ]
        return {"items": items, "startKey": part.next_start, "totalCount": part.total}


def _labels(entry: Entry) -> list[Json]:
    return [{"name": name, "value": entry.labels[name]} for name in sorted(entry.labels)]


def _node(entry: Entry, checker: Checker) -> Json:
    spec = entry.resource.spec
    return {
        "kind": "node",
        "id": entry.key,
        "hostname": str(spec.get("hostname") or ""),
        "addr": str(spec.get("addr") or ""),
        "labels": _labels(entry),
        "tunnel": bool(spec.get("use_tunnel")),
        "subKind": entry.resource.sub_kind or "teleport",
        "version": str(spec.get("version") or ""),
        "sshLogins": _names(checker, Principal.LOGINS, Target.NODE, entry),
        "requiresRequest": False,
    }


def _database(entry: Entry, checker: Checker) -> Json:
    inner = entry.resource.spec.get("database")
    spec: Mapping[str, Any] = (inner.get("spec") if isinstance(inner, Mapping) else None) or {}
    protocol = str(spec.get("protocol") or "")
    return {
        "kind": "db",
        "name": entry.key,
        "description": description(entry.resource),
        "protocol": protocol,
        "type": "rds" if spec.get("aws") else "gcp" if spec.get("gcp") else "self-hosted",
        "labels": _labels(entry),
        "hostname": str(entry.resource.spec.get("hostname") or ""),
        "names": _names(checker, Principal.DB_NAMES, Target.DATABASE, entry),
        "users": _names(checker, Principal.DB_USERS, Target.DATABASE, entry),
        "requiresRequest": False,
    }


def _names(checker: Checker, principal: Principal, target: Target, entry: Entry) -> list[str]:
    return [name for name in checker.principals(principal, target, entry.labels) if name and not name.startswith("-")]
