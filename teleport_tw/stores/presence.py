"""
Who is alive: resources that their own hosts keep alive.

A heartbeat that says nothing new moves the expiry alone, and only once a good part of it has passed, so that 50,000
nodes cost few writes and wake no watcher in vain.
"""

from __future__ import annotations

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import Backend, Condition
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.resources.metadata import Resource
from teleport_tw.stores.codec import decode, encode
from teleport_tw.stores.layout import resource_key

RENEW_BELOW = 0.75
"""Of the ttl: while more than this is left, an unchanged heartbeat writes nothing."""


@frozen
class Presence:
    """
    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        """
        @param resource: a host's own; its expiry is set here.
        @param ttl: it leaves the list so long after the last call.
        """
        now = from_timestamp(self._clock.seconds())
        expires = now + ttl
        key = resource_key(resource.kind, resource.sub_kind, resource.name)
        value = encode(evolve(resource, metadata=evolve(resource.metadata, expires=None)))
        try:
            item = await self._backend.get(key)
        except TeleportError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            await self._backend.put(key, value, expires)
            return
        if item.value != value or item.expires is None:
            await self._backend.put(key, value, expires)
        elif not ttl * RENEW_BELOW < item.expires - now <= ttl:
            try:
                await self._backend.keep_alive(key, expires, item.revision)
            except TeleportError as error:
                if error.kind not in (Kind.NOT_FOUND, Kind.COMPARE_FAILED):
                    raise
                await self._backend.put(key, value, expires)

    async def find(self, kind: str, name: str) -> Resource | None:
        """
        @return: what was last announced under this name, while it lives.
        """
        try:
            return decode(await self._backend.get(resource_key(kind, "", name)))
        except TeleportError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return None

    async def goodbye(self, kind: str, name: str, *, sub_kind: str = "") -> None:
        """
        Leave the list at once; harmless when not on it.
        """
        await self._backend.delete(resource_key(kind, sub_kind, name), Condition.ANY)
