"""
One's own account: second factors, password, recovery codes, and where one is signed in.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from teleport_tw.api.contract import Device, DeviceTicket, DeviceType, MfaTarget, Scope
from teleport_tw.base.errors import not_found
from teleport_tw.base.secret import Secret
from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import (
    ANSWER,
    CHALLENGE,
    NEW_DEVICE,
    answer_of,
    challenge_json,
    needed,
    qr,
    registered,
    when,
)
from teleport_tw.web.routes import Call, Limit, Reply, Route
from teleport_tw.web.sessions import SESSION_COOKIE, Sessions, drop_cookie
from teleport_tw.web.shapes import FREE, NAME, Flag, Many, Shape, Table, Text, Whole

DEVICE = Table(
    members={
        "id": Text(),
        "name": Text(),
        "type": Text(choices=tuple(each.value for each in DeviceType)),
        "addedAt": Text(),
        "lastUsed": Text(),
        "passwordless": Flag(),
        "suspect": Flag(about="there seems to be a copy of it; it is not accepted any more"),
    },
    needs=("id", "name", "type"),
)
TICKET = Table(
    members={
        "id": Text(),
        "qrCode": Text(most=65536, about="a picture as a data: address, for an authenticator app"),
        "otpSecret": Text(),
        "webauthn": Table(free=True, about="has publicKey, the options for navigator.credentials.create"),
        "expires": Text(),
    },
    needs=("id", "expires"),
)
TARGET = Table(members={"kind": Text(least=1, most=64), "name": NAME, "login": Text(most=256)}, needs=("kind", "name"))
PASSWORD = Text(most=128, secret=True)
NOTHING = Table()


@frozen
class Account:
    """
    All calls run as the user.
    """

    sessions: Sessions

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""

        def route(method: str, path: str, handler: object, about: str, answer: Shape, **more: object) -> Route:
            limit = Limit.SIGNED_IN if method == "GET" else Limit.COSTLY
            return Route(method=method, path=path, handler=handler, about=about, answer=answer, limit=limit, **more)  # type: ignore[arg-type]  # the members of Route

        devices = Table(members={"items": Many(of=DEVICE), "recoveryCodes": Whole()}, needs=("items", "recoveryCodes"))
        begin: dict[str, Shape] = {
            "type": Text(choices=tuple(each.value for each in DeviceType)),
            "name": NAME,
            "passwordless": Flag(),
            **ANSWER,
        }
        challenge: dict[str, Shape] = {"scope": Text(choices=tuple(each.value for each in Scope)), "target": TARGET}
        password: dict[str, Shape] = {"old_password": PASSWORD, "new_password": PASSWORD, **ANSWER}
        codes = Table(members={"codes": Many(of=Text())}, needs=("codes",))
        return (
            route("GET", "/mfa/devices", self.devices, "One's second factors.", devices),
            route(
                "POST",
                "/mfa/devices/begin",
                self.begin,
                "Begin to add one; needs an answer of scope manage_devices unless it is the first.",
                TICKET,
                body=Table(members=begin, needs=("type", "name")),
            ),
            route(
                "POST",
                "/mfa/devices",
                self.add,
                "Add the one that was begun, with what it showed.",
                DEVICE,
                body=Table(members={"ticket": Text(least=1, most=256), **NEW_DEVICE}, needs=("ticket",)),
            ),
            route(
                "PUT",
                "/mfa/devices/<id>",
                self.rename,
                "Give one another name.",
                DEVICE,
                body=Table(members={"name": NAME}, needs=("name",)),
            ),
            route(
                "DELETE",
                "/mfa/devices/<id>",
                self.remove,
                "Remove one; needs an answer of scope manage_devices.",
                NOTHING,
                body=Table(members=ANSWER),
            ),
            route(
                "POST",
                "/mfa/authenticatechallenge",
                self.challenge,
                "Something for the user's second factor to answer.",
                CHALLENGE,
                body=Table(members=challenge, needs=("scope",)),
            ),
            route(
                "POST",
                "/mfa/recovery",
                self.recovery,
                "New recovery codes; the old ones are worth nothing then.",
                codes,
                body=Table(members=ANSWER),
            ),
            route(
                "PUT",
                "/users/password",
                self.password,
                "Another password; one's other sign-ins end.",
                NOTHING,
                body=Table(members=password, needs=("old_password", "new_password")),
            ),
            route("GET", "/sessions/mine", self.sign_ins, "Where one is signed in.", FREE),
            route("DELETE", "/sessions/mine/<id>", self.end, "End one of one's sign-ins.", NOTHING),
        )

    async def devices(self, call: Call) -> Reply:
        """
        C{GET /webapi/mfa/devices}.
        """
        found, state = await call.api.list_devices(), await call.api.account_state()
        return {"items": [device_json(each) for each in found], "recoveryCodes": state.recovery_codes}

    async def begin(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/devices/begin}.
        """
        body = call.body
        ticket = await call.api.begin_device(
            DeviceType(body["type"]), body["name"], answer_of(body), passwordless=body.get("passwordless", False)
        )
        return ticket_json(ticket)

    async def add(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/devices}.
        """
        return device_json(await call.api.add_device(call.body["ticket"], registered(call.body)))

    async def rename(self, call: Call) -> Reply:
        """
        C{PUT /webapi/mfa/devices/:id}.
        """
        return device_json(await call.api.rename_device(call.path["id"], call.body["name"]))

    async def remove(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/mfa/devices/:id}.
        """
        await call.api.delete_device(call.path["id"], needed(call.body))
        return {}

    async def challenge(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/authenticatechallenge}.
        """
        told = call.body.get("target")
        target = MfaTarget(kind=told["kind"], name=told["name"], login=told.get("login", "")) if told else None
        return challenge_json(await call.api.create_challenge(Scope(call.body["scope"]), target))

    async def recovery(self, call: Call) -> Reply:
        """
        C{POST /webapi/mfa/recovery}.
        """
        return {"codes": [code.reveal() for code in await call.api.recovery_codes(needed(call.body))]}

    async def password(self, call: Call) -> Reply:
        """
        C{PUT /webapi/users/password}.
        """
        body, old, new = call.body, Secret(call.body["old_password"]), Secret(call.body["new_password"])
        await call.api.change_password(old, new, answer_of(body), sign_in=call.user.sign_in)
        self.sessions.forget(call.user.username)
        return {}

    async def sign_ins(self, call: Call) -> Reply:
        """
        C{GET /webapi/sessions/mine}.
        """
        items = [
            {
                "id": each.id,
                "created": when(each.created),
                "lastUsed": when(each.last_used),
                "expires": when(each.expires),
                "address": each.address,
                "userAgent": each.user_agent,
                "current": each.id == call.user.sign_in,
            }
            for each in await call.api.list_sign_ins()
        ]
        return {"items": items}

    async def end(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/sessions/mine/:id}.
        """
        id = call.path["id"]
        if not id:
            raise not_found("there is no such sign-in")
        await call.api.delete_sign_in(id)
        self.sessions.forget(call.user.username)
        if id == call.user.sign_in:
            drop_cookie(call.request, SESSION_COOKIE)
        return {}


def device_json(device: Device) -> Json:
    """
    @return: as L{DEVICE} describes.
    """
    return {
        "id": device.id,
        "name": device.name,
        "type": device.type.value,
        "addedAt": when(device.added),
        "lastUsed": when(device.last_used),
        "passwordless": device.passwordless,
        "suspect": device.suspect,
    }


def ticket_json(ticket: DeviceTicket) -> Json:
    """
    @return: as L{TICKET} describes.
    """
    said: dict[str, object] = {"id": ticket.id, "expires": when(ticket.expires)}
    if ticket.webauthn is not None:
        return {**said, "webauthn": {"publicKey": dict(ticket.webauthn)}}
    return {**said, "qrCode": qr(ticket.otp_uri.reveal()), "otpSecret": ticket.otp_secret.reveal()}
