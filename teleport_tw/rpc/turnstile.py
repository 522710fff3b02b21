"""
How many calls one caller may have at once.

A connection bounds its own calls, and the server all calls together; without something between, one caller with many
connections could take every place there is. What is counted is the identity, whatever certificate, connection or
service it comes by.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import contextmanager
from inspect import isasyncgenfunction
from typing import Any, TypeAlias

import grpc
from attrs import define, field
from grpc import aio

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.rpc.faults import ToFault
from teleport_tw.rpc.peer import Peer, peer_of

Quota: TypeAlias = Callable[[Peer], tuple[str, int] | None]
"""Whose the call is, and how many they may have at once; C{None} for those who are not counted. It does not raise."""


@define(eq=False)
class Turnstile(aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """
    Counts the calls of all services, streams included, up to their ends.

    @ivar inside: how many each caller has now; who has none is not in it.
    """

    quota: Quota
    to_fault: ToFault
    inside: dict[str, int] = field(factory=dict, init=False)

    async def intercept_service(
        self, continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """
        @return: the call's handler, counted.
        """
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        name = ("stream" if handler.request_streaming else "unary") + (
            "_stream" if handler.response_streaming else "_unary"
        )
        return handler._replace(**{name: self._counted(getattr(handler, name))})

    def _counted(self, behaviour: Any) -> Any:
        if isasyncgenfunction(behaviour):

            async def streamed(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
                with await self._enter(context):
                    async for reply in behaviour(request, context):
                        yield reply

            return streamed

        async def called(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            with await self._enter(context):
                return await behaviour(request, context)

        return called

    async def _enter(self, context: aio.ServicerContext[Any, Any]) -> Any:
        try:
            found = self.quota(peer_of(context))
            if found is not None and self.inside.get(found[0], 0) >= found[1]:
                raise TeleportError(
                    Kind.LIMIT_EXCEEDED,
                    f"you have {found[1]} calls under way, which is as many as one caller may have; end some first",
                    details=f"too many calls of {found[0]}",
                )
        except TeleportError as error:
            fault = self.to_fault(error)
            assert fault is not None  # every kind has a code
            await context.abort(fault.code, fault.text, fault.trailers)
        return self._place(found[0] if found is not None else None)

    @contextmanager
    def _place(self, caller: str | None) -> Any:
        if caller is None:
            yield
            return
        self.inside[caller] = self.inside.get(caller, 0) + 1
        try:
            yield
        finally:
            self.inside[caller] -= 1
            if not self.inside[caller]:
                del self.inside[caller]
