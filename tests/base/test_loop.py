"""
The reactor over uvloop: installed once, alive after fork, and asyncio's futures as Deferreds and back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock, deferLater
from twisted.internet.utils import getProcessOutput
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.base.loop import Reactor, as_deferred, as_future, install, loop_of

reactor: Any = installed

ROOT = Path(__file__).parents[2]

TAC = """
from teleport_tw.base.loop import install, new_loop
import asyncio
install({loop})
from twisted.application.service import Application, Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutput
from teleport_tw.base.net.endpoints import TCPServer

class Answer(Protocol):
    def dataReceived(self, data):
        Deferred.fromCoroutine(self.answer(data))
    async def answer(self, data):
        inside = await getProcessOutput("/bin/echo", [data.strip()])
        self.transport.write(await deferToThread(bytes.upper, inside))

class Front(Service):
    def startService(self):
        Deferred.fromCoroutine(self.listen())
    async def listen(self):
        port = await TCPServer(reactor, "127.0.0.1", 0).listen(Factory.forProtocol(Answer))
        with open("port", "w") as out:
            out.write(str(port.getHost().port) + "\\n")

early = []
reactor.callLater(0, early.append, "a timer set before the fork")
application = Application("front")
Front().setServiceParent(application)
"""


class DaemonTest(SynchronousTestCase):
    """
    C{twistd} forks twice after the reactor is installed.
    """

    def _daemonize(self, loop: str) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "front.tac").write_text(TAC.format(loop=loop))
            started = subprocess.run(
                [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-y", "front.tac"],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                timeout=60,
                check=False,
            )
            log = folder / "twistd.log"
            self.assertEqual(started.returncode, 0, started.stderr.decode())
            pid = int((folder / "twistd.pid").read_text())
            try:
                _until(lambda: (folder / "port").exists() and (folder / "port").read_text().endswith("\n"))
                with socket.create_connection(("127.0.0.1", int((folder / "port").read_text())), 10) as client:
                    client.settimeout(10)
                    client.sendall(b"hello\n")
                    self.assertEqual(client.recv(100), b"HELLO\n")
            finally:
                os.kill(pid, signal.SIGTERM)
            _until(lambda: not (folder / "twistd.pid").exists())
            said = log.read_text()
            self.assertIn("Server Shut Down", said)
            self.assertNotIn("Traceback", said)

    def test_the_daemon_serves_spawns_and_stops_on_uvloop(self) -> None:
        self._daemonize("new_loop")

    def test_the_daemon_serves_spawns_and_stops_on_asyncios_own_loop(self) -> None:
        self._daemonize("asyncio.new_event_loop")


def _until(true: Any, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not true():
        if time.monotonic() > limit:
            raise AssertionError("it did not happen in time")
        time.sleep(0.02)  # another process; nothing here to wait on


class InstallTest(TestCase):
    """
    One reactor, ours.
    """

    timeout = 20

    def test_again_changes_nothing(self) -> None:
        self.assertIs(install(), reactor)
        self.assertIsInstance(reactor, Reactor)

    async def test_its_loop_is_asyncios_current_one(self) -> None:
        await deferLater(reactor, 0, lambda: None)
        self.assertIs(asyncio.get_running_loop(), loop_of(reactor))

    def test_another_reactor_is_named_in_the_error(self) -> None:
        code = "import twisted.internet.reactor\nfrom teleport_tw.base.loop import install\ninstall()"
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertIn("EPollReactor is installed already; call teleport_tw.base.loop.install() before", ended.stderr)

    def test_without_uvloop_asyncios_own_loop_serves(self) -> None:
        code = (
            "import sys\nsys.modules['uvloop'] = None\nfrom teleport_tw.base.loop import install\n"
            "print(type(install().loop).__module__)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
        )
        self.assertEqual(ended.stdout, "asyncio.unix_events\n")

    def test_a_reactor_without_a_loop_is_refused(self) -> None:
        with self.assertRaises(TypeError):
            loop_of(Clock())

    async def test_ended_children_are_noticed(self) -> None:
        self.assertEqual(await getProcessOutput("/bin/echo", [b"here"]), b"here\n")

    async def test_what_asyncio_cannot_handle_is_logged(self) -> None:
        def broken() -> None:
            raise ZeroDivisionError

        after: Deferred[None] = Deferred()
        loop_of(reactor).call_soon(broken)
        loop_of(reactor).call_soon(after.callback, None)
        await after
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class BridgeTest(TestCase):
    """
    Results, errors and cancellation cross both ways.
    """

    timeout = 10

    async def test_a_coroutine_of_asyncio_gives_its_result(self) -> None:
        async def work() -> int:
            await asyncio.sleep(0)
            return 7

        self.assertEqual(await as_deferred(work()), 7)

    async def test_its_error_keeps_its_class(self) -> None:
        async def work() -> int:
            await asyncio.sleep(0)
            raise LookupError("gone")

        with self.assertRaises(LookupError):
            await as_deferred(work())

    async def test_cancelling_the_deferred_cancels_the_coroutine(self) -> None:
        ended: Deferred[str] = Deferred()

        async def work() -> None:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                ended.callback("cancelled")
                raise

        waiting = as_deferred(work())
        await deferLater(reactor, 0, lambda: None)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(await ended, "cancelled")

    async def test_a_cancelled_future_is_twisteds_cancelled_error(self) -> None:
        future: asyncio.Future[int] = loop_of(reactor).create_future()
        waiting = as_deferred(future)
        future.cancel()
        with self.assertRaises(CancelledError):
            await waiting

    async def test_a_deferred_gives_its_result(self) -> None:
        source: Deferred[int] = Deferred()
        waiting = as_deferred(as_future(source))
        source.callback(7)
        self.assertEqual(await waiting, 7)

    async def test_a_deferred_gives_its_error(self) -> None:
        source: Deferred[int] = Deferred()
        waiting = as_deferred(as_future(source))
        source.errback(LookupError("gone"))
        with self.assertRaises(LookupError):
            await waiting

    async def test_cancelling_the_future_cancels_the_deferred(self) -> None:
        cancelled: list[Deferred[int]] = []
        source: Deferred[int] = Deferred(cancelled.append)
        as_future(source).cancel()
        await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(cancelled, [source])

    async def test_a_cancelled_deferred_cancels_the_future(self) -> None:
        source: Deferred[int] = Deferred()
        future = as_future(source)
        source.cancel()
        self.assertTrue(future.cancelled())


class JumpTests(SynchronousTestCase):
    """
    Somebody sets the machine's clock while timers wait.
    """

    def setUp(self) -> None:
        self.now, self.off = 1000.0, 500_000.0
        before = asyncio.get_event_loop_policy().get_event_loop()
        self.addCleanup(asyncio.set_event_loop, before)
        self.reactor: Any = Reactor(asyncio.new_event_loop, wall=lambda: self.now + self.off, steady=lambda: self.now)
        self.addCleanup(self.reactor.loop.close)
        self.addCleanup(self.reactor.removeAll)
        self.fired: list[str] = []

    def passes(self, seconds: float) -> list[str]:
        """
        @return: what has fired by then.
        """
        self.now += seconds
        self.reactor.runUntilCurrent()
        return self.fired

    def test_back(self) -> None:
        """A timer of a minute fires after a minute, though it is an hour ago by then; so does one that was put off."""
        self.reactor.callLater(60, self.fired.append, "old")
        put_off = self.reactor.callLater(10, self.fired.append, "put off")
        self.passes(5)
        self.off -= 3600
        put_off.reset(70)
        self.reactor.callLater(30, self.fired.append, "new")
        self.assertEqual(self.passes(29), [])
        self.assertEqual(self.passes(1.5), ["new"])
        self.assertEqual(self.passes(24), ["new"])
        self.assertEqual(self.passes(1), ["new", "old"])
        self.assertEqual(self.passes(13), ["new", "old"])
        self.assertEqual(self.passes(2), ["new", "old", "put off"])
        self.assertEqual(self.reactor.seconds(), self.now + self.off)

    def test_forth(self) -> None:
        """An hour is not over because the clock says so."""
        self.reactor.callLater(60, self.fired.append, "old")
        self.off += 3600
        self.assertEqual(self.passes(59), [])
        self.assertEqual(self.passes(1.5), ["old"])

    def test_slewing(self) -> None:
        """A clock that is brought into step little by little moves nothing."""
        self.reactor.callLater(60, self.fired.append, "old")
        self.off += 0.5
        self.assertEqual(self.passes(59), [])
        self.assertEqual(self.passes(0.6), ["old"])
