"""
Locks: who or what is shut out at once.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_time, from_timestamp, parse_duration
from teleport_tw.resources.locks import KIND, TARGETS, VERSION
from teleport_tw.resources.metadata import Json, Metadata, Resource
from teleport_tw.web.answers import when
from teleport_tw.web.api.admin import MFA, all_of
from teleport_tw.web.api.roles import ITEMS
from teleport_tw.web.routes import Call, Reply, Route
from teleport_tw.web.shapes import FREE, Shape, Table, Text

TARGET = Table(members={name: Text(least=1, most=256) for name in TARGETS}, about="what all must match")


@frozen
class Locks:
    """
    All calls run as the user.
    """

    clock: IReactorTime

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        members: dict[str, Shape] = {
            "targets": TARGET,
            "message": Text(most=1000),
            "ttl": Text(most=16, about="empty for good"),
            **MFA,
        }
        return (
            Route(method="GET", path="/sites/<site>/locks", handler=self.list, about="All locks.", answer=ITEMS),
            Route(
                method="POST",
                path="/sites/<site>/locks",
                handler=self.create,
                about="Shut out; live sessions end.",
                body=Table(members=members, needs=("targets",)),
                answer=FREE,
            ),
            Route(
                method="DELETE",
                path="/sites/<site>/locks/<name>",
                handler=self.delete,
                about="Let in again.",
                body=Table(members=MFA),
                answer=Table(),
            ),
        )

    async def list(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/locks}.
        """
        return {"items": [_row(lock) for lock in await all_of(call.api, KIND)]}

    async def create(self, call: Call) -> Reply:
        """
        C{POST /webapi/sites/:site/locks}.
        """
        body, now = call.body, from_timestamp(self.clock.seconds())
        if not body["targets"]:
            raise bad_parameter("say what to lock")
        lasting = parse_duration(body["ttl"]) if body.get("ttl") else None
        until = now + lasting if lasting else None
        spec: dict[str, Any] = {
            "target": dict(body["targets"]),
            "created_at": format_time(now),
            "created_by": call.user.username,
        }
        if body.get("message"):
            spec["message"] = body["message"]
        if until is not None:
            spec["expires"] = format_time(until)
        lock = Resource(KIND, VERSION, Metadata(str(uuid.uuid4()), expires=until), spec)
        return _row(await call.api.create(lock))

    async def delete(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/sites/:site/locks/:name}.
        """
        await call.api.delete(KIND, call.path["name"])
        return {}


def _row(lock: Resource) -> Json:
    spec = lock.spec
    target = spec.get("target")
    return {
        "name": lock.name,
        "targets": {str(name): str(value) for name, value in target.items()} if isinstance(target, Mapping) else {},
        "message": str(spec.get("message") or ""),
        "createdAt": str(spec.get("created_at") or ""),
        "createdBy": str(spec.get("created_by") or ""),
        "expires": when(lock.metadata.expires),
    }
