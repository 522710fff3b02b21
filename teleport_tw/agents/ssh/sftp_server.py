"""
The SFTP server: runs as the login in a process of its own, see L{teleport_tw.agents.ssh.fileserver}.

What may be read or written is the kernel's to say: nothing here checks paths. Requests are answered in order, and the
answers to all that came together leave together. The standard library is all it needs.

@see: draft-ietf-secsh-filexfer-02; OpenSSH, C{PROTOCOL} section 4, and its C{sftp-server.c} 9.2 for what drafts leave
    open: the order of SYMLINK's paths, RENAME replacing nothing, which errno becomes which status
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from struct import Struct
from typing import Any, Protocol

from teleport_tw.agents.ssh.sftp_listing import Names, entry
from teleport_tw.agents.ssh.sftp_system import (
    STATUSES,
    WATCHED,
    WATCHED_EXTENSIONS,
    Opener,
    file_attributes,
    file_system,
    known_name,
    link,
    one_name,
    open_flags,
    rename,
    writes_only,
)
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.sftp import attributes, codes
from teleport_tw.protocols.sftp.attributes import PERMISSION_BITS, Attributes, told
from teleport_tw.protocols.ssh.wire import Reader, put_string, put_uint32

MAX_HANDLES = 1024
BUFFER_BYTES = 4 * codes.MAX_MESSAGE_BYTES
FLUSH_BYTES = 512 * 1024
LISTED_AT_ONCE = 128
COPY_BYTES = 1024 * 1024
MAX_OFFSET = 2**63 - 1
_MAX_PIECES = 512
_HANDLE_BYTES = 4

_LENGTH = Struct(">I")
_HEAD = Struct(">IBI")
_DATA_HEAD = Struct(">IBII")
_READ = Struct(">IQI")
_WRITE = Struct(">IQI")


class Report(Protocol):
    """
    Tells the agent what happened; see L{teleport_tw.agents.ssh.fileserver.Reports}.
    """

    def __call__(self, operation: str, **facts: Any) -> None:  # whatever JSON knows
        """
        Returns once it is told.
        """
        ...


class _Handle:
    """
    An open file or directory.
    """

    __slots__ = ("descriptor", "entries", "listed", "path", "read_bytes", "written_bytes")

    def __init__(self, descriptor: int, path: bytes, entries: Iterator[bytes] | None = None) -> None:
        self.descriptor = descriptor
        self.path = path
        self.entries = entries
        self.listed = False
        self.read_bytes = self.written_bytes = 0


class SFTPServer:
    """
    See the module.
    """

    def __init__(self, reading: int, writing: int, report: Report, gate: Opener | None = None) -> None:
        self._reading = reading
        self._writing = writing
        self._report = report
        self._gate = gate
        self._handles: dict[int, _Handle] = {}
        self._next_handle = 0
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._started = False
        self._names = Names()
        self._requests: dict[int, Callable[[Reader], bytes]] = {
            codes.OPEN: self._open,
            codes.CLOSE: self._close,
            codes.LSTAT: lambda reader: file_attributes(os.lstat(_path(reader))),
            codes.STAT: lambda reader: file_attributes(os.stat(_path(reader))),
            codes.FSTAT: lambda reader: file_attributes(os.fstat(self._handle(reader).descriptor)),
            codes.SETSTAT: self._setstat,
            codes.FSETSTAT: self._fsetstat,
            codes.OPENDIR: self._opendir,
            codes.READDIR: self._readdir,
            codes.REMOVE: lambda reader: self._change("remove", os.unlink, _path(reader)),
            codes.MKDIR: self._mkdir,
            codes.RMDIR: lambda reader: self._change("rmdir", os.rmdir, _path(reader)),
            codes.REALPATH: lambda reader: one_name(os.path.realpath(reader.string() or b".")),
            codes.RENAME: lambda reader: self._change("rename", rename, _path(reader), _path(reader)),
            codes.READLINK: lambda reader: one_name(os.readlink(_path(reader))),
            codes.SYMLINK: lambda reader: self._change("symlink", os.symlink, reader.string(), _path(reader)),
            codes.EXTENDED: self._extended,
        }
        self._extensions: dict[bytes, Callable[[Reader], bytes]] = {
            codes.POSIX_RENAME: lambda reader: self._change("rename", os.rename, _path(reader), _path(reader)),
            codes.HARDLINK: lambda reader: self._change("link", link, _path(reader), _path(reader)),
            codes.STATVFS: lambda reader: file_system(os.statvfs(_path(reader))),
            codes.FSTATVFS: lambda reader: file_system(os.fstatvfs(self._handle(reader).descriptor)),
            codes.FSYNC: self._fsync,
            codes.LSETSTAT: self._lsetstat,
            codes.LIMITS: lambda reader: _LIMITS,
            codes.EXPAND_PATH: lambda reader: one_name(os.path.realpath(os.path.expanduser(reader.string() or b"."))),
            codes.COPY_DATA: self._copy,
            codes.USERS_GROUPS: self._users_and_groups,
        }
        if gate is not None:
            self._requests = {code: serve for code, serve in self._requests.items() if code in WATCHED}
            self._extensions = {name: serve for name, serve in self._extensions.items() if name in WATCHED_EXTENSIONS}

    def run(self) -> int:
        """
        Serve until the client is gone.

        @return: the exit status.
        @raise RemoteProtocolError: what came is no SFTP.
        """
        buffer = bytearray(BUFFER_BYTES)
        view = memoryview(buffer)
        start = end = 0
        self._report("begin", path=os.getcwdb())
        try:
            while True:
                got = os.readv(self._reading, [view[end:]])
                if not got:
                    return 0
                end += got
                start = self._consume(view, start, end)
                self._flush()
                if start == end:
                    start = end = 0
                elif BUFFER_BYTES - start < codes.MAX_MESSAGE_BYTES + _LENGTH.size or end == BUFFER_BYTES:
                    buffer[: end - start] = bytes(view[start:end])
                    start, end = 0, end - start
        finally:
            for handle in self._handles.values():
                self._done(handle)

    def _consume(self, view: memoryview, start: int, end: int) -> int:
        """
        @return: where the first message begins that is not whole.
        """
        while end - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(view, start)
            if not 5 <= size <= codes.MAX_MESSAGE_BYTES:
                raise RemoteProtocolError(f"an SFTP message of {size} bytes")
            stop = start + _LENGTH.size + size
            if stop > end:
                break
            self._message(view[start + _LENGTH.size : stop])
            start = stop
            if self._out_bytes >= FLUSH_BYTES:
                self._flush()
        return start

    def _message(self, message: memoryview) -> None:
        kind = message[0]
        if not self._started:
            if kind != codes.INIT:
                raise RemoteProtocolError("SFTP begins with INIT")
            self._started = True
            fields = b"".join(put_string(name) + put_string(version) for name, version in codes.EXTENSIONS)
            self._say(_HEAD.pack(5 + len(fields), codes.VERSION_ANSWER, codes.VERSION), fields)
            return
        number = int.from_bytes(message[1:5], "big")
        try:
            if kind == codes.READ:
                self._read(number, message)
            elif kind == codes.WRITE:
                self._write(number, message)
            else:
                serve = self._requests.get(kind)
                if serve is None:
                    self._status(number, codes.OP_UNSUPPORTED, "unknown request")
                    return
                answer = serve(Reader(bytes(message[5:])))
                self._say(_HEAD.pack(4 + len(answer), answer[0], number), answer[1:])
        except OSError as error:
            self._status(number, STATUSES.get(error.errno or 0, codes.FAILURE), error.strerror or "failure")
        except (RemoteProtocolError, ValueError, OverflowError) as error:
            self._status(number, codes.BAD_MESSAGE, str(error))

    def _say(self, *pieces: bytes) -> None:
        self._out.extend(pieces)
        self._out_bytes += sum(map(len, pieces))

    def _status(self, number: int, code: int, text: str) -> None:
        fields = put_uint32(code) + put_string(text.encode("utf-8", "replace")) + put_string(b"en")
        self._say(_HEAD.pack(5 + len(fields), codes.STATUS, number), fields)

    def _flush(self) -> None:
        pieces, self._out, self._out_bytes = self._out, [], 0
        for start in range(0, len(pieces), _MAX_PIECES):
            some = pieces[start : start + _MAX_PIECES]
            written, size = os.writev(self._writing, some), sum(map(len, some))
            if written < size:
                rest = memoryview(b"".join(some))[written:]
                while rest:
                    rest = rest[os.write(self._writing, rest) :]

    # Files.

    def _read(self, number: int, message: memoryview) -> None:
        """
        C{string} handle; C{uint64} offset; C{uint32} length.
        """
        handle, offset, length = self._at(message, _READ)
        data = os.pread(handle.descriptor, min(length, codes.MAX_DATA_BYTES), offset)
        if data or not length:
            handle.read_bytes += len(data)
            self._say(_DATA_HEAD.pack(9 + len(data), codes.DATA, number, len(data)), data)
        else:
            self._status(number, codes.EOF, "end of file")

    def _write(self, number: int, message: memoryview) -> None:
        """
        C{string} handle; C{uint64} offset; C{string} data.
        """
        handle, offset, length = self._at(message, _WRITE)
        data = message[9 + 16 :]
        if length != len(data):
            raise RemoteProtocolError("data is cut short")
        while data:
            written = os.pwrite(handle.descriptor, data, offset)
            handle.written_bytes += written
            offset += written
            data = data[written:]
        self._say(_WRITTEN_HEAD, number.to_bytes(4, "big"), _WRITTEN_REST)

    def _at(self, message: memoryview, fields: Struct) -> tuple[_Handle, int, int]:
        if len(message) < 9 + fields.size or message[5:9] != _HANDLE_LENGTH:
            raise RemoteProtocolError("no such handle")
        key, offset, length = fields.unpack_from(message, 9)
        handle = self._handles.get(key)
        if handle is None or handle.entries is not None:
            raise RemoteProtocolError("no such file handle")
        if offset + length > MAX_OFFSET:
            raise RemoteProtocolError("the offset is beyond any file")
        return handle, offset, length

    def _open(self, reader: Reader) -> bytes:
        path, flags, wanted = _path(reader), reader.uint32(), attributes.read(reader)
        mode = PERMISSION_BITS & (0o666 if wanted.permissions is None else wanted.permissions)
        facts = {"flags": flags, "attributes": told(wanted)}
        with self._told("open", path, **facts):
            self._check_handles()
            opened = os.open if self._gate is None else self._gate.open
            descriptor = opened(path, open_flags(flags), mode)
        return self._keep(_Handle(descriptor, path))

    def _check_handles(self) -> None:
        if len(self._handles) >= MAX_HANDLES:
            raise OSError(errno.EMFILE, "too many open files")

    def _keep(self, handle: _Handle) -> bytes:
        while self._next_handle in self._handles:
            self._next_handle = (self._next_handle + 1) & 0xFFFF_FFFF
        key, self._next_handle = self._next_handle, (self._next_handle + 1) & 0xFFFF_FFFF
        self._handles[key] = handle
        return bytes((codes.HANDLE,)) + put_string(put_uint32(key))

    def _handle(self, reader: Reader) -> _Handle:
        handle = self._handles.get(_key(reader))
        if handle is None:
            raise RemoteProtocolError("no such handle")
        return handle

    def _close(self, reader: Reader) -> bytes:
        handle = self._handles.pop(_key(reader), None)
        if handle is None:
            raise RemoteProtocolError("no such handle")
        self._done(handle)
        return _DONE

    def _done(self, handle: _Handle) -> None:
        if handle.entries is None:
            self._report("done", path=handle.path, read=handle.read_bytes, written=handle.written_bytes)
        else:
            handle.entries.close()  # type: ignore[attr-defined]  # a generator
        with suppress(OSError):
            os.close(handle.descriptor)

    def _fsync(self, reader: Reader) -> bytes:
        os.fsync(self._handle(reader).descriptor)
        return _DONE

    def _copy(self, reader: Reader) -> bytes:
        """
        C{string} handle to read; C{uint64} offset, length (0 for all); C{string} handle to write; C{uint64} offset.
        """
        source, start, length = self._handle(reader), reader.uint64(), reader.uint64()
        target, place = self._handle(reader), reader.uint64()
        if source is target or max(start, length, place) > MAX_OFFSET:
            raise RemoteProtocolError("such a copy cannot be made")
        left = length or MAX_OFFSET
        while left:
            data = os.pread(source.descriptor, min(left, COPY_BYTES), start)
            if not data:
                break
            written = os.pwrite(target.descriptor, data, place)
            start, place, left = start + written, place + written, left - written
            source.read_bytes += written
            target.written_bytes += written
        return _DONE

    # Names.

    def _told(self, operation: str, path: bytes, **facts: Any) -> _Told:
        return _Told(self._report, operation, {"path": path, **facts})

    def _change(self, operation: str, call: Callable[..., object], *paths: bytes) -> bytes:
        target = {"target": paths[1]} if len(paths) > 1 else {}
        with self._told(operation, paths[0], **target):
            call(*paths)
        return _DONE

    def _mkdir(self, reader: Reader) -> bytes:
        path, wanted = _path(reader), attributes.read(reader)
        mode = PERMISSION_BITS & (0o777 if wanted.permissions is None else wanted.permissions)
        with self._told("mkdir", path, attributes=told(wanted)):
            os.mkdir(path, mode)
        return _DONE

    def _setstat(self, reader: Reader) -> bytes:
        path, wanted = _path(reader), attributes.read(reader)
        return self._set(path, path, wanted)

    def _fsetstat(self, reader: Reader) -> bytes:
        handle, wanted = self._handle(reader), attributes.read(reader)
        return self._set(handle.descriptor, handle.path, wanted)

    def _set(self, target: bytes | int, path: bytes, wanted: Attributes) -> bytes:
        if self._gate is not None and (not isinstance(target, int) or not writes_only(target)):
            raise PermissionError(errno.EACCES, "those who watch the session were not asked")
        with self._told("setstat", path, attributes=told(wanted)):
            if wanted.size is not None:
                os.truncate(target, wanted.size)
            if wanted.permissions is not None:
                os.chmod(target, wanted.permissions & PERMISSION_BITS)
            if wanted.times is not None:
                os.utime(target, wanted.times)
            if wanted.owner is not None:
                os.chown(target, *wanted.owner)
        return _DONE

    def _lsetstat(self, reader: Reader) -> bytes:
        path, wanted = _path(reader), attributes.read(reader)
        with self._told("setstat", path, attributes=told(wanted)):
            if wanted.size is not None:
                raise OSError(errno.EINVAL, "a link has no size to set")
            if wanted.permissions is not None and not stat.S_ISLNK(os.lstat(path).st_mode):
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
                try:
                    os.fchmod(descriptor, wanted.permissions & PERMISSION_BITS)
                finally:
                    os.close(descriptor)
            if wanted.times is not None:
                os.utime(path, wanted.times, follow_symlinks=False)
            if wanted.owner is not None:
                os.lchown(path, *wanted.owner)
        return _DONE

    def _opendir(self, reader: Reader) -> bytes:
        path = _path(reader)
        with self._told("opendir", path):
            self._check_handles()
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._keep(_Handle(descriptor, path, self._entries(descriptor)))

    def _entries(self, descriptor: int) -> Iterator[bytes]:
        for name in (".", ".."):
            with suppress(OSError):
                found = os.stat(name, dir_fd=descriptor)
                yield entry(os.fsencode(name), found, self._names)
        with os.scandir(descriptor) as listing:
            for each in listing:
                with suppress(OSError):  # it is gone since
                    yield entry(os.fsencode(each.name), each.stat(follow_symlinks=False), self._names)

    def _readdir(self, reader: Reader) -> bytes:
        handle = self._handle(reader)
        if handle.entries is None:
            raise RemoteProtocolError("no such directory handle")
        found: list[bytes] = []
        try:
            for each in handle.entries:
                found.append(each)
                if len(found) >= LISTED_AT_ONCE:
                    break
        except OSError as error:
            self._report("readdir", path=handle.path, error=error.strerror or "failure")
            raise
        if not handle.listed:
            handle.listed = True
            self._report("readdir", path=handle.path, error="")
        if not found:
            return bytes((codes.STATUS,)) + put_uint32(codes.EOF) + put_string(b"end of directory") + put_string(b"")
        return bytes((codes.NAME,)) + put_uint32(len(found)) + b"".join(found)

    def _extended(self, reader: Reader) -> bytes:
        serve = self._extensions.get(reader.string())
        if serve is None:
            raise OSError(errno.EOPNOTSUPP, "unknown extension")
        return serve(reader)

    def _users_and_groups(self, reader: Reader) -> bytes:
        """
        C{string} of C{uint32} uids, C{string} of gids; the answer has a C{string} of C{string} names for each.
        """
        answer = bytes((codes.EXTENDED_REPLY,))
        for name_of in (self._names.user, self._names.group):
            numbers = reader.string()
            asked = [int.from_bytes(numbers[at : at + 4], "big") for at in range(0, len(numbers), 4)]
            answer += put_string(b"".join(put_string(known_name(name_of(each), each)) for each in asked))
        return answer


class _Told:
    """
    Reports how what is done in it went.
    """

    __slots__ = ("_facts", "_operation", "_report")

    def __init__(self, report: Report, operation: str, facts: dict[str, Any]) -> None:
        self._report, self._operation, self._facts = report, operation, facts

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error) if error else ""
        self._report(self._operation, **self._facts, error=text)


def _path(reader: Reader) -> bytes:
    path = reader.string()
    if b"\0" in path or len(path) >= codes.MAX_PATH_BYTES:
        raise RemoteProtocolError("no such path can be")
    return path


def _key(reader: Reader) -> int:
    handle = reader.string()
    if len(handle) != _HANDLE_BYTES:
        raise RemoteProtocolError("no such handle")
    return int.from_bytes(handle, "big")


_DONE = bytes((codes.STATUS,)) + put_uint32(codes.OK) + put_string(b"") + put_string(b"")
_WRITTEN_HEAD = _LENGTH.pack(len(_DONE) + 4) + _DONE[:1]
_WRITTEN_REST = _DONE[1:]
_HANDLE_LENGTH = put_uint32(_HANDLE_BYTES)
_LIMITS = bytes((codes.EXTENDED_REPLY,)) + b"".join(
    each.to_bytes(8, "big")
    for each in (codes.MAX_MESSAGE_BYTES, codes.MAX_DATA_BYTES, codes.MAX_DATA_BYTES, MAX_HANDLES)
)
