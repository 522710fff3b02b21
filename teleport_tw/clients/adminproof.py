"""
Changes by an administrator, where the cluster wants a key touched for them.

Calls are made as they are; the one that is refused for want of a second factor is made again with one. The answer goes
along with the calls of the next minute, so that a file of many resources takes one touch.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from attrs import define, field

from teleport_tw.api.contract import Api, Scope
from teleport_tw.api.factors import ADMIN_MFA_NEEDED
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.clients.factors import Answering, asked

AGAIN_SECONDS = 50.0
"""How long an answer is shown again; auth takes it for a minute."""


@define(eq=False)
class Proving:
    """
    The contract, for L{teleport_tw.api.contract.Api}'s callers: each of its calls asks the person when auth does.

    @ivar answering: the person; made when first needed.
    """

    api: Api
    answering: Callable[[], Answering]
    _proven: Api | None = field(default=None, init=False)
    _at: float = field(default=0.0, init=False)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.api, name)
        if not inspect.iscoroutinefunction(found):
            return found

        @wraps(found)
        async def call(*args: Any, **kwargs: Any) -> Any:
            fresh = self._proven is not None and time.monotonic() - self._at < AGAIN_SECONDS
            try:
                return await getattr(self._proven if fresh else self.api, name)(*args, **kwargs)
            except TeleportError as error:
                if error.kind is not Kind.ACCESS_DENIED or ADMIN_MFA_NEEDED not in error.message:
                    raise
            return await getattr(await self._prove(), name)(*args, **kwargs)

        return call

    async def _prove(self) -> Api:
        challenge = await self.api.create_challenge(Scope.ADMIN_ACTION)
        answer = asked(lambda: self.answering().answer(challenge, "This changes the cluster, and takes your key."))
        self._proven, self._at = self.api.with_mfa(answer), time.monotonic()
        return self._proven
