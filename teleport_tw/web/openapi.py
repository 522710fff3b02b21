"""
The table of routes as an OpenAPI 3.1 description.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from teleport_tw import __version__
from teleport_tw.resources.metadata import Json
from teleport_tw.web.routes import PREFIXES, Route, Who

_PLACE = re.compile(r"<(?:path:)?([a-z_]+)>")

_ERRORS = {
    "400": "What was asked is not well formed; the message names what.",
    "403": "The user's roles, a lock or the origin do not allow it.",
    "404": "It does not exist, or the user may not see it.",
    "429": "Too many requests; wait a minute.",
}
_SIGNED_IN = {"401": "Not signed in, or the session has ended."}
_WITH_BODY = {
    "409": "It exists already.",
    "412": "Somebody changed it since it was read.",
    "413": "The body is too large.",
    "415": "The body is not JSON.",
}

_SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    Who.PUBLIC: [],
    Who.SESSION: [{"cookie": [], "bearer": []}],
    Who.COOKIE: [{"cookie": [], "csrf": []}],
    Who.SOCKET: [{"cookie": []}],
    Who.BROWSER: [{"cookie": []}],
}


def describe(routes: Sequence[Route]) -> Json:
    """
    @return: the description, under the first prefix alone.
    """
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if route.listed:
            paths.setdefault(_PLACE.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Teleport web API",
            "version": __version__,
            "description": f"JSON for the web page. {PREFIXES[0]} and {PREFIXES[1]} name the same.",
        },
        "servers": [{"url": PREFIXES[0]}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR},
            "securitySchemes": {
                "cookie": {"type": "apiKey", "in": "cookie", "name": "__Host-session"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "csrf": {"type": "apiKey", "in": "header", "name": "X-CSRF-Token"},
            },
        },
    }


_ERROR: Json = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["message"], "properties": {"message": {"type": "string"}}}},
}


def _operation(route: Route) -> Json:
    said: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.about,
        "security": _SECURITY[route.who],
        "parameters": [*_places(route), *_keys(route)],
        "responses": _responses(route),
    }
    if route.body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": route.body.describe()}}}
    return said


def _places(route: Route) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in _PLACE.findall(route.path)
    ]


def _keys(route: Route) -> list[Json]:
    found: list[Json] = []
    for name, shape in (route.query or {}).items():
        schema = dict(shape.describe())
        about = schema.pop("description", "")
        key: dict[str, Any] = {"name": name, "in": "query", "schema": schema}
        if schema.get("type") == "array":
            key["schema"] = {"type": "string"}
            about = f"{about} Several with ; between them.".strip()
        if about:
            key["description"] = about
        found.append(key)
    return found


def _responses(route: Route) -> Json:
    schema = route.answer.describe() if route.answer is not None else {}
    good = {"description": "Done.", "content": {route.media: {"schema": schema}}}
    told = {**_ERRORS, **({} if route.who is Who.PUBLIC else _SIGNED_IN)}
    if route.method != "GET":
        told |= _WITH_BODY
    said = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {
        "200": good,
        **{status: {"description": text, "content": said} for status, text in sorted(told.items())},
        "default": {"description": "Something went wrong on our side.", "content": said},
    }
