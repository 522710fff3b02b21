"""
Challenges that wait for an answer, and answers that count for a while.

They lie in the store with an expiry, so that any auth can finish what another began, and each is taken out by its
first answer: the store, not a process's memory, sees to it that there is no second.
"""

from __future__ import annotations

from datetime import datetime

from attrs import define, frozen

from teleport_tw.backends.interface import Backend, Condition, Delete
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time, parse_time
from teleport_tw.stores import layout, records

_NO_SECRET: Secret[str] = Secret("")


@frozen(kw_only=True)
class Pending:
    """
    @ivar id: random, 128 bits in hexadecimal.
    @ivar purpose: the scope of a challenge; or what else is begun here and finished elsewhere.
    @ivar username: empty where the key is to say who it is.
    @ivar challenge: base64url of the bytes to sign; empty where none are.
    @ivar verification: C{required} where the key must check a PIN or finger.
    @ivar target: what it is for, where it is for one thing.
    @ivar type: of a device on the way; C{name}, C{secret} and C{passwordless} are its.
    """

    id: str
    purpose: str
    username: str
    expires: datetime
    challenge: str = ""
    verification: str = ""
    target: str = ""
    type: str = ""
    name: str = ""
    secret: Secret[str] = _NO_SECRET
    passwordless: bool = False


@define(eq=False)
class Challenges:
    """
    Keeps them.
    """

    backend: Backend

    async def put(self, pending: Pending) -> None:
        """
        @raise TeleportError: ALREADY_EXISTS, which 128 random bits do not let happen.
        """
        fields = {
            "purpose": pending.purpose,
            "username": pending.username,
            "expires": format_time(pending.expires),
            "challenge": pending.challenge,
            "verification": pending.verification,
            "target": pending.target,
            "type": pending.type,
            "name": pending.name,
            "secret": pending.secret.reveal(),
            "passwordless": pending.passwordless,
        }
        await self.backend.create(layout.challenge_key(pending.id), records.encode(fields), pending.expires)

    async def look(self, id: str) -> Pending | None:
        """
        @return: C{None} where there is none, or it expired, or was taken.
        """
        try:
            fields = await records.read(self.backend, layout.challenge_key(id))
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise
        if fields is None:
            return None
        return Pending(
            id=id,
            purpose=fields["purpose"],
            username=fields["username"],
            expires=parse_time(fields["expires"]),
            challenge=fields["challenge"],
            verification=fields["verification"],
            target=fields["target"],
            type=fields["type"],
            name=fields["name"],
            secret=Secret(fields["secret"]),
            passwordless=fields["passwordless"],
        )

    async def take(self, id: str) -> Pending | None:
        """
        @return: as L{look}; of several who take at once, one gets it.
        """
        found = await self.look(id)
        if found is None:
            return None
        try:
            await self.backend.delete(layout.challenge_key(id), Condition.PRESENT)
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return None
            raise
        return found

    # --- answers that count for a while

    async def remember(self, username: str, name: str, fields: records.Fields, expires: datetime) -> None:
        """
        @param name: of what counts, legal in a key.
        """
        kept = {**fields, "until": format_time(expires)}
        await records.write(self.backend, layout.answered_key(username, name), kept, expires)

    async def recall(self, username: str, name: str, now: datetime) -> records.Fields | None:
        """
        @return: C{None} where nothing counts any more.
        """
        fields = await records.read(self.backend, layout.answered_key(username, name))
        return fields if fields is not None and now < parse_time(fields["until"]) else None

    async def forget(self, username: str) -> None:
        """
        Nothing of the user's counts any more: a device was taken away.
        """
        page = await self.backend.range(layout.answered_prefix(username))
        for item in page.items:
            await self.backend.batch((Delete(item.key, Condition.ANY),))
