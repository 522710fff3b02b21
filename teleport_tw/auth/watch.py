"""
Changes for one identity: what it may read, without secrets, for as long as it is let in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall

from teleport_tw.api.contract import Change, Watched
from teleport_tw.auth.gate import Gate
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.resources.metadata import Resource
from teleport_tw.stores.resources import ResourceWatch

CHECK_SECONDS = 2.0
"""How soon an open watch ends after its caller was locked out or its certificate ran out."""


@define(eq=False)
class Watching:
    """
    @ivar visible: gives what of a resource the caller sees; None for nothing.
    """

    gate: Gate
    visible: Callable[[Resource], Resource | None]
    _inner: ResourceWatch
    _seen: set[tuple[str, str, str]] = field(factory=set, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _refusal: TeleportError | None = field(default=None, init=False)
    _closed: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._plan()

    def __aiter__(self) -> AsyncIterator[Watched]:
        return self

    async def __anext__(self) -> Watched:
        while not self._closed:
            try:
                news = await self._inner.__anext__()
            except StopAsyncIteration:
                break
            if self._refusal is not None:
                break
            shown = self._show(news)
            if shown is not None:
                return shown
        await self.aclose()
        raise self._refusal or TeleportError(Kind.CONNECTION_PROBLEM, "the watch was closed")

    def _show(self, news: Watched) -> Watched | None:
        """
        A resource that the caller saw and no longer may see is told as deleted.
        """
        resource = news.resource
        if resource is None:
            return news
        key = (resource.kind, resource.sub_kind, resource.name)
        if news.change is Change.DELETE:
            known = key in self._seen
            self._seen.discard(key)
            return news if known else None
        visible = self.visible(resource)
        if visible is None:
            if key not in self._seen:
                return None
            self._seen.discard(key)
            return Watched(Change.DELETE, Resource(resource.kind, "", resource.metadata, {}, resource.sub_kind))
        self._seen.add(key)
        return Watched(Change.PUT, visible)

    def _plan(self) -> None:
        self._timer = self.gate.core.clock.callLater(CHECK_SECONDS, self._check)

    def _check(self) -> None:
        self._timer = None
        try:
            self.gate.admit()
        except TeleportError as error:
            self._refusal = error
            self._inner.close()
        else:
            self._plan()

    async def aclose(self) -> None:
        """
        Give it up.
        """
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._inner.close()
