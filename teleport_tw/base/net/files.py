"""
Pipes and terminals on the loop, with back-pressure both ways.

L{FileSource} is a push producer that reads a descriptor; L{FileSink} writes to one and says when it is full. Both own
their descriptor and are for what can be polled: pipes, sockets, the master side of a terminal.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer, IReactorTime
from zope.interface import implementer

from teleport_tw.base.loop import loop_of

READ_BYTES = 256 * 1024
"""Most that is read, and then written on, at a time."""

TERMINAL_BYTES = 4095
"""The most Linux gives of a terminal at a time; a shorter read has emptied it."""

FINISHING_BYTES = 1024 * 1024
"""What is still read after whoever wrote is gone: more than any pipe holds."""

HIGH_WATER_BYTES = 256 * 1024
"""Waiting to be written; above it the sink is full."""

LOW_WATER_BYTES = 64 * 1024


@implementer(IPushProducer)
class FileSource:
    """
    Reads until the end.

    @ivar on_data: given what was read; may pause the source.
    @ivar on_end: called once, at the end of the file or when the other side of a terminal is gone.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        descriptor: int,
        on_data: Callable[[bytes], object],
        on_end: Callable[[], object],
        *,
        terminal: bool = False,
    ) -> None:
        """
        @param descriptor: ours from now on.
        @param terminal: read several times at once, as a terminal gives little at a time.
        """
        os.set_blocking(descriptor, False)
        self._loop = loop_of(reactor)
        self._descriptor = descriptor
        self._terminal = terminal
        self._finishing = False
        self._left = FINISHING_BYTES
        self._reading = False
        self.on_data = on_data
        self.on_end = on_end

    @property
    def descriptor(self) -> int:
        """
        What is read; negative once it is closed.
        """
        return self._descriptor

    @property
    def ended(self) -> bool:
        """
        Whether nothing more comes.
        """
        return self._descriptor < 0

    def resumeProducing(self) -> None:
        """
        Begin, or go on.
        """
        if not self._reading and self._descriptor >= 0:
            self._reading = True
            self._loop.add_reader(self._descriptor, self._readable)
            if self._finishing:
                self._loop.call_soon(self._drain)

    def pauseProducing(self) -> None:
        """
        Read no more for now.
        """
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self._descriptor)

    def stopProducing(self) -> None:
        """
        Close; L{on_end} is not called.
        """
        if self._descriptor >= 0:
            self.pauseProducing()
            os.close(self._descriptor)
            self._descriptor = -1

    def finish(self) -> None:
        """
        Whoever wrote is gone: what is there now is all there will be, though others keep the other end open.
        """
        self._finishing = True
        if self._reading:
            self._loop.call_soon(self._drain)

    def _drain(self) -> None:
        while self._reading and self._left > 0:
            self._readable()
        if self._reading:  # somebody goes on writing
            self._end()

    def _readable(self) -> None:
        if self._descriptor < 0:
            return
        data = self._read()
        if data:
            self.on_data(data)
        elif data is not None or self._finishing:
            self._end()
        if data and self._finishing:
            self._left -= len(data)

    def _end(self) -> None:
        self.stopProducing()
        self.on_end()

    def _read(self) -> bytes | None:
        """
        @return: empty at the end; C{None} when there is nothing now.
        """
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:  # EIO: nobody has the terminal open any more
            return b""
        if not self._terminal or len(data) < TERMINAL_BYTES:
            return data
        pieces, size = [data], len(data)
        while size < READ_BYTES and len(pieces[-1]) >= TERMINAL_BYTES:
            try:
                more = os.read(self._descriptor, READ_BYTES - size)
            except OSError:  # nothing more now, or the end, which the next read finds again
                break
            if not more:
                break
            pieces.append(more)
            size += len(more)
        return b"".join(pieces)


class FileSink:
    """
    Writes in order.

    @ivar on_full: more is waiting than L{HIGH_WATER_BYTES}.
    @ivar on_room: it has run down to L{LOW_WATER_BYTES}.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        descriptor: int,
        *,
        on_full: Callable[[], object] = lambda: None,
        on_room: Callable[[], object] = lambda: None,
    ) -> None:
        """
        @param descriptor: ours from now on.
        """
        os.set_blocking(descriptor, False)
        self._loop = loop_of(reactor)
        self._descriptor = descriptor
        self._waiting: deque[memoryview] = deque()
        self._bytes = 0
        self._full = False
        self._closing = False
        self.on_full = on_full
        self.on_room = on_room

    @property
    def waiting_bytes(self) -> int:
        """
        How much is not written yet.
        """
        return self._bytes

    def write(self, data: bytes) -> None:
        """
        Write now, or when there is room; what nobody reads any more is dropped.
        """
        if self._descriptor < 0 or self._closing or not data:
            return
        view = memoryview(data)
        if not self._waiting:
            try:
                view = view[os.write(self._descriptor, view) :]
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self.abort()
                return
            if not view:
                return
            self._loop.add_writer(self._descriptor, self._writable)
        self._waiting.append(view)
        self._bytes += len(view)
        if self._bytes > HIGH_WATER_BYTES and not self._full:
            self._full = True
            self.on_full()

    def close(self) -> None:
        """
        Close once everything is written.
        """
        self._closing = True
        if not self._waiting:
            self.abort()

    def abort(self) -> None:
        """
        Close now.
        """
        if self._descriptor < 0:
            return
        if self._waiting:
            self._loop.remove_writer(self._descriptor)
        self._waiting.clear()
        self._bytes = 0
        os.close(self._descriptor)
        self._descriptor = -1
        self._has_room()

    def _writable(self) -> None:
        waiting = self._waiting
        try:
            while waiting:
                view = waiting[0]
                written = os.write(self._descriptor, view)
                self._bytes -= written
                if written < len(view):
                    waiting[0] = view[written:]
                    break
                waiting.popleft()
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.abort()
            return
        if not waiting:
            self._loop.remove_writer(self._descriptor)
        if self._bytes <= LOW_WATER_BYTES:
            self._has_room()
        if not waiting and self._closing:
            self.abort()

    def _has_room(self) -> None:
        if self._full:
            self._full = False
            self.on_room()
