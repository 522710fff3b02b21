"""
Figures round any backend: how many calls, how long they took, how they ended.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, TypeVar

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Histogram
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from teleport_tw.backends.interface import MAX_PAGE, Backend, Condition, Expected, Item, Operation, Page, Watch
from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import TeleportError

T = TypeVar("T")

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Seconds: from a read in memory to a disk in trouble."""


@define(eq=False)
class BackendFigures:
    """
    C{backend_requests_total} and C{backend_request_seconds}.
    """

    registry: CollectorRegistry
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.requests = Counter(
            "backend_requests", "Calls to the state store", ("call", "result"), registry=self.registry
        )
        self.seconds = Histogram(
            "backend_request_seconds", "How long calls took", ("call",), registry=self.registry, buckets=BUCKETS
        )


@define(eq=False)
class MeasuredBackend:
    """
    A backend whose calls are counted.
    """

    _backend: Backend
    _clock: IReactorTime
    _figures: BackendFigures

    async def get(self, key: Key) -> Item:
        """
        @see: L{teleport_tw.backends.interface.Backend.get}; as for all methods below.
        """
        return await self._measured("get", self._backend.get(key))

    async def range(
        self,
        prefix: Key,
        *,
        start: str = "",
        end: str = "",
        start_after: Key = (),
        limit: int = MAX_PAGE,
        descending: bool = False,
    ) -> Page:
        work = self._backend.range(
            prefix, start=start, end=end, start_after=start_after, limit=limit, descending=descending
        )
        return await self._measured("range", work)

    async def put(self, key: Key, value: bytes, expires: datetime | None = None) -> int:
        return await self._measured("put", self._backend.put(key, value, expires))

    async def create(self, key: Key, value: bytes, expires: datetime | None = None) -> int:
        return await self._measured("create", self._backend.create(key, value, expires))

    async def compare_and_swap(self, key: Key, expected: int, value: bytes, expires: datetime | None = None) -> int:
        return await self._measured("compare_and_swap", self._backend.compare_and_swap(key, expected, value, expires))

    async def delete(self, key: Key, expected: Expected = Condition.PRESENT) -> int:
        return await self._measured("delete", self._backend.delete(key, expected))

    async def keep_alive(self, key: Key, expires: datetime, expected: Expected = Condition.PRESENT) -> int:
        return await self._measured("keep_alive", self._backend.keep_alive(key, expires, expected))

    async def batch(self, operations: Sequence[Operation]) -> int:
        return await self._measured("batch", self._backend.batch(operations))

    def watch(self, prefixes: Sequence[Key], from_revision: int | None = None) -> Watch:
        self._figures.requests.labels("watch", "ok").inc()
        return self._backend.watch(prefixes, from_revision)

    async def close(self) -> None:
        await self._backend.close()

    async def _measured(self, call: str, work: Coroutine[Deferred[Any], Any, T]) -> T:
        started, result = self._clock.seconds(), "error"
        try:
            answer = await work
            result = "ok"
            return answer
        except TeleportError as error:
            result = error.kind.value
            raise
        finally:
            self._figures.requests.labels(call, result).inc()
            self._figures.seconds.labels(call).observe(max(self._clock.seconds() - started, 0.0))
