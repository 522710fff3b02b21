"""
A request's body, taken as it comes: for uploads of any size, which nobody keeps in memory.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from teleport_tw.base.errors import Kind, TeleportError

WAITING_BYTES = 256 * 1024
"""Of a body that came faster than it is used; more is left in the kernel, and the client waits."""

SILENT_SECONDS = 60.0
"""Without a byte of a body that is waited for, before it is given up: a network that was lost for longer is lost."""

GRACE_SECONDS = 120.0
"""Of waiting, before a body must have come at the slowest rate; a link that stalls now and then evens out."""

SLOWEST_RATE = 256
"""Bytes a second, over all the time that was spent waiting for the client: a tenth of what a modem does. Time in which
the server at the other end was the slow one does not count."""


@define(eq=False)
class Body:
    """
    An asynchronous iterator over pieces.

    @ivar length: bytes announced; None for a chunked body.
    @ivar whole: all of it has come.
    """

    _transport: Any
    length: int | None
    _clock: IReactorTime | None = None
    whole: bool = field(default=False, init=False)
    _pieces: deque[bytes] = field(factory=deque, init=False)
    _waiting: int = field(default=0, init=False)
    _paused: bool = field(default=False, init=False)
    _dropped: bool = field(default=False, init=False)
    _failed: bool = field(default=False, init=False)
    _wanted: Deferred[None] | None = field(default=None, init=False)
    _came: int = field(default=0, init=False)
    _waited: float = field(default=0.0, init=False)

    def feed(self, data: bytes) -> None:
        """
        A piece came.
        """
        if self._dropped:
            return
        self._came += len(data)
        self._pieces.append(data)
        self._waiting += len(data)
        if self._waiting > WAITING_BYTES and not self._paused:
            self._paused = True
            self._transport.pauseProducing()
        self._wake()

    def end(self) -> None:
        """
        That was all.
        """
        self.whole = True
        self._wake()

    def fail(self) -> None:
        """
        The client is gone.
        """
        if not self.whole:
            self._failed = True
            self._wake()

    def drop(self) -> None:
        """
        Nobody wants the rest, which is thrown away as it comes.
        """
        self._dropped = True
        self._pieces.clear()
        self._waiting = 0
        self._go_on()

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> bytes:
        while not self._pieces:
            if self._failed:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "the upload was broken off")
            if self.whole:
                raise StopAsyncIteration
            await self._wait()
        piece = self._pieces.popleft()
        self._waiting -= len(piece)
        if self._waiting <= WAITING_BYTES // 2:
            self._go_on()
        return piece

    async def _wait(self) -> None:
        self._wanted = Deferred()
        clock = self._clock
        if clock is None:
            await self._wanted
            return
        begun = clock.seconds()
        try:
            await self._wanted.addTimeout(SILENT_SECONDS, clock)
        except TimeoutError as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"the upload was ended: nothing came for {SILENT_SECONDS:g} seconds"
            ) from error
        finally:
            self._wanted = None
        self._waited += max(0.0, clock.seconds() - begun)
        if self._waited > GRACE_SECONDS and self._came < SLOWEST_RATE * self._waited and not self.whole:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                f"the upload was ended: it is slower than {SLOWEST_RATE} bytes a second",
            )

    def _go_on(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resumeProducing()

    def _wake(self) -> None:
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)
