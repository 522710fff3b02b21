"""
Signing in programs, which the user approves here: one on a machine without a browser, or one beside it.
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
            Route(
                method="GET",
                path="/browser/<id>",
                handler=self.browser,
                about="The program beside the browser that asks.",
                answer=FREE,
            ),
            Route(
                method="PUT",
                path="/browser/<id>",
                handler=self.approve,
                about="Sign the program in, with an answer of scope browser; the code goes to it and nowhere else.",
                body=Table(members=ANSWER),
                answer=Table(members={"code": Text()}, needs=("code",)),
                limit=Limit.COSTLY,
            ),
        )

    async def browser(self, call: Call) -> Reply:
        """
        C{GET /webapi/browser/:id}.
        """
        found = await call.api.get_browser_login(call.path["id"])
        return {
            "id": found.id,
            "username": call.user.username,
            "address": found.address,
            "userAgent": found.user_agent,
            "created": when(found.created),
            "expires": when(found.expires),
        }

    async def approve(self, call: Call) -> Reply:
        """
        C{PUT /webapi/browser/:id}.
        """
        code = await call.api.approve_browser_login(call.path["id"], answer_of(call.body))
        return {"code": code.reveal()}

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
