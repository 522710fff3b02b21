"""
What proves who somebody is: password hashes, failed attempts, links and uses of tokens.

L{teleport_tw.stores.devices} has the second factors, L{teleport_tw.stores.challenges} what is asked of them.

Kept below C{secrets/}, which no resource call reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from attrs import define, frozen

from teleport_tw.backends.interface import Backend, Condition, Delete, Operation, Put
from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, format_time, parse_time
from teleport_tw.stores import layout, records
from teleport_tw.stores.challenges import Challenges
from teleport_tw.stores.devices import Devices
from teleport_tw.stores.websessions import WebSessionStore

WINDOW: Duration = timedelta(minutes=30)
"""How long a failed attempt counts."""
MOST_FAILURES = 5
"""Within the window; the next one finds the account locked."""
LOCKED_FOR: Duration = timedelta(minutes=30)


@frozen
class Attempts:
    """
    @ivar failures: when, seconds since the epoch.
    @ivar locked_until: aware UTC; None while the account is open.
    """

    failures: tuple[float, ...] = ()
    locked_until: datetime | None = None

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


@define(eq=False)
class Credentials:
    """
    Reads and writes them, each change safe against another at the same time.
    """

    backend: Backend

    # --- passwords

    async def password(self, username: str) -> str:
        """
        @return: the hash; empty where there is none.
        """
        fields = await self._read(_safe(layout.password_key, username))
        return str(fields.get("hash", ""))

    async def set_password(self, username: str, password_hash: str) -> None:
        """
        In place of the old one; links that were made for the user are worthless from now on.
        """
        operations: list[Operation] = [Put(layout.password_key(username), records.encode({"hash": password_hash}))]
        operations += [Delete(key, Condition.ANY) for key in await self._links(username)]
        await self.backend.batch(operations)

    async def set_up(self, username: str, password_hash: str, also: Sequence[Operation], token_hash: str) -> bool:
        """
        Spend a link: password and what else is new in place of the old, and the user's other links gone, or nothing at
        all.

        @param password_hash: empty for a user who has none from now on.
        @return: False when somebody else spent the link first.
        @raise TeleportError: ALREADY_EXISTS, something of C{also}.
        """
        password = layout.password_key(username)
        operations: list[Operation] = [
            Delete(layout.setup_key(token_hash), Condition.PRESENT),
            Put(password, records.encode({"hash": password_hash}))
            if password_hash
            else Delete(password, Condition.ANY),
            Delete(layout.attempts_key(username), Condition.ANY),
            *also,
        ]
        operations += [
            Delete(key, Condition.ANY) for key in await self._links(username) if key != layout.setup_key(token_hash)
        ]
        try:
            await self.backend.batch(operations)
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                return False
            raise
        return True

    async def forget(self, username: str) -> None:
        """
        Take away password, devices, recovery codes, attempts, links, and sessions on the web.
        """
        keys = [
            layout.password_key(username),
            layout.attempts_key(username),
            layout.recovery_key(username),
            layout.webauthn_user_key(username),
            *await self._links(username),
        ]
        await self.backend.batch(
            [
                *(Delete(key, Condition.ANY) for key in keys),
                *await Devices(self.backend).removing_all(username),
            ]
        )
        await Challenges(self.backend).forget(username)
        await WebSessionStore(self.backend).delete_all(username)

    # --- attempts

    async def attempts(self, username: str) -> Attempts:
        """
        @return: those that still count.
        """
        return _attempts(await self._read(_safe(layout.attempts_key, username)))

    async def failed(self, username: str, now: datetime) -> Attempts:
        """
        Count a failure. One that comes while the account is locked leaves the lock as it is.

        @return: with L{Attempts.locked_until} set when it was one too many.
        """
        key = _safe(layout.attempts_key, username)
        if key is None:
            return Attempts()
        counted = Attempts()

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal counted
            before = _attempts(fields or {})
            if before.locked(now):
                counted = before
            else:
                # A clock set back leaves failures in the future; they count as made now.
                moment, since = now.timestamp(), (now - WINDOW).timestamp()
                failures = (*(min(at, moment) for at in before.failures if at > since), moment)
                over = len(failures) >= MOST_FAILURES
                counted = Attempts((), now + LOCKED_FOR) if over else Attempts(failures)
            changed: dict[str, Any] = {"failures": counted.failures}
            if counted.locked_until is not None:
                changed["locked_until"] = format_time(counted.locked_until)
            return records.Change(changed, now + WINDOW + LOCKED_FOR)

        await records.change(self.backend, key, step)
        return counted

    async def clear_attempts(self, username: str) -> None:
        """
        After a good login, or when an administrator unlocks the account.
        """
        await records.remove(self.backend, layout.attempts_key(username))

    # --- links

    async def create_setup(self, token: Secret[str], setup: Setup) -> None:
        """
        Older links of the user become worthless.

        @param token: at least 128 random bits, so that its plain hash, which alone is kept, cannot be guessed.
        """
        value = {
            "username": setup.username,
            "purpose": setup.purpose,
            "expires": format_time(setup.expires),
            "otp_secret": setup.otp_secret.reveal(),
        }
        key = layout.setup_key(hash_token(token))
        old = [Delete(link, Condition.ANY) for link in await self._links(setup.username)]
        await self.backend.batch([*old, Put(key, records.encode(value), setup.expires, Condition.ABSENT)])

    async def setup(self, token: Secret[str]) -> Setup:
        """
        @raise TeleportError: NOT_FOUND, unknown, used or expired.
        """
        fields = await self._read(layout.setup_key(hash_token(token)))
        if not fields:
            raise not_found("this link is not valid any more; ask your administrator for a new one")
        return Setup(
            username=fields["username"],
            purpose=fields["purpose"],
            expires=parse_time(fields["expires"]),
            otp_secret=Secret(fields["otp_secret"]),
        )

    async def _links(self, username: str) -> list[Key]:
        found: list[Key] = []
        after: Key = ()
        while True:
            page = await self.backend.range(layout.setups_prefix(), start_after=after)
            found += [item.key for item in page.items if records.decode(item.value).get("username") == username]
            if not page.more:
                return found
            after = page.items[-1].key

    # --- tokens

    async def use_token(self, name: str, most: int, expires: datetime | None) -> bool:
        """
        Count one use of a join token.

        @param most: zero for any number.
        @return: False when all uses are spent, whoever asks at the same time.
        """
        if not most:
            return True
        spent = False

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal spent
            count = int((fields or {}).get("count", 0))
            spent = count >= most
            return records.Change({"count": count if spent else count + 1}, expires)

        await records.change(self.backend, _use_key(name), step)
        return not spent

    async def forget_token(self, name: str) -> None:
        """
        Forget its uses: the token was deleted or written anew.
        """
        await records.remove(self.backend, _use_key(name))

    async def _read(self, key: Key | None) -> records.Fields:
        return ({} if key is None else await records.read(self.backend, key)) or {}


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


def _use_key(token: str) -> Key:
    return layout.token_use_key(hash_token(Secret(token)))


def _attempts(fields: records.Fields) -> Attempts:
    until = fields.get("locked_until")
    return Attempts(tuple(fields.get("failures", ())), parse_time(until) if until else None)
