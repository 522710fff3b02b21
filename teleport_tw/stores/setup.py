"""
Invites and resets: what a link sent to a user stands for. Only a hash of the link's token is kept.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import Backend
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import from_timestamp
from teleport_tw.stores import records
from teleport_tw.stores.layout import SECRETS, setup_key


@frozen(kw_only=True)
class Setup:
    """
    @ivar purpose: C{invite} or C{reset}.
    @ivar otp_secret: base32, for the authenticator; empty where the cluster wants none.
    """

    username: str
    purpose: str
    expires: datetime
    otp_secret: Secret[str]


@frozen
class Setups:
    """
    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def create(self, token: Secret[str], setup: Setup) -> None:
        """
        @param token: at least 128 random bits, so that its plain hash cannot be guessed.
        """
        fields = {
            "user": setup.username,
            "purpose": setup.purpose,
            "otp": setup.otp_secret.reveal(),
            "expires": setup.expires.timestamp(),
        }
        await records.write(self._backend, setup_key(_hash(token)), fields, setup.expires)

    async def get(self, token: Secret[str]) -> Setup:
        """
        @raise TeleportError: NOT_FOUND, unknown, used or expired.
        """
        fields = await records.read(self._backend, setup_key(_hash(token)))
        if fields is None or fields["expires"] <= self._clock.seconds():
            raise not_found("this link was used before or has expired; ask your administrator for another")
        return _setup(fields)

    async def consume(self, token: Secret[str]) -> Setup:
        """
        Use the link up; of two at once, one is refused.

        @raise TeleportError: NOT_FOUND, as for L{get}.
        """
        setup = await self.get(token)
        try:
            await self._backend.delete(setup_key(_hash(token)))
        except TeleportError as error:
            if error.kind is Kind.NOT_FOUND:
                raise not_found(
                    "this link was used before or has expired; ask your administrator for another"
                ) from error
            raise
        return setup

    async def forget(self, username: str) -> None:
        """
        Make every link of a user worthless, as a newer one was sent or the user deleted.
        """
        after: tuple[str, ...] = ()
        while True:
            page = await self._backend.range((SECRETS, "setup"), start_after=after)
            for item in page.items:
                if records.decode(item.value)["user"] == username:
                    await records.remove(self._backend, item.key)
            if not page.more:
                return
            after = page.items[-1].key


def _setup(fields: records.Fields) -> Setup:
    return Setup(
        username=fields["user"],
        purpose=fields["purpose"],
        expires=from_timestamp(fields["expires"]),
        otp_secret=Secret(fields["otp"]),
    )


def _hash(token: Secret[str]) -> str:
    return hashlib.sha256(token.reveal().encode("utf-8", "surrogateescape")).hexdigest()
