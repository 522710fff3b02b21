"""
Requests of people at machines without a browser, while they wait for an answer from one.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections import Counter
from datetime import datetime

from attrs import define, frozen

from teleport_tw.backends.interface import Backend, Condition, Delete, Put
from teleport_tw.base.addresses import network_of
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import format_time, parse_time
from teleport_tw.stores import layout, records

PENDING, APPROVED, DENIED = "pending", "approved", "denied"


@frozen(kw_only=True)
class StoredHeadless:
    """
    @ivar ssh_key: the waiting program's, as asked; C{tls_key} the same.
    @ivar device: that approved it.
    """

    id: str
    username: str
    ssh_key: bytes
    tls_key: bytes
    address: str
    user_agent: str
    created: datetime
    expires: datetime
    state: str = PENDING
    device: str = ""


@define(eq=False)
class HeadlessStore:
    """
    Reads and writes them.
    """

    backend: Backend

    async def create(self, request: StoredHeadless) -> None:
        """
        It is gone with its expiry, answered or not.
        """
        index = (*layout.headless_of_prefix(request.username), request.id)
        await self.backend.batch(
            (
                Put(layout.headless_key(request.id), _encode(request), request.expires, Condition.ABSENT),
                Put(index, network_of(request.address).encode("utf-8"), request.expires),
            )
        )

    async def waiting(self, username: str) -> Counter[str]:
        """
        @return: how many that name the user wait, by the network that they came from.
        """
        items = (await self.backend.range(layout.headless_of_prefix(username))).items
        return Counter(item.value.decode("utf-8", "replace") for item in items)

    async def get(self, id: str) -> StoredHeadless | None:
        """
        @return: C{None} where there is none.
        """
        try:
            fields = await records.read(self.backend, layout.headless_key(id))
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise
        return _decode(id, fields) if fields is not None else None

    async def answer(self, request: StoredHeadless, state: str, device: str) -> bool:
        """
        @return: False when it was answered already, or is gone.
        """
        good = False

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal good
            good = fields is not None and fields["state"] == PENDING
            if fields is None:
                return records.Change(None)
            if not good:
                return records.Change(fields, request.expires)
            return records.Change({**fields, "state": state, "device": device}, request.expires)

        await records.change(self.backend, layout.headless_key(request.id), step)
        return good

    async def take(self, request: StoredHeadless) -> bool:
        """
        @return: False when somebody else took it.
        """
        index = (*layout.headless_of_prefix(request.username), request.id)
        operations = (
            Delete(layout.headless_key(request.id), Condition.PRESENT),
            Delete(index, Condition.ANY),
        )
        try:
            await self.backend.batch(operations)
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return False
            raise
        return True


def _encode(request: StoredHeadless) -> bytes:
    return records.encode(
        {
            "username": request.username,
            "ssh_key": b64encode(request.ssh_key).decode("ascii"),
            "tls_key": b64encode(request.tls_key).decode("ascii"),
            "address": request.address,
            "user_agent": request.user_agent,
            "created": format_time(request.created),
            "expires": format_time(request.expires),
            "state": request.state,
            "device": request.device,
        }
    )


def _decode(id: str, fields: records.Fields) -> StoredHeadless:
    return StoredHeadless(
        id=id,
        username=fields["username"],
        ssh_key=b64decode(fields["ssh_key"]),
        tls_key=b64decode(fields["tls_key"]),
        address=fields["address"],
        user_agent=fields["user_agent"],
        created=parse_time(fields["created"]),
        expires=parse_time(fields["expires"]),
        state=fields["state"],
        device=fields["device"],
    )
