"""
The far end of C{scp -O}: runs as the login in a process of its own, see L{teleport_tw.agents.ssh.fileserver}.

The standard library is all it needs.

@see: L{teleport_tw.protocols.scp.records}
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Iterable
from typing import NoReturn

from teleport_tw.agents.ssh.sftp_server import Report
from teleport_tw.agents.ssh.sftp_system import Opener
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.scp import records
from teleport_tw.protocols.scp.records import MAX_LINE_BYTES, End, Entry, Times

READ_BYTES = 256 * 1024
MAX_DEPTH = 512
MAX_PATTERNS = 256
_OPEN = os.O_CLOEXEC | os.O_NOCTTY


class _GaveUp(Exception):
    """
    The client wants no more.
    """


class _Pipe:
    """
    Bytes from and to the client.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self._reading, self._writing = reading, writing
        self._kept = b""

    def some(self, most: int) -> bytes:
        """
        @raise EOFError: the client is gone.
        """
        data = self._kept or os.read(self._reading, READ_BYTES)
        if not data:
            raise EOFError
        self._kept = data[most:]
        return data[:most] if len(data) > most else data

    def line(self) -> bytes:
        """
        @return: without the newline.
        @raise EOFError: the client is gone.
        @raise RemoteProtocolError: it does not end.
        """
        found = b""
        while True:
            data = self._kept or os.read(self._reading, READ_BYTES)
            if not data:
                raise EOFError
            head, newline, self._kept = data.partition(b"\n")
            found += head
            if newline:
                return found
            if len(found) > MAX_LINE_BYTES:
                raise RemoteProtocolError("scp: a line does not end")

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._writing, view) :]

    def answered(self) -> bool:
        """
        @return: whether the client goes along.
        @raise _GaveUp: it gives up.
        """
        code = self.some(1)
        if code == b"\0":
            return True
        self.line()
        if code != b"\1":
            raise _GaveUp
        return False


class _Copy:
    """
    One run of scp.
    """

    def __init__(self, pipe: _Pipe, report: Report, *, recursive: bool, times: bool, gate: Opener | None) -> None:
        self.pipe = pipe
        self.report = report
        self.recursive = recursive
        self.times = times
        self.failed = False
        self._gate = gate

    def open(self, path: bytes, flags: int, mode: int = 0o777) -> int:
        """
        @raise OSError: it cannot be, or may not be.
        """
        return (os.open if self._gate is None else self._gate.open)(path, flags, mode)

    def complain(self, path: bytes, error: OSError | str) -> None:
        """
        Tell the client, and go on.
        """
        text = (error.strerror or str(error)) if isinstance(error, OSError) else error
        self.failed = True
        shown = path.replace(b"\n", b"?")
        self.pipe.write(b"\1scp: %s: %s\n" % (shown, text.encode("utf-8", "replace")))

    def told(self, upload: bool, path: bytes, length: int, error: OSError | str = "") -> None:
        """
        For the audit log.
        """
        text = (error.strerror or str(error)) if isinstance(error, OSError) else error
        action = "upload" if upload else "download"
        self.report("scp", action=action, path=os.path.abspath(path), length=length, error=text)


