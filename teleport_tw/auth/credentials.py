"""
What proves who somebody is: password hashes, second factors, failed attempts, links and uses of tokens.

Kept below C{secrets/}, which no resource call reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from attrs import define, field, frozen

from teleport_tw.backends.interface import Backend, Condition, Delete, Put
from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, format_time, parse_time
from teleport_tw.resources.metadata import Json
from teleport_tw.stores import layout

WINDOW: Duration = timedelta(minutes=30)
"""How long a failed attempt counts."""
MOST_FAILURES = 5
"""Within the window; the next one finds the account locked."""
LOCKED_FOR: Duration = timedelta(minutes=30)

_RACES = 16


@frozen(kw_only=True)
class OtpDevice:
    """
    @ivar id: a UUID, in certificates and events.
    @ivar last_step: of the code used last.
    """

    id: str
    name: str
    secret: Secret[str]
    last_step: int = -1
    revision: int = field(default=0, eq=False)


@frozen(kw_only=True)
class Attempts:
    """
    @ivar failures: when, seconds since the epoch.
    @ivar locked_until: aware UTC; None while the account is open.
    """

    failures: tuple[float, ...] = ()
    locked_until: datetime | None = None
    revision: int = field(default=0, eq=False)

    def locked(self, now: datetime) -> bool:
        """
        @return: whether a login is refused unseen.
        """
        return self.locked_until is not None and now < self.locked_until


@frozen(kw_only=True)
class Setup:
    """
    What a link stands for.

    @ivar otp_secret: empty where no second factor is set up.
    """

    username: str
    purpose: str
    expires: datetime
    otp_secret: Secret[str]
    revision: int = field(default=0, eq=False)


@define(eq=False)
class Credentials:
    """
    Reads and writes them, each change safe against another at the same time.
    """

    backend: Backend

    # --- passwords and devices

    async def password(self, username: str) -> str:
        """
        @return: the hash; empty where there is none.
        """
        value, _ = await self._read(_safe(layout.password_key, username))
        return str(value.get("hash", ""))

    async def device(self, username: str) -> OtpDevice | None:
        """
        @return: the user's authenticator.
        """
        try:
            prefix = layout.devices_prefix(username)
        except TeleportError:
            return None
        page = await self.backend.range(prefix, limit=1)
        if not page.items:
            return None
        item = page.items[0]
        value = json.loads(item.value)
        return OtpDevice(
            id=item.key[-1],
            name=value["name"],
            secret=Secret(value["secret"]),
            last_step=value["last_step"],
            revision=item.revision,
        )

    async def use_step(self, username: str, device: OtpDevice, step: int) -> bool:
        """
        Spend a code.

        @return: False when another login spent it first.
        """
        key = (*layout.devices_prefix(username), device.id)
        try:
            await self.backend.compare_and_swap(key, device.revision, _device_bytes(device, step))
        except TeleportError as error:
            if error.kind in (Kind.COMPARE_FAILED, Kind.NOT_FOUND):
                return False
            raise
        return True

    async def set_up(self, username: str, password_hash: str, device: OtpDevice | None, token_hash: str) -> bool:
        """
        Spend a link: password and device in place of the old ones, or nothing at all.

        @return: False when somebody else spent the link first.
        """
        operations: list[Put | Delete] = [
            Delete(layout.setup_key(token_hash), Condition.PRESENT),
            Put(layout.password_key(username), _bytes({"hash": password_hash})),
            Delete(layout.attempts_key(username), Condition.ANY),
        ]
        old = await self.backend.range(layout.devices_prefix(username))
        if device is not None:
            operations += [Delete(item.key, Condition.ANY) for item in old.items]
            key = (*layout.devices_prefix(username), device.id)
            operations.append(Put(key, _device_bytes(device, device.last_step)))
        try:
            await self.backend.batch(operations)
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return False
            raise
        return True

    async def forget(self, username: str) -> None:
        """
        Take away password, devices and attempts.
        """
        devices = await self.backend.range(layout.devices_prefix(username))
        keys = [layout.password_key(username), layout.attempts_key(username), *(item.key for item in devices.items)]
        await self.backend.batch([Delete(key, Condition.ANY) for key in keys])

    # --- attempts

    async def attempts(self, username: str) -> Attempts:
        """
        @return: those that still count.
        """
        value, revision = await self._read(_safe(layout.attempts_key, username))
        until = value.get("locked_until")
        return Attempts(
            failures=tuple(value.get("failures", ())),
            locked_until=parse_time(until) if until else None,
            revision=revision,
        )

    async def failed(self, username: str, now: datetime) -> Attempts:
        """
        Count a failure.

        @return: with L{Attempts.locked_until} set when it was one too many.
        """
        key = _safe(layout.attempts_key, username)
        if key is None:
            return Attempts()

        def step(value: Json) -> Json:
            since = (now - WINDOW).timestamp()
            failures = [at for at in value.get("failures", ()) if at > since] + [now.timestamp()]
            changed: dict[str, Any] = {"failures": failures[-MOST_FAILURES:]}
            if len(failures) >= MOST_FAILURES:
                changed = {"failures": [], "locked_until": format_time(now + LOCKED_FOR)}
            return changed

        value = await self._change(key, step, now + WINDOW + LOCKED_FOR)
        until = value.get("locked_until")
        return Attempts(failures=tuple(value["failures"]), locked_until=parse_time(until) if until else None)

    async def clear_attempts(self, username: str) -> None:
        """
        After a good login, or when an administrator unlocks the account.
        """
        await self.backend.delete(layout.attempts_key(username), Condition.ANY)

    # --- links

    async def create_setup(self, token: Secret[str], setup: Setup) -> None:
        """
        @param token: only its hash is kept.
        """
        value = {
            "username": setup.username,
            "purpose": setup.purpose,
            "expires": format_time(setup.expires),
            "otp_secret": setup.otp_secret.reveal(),
        }
        await self.backend.create(layout.setup_key(hash_token(token)), _bytes(value), setup.expires)

    async def setup(self, token: Secret[str]) -> Setup:
        """
        @raise TeleportError: NOT_FOUND, unknown, used or expired.
        """
        value, revision = await self._read(layout.setup_key(hash_token(token)))
        if not value:
            raise not_found("this link is not valid any more; ask your administrator for a new one")
        return Setup(
            username=value["username"],
            purpose=value["purpose"],
            expires=parse_time(value["expires"]),
            otp_secret=Secret(value["otp_secret"]),
            revision=revision,
        )

    # --- tokens

    async def use_token(self, name: str, most: int, expires: datetime | None) -> bool:
        """
        Count one use of a join token.

        @param most: zero for any number.
        @return: False when all uses are spent, whoever asks at the same time.
        """
        if not most:
            return True
        key = _safe(layout.token_use_key, hash_token(Secret(name)))
        spent = False

        def step(value: Json) -> Json:
            nonlocal spent
            count = int(value.get("count", 0))
            spent = count >= most
            return value if spent else {"count": count + 1}

        assert key is not None  # a hash is always a legal name
        await self._change(key, step, expires)
        return not spent

    # --- below

    async def _read(self, key: Key | None) -> tuple[dict[str, Any], int]:
        if key is None:
            return {}, 0
        try:
            item = await self.backend.get(key)
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return {}, 0
            raise
        value: dict[str, Any] = json.loads(item.value)
        return value, item.revision

    async def _change(self, key: Key, step: Callable[[Json], Json], expires: datetime | None) -> Json:
        for _ in range(_RACES):
            value, revision = await self._read(key)
            changed = step(value)
            try:
                if revision:
                    await self.backend.compare_and_swap(key, revision, _bytes(changed), expires)
                else:
                    await self.backend.create(key, _bytes(changed), expires)
            except TeleportError as error:
                if error.kind not in (Kind.COMPARE_FAILED, Kind.NOT_FOUND, Kind.ALREADY_EXISTS):
                    raise
            else:
                return changed
        raise TeleportError(Kind.LIMIT_EXCEEDED, "too many at once; try again")


def hash_token(token: Secret[str]) -> str:
    """
    @return: what a token is kept under: who reads the store cannot use it.
    """
    return sha256(token.reveal().encode("utf-8", "surrogateescape")).hexdigest()


def _safe(make: Callable[[str], Key], name: str) -> Key | None:
    try:
        return make(name)
    except TeleportError:
        return None


def _bytes(value: Json) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _device_bytes(device: OtpDevice, step: int) -> bytes:
    return _bytes({"type": "totp", "name": device.name, "secret": device.secret.reveal(), "last_step": step})
