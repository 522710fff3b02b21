"""
Join tokens, and the command that a new server is joined with.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.api.contract import Query
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import from_timestamp, parse_duration
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.metadata import Json, Metadata, Resource
from teleport_tw.resources.tokens import KIND, VERSION, handle_of, mask
from teleport_tw.web.answers import when
from teleport_tw.web.api.admin import MFA, all_of
from teleport_tw.web.api.roles import ITEMS
from teleport_tw.web.catalogue import Catalogue
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.routes import Call, Reply, Route
from teleport_tw.web.shapes import FREE, Flag, Many, Shape, Table, Text

WORDS = {
    "Node": "node", "Db": "db", "App": "app", "Kube": "kube", "WindowsDesktop": "windowsdesktop",
    "Discovery": "discovery", "Proxy": "proxy",
}  # fmt: skip
"""What a token of the page may let in, and the service's name on the command line."""

TTL = "30m"


@frozen(kw_only=True)
class Tokens:
    """
    All calls run as the user.
    """

    facts: PublicFacts
    clock: IReactorTime
    catalogue: Catalogue

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        members: dict[str, Shape] = {
            "roles": Many(of=Text(choices=tuple(WORDS)), most=len(WORDS)),
            "ttl": Text(most=16, about="as 30m"),
            "one_use": Flag(about="the first server uses it up"),
            "labels": Table(free=True, about="of the token"),
            **MFA,
        }
        return (
            Route(
                method="GET",
                path="/tokens",
                handler=self.list,
                about="All tokens; their values are masked.",
                answer=ITEMS,
            ),
            Route(
                method="POST",
                path="/token",
                handler=self.create,
                about="A new token, shown this once, and the command that a server joins with.",
                body=Table(members=members, needs=("roles",)),
                answer=FREE,
            ),
            Route(
                method="GET",
                path="/token/<handle>/joined",
                handler=self.who_joined,
                about="The hosts that joined by a token within the last day.",
                passive=True,
                answer=ITEMS,
            ),
            Route(
                method="DELETE",
                path="/tokens/<handle>",
                handler=self.delete,
                about="Delete a token; who joined by it stays.",
                body=Table(members=MFA),
                answer=Table(),
            ),
        )

    async def list(self, call: Call) -> Reply:
        """
        C{GET /webapi/tokens}.
        """
        found, named = await _all(call)
        return {"items": [_row(token, named) for token in found]}

    async def create(self, call: Call) -> Reply:
        """
        C{POST /webapi/token}.
        """
        body, now = call.body, from_timestamp(self.clock.seconds())
        roles = list(dict.fromkeys(body["roles"])) or ["Node"]
        lasting = parse_duration(body.get("ttl") or TTL)
        expires = now + lasting if lasting else None
        spec: dict[str, Any] = {"roles": roles, "join_method": "token"}
        if body.get("one_use"):
            spec["max_uses"] = 1
        labels = {str(name): str(value) for name, value in body.get("labels", {}).items()}
        name = secrets.token_hex(16)
        await call.api.create(Resource(KIND, VERSION, Metadata(name, labels=labels, expires=expires), spec))
        info, proxy = await call.api.ping(), self.facts.named(call.host)
        return {
            "id": name,
            "handle": handle_of(Secret(name)),
            "roles": roles,
            "expiry": when(expires),
            "caPin": list(info.ca_pins),
            "proxy": proxy,
            "command": command(name, [WORDS[role] for role in roles], info.ca_pins, proxy),
            "configure": (
                f"sudo teleport node configure --token={name} --proxy={shlex.quote(proxy)} -o /etc/teleport.yaml"
            ),
        }

    async def who_joined(self, call: Call) -> Reply:
        """
        C{GET /webapi/token/:handle/joined}.
        """
        index = self.catalogue.indices["node"]
        items = [
            {
                "hostId": each.host_id,
                "hostname": each.node_name,
                "role": each.role.value,
                "at": when(each.at),
                "online": each.role is not SystemRole.NODE or each.host_id in index.entries,
            }
            for each in await call.api.who_joined(call.path["handle"])
        ]
        return {"items": items}

    async def delete(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/tokens/:handle}; the value of a token is never in an address.
        """
        found, _ = await _all(call)
        for token in found:
            if handle_of(Secret(token.name)) == call.path["handle"]:
                await call.api.delete(KIND, token.name)
                return {}
        raise not_found("there is no such token, or you may not read its value")


def command(token: str, services: Sequence[str], pins: Sequence[str], proxy: str) -> str:
    """
    @return: for a shell of the server that is to join.
    """
    parts = [f"teleport start --roles={','.join(services)}", f"--token={token}"]
    parts += [f"--ca-pin={pin}" for pin in pins]
    return " \\\n    ".join([*parts, f"--proxy-server={shlex.quote(proxy)}"])


async def _all(call: Call) -> tuple[list[Resource], bool]:
    """
    @return: tokens, and whether with their values, which stay here.
    """
    try:
        return await all_of(call.api, KIND, Query(with_secrets=True)), True
    except TeleportError as error:
        if error.kind is not Kind.ACCESS_DENIED:
            raise
    return await all_of(call.api, KIND), False


def _row(token: Resource, named: bool) -> Json:
    spec: Mapping[str, Any] = token.spec
    secret = spec.get("join_method", "token") in ("", "token")
    return {
        "handle": handle_of(Secret(token.name)) if named else "",
        "id": mask(token.name) if secret and named else token.name,
        "roles": [str(role) for role in spec.get("roles") or ()],
        "method": str(spec.get("join_method") or "token"),
        "expiry": when(token.metadata.expires),
        "labels": dict(token.metadata.labels),
        "oneUse": spec.get("max_uses") == 1,
    }
