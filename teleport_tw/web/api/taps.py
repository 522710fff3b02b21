"""
A login by SSH that waits for its user's second factor, who shows it here.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import ANSWER, needed, when
from teleport_tw.web.routes import Call, Limit, Reply, Route
from teleport_tw.web.shapes import FREE, Table


@frozen
class WaitingLogins:
    """
    All calls run as the user.
    """

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        return (
            Route(method="GET", path="/tap/<id>", handler=self.get, about="The login that waits.", answer=FREE),
            Route(
                method="PUT",
                path="/tap/<id>",
                handler=self.approve,
                about="Let it go on, with an answer of scope session and kind ssh_login.",
                body=Table(members=ANSWER),
                answer=Table(),
                limit=Limit.COSTLY,
            ),
        )

    async def get(self, call: Call) -> Reply:
        """
        C{GET /webapi/tap/:id}.
        """
        found = await call.api.get_tap(call.path["id"])
        said: Json = {
            "id": found.id,
            "username": found.username,
            "hostname": found.hostname,
            "login": found.login,
            "address": found.address,
            "created": when(found.created),
            "expires": when(found.expires),
            "state": "approved" if found.device else "pending",
        }
        return said

    async def approve(self, call: Call) -> Reply:
        """
        C{PUT /webapi/tap/:id}.
        """
        await call.api.approve_tap(call.path["id"], needed(call.body))
        return {}
