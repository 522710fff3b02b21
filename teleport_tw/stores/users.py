"""
What proves a local user's identity, kept apart from the user resource: password hash, second factors, failed attempts.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import Backend
from teleport_tw.backends.keys import make_key
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, format_time, from_timestamp, parse_time
from teleport_tw.stores import records
from teleport_tw.stores.layout import attempts_key, devices_prefix, password_key

MAX_ATTEMPTS = 5
"""Failures within L{ATTEMPT_WINDOW} before the account is locked."""

ATTEMPT_WINDOW: Duration = timedelta(minutes=20)
LOCKOUT: Duration = timedelta(minutes=20)

KEPT_STEPS = 8
"""Used steps of a TOTP device that are remembered; those before the oldest are refused whatever they were."""


@frozen(kw_only=True)
class TotpDevice:
    """
    @ivar id: a UUID, in audit events and certificates.
    @ivar name: the user's own name for it.
    @ivar secret: base32.
    """

    id: str
    name: str
    secret: Secret[str]
    added: datetime


@frozen
class Credentials:
    """
    The secrets of local users.

    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def password(self, username: str) -> Secret[str] | None:
        """
        @return: the hash, argon2id in PHC notation; C{None} when none was set.
        """
        fields = await records.read(self._backend, password_key(username))
        return None if fields is None else Secret(fields["hash"])

    async def set_password(self, username: str, hashed: Secret[str]) -> None:
        """
        @param hashed: argon2id in PHC notation.
        """
        await records.write(self._backend, password_key(username), {"hash": hashed.reveal()})

    async def devices(self, username: str) -> tuple[TotpDevice, ...]:
        """
        @return: the user's authenticators, by id.
        """
        page = await self._backend.range(devices_prefix(username))
        found = []
        for item in page.items:
            fields = records.decode(item.value)
            found.append(
                TotpDevice(
                    id=item.key[-1],
                    name=fields["name"],
                    secret=Secret(fields["secret"]),
                    added=parse_time(fields["added"]),
                )
            )
        return tuple(found)

    async def add_device(self, username: str, device: TotpDevice) -> None:
        """
        @raise TeleportError: ALREADY_EXISTS, the id is taken.
        """
        fields = {"name": device.name, "secret": device.secret.reveal(), "added": format_time(device.added), "used": []}
        await self._backend.create(make_key((*devices_prefix(username), device.id)), records.encode(fields))

    async def remove_device(self, username: str, device: str) -> None:
        """
        Harmless when it is not there.
        """
        await records.remove(self._backend, make_key((*devices_prefix(username), device)))

    async def use_step(self, username: str, device: str, step: int) -> None:
        """
        Note that a code was used, so that it is good for nothing more; two at once cannot both succeed.

        @param step: the number of the code's time step since the epoch.
        @raise TeleportError: ACCESS_DENIED, it was used before or is older than what is remembered; NOT_FOUND, there
            is no such device.
        """

        def used(fields: records.Fields | None) -> records.Change:
            if fields is None:
                raise TeleportError(Kind.NOT_FOUND, "there is no such device")
            before: list[int] = fields["used"]
            if step in before or (len(before) >= KEPT_STEPS and step < min(before)):
                raise access_denied(details="the one-time code was used before")
            return records.Change({**fields, "used": sorted([*before, step])[-KEPT_STEPS:]})

        await records.change(self._backend, make_key((*devices_prefix(username), device)), used)

    async def failed(self, username: str) -> datetime | None:
        """
        Count a failed login.

        @return: until when the account is now locked; C{None} when it is not.
        """
        now = self._clock.seconds()
        until: float | None = None

        def count(fields: records.Fields | None) -> records.Change:
            nonlocal until
            until = None
            since = now - ATTEMPT_WINDOW.total_seconds()
            # A clock set back leaves attempts in the future; they count as made now.
            attempts = [min(at, now) for at in (fields or {}).get("attempts", []) if at > since] + [now]
            locked = (fields or {}).get("locked_until", 0)
            if len(attempts) >= MAX_ATTEMPTS:
                locked = now + LOCKOUT.total_seconds()
                attempts = []
            if locked > now:
                until = locked
            ends = max(locked, now + ATTEMPT_WINDOW.total_seconds())
            return records.Change({"attempts": attempts, "locked_until": locked}, from_timestamp(ends))

        await records.change(self._backend, attempts_key(username), count)
        return None if until is None else from_timestamp(until)

    async def locked_until(self, username: str) -> datetime | None:
        """
        @return: C{None} when the account is not locked for failed logins.
        """
        fields = await records.read(self._backend, attempts_key(username))
        if fields is None or fields["locked_until"] <= self._clock.seconds():
            return None
        return from_timestamp(fields["locked_until"])

    async def succeeded(self, username: str) -> None:
        """
        Forget failed logins, after a good one or when an administrator unlocks.
        """
        await records.remove(self._backend, attempts_key(username))

    async def forget(self, username: str) -> None:
        """
        Take away everything: the user was deleted or starts anew.
        """
        await records.remove(self._backend, password_key(username))
        for device in await self.devices(username):
            await self.remove_device(username, device.id)
        await self.succeeded(username)
