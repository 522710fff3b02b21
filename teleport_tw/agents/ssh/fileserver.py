"""
The programs of the agent's own that run as the login: SFTP, scp, and opening UNIX sockets.

The launcher (L{teleport_tw.agents.ssh.launcher}) forks, becomes the user and calls L{serve}; no program of the target
is needed, and since nothing is executed the user cannot trace the process. It has three descriptors: 0 and 1 are the
client's bytes, 2 takes reports for the audit log, one JSON object a line, written before the client hears of what they
tell. This module and what it imports need the standard library alone, and import it before the rights are gone.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import sys
from contextlib import suppress
from typing import Any

from teleport_tw.agents.ssh import scp_server, sftp_server
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.sftp.codes import MAX_PATH_BYTES

MAX_REPORT_BYTES = 64 * 1024
"""One line; a path is cut to L{MAX_PATH_BYTES}, of which JSON makes six times as much at worst."""

BACKLOG = 128

TEMPORARY = b"/tmp"

_FAILED = 1

ALLOWED, DENIED = b"y", b"n"
"""Answers to what a gate asks."""


class Reports:
    """
    Tells the agent what happened.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, operation: str, **facts: Any) -> None:
        """
        @param facts: what JSON knows, and bytes for paths.
        """
        readable = {
            name: value[:MAX_PATH_BYTES].decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
            for name, value in facts.items()
        }
        line = json.dumps({"op": operation, **readable}).encode("ascii") + b"\n"
        view = memoryview(line)
        while view:
            view = view[os.write(self._descriptor, view) :]


class Gate:
    """
    Has the people who watch a session asked about each file, by a report that is answered on the same socket.
    """

    def __init__(self, report: Reports, descriptor: int) -> None:
        self._report, self._descriptor = report, descriptor

    def open(self, path: bytes, flags: int, mode: int) -> int:
        """
        As open(2) does, the file that was asked about and no other, to read or to write.

        @raise PermissionError: it is denied.
        """
        real = os.path.realpath(path)
        kind = flags & os.O_ACCMODE
        if kind == os.O_RDWR or len(real) >= MAX_PATH_BYTES:
            raise PermissionError(errno.EACCES, "a watched file is read or written, not both")
        self._report("ask", path=real, upload=kind == os.O_WRONLY)
        if os.read(self._descriptor, 1) != ALLOWED:
            raise PermissionError(errno.EACCES, "those who watch the session denied it")
        opened = os.open(real, flags & ~os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
        try:
            if os.readlink(b"/proc/self/fd/%d" % opened) != real or not stat.S_ISREG(os.fstat(opened).st_mode):
                raise PermissionError(errno.EACCES, "it is not the file that was asked about")
            if flags & os.O_TRUNC:
                os.ftruncate(opened, 0)
            os.set_blocking(opened, True)
        except BaseException:
            os.close(opened)
            raise
        return opened


def serve(argv: list[bytes]) -> int:
    """
    @param argv: C{sftp}; C{scp} and its words; C{watched} and one of these, where each file is asked about;
        C{connect}, C{listen} or C{unlink} and the path of a socket; C{private} and a name for a socket in a
        directory that nobody else can enter.
    @return: the exit status.
    """
    report = Reports(2)
    gate: Gate | None = None
    if argv[:1] == [b"watched"]:
        argv, gate = argv[1:], Gate(report, 2)
    try:
        match argv:
            case [b"sftp"]:
                return sftp_server.SFTPServer(0, 1, report, gate).run()
            case [b"scp", *words]:
                return scp_server.run(words, 0, 1, report, gate)
            case [b"connect" | b"listen" as verb, path]:
                return _socket(verb, path, report)
            case [b"private", name]:
                folder = os.path.join(TEMPORARY, b"teleport-" + os.urandom(12).hex().encode())
                os.mkdir(folder, 0o700)
                return _socket(b"listen", os.path.join(folder, name), report)
            case [b"unlink", path]:
                _unlink(path)
                return 0
    except (BrokenPipeError, EOFError):
        return 0  # the client has gone
    except RemoteProtocolError as error:
        report("broken", error=str(error))
    except Exception as error:  # nobody is left to tell but the agent
        report("broken", error=f"{type(error).__name__}: {error}")
    return _FAILED


def _socket(verb: bytes, path: bytes, report: Reports) -> int:
    """
    Open a socket with the user's rights and hand it to the agent, by descriptor 0.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as opened, socket.socket(fileno=os.dup(0)) as agent:
        try:
            if verb == b"listen":
                os.umask(0o177)
                opened.bind(path)
                opened.listen(BACKLOG)
            else:
                opened.settimeout(10)
                opened.connect(path)
        except OSError as error:
            report("socket", path=path, error=error.strerror or str(error))
            return _FAILED
        report("socket", path=path, error="")
        socket.send_fds(agent, [b"\0"], [opened.fileno()])
    return 0


def _unlink(path: bytes) -> None:
    with suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
        folder = os.path.dirname(path)
        if folder.startswith(TEMPORARY + b"/teleport-"):
            os.rmdir(folder)


if __name__ == "__main__":  # by hand, for measuring
    sys.exit(serve([os.fsencode(each) for each in sys.argv[1:]]))
