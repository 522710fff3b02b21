"""
A local copy of some kinds of resources, kept by watching.

What a proxy or agent must know for each connection (nodes, roles, authorities, locks) it reads here. The copy goes on
answering while auth is away; L{Mirror.age} says how old it may be, for those who would rather refuse. Each time a
watch begins anew the whole content is sent, and what is missing from it is taken out as if a DELETE had come.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from typing import TypeAlias

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.api.contract import Change, Resources, Watched
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Backoff, Duration, from_timestamp, steady
from teleport_tw.resources.metadata import Resource

Key: TypeAlias = tuple[str, str]
"""Sub-kind and name."""
Listener = Callable[[Watched], None]
"""Told of each PUT and DELETE, and of INIT whenever the copy is whole (again)."""


@define(eq=False)
class Mirror(Service):
    """
    @ivar resources: whom to watch.
    @ivar kinds: what is copied; the caller must be allowed to read each.
    @ivar backoff: between tries.
    """

    resources: Resources
    kinds: Sequence[str]
    clock: IReactorTime
    backoff: Backoff = field(factory=Backoff)
    _items: dict[str, dict[Key, Resource]] = field(factory=dict, init=False)
    _listeners: list[Listener] = field(factory=list, init=False)
    _waiting: list[Deferred[None]] = field(factory=list, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _whole: bool = field(default=False, init=False)
    _connected: bool = field(default=False, init=False)
    _heard: float = field(default=0.0, init=False)
    _log = Logger()

    def __attrs_post_init__(self) -> None:
        self._items = {kind: {} for kind in self.kinds}

    def startService(self) -> None:
        """
        Begin to watch.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._tasks.spawn("mirror", self._follow())

    def stopService(self) -> None:
        """
        Stop watching; the copy stays.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.cancel()

    def ready(self) -> Deferred[None]:
        """
        @return: fires once the copy has been whole for the first time.
        """
        if self._whole:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done

        def forget(deferred: Deferred[None]) -> None:
            if deferred in self._waiting:
                self._waiting.remove(deferred)

        waiting: Deferred[None] = Deferred(forget)
        self._waiting.append(waiting)
        return waiting

    @property
    def connected(self) -> bool:
        """
        Whether the watch stands right now.
        """
        return self._connected

    def age(self) -> Duration:
        """
        @return: how old the copy may be: zero while the watch stands, the time since it broke otherwise.
        """
        if self._connected:
            return timedelta(0)
        if not self._whole:
            return timedelta.max
        return timedelta(seconds=max(0.0, steady(self.clock) - self._heard))

    def get(self, kind: str, name: str, sub_kind: str = "") -> Resource:
        """
        @raise TeleportError: NOT_FOUND; also for what expired since.
        """
        found = self._items[kind].get((sub_kind, name))
        if found is None or self._expired(found):
            raise not_found(f"{kind} {name!r} is not found")
        return found

    def list(self, kind: str) -> list[Resource]:
        """
        @return: all of the kind that has not expired, in no order.
        """
        return [item for item in self._items[kind].values() if not self._expired(item)]

    def __iter__(self) -> Iterator[Resource]:
        for kind in self.kinds:
            yield from self.list(kind)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """
        @param listener: called from the reactor's thread for each change from now on, after the copy has it.
        @return: call it to be told no more.
        """
        self._listeners.append(listener)

        def leave() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return leave

    def learn(self, resource: Resource) -> None:
        """
        Take in what this process wrote itself, so that it reads its own writes before the watch tells of them.
        """
        if resource.kind in self._items:
            self._put((resource.sub_kind, resource.name), resource)

    def unlearn(self, resource: Resource) -> None:
        """
        The same for a deletion.
        """
        if resource.kind in self._items:
            self._delete((resource.sub_kind, resource.name), resource)

    def _expired(self, resource: Resource) -> bool:
        expires = resource.metadata.expires
        return expires is not None and expires <= from_timestamp(self.clock.seconds())

    async def _follow(self) -> None:
        waits = self.backoff.waits()
        while True:
            try:
                watch = self.resources.watch(self.kinds)
                try:
                    if await self._copy(watch):
                        waits = self.backoff.waits()
                finally:
                    await watch.aclose()  # type: ignore[attr-defined]
            except TeleportError as error:
                report = self._log.debug if error.kind is Kind.CONNECTION_PROBLEM else self._log.warn
                report("watching {kinds} broke off: {error}", kinds=", ".join(self.kinds), error=error)
            except CancelledError:
                raise
            except Exception:
                self._log.failure("watching {kinds} failed", kinds=", ".join(self.kinds))
            finally:
                self._lost()
            await deferLater(self.clock, next(waits), lambda: None)

    async def _copy(self, watch: AsyncIterator[Watched]) -> bool:
        """
        @return: whether the copy was whole before the watch ended.
        """
        seen: dict[str, set[Key]] | None = {kind: set() for kind in self.kinds}
        try:
            async for news in watch:
                resource = news.resource
                if news.change is Change.INIT:
                    self._complete(seen or {})
                    seen = None
                elif resource is not None and resource.kind in self._items:
                    key = (resource.sub_kind, resource.name)
                    if news.change is Change.PUT:
                        if seen is not None:
                            seen[resource.kind].add(key)
                        self._put(key, resource)
                    else:
                        self._delete(key, resource)
        except TeleportError:
            if seen is not None:
                raise
        return seen is None

    def _complete(self, seen: dict[str, set[Key]]) -> None:
        for kind, keys in seen.items():
            for key in [key for key in self._items[kind] if key not in keys]:
                self._delete(key, self._items[kind][key])
        self._whole = self._connected = True
        self._tell(Watched(Change.INIT))
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def _put(self, key: Key, resource: Resource) -> None:
        known = self._items[resource.kind].get(key)
        self._items[resource.kind][key] = resource
        if known is None or not resource.revision or known.revision != resource.revision:
            self._tell(Watched(Change.PUT, resource))

    def _delete(self, key: Key, resource: Resource) -> None:
        if self._items[resource.kind].pop(key, None) is not None:
            self._tell(Watched(Change.DELETE, resource))

    def _lost(self) -> None:
        if self._connected:
            self._connected = False
            self._heard = steady(self.clock)

    def _tell(self, news: Watched) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(news)
            except Exception:
                self._log.failure("a listener failed at {change}", change=news.change.value)