class Source(_Copy):
    """
    Sends files.
    """

    def run(self, paths: Iterable[bytes]) -> None:
        """
        One after the other, once the client is ready.
        """
        self.pipe.answered()
        for path in paths:
            self._send(path, 0)

    def _send(self, path: bytes, depth: int) -> None:
        try:
            descriptor = self.open(path, os.O_RDONLY | os.O_NONBLOCK | _OPEN)
        except OSError as error:
            self.told(False, path, 0, error)
            self.complain(path, error)
            return
        try:
            found = os.fstat(descriptor)
            if stat.S_ISDIR(found.st_mode):
                self._send_directory(path, found, depth)
            elif stat.S_ISREG(found.st_mode):
                self._send_file(path, descriptor, found)
            else:
                self.told(False, path, 0, "not a regular file")
                self.complain(path, "not a regular file")
        finally:
            os.close(descriptor)

    def _announce(self, path: bytes, found: os.stat_result, directory: bool) -> bool:
        name = os.path.basename(os.path.abspath(path)) if directory else os.path.basename(path)
        if self.times:
            self.pipe.write(records.encode(Times(int(found.st_mtime), int(found.st_atime))))
            if not self.pipe.answered():
                return False
        size = 0 if directory else found.st_size
        self.pipe.write(records.encode(Entry(directory, stat.S_IMODE(found.st_mode), size, name or b"/")))
        return self.pipe.answered()

    def _send_file(self, path: bytes, descriptor: int, found: os.stat_result) -> None:
        if not self._announce(path, found, directory=False):
            self.told(False, path, 0, "the client refused it")
            return
        os.set_blocking(descriptor, True)
        left, problem = found.st_size, ""
        while left:
            data = b""
            if not problem:
                try:
                    data = os.read(descriptor, min(left, READ_BYTES))
                    problem = "" if data else "the file became shorter"
                except OSError as error:
                    problem = error.strerror or "it cannot be read"
            data = data or bytes(min(left, READ_BYTES))  # the client counts on as many bytes as were announced
            self.pipe.write(data)
            left -= len(data)
        self.told(False, path, found.st_size, problem)
        if problem:
            self.complain(path, problem)
        else:
            self.pipe.write(b"\0")
        self.pipe.answered()

    def _send_directory(self, path: bytes, found: os.stat_result, depth: int) -> None:
        if not self.recursive or depth >= MAX_DEPTH:
            self.complain(path, "not a regular file" if not self.recursive else "too many levels of directories")
            return
        try:
            names = sorted(os.listdir(path))
        except OSError as error:
            self.told(False, path, 0, error)
            self.complain(path, error)
            return
        if not self._announce(path, found, directory=True):
            return
        for name in names:
            self._send(os.path.join(path, name), depth + 1)
        self.pipe.write(records.encode(End()))
        self.pipe.answered()


