"""
Signing in a machine without a browser, which the user approves here.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import ANSWER, answer_of, when
from teleport_tw.web.routes import Call, Limit, Reply, Route
from teleport_tw.web.shapes import FREE, Table, Text


@frozen
class Approvals:
    """
    All calls run as the user.
    """

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        return (
            Route(method="GET", path="/headless/<id>", handler=self.get, about="Who asks.", answer=FREE),
            Route(
                method="PUT",
                path="/headless/<id>",
                handler=self.answer,
                about="Yes, with an answer of scope headless; or no.",
                body=Table(
                    members={"action": Text(choices=("accept", "denied")), **ANSWER},
                    needs=("action",),
                ),
                answer=Table(),
                limit=Limit.COSTLY,
            ),
        )

    async def get(self, call: Call) -> Reply:
        """
        C{GET /webapi/headless/:id}.
        """
        found = await call.api.get_headless(call.path["id"])
        said: Json = {
            "id": found.id,
            "username": found.username,
            "address": found.address,
            "userAgent": found.user_agent,
            "created": when(found.created),
            "expires": when(found.expires),
            "state": found.state,
        }
        return said

    async def answer(self, call: Call) -> Reply:
        """
        C{PUT /webapi/headless/:id}.
        """
        approve = call.body["action"] == "accept"
        await call.api.answer_headless(call.path["id"], approve, answer_of(call.body) if approve else None)
        return {}
