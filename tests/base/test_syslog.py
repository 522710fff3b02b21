"""
Lines to the system's log, with a socket in its place.
"""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.logs import Logs, as_json, as_text
from teleport_tw.base.syslog import MAX_LINE_BYTES, Syslog


class SyslogTests(SynchronousTestCase):
    """
    A daemon that is there, gone, and there again.
    """

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = str(Path(folder.name) / "log")
        self.syslog = Syslog(path=self.path)
        self.addCleanup(self.syslog.close)

    def daemon(self) -> socket.socket:
        if Path(self.path).exists():
            Path(self.path).unlink()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(self.path)
        made.setblocking(False)
        self.addCleanup(made.close)
        return made

    def test_lines(self) -> None:
        """Facility, severity, name, process; a datagram a line, and none too long."""
        daemon = self.daemon()
        self.syslog.send(LogLevel.warn, "one\ntwo")
        self.syslog.send(LogLevel.critical, "x" * 20_000)
        head = f"teleport[{os.getpid()}]: "
        self.assertEqual(daemon.recv(65536).decode(), f"<28>{head}one")
        self.assertEqual(daemon.recv(65536).decode(), f"<28>{head}two")
        data = daemon.recv(65536)
        self.assertTrue(data.startswith(f"<26>{head}xxx".encode()))
        self.assertEqual(len(data), MAX_LINE_BYTES)

    def test_a_daemon_that_is_away(self) -> None:
        """Nobody waits for it; when it is back, it hears how much it has missed."""
        self.syslog.send(LogLevel.info, "a")
        self.syslog.send(LogLevel.info, "b")
        daemon = self.daemon()
        self.syslog.send(LogLevel.info, "c")
        self.assertIn(b"2 lines were lost", daemon.recv(65536))
        self.assertTrue(daemon.recv(65536).endswith(b": c"))
        daemon.close()
        again = self.daemon()
        self.syslog.send(LogLevel.info, "d")
        self.assertTrue(again.recv(65536).endswith(b": d"))
        self.assertEqual(self.syslog.lost, 0)

    def test_a_daemon_that_is_slow(self) -> None:
        """Its queue is full: lines are lost, and the caller goes on."""
        self.daemon()
        for _ in range(5000):
            self.syslog.send(LogLevel.info, "x" * 100)
        self.assertGreater(self.syslog.lost, 0)

    def test_as_the_process_log(self) -> None:
        """Events of a level that counts; time and level are the daemon's to write."""
        daemon = self.daemon()
        log = Logs(as_text, fields=("component",), syslog=self.syslog)
        event = {"log_format": "hi", "log_namespace": "teleport_tw.x", "log_level": LogLevel.error, "log_time": 0.0}
        log({**event, "log_level": LogLevel.debug})
        log(event)
        self.assertTrue(daemon.recv(65536).endswith(b"]: [x] hi"))
        self.assertRaises(BlockingIOError, daemon.recv, 1)
        self.assertEqual(as_json(event, ("level",)), '{"level":"error","message":"hi"}\n')
