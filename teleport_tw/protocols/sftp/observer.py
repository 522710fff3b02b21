"""
Somebody else's SFTP session, read in passing: what was done to which file, and whether it worked.

The bytes of both directions are fed as they come and are passed on by whoever feeds them. Requests that change or open
something are kept by number until their answer comes; the contents of files are skipped without being collected. What
cannot be read is an error: nobody does unseen what we cannot follow.

@see: draft-ietf-secsh-filexfer-02; OpenSSH, C{PROTOCOL} section 4
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct

from attrs import define, evolve, field, frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.sftp import attributes, codes
from teleport_tw.protocols.ssh.wire import Reader

MAX_PENDING = 4096
"""Requests without an answer; OpenSSH's client has 64, sshfs some hundreds."""

MAX_OPEN = 4096
"""Handles at a time; more than a process may have files."""

MAX_HANDLE_BYTES = 256
"""@see: draft-ietf-secsh-filexfer-02, section 6.2"""

_LENGTH_BYTES = 4
_WRITE_HEAD_BYTES = 1 + 4 + 4 + MAX_HANDLE_BYTES + 8 + 4
"""Kind, number, handle, offset and the data's length of a WRITE."""

_DATA_HEAD_BYTES = 1 + 4 + 4
_UINT32 = Struct(">I")


@frozen(kw_only=True)
class Operation:
    """
    Something done to a path, once its answer is known.

    @ivar name: as L{teleport_tw.events.files.SFTPAction} has it, in lower case.
    @ivar target: the new name of rename, symlink and link.
    @ivar flags: of open; C{None} elsewhere.
    @ivar error: the server's words; empty when it worked.
    """

    name: str
    path: str
    target: str = ""
    flags: int | None = None
    attributes: Mapping[str, int | str] = field(factory=dict)
    error: str = ""


@frozen
class Transferred:
    """
    A file was closed, or left open at the end.
    """

    path: str
    bytes_read: int
    bytes_written: int


Seen = Operation | Transferred


@define(eq=False)
class _Open:
    path: str
    listed: bool | None = None
    bytes_read: int = 0
    bytes_written: int = 0


@frozen(kw_only=True)
class _Asked:
    """
    A request whose answer matters.
    """

    kind: int
    operation: Operation | None = None
    handle: bytes = b""


class _Messages:
    """
    Cuts one direction into messages; of those with contents only the head is kept.
    """

    def __init__(self, long_kind: int, head_bytes: int) -> None:
        self._long_kind = long_kind
        self._head_bytes = head_bytes
        self._buffer = bytearray()
        self._skip = 0

    def feed(self, data: bytes | memoryview, take: Callable[[bytes], None]) -> None:
        """
        @param take: called with each message, or its head, without the length.
        @raise RemoteProtocolError: no SFTP message is of that size.
        """
        view = memoryview(data)
        if self._skip:
            passed = min(self._skip, len(view))
            self._skip -= passed
            view = view[passed:]
        if not view:
            return
        self._buffer += view
        start, buffer = 0, self._buffer
        while len(buffer) - start > _LENGTH_BYTES:
            (size,) = _UINT32.unpack_from(buffer, start)
            if not 1 <= size <= codes.MAX_MESSAGE_BYTES:
                raise RemoteProtocolError(f"an SFTP message of {size} bytes")
            there = len(buffer) - start - _LENGTH_BYTES
            wanted = size
            if buffer[start + _LENGTH_BYTES] == self._long_kind:
                wanted = min(size, self._head_bytes)
            if there < wanted:
                break
            begin = start + _LENGTH_BYTES
            take(bytes(buffer[begin : begin + wanted]))
            start = begin + size
            if start > len(buffer):
                self._skip = start - len(buffer)
                start = len(buffer)
        del buffer[:start]


