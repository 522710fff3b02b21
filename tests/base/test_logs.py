"""
L{teleport_tw.base.logs}: what lines look like and what does not get into them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.logs import Logs, as_json, as_text, logs
from teleport_tw.base.secret import Secret


def event(format: str, **fields: Any) -> dict[str, Any]:
    return {
        "log_format": format,
        "log_time": 1769871845.1239,
        "log_level": LogLevel.warn,
        "log_namespace": "teleport_tw.proxy.service",
        **fields,
    }


class LineTest(SynchronousTestCase):
    """
    One event.
    """

    def test_text_has_time_level_component_and_message(self) -> None:
        self.assertEqual(
            as_text(event("{user} left", user="alice")),
            "2026-01-31T15:04:05.123Z WARN  [proxy.service] alice left\n",
        )

    def test_a_peer_cannot_forge_a_line(self) -> None:
        forged = as_text(event("{user} left", user="a\n2026 INFO x\x1b[31m\u2028"))
        self.assertEqual(forged.count("\n"), 1)
        self.assertIn("a\\n2026 INFO x\\x1b[31m\\u2028", forged)

    def test_json_keeps_the_fields(self) -> None:
        line = as_json(event("{user} left {count}", user="alice", count=2, raw=b"\xff", more={"a": [1, None]}))
        self.assertEqual(
            json.loads(line),
            {
                "timestamp": "2026-01-31T15:04:05.123Z",
                "level": "warn",
                "component": "proxy.service",
                "message": "alice left 2",
                "user": "alice",
                "count": 2,
                "raw": "\\xff",
                "more": {"a": [1, None]},
            },
        )
        self.assertEqual(line.count("\n"), 1)

    def test_fields_do_not_take_the_place_of_what_we_say(self) -> None:
        self.assertEqual(json.loads(as_json(event("hello", level="debug", timestamp="never")))["level"], "warn")

    def test_secrets_are_not_shown(self) -> None:
        said = event("key {key} {deep}", key=Secret("hunter2"), deep={"inner": [Secret(b"hunter2")]})
        self.assertNotIn("hunter2", as_text(said) + as_json(said))

    def test_a_failure_brings_its_traceback(self) -> None:
        try:
            raise ZeroDivisionError("by zero")
        except ZeroDivisionError:
            said = event("it broke", log_failure=Failure())
        self.assertIn("it broke\nTraceback", as_text(said))
        self.assertIn("ZeroDivisionError: by zero", as_text(said))
        self.assertIn("by zero", json.loads(as_json(said))["traceback"])


class LogsTest(SynchronousTestCase):
    """
    The observer.
    """

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "log")

    def open(self, **options: Any) -> tuple[Logs, Logger]:
        observer = logs(path=self.path, **options)
        self.addCleanup(lambda: observer._out.close())
        return observer, Logger(namespace="test", observer=observer)

    def lines(self) -> list[str]:
        return [line.split("] ")[1] for line in Path(self.path).read_text().splitlines()]

    def test_the_level_may_change(self) -> None:
        observer, log = self.open(level="WARN")
        log.info("one")
        log.warn("two")
        observer.set_level("debug")
        log.debug("three")
        observer.set_level("error")
        log.warn("four")
        log.critical("five")
        self.assertEqual(self.lines(), ["two", "three", "five"])

    def test_a_moved_file_is_opened_anew(self) -> None:
        observer, log = self.open()
        log.info("one")
        os.rename(self.path, self.path + ".1")
        log.info("two")
        observer.reopen()
        log.info("three")
        self.assertEqual(self.lines(), ["three"])
        self.assertEqual(len(Path(self.path + ".1").read_text().splitlines()), 2)

    def test_mistakes_are_named(self) -> None:
        for options in ({"level": "loud"}, {"format": "xml"}):
            with self.assertRaises(TeleportError):
                logs(**options)

    def test_standard_error_is_left_open(self) -> None:
        observer = logs(format="json")
        observer.reopen()
        self.assertFalse(observer._out.closed)
