"""
Setting up an account: what is behind an invite or a reset link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.logger import Logger

from teleport_tw.api.contract import Api, DeviceType, LoginRequest, MfaAnswer
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.web.answers import NEW_DEVICE, qr, when
from teleport_tw.web.api.account import TICKET, ticket_json
from teleport_tw.web.api.signin import SIGNED_IN, signed_in
from teleport_tw.web.routes import Call, Limit, Reply, Route, Who
from teleport_tw.web.sessions import Sessions
from teleport_tw.web.shapes import FREE, Flag, Many, Shape, Table, Text

PASSWORD = Text(most=128, secret=True)
NAMED = Text(most=256, about="what its user calls the device")


@frozen
class Setup:
    """
    @ivar api: auth, as the proxy's own identity, which alone may ask for whoever has the link.
    @ivar sessions: where who has set up a password and a device is signed in at once; none where nobody can be.
    """

    api: Api
    sessions: Sessions | None = None
    _log = Logger()

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        path = "/users/password/token/<token>"
        link: dict[str, Any] = {"who": Who.PUBLIC, "limit": Limit.COSTLY}
        device: dict[str, Shape] = {
            "device_type": Text(choices=tuple(each.value for each in DeviceType)),
            "passwordless": Flag(about="the key shall know its user"),
        }
        answer: dict[str, Shape] = {
            "password": PASSWORD,
            "device_name": NAMED,
            "ticket": Text(most=256, about="id of the device that was begun"),
            **NEW_DEVICE,
        }
        return (
            Route(method="GET", path=path, handler=self.facts_of, about="Whom a link is for.", answer=FREE, **link),
            Route(
                method="POST",
                path=f"{path}/registerchallenge",
                handler=self.begin,
                about="Begin to set up the second factor.",
                body=Table(members=device, needs=("device_type",)),
                answer=TICKET,
                **link,
            ),
            Route(
                method="PUT",
                path=path,
                handler=self.answer,
                about="A password and a second factor for the link's user; gives recovery codes, and signs in.",
                body=Table(members=answer),
                answer=Table(
                    members={"recovery_codes": Many(of=Text()), "session": SIGNED_IN}, needs=("recovery_codes",)
                ),
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
            "expires": when(ticket.expires),
            "qrCode": qr(ticket.otp_uri.reveal()) if ticket.otp_secret else "",
            "otpSecret": ticket.otp_secret.reveal(),
        }

    async def begin(self, call: Call) -> Reply:
        """
        C{POST /webapi/users/password/token/:token/registerchallenge}.
        """
        ticket = await self.api.begin_setup_device(
            Secret(call.path["token"]),
            DeviceType(call.body["device_type"]),
            passwordless=call.body.get("passwordless", False),
        )
        return ticket_json(ticket)

    async def answer(self, call: Call) -> Reply:
        """
        C{PUT /webapi/users/password/token/:token}.
        """
        body = call.body
        otp, webauthn = body.get("second_factor_token", "").replace(" ", ""), body.get("webauthn_creation_response")
        if otp and webauthn:
            raise bad_parameter("an answer holds one proof")
        ticket, shown = body.get("ticket", ""), None
        if ticket or webauthn:
            shown = MfaAnswer(otp=Secret(otp), webauthn=webauthn or {}, challenge=ticket)
            otp = ""
        token, password = Secret(call.path["token"]), Secret(body.get("password", ""))
        username = (await self.api.get_setup(token)).username
        codes = await self.api.complete_setup(
            token, password, Secret(otp), answer=shown, device_name=body.get("device_name", "")
        )
        said: dict[str, Any] = {"recovery_codes": [code.reveal() for code in codes]}
        if self.sessions is not None and password and codes:
            asked = LoginRequest(
                username=username,
                password=password,
                answer=MfaAnswer(challenge=token.reveal()),
                remote_address=call.address,
                user_agent=call.user_agent,
            )
            try:
                said["session"] = await signed_in(self.api, self.sessions, call, asked)
            except TeleportError as error:
                self._log.info("{user} is set up, and has to sign in: {error}", user=username, error=error.message)
        return said