class Observer:
    """
    Follows one session.
    """

    def __init__(self) -> None:
        self._requests = _Messages(codes.WRITE, _WRITE_HEAD_BYTES)
        self._answers = _Messages(codes.DATA, _DATA_HEAD_BYTES)
        self._pending: dict[int, _Asked] = {}
        self._open: dict[bytes, _Open] = {}
        self._seen: list[Seen] = []
        self._started = False

    def asked(self, data: bytes | memoryview) -> None:
        """
        @param data: from the client.
        @raise RemoteProtocolError: it cannot be followed.
        """
        self._requests.feed(data, self._request)

    def answered(self, data: bytes | memoryview) -> list[Seen]:
        """
        @param data: from the server.
        @return: what was done, in the order of the answers.
        @raise RemoteProtocolError: it cannot be followed.
        """
        self._answers.feed(data, self._answer)
        seen, self._seen = self._seen, []
        return seen

    def ended(self) -> list[Seen]:
        """
        @return: files that are still open count as closed.
        """
        handles, self._open = self._open, {}
        return [Transferred(each.path, each.bytes_read, each.bytes_written) for each in handles.values() if _file(each)]

    # Requests.

    def _request(self, message: bytes) -> None:
        kind = message[0]
        if not self._started:
            if kind != codes.INIT:
                raise RemoteProtocolError("SFTP begins with INIT")
            self._started = True
            return
        reader = Reader(message)
        reader.raw(1)
        number = reader.uint32()
        asked = self._read(kind, reader)
        if asked is None:
            return
        if len(self._pending) >= MAX_PENDING or number in self._pending:
            raise RemoteProtocolError("too many SFTP requests, or two of one number")
        self._pending[number] = asked

    def _read(self, kind: int, reader: Reader) -> _Asked | None:
        match kind:
            case codes.WRITE:
                opened = self._open.get(reader.string())
                reader.uint64()
                if opened is not None:
                    opened.bytes_written += reader.uint32()
                return None
            case codes.READ | codes.CLOSE:
                return _Asked(kind=kind, handle=_handle(reader))
            case codes.READDIR:
                return self._readdir(kind, _handle(reader))
            case codes.FSETSTAT:
                handle = _handle(reader)
                opened = self._open.get(handle)
                path = opened.path if opened is not None else ""
                return _asked(kind, "setstat", path, attributes=attributes.told(attributes.read(reader)))
            case codes.EXTENDED:
                return self._extended(kind, reader)
        name = _PATHS.get(kind)
        if name is None:
            return None
        path, target, flags = _text(reader), "", None
        found: Mapping[str, int | str] = {}
        if kind == codes.OPEN:
            flags, found = reader.uint32(), attributes.told(attributes.read(reader))
        elif kind in (codes.RENAME, codes.SYMLINK):
            target = _text(reader)
        elif kind in (codes.SETSTAT, codes.MKDIR):
            found = attributes.told(attributes.read(reader))
        return _asked(kind, name, path, target, flags, found)

    def _readdir(self, kind: int, handle: bytes) -> _Asked | None:
        """
        Noted once a directory.
        """
        opened = self._open.get(handle)
        if opened is None or opened.listed is not False:
            return None
        opened.listed = True
        return _asked(kind, "readdir", opened.path)

    def _extended(self, kind: int, reader: Reader) -> _Asked | None:
        match reader.string():
            case codes.POSIX_RENAME:
                return _asked(kind, "rename", _text(reader), _text(reader))
            case codes.HARDLINK:
                return _asked(kind, "link", _text(reader), _text(reader))
            case codes.LSETSTAT:
                return _asked(kind, "setstat", _text(reader), attributes=attributes.told(attributes.read(reader)))
            case codes.COPY_DATA:
                source, _, size, target = _handle(reader), reader.uint64(), reader.uint64(), _handle(reader)
                for handle, reads in ((source, True), (target, False)):
                    self._count(handle, size, reads=reads)
        return None

    def _count(self, handle: bytes, size: int, *, reads: bool) -> None:
        opened = self._open.get(handle)
        if opened is None:
            return
        if reads:
            opened.bytes_read += size
        else:
            opened.bytes_written += size

    # Answers.

    def _answer(self, message: bytes) -> None:
        kind = message[0]
        if kind == codes.VERSION_ANSWER:
            return
        reader = Reader(message)
        reader.raw(1)
        asked = self._pending.pop(reader.uint32(), None)
        if asked is None:
            return
        if kind == codes.DATA:
            self._count(asked.handle, reader.uint32(), reads=True)
            return
        if asked.kind == codes.CLOSE:
            opened = self._open.pop(asked.handle, None)
            if opened is not None and _file(opened):
                self._seen.append(Transferred(opened.path, opened.bytes_read, opened.bytes_written))
            return
        operation = asked.operation
        if operation is None:
            return
        error = ""
        if kind == codes.STATUS:
            error = _error(reader)
        elif kind == codes.HANDLE:
            self._opened(asked.kind, _handle(reader), operation.path)
        self._seen.append(evolve(operation, error=error))

    def _opened(self, kind: int, handle: bytes, path: str) -> None:
        if len(self._open) >= MAX_OPEN:
            raise RemoteProtocolError("too many open SFTP files")
        self._open[handle] = _Open(path, False if kind == codes.OPENDIR else None)


_PATHS = {
    codes.OPEN: "open",
    codes.SETSTAT: "setstat",
    codes.OPENDIR: "opendir",
    codes.REMOVE: "remove",
    codes.MKDIR: "mkdir",
    codes.RMDIR: "rmdir",
    codes.RENAME: "rename",
    codes.SYMLINK: "symlink",
}

_STATUS_TEXTS = {
    codes.NO_SUCH_FILE: "no such file",
    codes.PERMISSION_DENIED: "permission denied",
    codes.FAILURE: "failure",
    codes.BAD_MESSAGE: "bad message",
    codes.OP_UNSUPPORTED: "not supported",
}
"""What a status means, where the server has no words of its own."""


def _file(opened: _Open) -> bool:
    return opened.listed is None


def _asked(
    kind: int,
    name: str,
    path: str,
    target: str = "",
    flags: int | None = None,
    attributes: Mapping[str, int | str] | None = None,
) -> _Asked:
    operation = Operation(name=name, path=path, target=target, flags=flags, attributes=attributes or {})
    return _Asked(kind=kind, operation=operation)


def _handle(reader: Reader) -> bytes:
    handle = reader.string()
    if len(handle) > MAX_HANDLE_BYTES:
        raise RemoteProtocolError("an SFTP handle is too long")
    return handle


def _text(reader: Reader) -> str:
    path = reader.string()
    if len(path) > codes.MAX_PATH_BYTES:
        raise RemoteProtocolError("an SFTP path is too long")
    return path.decode("utf-8", "backslashreplace")


def _error(reader: Reader) -> str:
    """
    C{uint32} status; C{string} message; C{string} language, the last two not from every server.
    """
    status = reader.uint32()
    if status in (codes.OK, codes.EOF):  # the end of an empty directory is no failure
        return ""
    fallback = _STATUS_TEXTS.get(status, f"status {status}")
    if not reader.remaining:
        return fallback
    return reader.string()[:256].decode("utf-8", "backslashreplace").lower() or fallback