class Sink(_Copy):
    """
    Takes files.
    """

    def run(self, target: bytes, must_be_directory: bool) -> None:
        """
        Until the client has no more.
        """
        if must_be_directory and not os.path.isdir(target):
            self._refuse(target, OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)))
        self.pipe.write(b"\0")
        self._receive(target, 0)

    def _refuse(self, path: bytes, error: OSError | str) -> NoReturn:
        self.told(True, path, 0, error)
        text = (error.strerror or str(error)) if isinstance(error, OSError) else error
        self.pipe.write(b"\2scp: %s: %s\n" % (path.replace(b"\n", b"?"), text.encode("utf-8", "replace")))
        raise _GaveUp

    def _receive(self, target: bytes, depth: int) -> None:
        times: Times | None = None
        while True:
            try:
                line = self.pipe.line()
            except EOFError:
                if depth:
                    raise
                return
            if line[:1] == b"\1":
                self.failed = True
                continue
            if line[:1] == b"\2":
                raise _GaveUp
            try:
                record = records.parse(line)
            except RemoteProtocolError as error:
                self.pipe.write(b"\2%s\n" % str(error).encode())
                raise
            match record:
                case Times():
                    times = record
                    self.pipe.write(b"\0")
                case End():
                    if not depth:
                        raise RemoteProtocolError("scp: the end of no directory")
                    self.pipe.write(b"\0")
                    return
                case Entry():
                    self._entry(target, record, times, depth)
                    times = None

    def _entry(self, target: bytes, record: Entry, times: Times | None, depth: int) -> None:
        path = os.path.join(target, record.name) if os.path.isdir(target) else target
        if record.directory:
            if not self.recursive or depth >= MAX_DEPTH:
                self._refuse(path, "received directory without -r" if not self.recursive else "too many levels")
            self._directory(path, record, times, depth)
        else:
            self._file(path, record, times)

    def _directory(self, path: bytes, record: Entry, times: Times | None, depth: int) -> None:
        made = False
        if not os.path.isdir(path):
            try:
                os.mkdir(path, record.mode | stat.S_IRWXU)
                made = True
            except OSError as error:
                self.told(True, path, 0, error)
                self.complain(path, error)
                return
        self.pipe.write(b"\0")
        self._receive(path, depth + 1)
        try:
            if made or self.times:
                os.chmod(path, record.mode if self.times else record.mode & ~_umask())
            if times is not None:
                os.utime(path, (times.atime, times.mtime))
        except OSError as error:
            self.complain(path, error)

    def _file(self, path: bytes, record: Entry, times: Times | None) -> None:
        try:
            descriptor = self.open(path, os.O_WRONLY | os.O_CREAT | _OPEN, record.mode | stat.S_IWUSR)
        except OSError as error:
            self.told(True, path, 0, error)
            self.complain(path, error)
            return
        problem: OSError | str = ""
        try:
            self.pipe.write(b"\0")
            problem = self._data(descriptor, record.size)
            if not problem:
                problem = self._finish(descriptor, record, times)
        finally:
            os.close(descriptor)
        sent_whole = self.pipe.answered()
        if not sent_whole:
            self.failed = True
        self.told(True, path, record.size, problem or ("" if sent_whole else "the client could not read it whole"))
        if problem:
            self.complain(path, problem)
        elif sent_whole:
            self.pipe.write(b"\0")

    def _data(self, descriptor: int, left: int) -> OSError | str:
        problem: OSError | str = ""
        while left:
            data = self.pipe.some(min(left, READ_BYTES))
            left -= len(data)
            view = memoryview(data)
            while view and not problem:
                try:
                    view = view[os.write(descriptor, view) :]
                except OSError as error:
                    problem = error
        return problem

    def _finish(self, descriptor: int, record: Entry, times: Times | None) -> OSError | str:
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                os.ftruncate(descriptor, record.size)
            if self.times:
                os.fchmod(descriptor, record.mode)
            if times is not None:
                os.utime(descriptor, (times.atime, times.mtime))
        except OSError as error:
            return error
        return ""


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def expanded(pattern: bytes) -> list[bytes]:
    """
    What a shell would make of a word.

    @return: the word itself where nothing matches.
    """
    pattern = os.path.expanduser(pattern)
    if not glob.has_magic(pattern):
        return [pattern]
    return sorted(glob.glob(pattern)) or [unquoted(pattern)]


def unquoted(pattern: bytes) -> bytes:
    """
    @return: without the brackets that quoting left.
    """
    for letter in (b"*", b"?", b"[", b"~"):
        pattern = pattern.replace(b"[%s]" % letter, letter)
    return pattern


def run(words: list[bytes], reading: int, writing: int, report: Report, gate: Opener | None = None) -> int:
    """
    @param words: C{t} or C{f} with the letters C{r}, C{p}, C{d}; then patterns.
    @return: the exit status.
    """
    letters = words[0]
    pipe = _Pipe(reading, writing)
    report("begin", path=os.getcwdb())
    paths = [path for pattern in words[1 : MAX_PATTERNS + 1] for path in expanded(pattern)]
    recursive, times = b"r" in letters and gate is None, b"p" in letters
    copy: Sink | Source
    try:
        if b"t" in letters:
            copy = Sink(pipe, report, recursive=recursive, times=times, gate=gate)
            if len(paths) != 1:
                pipe.write(b"\2scp: ambiguous target\n")
                return 1
            copy.run(paths[0] or b".", b"d" in letters)
        else:
            copy = Source(pipe, report, recursive=recursive, times=times, gate=gate)
            copy.run(paths)
    except _GaveUp:
        return 1
    return int(copy.failed)
