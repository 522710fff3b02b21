"""
Users: who may sign in, with which roles.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from teleport_tw.api.contract import Api, SetupPurpose, SetupTicket
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.timing import Duration, parse_duration, utc_now
from teleport_tw.resources.locks import KIND as LOCK
from teleport_tw.resources.locks import Lock
from teleport_tw.resources.metadata import Json, Metadata, Resource
from teleport_tw.resources.users import KIND, VERSION
from teleport_tw.web.answers import when
from teleport_tw.web.api.admin import MFA, all_of, with_spec
from teleport_tw.web.api.roles import ITEMS
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.routes import Call, Reply, Route
from teleport_tw.web.shapes import FREE, Many, Shape, Table, Text

ROLES = Many(of=Text(least=1, most=256), most=100)
TRAITS = Table(free=True, about="lists of texts by name: logins, db_users, …")
TTL = Text(most=16, about="how long the link works, as 1h")
FIELDS: Mapping[str, Shape] = {"roles": ROLES, "traits": TRAITS}

INVITE_TTL = "1h"
RESET_TTL = "8h"
NOTHING = Table()


@frozen
class Users:
    """
    All calls run as the user who is signed in.
    """

    facts: PublicFacts

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        one = "/users/<name>"
        return (
            Route(method="GET", path="/users", handler=self.list, about="All users.", answer=ITEMS),
            Route(
                method="POST",
                path="/users",
                handler=self.create,
                about="A new user, with a link to set up the account.",
                body=Table(
                    members={"name": Text(least=1, most=255), "ttl": TTL, **FIELDS, **MFA}, needs=("name", "roles")
                ),
                answer=FREE,
            ),
            Route(method="GET", path=one, handler=self.get, about="One user.", answer=FREE),
            Route(
                method="PUT",
                path=one,
                handler=self.update,
                about="Other roles or traits; they count from the next sign-in.",
                body=Table(members={**FIELDS, "revision": Text(most=64), **MFA}),
                answer=FREE,
            ),
            Route(
                method="DELETE",
                path=one,
                handler=self.delete,
                about="Delete a user.",
                body=Table(members=MFA),
                answer=NOTHING,
            ),
            Route(
                method="POST",
                path="/users/<name>/reset",
                handler=self.reset,
                about="Take away password and devices; gives a link to set new ones.",
                body=Table(members={"ttl": TTL, **MFA}),
                answer=FREE,
            ),
        )

    async def list(self, call: Call) -> Reply:
        """
        C{GET /webapi/users}.
        """
        locked = await _locked(call.api)
        return {"items": [_row(user, locked) for user in await all_of(call.api, KIND)]}

    async def get(self, call: Call) -> Reply:
        """
        C{GET /webapi/users/:name}.
        """
        return _row(await call.api.get(KIND, call.path["name"]), await _locked(call.api))

    async def create(self, call: Call) -> Reply:
        """
        C{POST /webapi/users}.
        """
        body = call.body
        ttl = _lasting(body.get("ttl") or INVITE_TTL)
        await _known(call.api, body["roles"])
        spec = {"roles": list(body["roles"]), "traits": traits_of(body)}
        await call.api.create(Resource(KIND, VERSION, Metadata(body["name"]), spec))
        return self._link(call, await call.api.create_setup(body["name"], SetupPurpose.INVITE, ttl))

    async def update(self, call: Call) -> Reply:
        """
        C{PUT /webapi/users/:name}.
        """
        body = call.body
        user = await call.api.get(KIND, call.path["name"])
        if body.get("revision"):
            user = user.with_revision(body["revision"])
        changes: dict[str, Any] = {}
        if "roles" in body:
            if not body["roles"]:
                raise bad_parameter("a user needs at least one role")
            await _known(call.api, body["roles"])
            changes["roles"] = list(body["roles"])
        if "traits" in body:
            changes["traits"] = traits_of(body)
        return _row(await call.api.update(with_spec(user, **changes)), await _locked(call.api))

    async def delete(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/users/:name}.
        """
        await call.api.delete(KIND, call.path["name"])
        return {}

    async def reset(self, call: Call) -> Reply:
        """
        C{POST /webapi/users/:name/reset}.
        """
        ttl = _lasting(call.body.get("ttl") or RESET_TTL)
        return self._link(call, await call.api.create_setup(call.path["name"], SetupPurpose.RESET, ttl))

    def _link(self, call: Call, ticket: SetupTicket) -> Json:
        path = "invite" if ticket.purpose is SetupPurpose.INVITE else "reset"
        return {
            "user": ticket.username,
            "purpose": ticket.purpose.value,
            "url": f"https://{self.facts.named(call.host)}/web/{path}/{ticket.token.reveal()}",
            "expires": when(ticket.expires),
        }


async def _known(api: Api, roles: Sequence[str]) -> None:
    for role in roles:
        await api.get("role", role)


def _lasting(text: str) -> Duration:
    found = parse_duration(text)
    if not found:
        raise bad_parameter("a link must end some time")
    return found


def traits_of(body: Mapping[str, Any]) -> dict[str, list[str]]:
    """
    @raise TeleportError: BAD_PARAMETER, they are no lists of texts.
    """
    found = {}
    for name, values in body.get("traits", {}).items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise bad_parameter(f"traits.{name[:64]} must be a list of texts")
        if values:
            found[name] = list(dict.fromkeys(values))
    return found


async def _locked(api: Api) -> Mapping[str, str]:
    """
    @return: messages of the locks on users alone, by user; none where the caller may not see locks.
    """
    try:
        locks = [Lock.parse(each) for each in await all_of(api, LOCK)]
    except TeleportError as error:
        if error.kind is not Kind.ACCESS_DENIED:
            raise
        return {}
    now = utc_now()
    return {
        each.target["user"]: each.message
        for each in locks
        if tuple(each.target) == ("user",) and (each.expires is None or now < each.expires)
    }


def _row(user: Resource, locked: Mapping[str, str]) -> Json:
    spec = user.spec
    status, created = _section(spec, "status"), _section(spec, "created_by")
    return {
        "name": user.name,
        "roles": [str(role) for role in spec.get("roles") or ()],
        "traits": {str(name): list(values or ()) for name, values in _section(spec, "traits").items()},
        "authType": "local" if not created.get("connector") else "sso",
        "isLocked": bool(status.get("is_locked")) or user.name in locked,
        "lockMessage": str(status.get("locked_message") or locked.get(user.name, "")),
        "created": str(created.get("time") or ""),
        "expires": when(user.metadata.expires),
        "revision": user.revision,
    }


def _section(spec: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = spec.get(name)
    return found if isinstance(found, Mapping) else {}
