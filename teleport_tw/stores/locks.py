"""
Locks in force.
"""

from __future__ import annotations

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import Backend
from teleport_tw.resources.locks import KIND, Lock
from teleport_tw.stores.resources import ResourceStore


@frozen
class Locks:
    """
    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def create(self, lock: Lock) -> Lock:
        """
        @raise TeleportError: ALREADY_EXISTS.
        """
        return Lock.parse(await ResourceStore(self._backend).create(lock.to_resource()))

    async def list(self) -> tuple[Lock, ...]:
        """
        @return: those in force now.
        """
        now = self._clock.seconds()
        found = [Lock.parse(each) async for each in ResourceStore(self._backend).every(KIND)]
        return tuple(each for each in found if each.expires is None or each.expires.timestamp() > now)

    async def delete(self, name: str) -> None:
        """
        @raise TeleportError: NOT_FOUND.
        """
        await ResourceStore(self._backend).delete(KIND, name)
