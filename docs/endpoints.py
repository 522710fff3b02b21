"""
The reference page of the web API, made out of the proxy's own table of routes.

Run by C{docs/build.py}; what it writes is not kept in the repository.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.task import Clock

from docs.commands import escape
from teleport_tw.daemon.website import website
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.files import Files
from teleport_tw.web.playback import Playback
from teleport_tw.web.routes import PREFIXES, Route, Who
from teleport_tw.web.shapes import Shape
from teleport_tw.web.terminals import Terminals

INTRODUCTION = """\
Endpoints of the web API
========================

Made out of the table that the proxy itself serves and checks by; ``/webapi/openapi.json`` tells the same to programs.
What all calls share (cookies, errors, lists) is in ``docs/web-api.rst``.

"""

GROUPS: Mapping[str, re.Pattern[str]] = {
    "Your account": re.compile(r"/(mfa|sessions|users/password|user|headless|browser|tap)(/|$)"),
    "Servers, databases, sessions and the log": re.compile(
        r"/(sites(?!/<site>/locks)|events|downloads|recordings)(/|$)"
    ),
    "Administration": re.compile(r"/(users|roles|yaml|tokens?|sites/<site>/locks)(/|$)"),
}
"""By what paths begin with, of those that want a session."""

FIRST = "Before and while signing in"

_PLACE = re.compile(r"<(?:path:)?([a-z_]+)>")


def routes() -> tuple[Route, ...]:
    """
    @return: what a proxy serves to programs and its page; the page itself and its files left out.
    """
    clock: Any = Clock()
    # Nobody calls anything here: of what handlers stand on, only what is looked at while they are made is there.
    copy = SimpleNamespace(kinds=(), subscribe=lambda *_: None)
    host: Any = SimpleNamespace(
        copy=copy, identity=SimpleNamespace(cluster=""), reactor=clock, api=None, users=copy, assets=None
    )
    nothing = cast(Any, None)
    groups = (
        Terminals(reach=nothing, clock=clock, still=nothing),
        Files(reach=nothing, clock=clock),
        Playback(clock=clock, threads=nothing, still=nothing),
    )
    return tuple(route for route in website(host, PublicFacts(web=""), groups).routes if route.listed)


def heading(route: Route) -> str:
    """
    @return: as C{GET /webapi/sites/{site}/nodes}.
    """
    path = _PLACE.sub(r"{\1}", route.path)
    return f"{route.method} {PREFIXES[0]}{path}"


def page() -> str:
    """
    @return: in reStructuredText.
    """
    titles = (FIRST, *GROUPS)
    found: dict[str, list[Route]] = {title: [] for title in titles}
    for route in routes():
        found[_group(route)].append(route)
    lines = [INTRODUCTION]
    for title, members in found.items():
        lines += [title, "-" * len(title), ""]
        for route in sorted(members, key=lambda each: (each.path, each.method)):
            lines += _described(route)
    return "\n".join(lines) + "\n"


def _group(route: Route) -> str:
    if route.who is Who.PUBLIC:
        return FIRST
    return next((title for title, pattern in GROUPS.items() if pattern.match(route.path)), "Administration")


def _described(route: Route) -> Iterator[str]:
    name = heading(route)
    yield from (name, "~" * len(name), "", escape(route.about), "")
    most, burst = route.limit.value
    yield from (f"For: {escape(route.who.value)}. At most {most} a minute, {burst} at once.", "")
    if route.passive:
        yield from ("Asking it does not count as use of the session.", "")
    if route.streams:
        yield from ("The body is taken as it comes, whatever its size.", "")
    if route.media != "application/json":
        yield from (f"Answers with ``{route.media}``.", "")
    if route.query:
        yield from ("Query:", "", *_members(route.query, ()))
    if route.body is not None and route.body.members:
        yield from ("Body:", "", *_members(route.body.members, route.body.needs))


def _members(shapes: Mapping[str, Shape], needed: tuple[str, ...]) -> Iterator[str]:
    for name, shape in shapes.items():
        said = shape.describe()
        facts = [str(said.get("type", "object"))]
        if "enum" in said:
            facts = [" | ".join(f"``{each}``" for each in said["enum"])]
        if name in needed:
            facts.append("needed")
        about = escape(str(said.get("description", "")))
        yield from (f"``{name}``", f"    {', '.join(facts)}{f': {about}' if about else ''}", "")


def write(output: Path) -> list[Path]:
    """
    Write C{docs/web-endpoints.rst} under a folder.

    @return: the page.
    """
    target = output / "docs" / "web-endpoints.rst"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page())
    return [target]
