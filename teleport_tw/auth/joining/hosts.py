"""
Which host ids were given certificates, for as long as the cluster lives.

A host's id is no secret: whoever reads a list of servers knows it. So a token makes a host of an id once, in each role;
afterwards the host renews with the certificate it has. One that has lost its certificates joins anew, under a new id.

And which joined of late, for whoever made a token and waits for them; for that a token is known by its handle alone.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from attrs import define

from teleport_tw.api.contract import Joined
from teleport_tw.backends.interface import Backend
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time, parse_time
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.tokens import handle_of
from teleport_tw.stores import layout, records
from teleport_tw.stores.credentials import hash_token

REMEMBERED = timedelta(days=1)
"""How long a token's hosts are told of."""

KNOWN = "this host id is already known to the cluster"


@define(eq=False)
class KnownHosts:
    """
    Remembers them in the store.
    """

    backend: Backend

    async def check(self, host_id: str, role: SystemRole, token: Secret[str]) -> None:
        """
        @param token: the one that the host shows; the services of one host join one after another with the same.
        @raise TeleportError: ALREADY_EXISTS, a host of this id has joined in this role, or by another token.
        """
        self._compare(await records.read(self.backend, layout.known_host_key(host_id)), role, token)

    async def claim(
        self, host_id: str, role: SystemRole, token: Secret[str], node_name: str, now: datetime, *, own: bool
    ) -> None:
        """
        Remember a host that joins; of two that claim one id at once, one is refused.

        @param own: it has proved that the id is its own, so nothing is compared.
        @raise TeleportError: ALREADY_EXISTS, as for L{check}.
        """

        def step(fields: records.Fields | None) -> records.Change:
            if not own:
                self._compare(fields, role, token)
            known: dict[str, Any] = dict(fields or {"joined": format_time(now), "token": hash_token(token)})
            known["roles"] = sorted({*known.get("roles", ()), role.value})
            return records.Change({**known, "node_name": node_name})

        await records.change(self.backend, layout.known_host_key(host_id), step)

    @staticmethod
    def _compare(fields: records.Fields | None, role: SystemRole, token: Secret[str]) -> None:
        if fields is None:
            return
        if role.value in fields["roles"]:
            raise TeleportError(Kind.ALREADY_EXISTS, KNOWN, details=f"it joined as {role.value} at {fields['joined']}")
        if fields["token"] != hash_token(token):
            raise TeleportError(Kind.ALREADY_EXISTS, KNOWN, details=f"it joined by another token at {fields['joined']}")


async def note(backend: Backend, token: Secret[str], joined: Joined) -> None:
    """
    A host was let in.
    """
    key = layout.joined_key(handle_of(token), joined.host_id, joined.role.value)
    fields = {
        "host_id": joined.host_id,
        "node_name": joined.node_name,
        "role": joined.role.value,
        "at": format_time(joined.at),
    }
    await records.write(backend, key, fields, joined.at + REMEMBERED)


async def joined_by(backend: Backend, handle: str) -> tuple[Joined, ...]:
    """
    @return: oldest first; a page of the store at most.
    """
    found = (records.decode(item.value) for item in (await backend.range(layout.joined_prefix(handle))).items)
    hosts = (
        Joined(
            host_id=each["host_id"],
            node_name=each["node_name"],
            role=SystemRole(each["role"]),
            at=parse_time(each["at"]),
        )
        for each in found
    )
    return tuple(sorted(hosts, key=lambda each: each.at))
