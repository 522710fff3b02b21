"""
What HUP and TERM do, with everything round the starter replaced; and the pid file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.task import Clock
from twisted.logger import LogLevel
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.logs import logs
from teleport_tw.config.load import load_text
from teleport_tw.config.sections import Configuration
from teleport_tw.daemon.build import Starter
from teleport_tw.daemon.health import Readiness
from teleport_tw.daemon.options import log_of
from teleport_tw.daemon.pidfile import PidFile

FIRST = "version: v3\nteleport: {log: {severity: INFO}}\nauth_service: {client_idle_timeout: 1m}\n"


class Stopping(Clock):
    """
    A reactor as far as stopping goes.
    """

    running = True
    stops = 0

    def stop(self) -> None:
        self.stops += 1


@define
class Heard:
    """
    An auth service or a host that notes what it is told.
    """

    told: list[Any] = field(factory=list)

    def reload(self, configuration: Configuration) -> None:
        self.told.append(configuration)


@define
class HeardAuth:
    """
    As L{Heard}, in its own time.
    """

    told: list[Any] = field(factory=list)

    async def reload(self, section: Any) -> None:
        self.told.append(section)


class Going(Service):
    """
    A host that says in what order it is asked things.
    """

    def __init__(self, name: str, said: list[str]) -> None:
        self.tag, self.said = name, said

    def leave(self) -> None:
        self.said.append(f"{self.tag} leaves")

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        self.said.append(f"{self.tag} stops")


class GoingTests(SynchronousTestCase):
    """
    The end of a process that is proxy and server.
    """

    def test_pages_are_told_before_servers_end(self) -> None:
        """Whose server ends first would take it for lost."""
        starter, said = Starter(load_text(FIRST), Clock()), list[str]()
        for name in ("proxy", "node"):
            host: Any = Going(name, said)
            host.setServiceParent(starter)
            starter.hosts.append(host)
        starter.running = 1
        self.successResultOf(starter.stopService())
        self.assertEqual(said, ["proxy leaves", "node leaves", "node stops", "proxy stops"])


class SignalsTests(SynchronousTestCase):
    """
    A starter that has started nothing.
    """

    def setUp(self) -> None:
        self.text = FIRST
        self.reactor = Stopping()
        self.log = logs(path=self.mktemp())
        self.addCleanup(self.close_log)
        self.starter = Starter(load_text(FIRST), self.reactor, reread=self.read, log=self.log)
        self.host, self.auth = Heard(), HeardAuth()
        host: Any = self.host
        auth: Any = self.auth
        self.starter.hosts.append(host)
        self.starter.auth = auth

    def close_log(self) -> None:
        self.log._out.close()

    def read(self) -> Configuration:
        return load_text(self.text)

    def test_hup_brings_changes_into_effect(self) -> None:
        """Level and fields of the log, auth's settings and tokens with the process's own; the rest waits."""
        path = self.mktemp()
        self.text = (
            "version: v3\nteleport:\n  nodename: n\n"
            f"  log: {{severity: DEBUG, output: {path}, format: {{output: json}}}}\n"
            "auth_service: {client_idle_timeout: 2m, tokens: ['node:geheim']}\nssh_service: {labels: {a: b}}\n"
        )
        self.starter.reload()
        self.assertIs(self.log.level, LogLevel.debug)
        self.log({"log_format": "hello", "log_time": 0.0})
        self.assertIn('"message":"hello"', Path(path).read_text())
        (section,) = self.auth.told
        self.assertEqual(section.client_idle_timeout.total_seconds(), 120)
        self.assertEqual([token.token.reveal() for token in section.tokens][:1], ["geheim"])
        self.assertEqual(section.tokens[-1].roles, ("proxy", "node", "db"))
        self.assertEqual(self.host.told[0].ssh.labels, {"a": "b"})
        self.assertEqual(self.starter.configuration.teleport.nodename, "")
        self.starter.reload()
        self.assertEqual(len(self.auth.told), 1)

    def test_hup_with_a_mistake_changes_nothing(self) -> None:
        """It is logged, and web certificates are read anew all the same."""

        def fail() -> Configuration:
            raise bad_parameter("teleport.nodname: is not a key")

        self.starter.reread = fail
        self.starter.reload()
        self.assertEqual((self.auth.told, len(self.host.told)), ([], 1))
        self.text = (
            "version: v3\nteleport: {log: {output: /nonexistent/log}}\nauth_service: {client_idle_timeout: 1m}\n"
        )
        self.starter.reread = self.read
        before = self.log.path
        self.starter.reload()
        self.assertEqual(self.log.path, before)

    def test_term_waits(self) -> None:
        """Not ready from then on, and still there; a second one ends the wait."""
        say = self.starter.health.part("auth")
        say(Readiness.OK)
        self.assertTrue(self.starter.health.ready)
        self.starter.configuration = load_text("version: v3\nteleport: {shutdown_delay: 30s}")
        self.starter.stop_later()
        self.assertEqual((self.starter.health.ready, self.starter.health.states()), (False, {"auth": "leaving"}))
        self.reactor.advance(29)
        self.assertEqual(self.reactor.stops, 0)
        self.reactor.advance(1)
        self.assertEqual(self.reactor.stops, 1)
        self.starter.stop_later()
        self.assertEqual(self.reactor.stops, 2)


class PidFileTests(SynchronousTestCase):
    """
    C{teleport.pid_file}.
    """

    def test_there_while_it_runs(self) -> None:
        """Over what a crash left, and gone at the end."""
        path = Path(self.mktemp())
        path.write_text("1\n")
        service = PidFile(str(path))
        service.startService()
        self.assertEqual(path.read_text(), f"{os.getpid()}\n")
        service.stopService()
        self.assertFalse(path.exists())

    def test_another_process_is_left_alone(self) -> None:
        """Its file stays."""
        path = Path(self.mktemp())
        service = PidFile(str(path))
        service.startService()
        path.write_text("1\n")
        service.stopService()
        self.assertEqual(path.read_text(), "1\n")

    def test_a_folder_that_is_not_there(self) -> None:
        """Is no reason not to serve."""
        service = PidFile("/nonexistent/folder/pid")
        service.startService()
        service.stopService()

    def test_the_log_of_a_configuration(self) -> None:
        """A file that cannot be written is a mistake like any other."""
        self.assertIsNotNone(log_of(load_text("version: v3\nteleport: {log: {output: syslog}}")).syslog)
        unwritable = load_text("version: v3\nteleport: {log: {output: /nonexistent/folder/log}}")
        self.assertRaises(TeleportError, log_of, unwritable)
