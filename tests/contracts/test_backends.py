"""
The contract of backends, on each of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from teleport_tw.backends.interface import Backend
from teleport_tw.backends.measure import BackendFigures, MeasuredBackend
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.backends.sqlite import SqliteBackend, open_sqlite
from tests.contracts import backend


class TimedReactor:
    """
    The real reactor's threads and timers with a test's wall time.
    """

    def __init__(self, time: backend.Time) -> None:
        self.seconds = time.seconds
        self.callLater: Any = reactor.callLater  # type: ignore[attr-defined]
        self.callFromThread: Any = reactor.callFromThread  # type: ignore[attr-defined]


class MemoryTests(backend.BackendContract, TestCase):
    """
    In memory.
    """

    memory: MemoryBackend

    async def make(self, time: backend.Time) -> Backend:
        """
        The reference.
        """
        self.memory = MemoryBackend(time)  # type: ignore[arg-type]
        return self.memory

    async def sweep(self) -> None:
        """
        At once.
        """
        self.memory.sweep()


class SqliteTests(backend.BackendContract, TestCase):
    """
    In a file, with threads.
    """

    sqlite: SqliteBackend

    async def make(self, time: backend.Time) -> Backend:
        """
        A new file.
        """
        self.sqlite = open_sqlite(Path(self.mktemp()), TimedReactor(time))
        return self.sqlite

    async def sweep(self) -> None:
        """
        As the timer would.
        """
        await self.sqlite._writer.run(self.sqlite._transaction.sweep)


class MeasuredTests(MemoryTests):
    """
    With figures taken round it.
    """

    async def make(self, time: backend.Time) -> Backend:
        """
        Round the reference.
        """
        self.registry = CollectorRegistry()
        return MeasuredBackend(await super().make(time), time, BackendFigures(self.registry))  # type: ignore[arg-type]

    async def test_figures(self) -> None:
        """
        Calls are counted by name and by how they ended.
        """
        await self.backend.put(("a",), b"")
        await self.refused(self.backend.get(("b",)))
        for call, result in (("put", "ok"), ("get", "not found")):
            labels = {"call": call, "result": result}
            self.assertEqual(self.registry.get_sample_value("backend_requests_total", labels), 1)
