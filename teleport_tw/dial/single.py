"""
One command at a server, joined to this process's standard input and output, on the standard library's sockets: what
C{tsh ssh HOST COMMAND} is when nothing needs a reactor.

Every descriptor is polled; what cannot be written waits, and nothing more is read for it then.
"""

from __future__ import annotations

import os
import select
import signal
import ssl
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.conch.single import STDERR, STDOUT, SingleCommand

LOST_STATUS = 255
"""As C{ssh} has it, when it is not known how the command ended."""

UNANSWERED = 3
"""Questions to a silent server, before it is given up."""

LOGIN_SECONDS = 60.0
"""For key exchange, login and the start of the command."""

GRACE_SECONDS = 1.0
"""That a command has to end in once a signal was passed on."""

_CHUNK = 64 * 1024
_PASSED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Runner:
    """
    Runs one command to its end.
    """

    def __init__(self, connection: ssl.SSLSocket, command: SingleCommand, keepalive: float) -> None:
        """
        @param connection: to the server.
        @param keepalive: seconds of silence, before the server is asked whether it is there.
        """
        self._connection = connection
        self._command = command
        self._keepalive = keepalive
        self._pending: dict[int, deque[memoryview]] = {STDOUT: deque(), STDERR: deque()}
        self._broken: set[int] = set()
        self._input: int | None = 0
        self._leave_at: float | None = None
        self._unanswered = 0
        self._heard = time.monotonic()
        self._begun = self._heard

    def run(self, early: bytes = b"") -> int:
        """
        @param early: what came on the connection already.
        @return: the exit status.
        @raise TeleportError: it could not be started, or the connection was lost.
        @raise PersonNeededError: see L{SingleCommand.feed}.
        """
        command, connection = self._command, self._connection
        connection.setblocking(False)
        command.begin()
        with _unblocked(0, 1, 2), _signals() as waker:
            try:
                if early:
                    command.feed(early)
                while not command.over or command.arrived or any(self._pending.values()):
                    self._collect()
                    self._write()
                    self._flush()
                    if command.over and not any(self._pending.values()):
                        break
                    self._wait(waker)
            finally:
                with suppress(OSError):
                    self._flush()
                connection.close()
        return LOST_STATUS if command.status is None else command.status

    def _wait(self, waker: int) -> None:
        poll = select.poll()
        writing = {fd for fd, chunks in self._pending.items() if chunks}
        command = self._command
        events = select.POLLOUT if command.outgoing else 0
        if not writing:
            events |= select.POLLIN
        socket = self._connection.fileno()
        if events and not command.over:  # asked for nothing, poll tells of a connection's end, again and again
            poll.register(socket, events)
        for fd in writing:
            poll.register(fd, select.POLLOUT)
        poll.register(waker, select.POLLIN)
        if self._input is not None and command.room and not command.outgoing:
            poll.register(self._input, select.POLLIN)
        if not writing and self._connection.pending():
            self._receive()
            return
        ready = dict(poll.poll(self._patience() * 1000))
        if waker in ready:
            self._signalled(waker)
        if not command.over and ready.get(socket, 0) & ~select.POLLOUT and not writing:
            self._receive()
        if self._input is not None and self._input in ready:
            self._read()
        self._consider_time()

    def _patience(self) -> float:
        now = time.monotonic()
        until = self._heard + self._keepalive * (1 + self._unanswered)
        if not self._command.started:
            until = min(until, self._begun + LOGIN_SECONDS)
        if self._leave_at is not None:
            until = min(until, self._leave_at)
        return max(0.0, until - now)

    def _consider_time(self) -> None:
        now, command = time.monotonic(), self._command
        if self._leave_at is not None and now >= self._leave_at:
            command.disconnect()
        elif not command.started and now >= self._begun + LOGIN_SECONDS:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the server took too long to let us in")
        elif now >= self._heard + self._keepalive * (1 + self._unanswered):
            if self._unanswered >= UNANSWERED:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection to the server was lost")
            self._unanswered += 1
            command.keep_alive()

    # The connection.

    def _receive(self) -> None:
        size = 0
        while size < 16 * _CHUNK and not self._command.over:
            try:
                data = self._connection.recv(_CHUNK)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except (OSError, ssl.SSLError):
                data = b""
            if not data:
                self._lost()
                return
            size += len(data)
            self._heard, self._unanswered = time.monotonic(), 0
            self._command.feed(data)

    def _lost(self) -> None:
        command = self._command
        command.ended()
        if command.status is None and not command.signal:
            self._collect()
            self._write()
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection to the server was lost")

    def _flush(self) -> None:
        outgoing = self._command.outgoing
        while outgoing:
            try:
                sent = self._connection.send(outgoing)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except (OSError, ssl.SSLError):
                outgoing.clear()  # reading tells what happened
                return
            del outgoing[:sent]

    # Standard input and output.

    def _read(self) -> None:
        assert self._input is not None
        try:
            data = os.read(self._input, min(self._command.room, _CHUNK))
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._input = None
        self._command.send(data)

    def _collect(self) -> None:
        arrived, self._command.arrived = self._command.arrived, []
        for fd, data in arrived:
            if fd in self._broken:
                self._command.taken(len(data))
            else:
                self._pending[fd].append(memoryview(data))

    def _write(self) -> None:
        for fd, chunks in self._pending.items():
            while chunks:
                try:
                    count = os.write(fd, chunks[0])
                except BlockingIOError:
                    break
                except OSError:
                    self._nobody_reads(fd)
                    break
                self._command.taken(count)
                if count == len(chunks[0]):
                    chunks.popleft()
                else:
                    chunks[0] = chunks[0][count:]

    def _nobody_reads(self, fd: int) -> None:
        chunks = self._pending[fd]
        self._command.taken(sum(map(len, chunks)))
        chunks.clear()
        self._broken.add(fd)
        if fd == STDOUT:  # as a program at the end of a pipe would: it ends
            self._command.disconnect()

    def _signalled(self, waker: int) -> None:
        for number in os.read(waker, 64):
            if signal.Signals(number) in _PASSED:
                self._command.send_signal(signal.Signals(number).name.removeprefix("SIG"))
                if self._leave_at is None:
                    self._leave_at = time.monotonic() + (GRACE_SECONDS if self._command.started else 0)


@contextmanager
def _unblocked(*descriptors: int) -> Iterator[None]:
    was = {}
    for fd in descriptors:
        with suppress(OSError):
            was[fd] = os.get_blocking(fd)
            os.set_blocking(fd, False)
    try:
        yield
    finally:
        for fd, blocking in was.items():
            with suppress(OSError):
                os.set_blocking(fd, blocking)


@contextmanager
def _signals() -> Iterator[int]:
    """
    @return: a descriptor that tells the numbers of signals that came. Those that are ignored stay ignored (C{nohup}).
    """
    reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    before = {number: signal.getsignal(number) for number in _PASSED}
    woken = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)
