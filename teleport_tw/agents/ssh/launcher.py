"""
The program that starts the programs of sessions: small, so that forking it is cheap.

It is run by L{teleport_tw.agents.ssh.spawn} as C{python -I -S launcher.py FD} and imports the standard library alone.
The agent itself, with its megabytes of pages, never forks. One datagram asks for one thing and may carry descriptors;
both ends are the same interpreter, so C{marshal} frames them::

    ("run", number, argv, program, environment, folder, uid, gid, groups, terminal) + stdin, stdout, stderr (or a tty)
    ("signal", number, signal)
    -> (number, pid, None)      started
    -> (number, pid, status)    ended, as waitpid(2) has it
    -> (number, 0, text)        could not be started

When the agent goes away, however it does, every program still running is hung up on.
"""

from __future__ import annotations

import contextlib
import fcntl
import marshal
import os
import select
import signal
import socket
import sys
import termios
from typing import Any

MAX_MESSAGE_BYTES = 256 * 1024
"""One datagram; arguments and environment of a program have to fit, and L{MAX_ASK_BYTES} is refused by the asker."""

MAX_ASK_BYTES = 160 * 1024
MAX_DESCRIPTORS = 3
_DEAF = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What the launcher does not hear: it ends with the agent."""

CANNOT_EXECUTE = 126
NOT_FOUND = 127


def run(
    descriptors: list[int],
    argv: list[bytes],
    program: bytes,
    environment: dict[bytes, bytes],
    folder: bytes,
    uid: int,
    gid: int,
    groups: list[int],
    terminal: bool,
) -> None:
    """
    In the child: become the user and then the program; returns never.

    @param descriptors: three, or the terminal alone.
    @param program: empty for one of our own, which L{fileserver} serves without executing anything.
    @param groups: supplementary ones.
    """
    status = CANNOT_EXECUTE
    try:
        os.setsid()
        if terminal:
            fcntl.ioctl(descriptors[0], termios.TIOCSCTTY, 0)
        for number in range(3):
            os.dup2(descriptors[0] if terminal else descriptors[number], number)
        os.closerange(3, 1 << 16)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ, *_DEAF):
            signal.signal(ignored, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEAF)  # what came since the fork counts now
        os.umask(0o022)
        if (uid, gid) != (os.getuid(), os.getgid()) or os.getuid() == 0:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        try:
            os.chdir(folder)
        except OSError as error:
            if folder != b"/":
                os.write(2, b"Could not chdir to home directory %s: %s\r\n" % (folder, _words(error)))
            os.chdir(b"/")
        if not program:
            status = _serve_files(argv, environment)
            return
        os.execve(program, argv, environment)  # noqa: S606 the program was decided on, arguments are a list
    except FileNotFoundError as error:
        status = NOT_FOUND
        os.write(2, b"%s: %s\r\n" % (program, _words(error)))
    except OSError as error:
        os.write(2, b"%s: %s\r\n" % (program, _words(error)))
    finally:
        os._exit(status)


def _serve_files(argv: list[bytes], environment: dict[bytes, bytes]) -> int:
    from teleport_tw.agents.ssh import fileserver  # main imported it while it could be read

    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    os.environb.clear()
    os.environb.update(environment)
    return fileserver.serve(argv)


def _words(error: OSError) -> bytes:
    return (error.strerror or str(error)).encode("utf-8", "replace")


class Launcher:
    """
    Serves one agent over one socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._running: dict[int, int] = {}
        self._numbers: dict[int, int] = {}

    def serve(self) -> None:
        """
        Until the agent is gone.
        """
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(reading, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == reading:
                    os.read(reading, 4096)
                elif not self._receive():
                    self._hang_up()
                    return
            self._reap()

    def _receive(self) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._sock, MAX_MESSAGE_BYTES, MAX_DESCRIPTORS)
        except OSError:
            return False
        if not data:
            return False
        asked: tuple[Any, ...] = marshal.loads(data)  # noqa: S302 a private socket between two processes of one program
        if asked[0] == "run":
            self._run(asked[1], descriptors, *asked[2:])
        else:
            self._signal(asked[1], asked[2])
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _run(self, number: int, descriptors: list[int], *how: Any) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _DEAF)
        try:
            pid = os.fork()
        except OSError as error:
            self._say(number, 0, str(error))
            return
        else:
            if pid == 0:
                run(descriptors, *how)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _DEAF)
        self._running[number] = pid
        self._numbers[pid] = number
        self._say(number, pid, None)

    def _signal(self, number: int, what: int) -> None:
        pid = self._running.get(number)
        if pid is None:
            return
        try:
            os.killpg(pid, what)
        except ProcessLookupError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, what)  # it has not called setsid yet

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            number = self._numbers.pop(pid, 0)
            if self._running.pop(number, 0):
                self._say(number, pid, status)

    def _say(self, number: int, pid: int, rest: int | str | None) -> None:
        with contextlib.suppress(OSError):  # the agent is gone, which the next receive finds as well
            self._sock.send(marshal.dumps((number, pid, rest)))

    def _hang_up(self) -> None:
        for number in tuple(self._running):
            self._signal(number, signal.SIGHUP)
            self._signal(number, signal.SIGCONT)


def main() -> None:
    """
    The one argument is the socket's descriptor.
    """
    for ignored in _DEAF:
        signal.signal(ignored, signal.SIG_IGN)  # what ends it is the end of the agent
    os.chdir("/")
    # Last, so that it hides nothing; the modules below need the standard library alone.
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3)))
    from teleport_tw.agents.ssh import fileserver  # noqa: F401 read now, with our rights, for all children

    sock = socket.socket(fileno=int(sys.argv[1]))
    sock.setblocking(True)
    sock.set_inheritable(False)
    Launcher(sock).serve()


if __name__ == "__main__":
    main()
