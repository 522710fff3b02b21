"""
Setting up an account: what is behind an invite or a reset link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from teleport_tw.api.contract import Api
from teleport_tw.base.secret import Secret
from teleport_tw.web.answers import qr
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.routes import Call, Limit, Reply, Route, Who
from teleport_tw.web.shapes import FREE, Table, Text

PASSWORD = Text(least=0, most=128, secret=True)
OTP = Text(most=16, secret=True)


@frozen
class Setup:
    """
    @ivar api: auth, as the proxy's own identity, which alone may ask for whoever has the link.
    """

    api: Api
    facts: PublicFacts

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        link: dict[str, Any] = {
            "path": "/users/password/token/<token>",
            "who": Who.PUBLIC,
            "limit": Limit.COSTLY,
            "answer": FREE,
        }
        return (
            Route(method="GET", handler=self.facts_of, about="Whom a link is for.", **link),
            Route(
                method="PUT",
                handler=self.answer,
                about="A password and a second factor for the link's user.",
                body=Table(members={"password": PASSWORD, "second_factor_token": OTP}, needs=("password",)),
                **link,
            ),
        )

    async def facts_of(self, call: Call) -> Reply:
        """
        C{GET /webapi/users/password/token/:token}.
        """
        token = call.path["token"]
        ticket = await self.api.get_setup(Secret(token))
        return {
            "tokenId": token,
            "user": ticket.username,
            "purpose": ticket.purpose.value,
            "qrCode": qr(ticket.otp_uri.reveal()) if ticket.otp_secret else "",
            "otpSecret": ticket.otp_secret.reveal(),
        }

    async def answer(self, call: Call) -> Reply:
        """
        C{PUT /webapi/users/password/token/:token}.
        """
        await self.api.complete_setup(
            Secret(call.path["token"]),
            Secret(call.body["password"]),
            Secret(call.body.get("second_factor_token", "")),
        )
        return {}
