"""
Pipes and terminals on the loop.
"""

from __future__ import annotations

import os
import tty

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from teleport_tw.base.net.files import HIGH_WATER_BYTES, FileSink, FileSource


class FileTests(TestCase):
    """
    Each on descriptors of its own.
    """

    timeout = 20

    def setUp(self) -> None:
        self.got = bytearray()
        self.ends: list[str] = []

    async def until(self, true: object) -> None:
        """Let the reactor run."""
        for _ in range(1000):
            if true():  # type: ignore[operator]
                return
            await deferLater(reactor, 0.005)
        raise AssertionError("it did not happen")

    def source(self, descriptor: int, **how: bool) -> FileSource:
        """One that is closed with the test."""
        made = FileSource(reactor, descriptor, self.got.extend, lambda: self.ends.append("end"), **how)
        self.addCleanup(made.stopProducing)
        return made

    async def test_a_pipe_is_read_to_its_end(self) -> None:
        """
        And its end is told once.
        """
        reading, writing = os.pipe()
        source = self.source(reading)
        source.resumeProducing()
        os.write(writing, b"hello")
        await self.until(lambda: self.got == b"hello")
        os.close(writing)
        await self.until(lambda: self.ends)
        self.assertEqual((self.ends, source.ended), (["end"], True))

    async def test_a_paused_source_reads_nothing(self) -> None:
        """
        Until it is resumed.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        source = self.source(reading)
        source.resumeProducing()
        source.pauseProducing()
        os.write(writing, b"later")
        await deferLater(reactor, 0.05)
        self.assertEqual(self.got, b"")
        source.resumeProducing()
        await self.until(lambda: self.got == b"later")

    async def test_a_finished_source_ends_though_others_hold_the_pipe(self) -> None:
        """
        What was written before counts, also when it was paused meanwhile.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        source = self.source(reading)
        os.write(writing, b"last words")
        source.finish()
        await deferLater(reactor, 0.02)
        self.assertEqual(self.ends, [])
        source.resumeProducing()
        await self.until(lambda: self.ends)
        self.assertEqual(self.got, b"last words")

    async def test_a_terminal_ends_when_nobody_has_it_open(self) -> None:
        """
        Linux says EIO then; much output comes whole.
        """
        master, slave = os.openpty()
        tty.setraw(slave)
        source = self.source(master, terminal=True)
        source.resumeProducing()
        sink = FileSink(reactor, slave)
        data = os.urandom(100_000)
        sink.write(data)
        sink.close()
        await self.until(lambda: self.ends)
        self.assertEqual(bytes(self.got), data)

    async def test_a_full_sink_says_so_and_says_when_there_is_room(self) -> None:
        """
        Everything arrives in order, then the end.
        """
        reading, writing = os.pipe()
        told: list[str] = []
        sink = FileSink(reactor, writing, on_full=lambda: told.append("full"), on_room=lambda: told.append("room"))
        data = os.urandom(HIGH_WATER_BYTES * 3)
        for start in range(0, len(data), 10_000):
            sink.write(data[start : start + 10_000])
        self.assertEqual(told, ["full"])
        sink.close()
        source = self.source(reading)
        source.resumeProducing()
        await self.until(lambda: self.ends)
        self.assertEqual((bytes(self.got) == data, told, sink.waiting_bytes), (True, ["full", "room"], 0))

    async def test_what_nobody_reads_is_dropped(self) -> None:
        """
        And who waits for room is let go on.
        """
        reading, writing = os.pipe()
        told: list[str] = []
        sink = FileSink(reactor, writing, on_room=lambda: told.append("room"))
        sink.write(os.urandom(HIGH_WATER_BYTES * 2))
        os.close(reading)
        await self.until(lambda: told)
        sink.write(b"more")
        sink.close()
        self.assertEqual(sink.waiting_bytes, 0)
