"""
Lines to the system's log daemon, by its datagram socket.

Nothing here waits: where no daemon listens, or it is slower than we are, lines are lost, and how many is said in the
next line that gets through.

@see: RFC 3164 section 4 (what daemons expect on the socket of their own machine)
"""

from __future__ import annotations

import os
import socket
from typing import Any

from attrs import define, field
from twisted.logger import LogLevel

PATH = "/dev/log"

MAX_LINE_BYTES = 8192
"""What common daemons take; the rest of a longer line is cut off."""

_DAEMON = 3
"""The facility of services."""

_SEVERITIES = {LogLevel.debug: 7, LogLevel.info: 6, LogLevel.warn: 4, LogLevel.error: 3, LogLevel.critical: 2}


@define(eq=False)
class Syslog:
    """
    @ivar name: what lines are headed with.
    @ivar path: of the daemon's socket.
    @ivar lost: lines that nobody took since the last that was taken.
    """

    name: str = "teleport"
    path: str = PATH
    lost: int = field(default=0, init=False)
    _socket: socket.socket | None = field(default=None, init=False)

    def send(self, level: Any, text: str) -> None:
        """
        @param level: a C{LogLevel}.
        @param text: one line or several; each is sent by itself.
        """
        for line in text.splitlines():
            if self.lost and self._sent(LogLevel.warn, f"{self.lost} lines were lost before this one"):
                self.lost = 0
            if not self._sent(level, line):
                self.lost += 1

    def _sent(self, level: Any, line: str) -> bool:
        priority = _DAEMON * 8 + _SEVERITIES.get(level, 6)
        data = f"<{priority}>{self.name}[{os.getpid()}]: {line}".encode("utf-8", "backslashreplace")[:MAX_LINE_BYTES]
        for _ in range(2):  # a daemon that was restarted has another socket of the same name
            try:
                if self._socket is None:
                    self._socket = self._connected()
                self._socket.send(data)
            except BlockingIOError:
                return False
            except OSError:
                self.close()
            else:
                return True
        return False

    def _connected(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        try:
            made.connect(self.path)
        except OSError:
            made.close()
            raise
        return made

    def close(self) -> None:
        """
        Let go of the socket; the next line opens another.
        """
        if self._socket is not None:
            self._socket.close()
            self._socket = None
