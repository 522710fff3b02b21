"""
Counted leases, each change a compare-and-swap of the whole count.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

from attrs import evolve, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.api.contract import SemaphoreRequest
from teleport_tw.backends.interface import Backend, Condition, Delete, Expected, Put
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.timing import from_timestamp
from teleport_tw.resources.semaphores import KIND, Lease, Semaphore
from teleport_tw.stores.codec import encode
from teleport_tw.stores.layout import resource_key
from teleport_tw.stores.records import RACES
from teleport_tw.stores.resources import ResourceStore


@frozen
class Semaphores:
    """
    @ivar _clock: wall time.
    """

    _backend: Backend
    _clock: IReactorTime

    async def acquire(self, request: SemaphoreRequest) -> str:
        """
        @return: the lease's id.
        @raise TeleportError: LIMIT_EXCEEDED.
        """
        lease = Lease(id=str(uuid4()), holder=request.holder, expires=self._end(request))

        def take(leases: tuple[Lease, ...]) -> tuple[Lease, ...]:
            if len(leases) >= request.limit:
                raise TeleportError(
                    Kind.LIMIT_EXCEEDED, f"{request.name} has {len(leases)} at once already, the most allowed"
                )
            return (*leases, lease)

        await self._change(request, take)
        return lease.id

    async def keep(self, request: SemaphoreRequest, lease: str) -> None:
        """
        Renew for another C{ttl}.

        @raise TeleportError: NOT_FOUND, the lease ended.
        """

        def renew(leases: tuple[Lease, ...]) -> tuple[Lease, ...]:
            if lease not in {each.id for each in leases}:
                raise not_found("the lease has ended")
            return tuple(evolve(each, expires=self._end(request)) if each.id == lease else each for each in leases)

        await self._change(request, renew)

    async def release(self, request: SemaphoreRequest, lease: str) -> None:
        """
        Give a lease back; giving it twice is harmless.
        """
        await self._change(request, lambda leases: tuple(each for each in leases if each.id != lease))

    def _end(self, request: SemaphoreRequest) -> datetime:
        return from_timestamp(self._clock.seconds()) + request.ttl

    async def _change(self, request: SemaphoreRequest, step: Callable[[tuple[Lease, ...]], tuple[Lease, ...]]) -> None:
        key, now = resource_key(KIND, request.kind, request.name), from_timestamp(self._clock.seconds())
        store = ResourceStore(self._backend)
        for _ in range(RACES):
            found = await store.find(KIND, request.name, sub_kind=request.kind)
            before = () if found is None else Semaphore.parse(found).leases
            expected: Expected = Condition.ABSENT if found is None else int(found.revision)
            after = step(tuple(each for each in before if each.expires > now))
            if found is None and not after:
                return
            wanted = Semaphore(semaphore_kind=request.kind, name=request.name, leases=after).to_resource()
            try:
                if after:
                    await self._backend.batch((Put(key, encode(wanted), wanted.metadata.expires, expected),))
                else:
                    await self._backend.batch((Delete(key, expected),))
                return
            except TeleportError as error:
                if error.kind not in (Kind.COMPARE_FAILED, Kind.ALREADY_EXISTS, Kind.NOT_FOUND):
                    raise
        raise TeleportError(Kind.COMPARE_FAILED, "too many connections at once; try again")
