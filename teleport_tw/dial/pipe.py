"""
Standard input and output joined to one connection, without a reactor: what runs behind OpenSSH's C{ProxyCommand}.

It starts in a tenth of a second, holds at most L{CHUNK} bytes each way, and reads no further than it can write.
"""

from __future__ import annotations

import os
import selectors
import ssl

from attrs import define, field

CHUNK = 256 * 1024
"""Bytes held each way at most; sixteen TLS records."""


@define(eq=False)
class _Half:
    """
    One direction: what was read and not yet written.
    """

    pending: memoryview = field(default=memoryview(b""))
    ended: bool = False


def join(connection: ssl.SSLSocket, source: int, sink: int, early: bytes = b"") -> None:
    """
    Copy both ways until one side ends: OpenSSH closes C{source} when it is done, and wants no more then.

    @param source: a file descriptor to read, mostly 0.
    @param sink: a file descriptor to write, mostly 1.
    @param early: what came on the connection already.
    @raise OSError: one of the two failed.
    """
    connection.setblocking(False)
    was = {fd: os.get_blocking(fd) for fd in (source, sink)}
    for fd in was:
        os.set_blocking(fd, False)
    try:
        _run(connection, source, sink, early)
    finally:
        for fd, blocking in was.items():
            os.set_blocking(fd, blocking)


def _run(connection: ssl.SSLSocket, source: int, sink: int, early: bytes) -> None:
    up, down = _Half(), _Half(memoryview(early))
    with selectors.PollSelector() as selector:  # unlike epoll, it takes files as well
        while not ((down.ended and not down.pending) or (up.ended and not up.pending)):
            moved = _receive(connection, down) | _write(sink, down) | _read(source, up) | _send(connection, up)
            if moved:
                continue
            wanted = {connection.fileno(): 0}
            if down.pending:
                wanted[sink] = selectors.EVENT_WRITE
            else:
                wanted[connection.fileno()] |= selectors.EVENT_READ
            if up.pending:
                wanted[connection.fileno()] |= selectors.EVENT_WRITE
            else:
                wanted[source] = selectors.EVENT_READ
            wanted = {fd: events for fd, events in wanted.items() if events}
            for fd, events in wanted.items():
                selector.register(fd, events)
            selector.select()
            for fd in wanted:
                selector.unregister(fd)


def _receive(connection: ssl.SSLSocket, down: _Half) -> bool:
    if down.ended or down.pending:
        return False
    chunks, size = [], 0
    while size < CHUNK:
        try:
            data = connection.recv(65536)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            break
        except (ssl.SSLEOFError, ConnectionResetError):
            data = b""
        if not data:
            down.ended = True
            break
        chunks.append(data)
        size += len(data)
    down.pending = memoryview(b"".join(chunks))
    return bool(chunks) or down.ended


def _write(sink: int, down: _Half) -> bool:
    if not down.pending:
        return False
    try:
        written = os.write(sink, down.pending)
    except BlockingIOError:
        return False
    down.pending = down.pending[written:]
    return True


def _read(source: int, up: _Half) -> bool:
    if up.ended or up.pending:
        return False
    try:
        data = os.read(source, CHUNK)
    except BlockingIOError:
        return False
    up.pending = memoryview(data)
    up.ended = not data
    return True


def _send(connection: ssl.SSLSocket, up: _Half) -> bool:
    if not up.pending:
        return False
    try:
        written = connection.send(up.pending)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    up.pending = up.pending[written:]
    return True
