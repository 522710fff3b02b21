"""
Join tokens, and how often each was used.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import Backend
from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.base.secret import Secret
from teleport_tw.resources.tokens import KIND, Token
from teleport_tw.stores import records
from teleport_tw.stores.layout import token_use_key
from teleport_tw.stores.resources import ResourceStore


@frozen
class Tokens:
    """
    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def get(self, name: Secret[str]) -> Token:
        """
        @raise TeleportError: ACCESS_DENIED, the same text whether it never was, has expired or is malformed.
        """
        try:
            token = Token.parse(await ResourceStore(self._backend).get(KIND, name.reveal()))
        except TeleportError as error:
            if error.kind in (Kind.NOT_FOUND, Kind.BAD_PARAMETER):
                raise access_denied("the token is not valid", details="unknown or expired token") from error
            raise
        if token.expires is not None and token.expires.timestamp() <= self._clock.seconds():
            raise access_denied("the token is not valid", details="expired token")
        return token

    async def consume(self, name: Secret[str]) -> Token:
        """
        Use the token once; of two who use its last time at once, one is refused.

        @raise TeleportError: ACCESS_DENIED, as for L{get} and when it is used up.
        """
        token = await self.get(name)
        if token.max_uses:

            def use(fields: records.Fields | None) -> records.Change:
                uses = 0 if fields is None else int(fields["uses"])
                if uses >= token.max_uses:
                    raise access_denied("the token is not valid", details="token is used up")
                return records.Change({"uses": uses + 1}, token.expires)

            await records.change(self._backend, token_use_key(token.name), use)
        return token

    async def forget(self, name: Secret[str]) -> None:
        """
        Forget its uses: the token was deleted or written anew.
        """
        await records.remove(self._backend, token_use_key(name.reveal()))
