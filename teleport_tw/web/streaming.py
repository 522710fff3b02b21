"""
Answers on their way out: JSON, bytes, or pieces that come while they are sent, no faster than the client reads.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import IResource
from zope.interface import implementer

from teleport_tw.web.routes import Answer, Reply


async def send(request: Any, reply: Reply) -> Any:
    """
    @return: what Klein still has to write.
    """
    if isinstance(reply, Answer):
        request.setResponseCode(reply.status)
        request.setHeader(b"Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            request.setHeader(name, value)
        if not isinstance(reply.body, bytes):
            await _pour(request, reply.body)
            return b""
        return reply.body
    if isinstance(reply, bytes) or IResource.providedBy(reply):
        return reply
    return json.dumps(reply, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


async def _pour(request: Any, pieces: AsyncIterator[bytes]) -> None:
    if request.method == b"HEAD":
        await _close(pieces)
        return
    valve = Valve()
    request.registerProducer(valve, True)
    try:
        async for piece in pieces:
            await valve.ready()
            if valve.shut:
                return
            request.write(piece)
    finally:
        if not valve.shut:
            request.unregisterProducer()
        await _close(pieces)


async def _close(pieces: AsyncIterator[bytes]) -> None:
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


@implementer(IPushProducer)
@define(eq=False)
class Valve:
    """
    Says when the client can take more.

    @ivar shut: it went away.
    """

    shut: bool = field(default=False, init=False)
    _paused: bool = field(default=False, init=False)
    _waiting: Deferred[None] | None = field(default=None, init=False)

    async def ready(self) -> None:
        """
        Return once it can.
        """
        while self._paused and not self.shut:
            self._waiting = Deferred()
            await self._waiting

    def pauseProducing(self) -> None:
        """
        @see: C{IPushProducer}
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        @see: C{IPushProducer}
        """
        self._paused = False
        self._go_on()

    def stopProducing(self) -> None:
        """
        @see: C{IProducer}
        """
        self.shut = True
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)
