"""
From a session to the archive: recorder, spool, upload, storage, search.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.events.kinds import Event
from teleport_tw.recordings import archive as archive_module
from teleport_tw.recordings import recorder as recorder_module
from teleport_tw.recordings.archive import ABANDONED_SECONDS, Archive
from teleport_tw.recordings.container import End, Note, Output, Reader, Resized, Timed
from teleport_tw.recordings.recorder import Recorder
from teleport_tw.recordings.screen import Line
from teleport_tw.recordings.search import BATCH_LINES, ContentIndex, Stopped
from teleport_tw.recordings.storage import LocalStorage
from teleport_tw.recordings.upload import GATHER_SECONDS, Uploader
from tests.doubles.threads import in_place


class Sink:
    """
    Remembers.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


class RecordingCase(SynchronousTestCase):
    """
    A spool on one side and an archive on the other.
    """

    def setUp(self) -> None:
        base = Path(self.mktemp())
        self.spool, self.clock, self.reasons = base / "spool", Clock(), list[str]()
        self.storage = LocalStorage(base / "records", in_place())
        self.archive = Archive(self.storage, ContentIndex(base / "text.sqlite"), in_place(), now=lambda: 1e12)
        self.done(self.archive.start())
        self.addCleanup(lambda: self.done(self.archive.close()))
        self.sink = Sink()
        self.uploader = Uploader(
            self.spool,
            self.archive.put,
            self.completed,
            self.sink,
            in_place(),
            self.clock,  # type: ignore[arg-type]
        )

    async def completed(self, session: str, parts: int) -> None:
        await self.archive.complete(session, parts)

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def recorder(self, session: str = "s1") -> Recorder:
        opening = Recorder.open(
            session,
            {"user": "alice"},
            self.spool,
            clock=self.clock,
            threads=in_place(),
            on_failure=self.reasons.append,
        )
        made: Recorder = self.done(opening)
        return made

    def stored(self, session: str = "s1") -> tuple[Reader, list[Timed]]:
        reader = Reader()

        async def read() -> list[Timed]:
            return [record async for data in self.archive.stream(session) for record in reader.feed(data)]

        return reader, self.done(read())


class RecorderTests(RecordingCase):
    """
    The way of a session.
    """

    def test_the_whole_way(self) -> None:
        """
        Recorded, uploaded, told of with its digest, deleted from the spool, found by content.
        """
        recorder = self.recorder()
        recorder.print(b"hello ")
        self.clock.advance(0.25)
        recorder.resize(100, 30)
        recorder.print(b"\x1b[1mWorld\x1b[0m\r\n")
        recorder.event({"event": "session.join", "user": "bob"})
        recorded = self.done(recorder.close())
        self.assertEqual(self.done(self.uploader.scan()), 1)
        reader, records = self.stored()
        self.assertTrue(reader.complete)
        self.assertEqual(reader.digest.hex(), recorded.digest)
        self.assertEqual([event.fields()["recording_digest"] for event in self.sink.events], [recorded.digest])
        self.assertEqual(
            [(record.ms, type(record.fact)) for record in records[1:]],
            [(0, Output), (250, Resized), (250, Output), (250, Note), (250, End)],
        )
        self.assertEqual(list(self.spool.iterdir()), [])
        [found] = self.done(self.archive.search("lo WORLD"))
        self.assertEqual((found.session, found.ms, found.line), ("s1", 0, "hello World"))

    def test_a_frame_is_on_disk_after_a_second(self) -> None:
        """
        Without anybody closing anything.
        """
        recorder = self.recorder()
        recorder.print(b"precious")
        [file] = self.spool.iterdir()
        self.clock.advance(0.9)
        self.assertEqual(len(Reader().feed(file.read_bytes())), 1)
        self.clock.advance(0.2)
        self.assertEqual(Reader().feed(file.read_bytes())[-1].fact, Output(b"precious"))
        self.assertEqual(self.done(self.uploader.scan()), 0)
        self.done(recorder.close())

    def test_what_grows_is_sent_bit_by_bit(self) -> None:
        """
        Not at once, since most sessions are short; then what came, once, and at the end only the rest.
        """
        recorder = self.recorder()
        sent = []

        async def put(session: str, part: int, data: bytes) -> None:
            sent.append((part, len(data)))
            await self.archive.put(session, part, data)

        self.uploader.put_part = put
        self.assertEqual(self.done(self.uploader.grow()), 0)
        self.assertEqual(self.done(self.uploader.grow()), 1)
        recorder.print(b"so far")
        self.clock.advance(1.1)
        self.assertEqual(self.done(self.uploader.grow()), 1)
        self.assertEqual(self.stored()[1][-1].fact, Output(b"so far"))
        self.assertEqual(self.done(self.uploader.grow()), 0)
        recorder.print(b"the rest")
        recorded = self.done(recorder.close())
        self.assertEqual(self.done(self.uploader.scan()), 1)
        reader, records = self.stored()
        self.assertEqual(
            [each.fact.data for each in records if isinstance(each.fact, Output)], [b"so far", b"the rest"]
        )
        self.assertEqual(reader.digest.hex(), recorded.digest)
        self.assertEqual([part for part, _ in sent], [1, 2, 3])
        self.assertEqual(sum(size for _, size in sent), sum(len(data) for data in self.done(self._bytes())))
        self.assertEqual(self.done(self.uploader.grow()), 0)
        self.assertEqual(self.uploader._growing, {})

    async def _bytes(self) -> list[bytes]:
        return [data async for data in self.archive.stream("s1")]

    def test_a_silent_session_is_not_given_up(self) -> None:
        """
        Its last part is sent again now and then, for auth closes what it does not hear of.
        """
        self.recorder()
        for _ in range(2):
            self.done(self.uploader.grow())
        self.clock.advance(599)
        self.assertEqual(self.done(self.uploader.grow()), 0)
        self.clock.advance(1)
        self.assertEqual(self.done(self.uploader.grow()), 1)
        self.assertEqual(self.done(self.uploader.grow()), 0)
        self.assertEqual(len(self.stored()[1]), 1)

    def test_a_host_that_comes_back_sends_from_the_start(self) -> None:
        """
        It does not know what it has sent; in the end there is the one recording.
        """
        recorder = self.recorder()
        for number in range(4):
            recorder.print(b"line %d" % number)
            self.clock.advance(1.1)
            self.done(self.uploader.grow())
        recorded = self.done(recorder.close())
        self.uploader = Uploader(
            self.spool,
            self.archive.put,
            self.completed,
            self.sink,
            in_place(),
            self.clock,  # type: ignore[arg-type]
        )
        self.assertEqual(self.done(self.uploader.scan()), 1)
        self.assertEqual(self.stored()[0].digest.hex(), recorded.digest)

    def test_bytes_that_were_taken_back(self) -> None:
        """
        A disk that is full in the middle of a frame takes it back after it was sent: what is left is sent anew.
        """
        recorder = self.recorder()
        [file] = self.spool.iterdir()
        whole = file.stat().st_size
        self.done(self.uploader.grow())
        with file.open("ab") as torn:
            torn.write(b"torn")
        self.done(self.uploader.grow())
        os.truncate(file, whole)
        self.assertEqual(self.done(self.uploader.grow()), 0)
        recorder.failed = "the disk is full"
        self.done(recorder.close())
        self.assertEqual(self.done(self.uploader.scan()), 1)
        reader, _ = self.stored()
        self.assertEqual((reader.frames, reader.torn_bytes), (1, 0))

    def test_a_full_disk_is_told_and_what_was_written_stays_good(self) -> None:
        """
        Strict sessions end on this; the recording so far still uploads.
        """
        recorder = self.recorder()
        recorder.print(b"kept")
        self.done(recorder.flush())
        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (400, before[1]))
            recorder.print(bytes(range(256)) * 20)
            self.done(recorder.flush())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        self.assertEqual(len(self.reasons), 1)
        recorder.print(b"later")
        self.assertEqual(self.done(recorder.close()).digest, "")
        self.done(self.uploader.scan())
        reader, records = self.stored()
        self.assertEqual(records[-1].fact, Output(b"kept"))
        self.assertEqual((reader.complete, reader.torn_bytes), (False, 0))

    def test_a_drain_that_hangs_costs_bounded_memory_and_leaves_a_note(self) -> None:
        """
        Output beyond the bound is left out, with a note of how much, and the session hears of it once.
        """
        parts: list[bytes] = []
        stuck: list[Deferred[None]] = []

        async def put(session: str, part: int, data: bytes) -> None:
            parts.append(data)
            if part == 2:
                stuck.append(Deferred())
                await stuck[0]

        async def complete(session: str, count: int) -> None:
            parts.append(b"complete %d" % count)

        streaming = Recorder.stream(
            "s2",
            {},
            put_part=put,
            complete=complete,
            clock=self.clock,
            threads=in_place(),
            on_failure=self.reasons.append,
        )
        recorder: Recorder = self.done(streaming)
        size = recorder_module.MAX_BUFFERED_BYTES // 8
        for _ in range(12):
            recorder.print(bytes(size))
        self.assertEqual(len(self.reasons), 1)
        stuck[0].callback(None)
        recorder.print(b"after")
        recorded = self.done(recorder.close())
        reader = Reader()
        records = reader.feed(b"".join(parts[:-1]))
        self.assertEqual(parts[-1], b"complete %d" % (len(parts) - 1))
        self.assertEqual(recorded.parts, len(parts) - 1)
        [note] = [record.fact for record in records if isinstance(record.fact, Note)]
        shown = sum(len(record.fact.data) for record in records if isinstance(record.fact, Output))
        self.assertEqual(note.event["bytes"] + shown, 12 * size + len(b"after"))

    def test_sync_mode_ends_the_session_when_auth_is_away(self) -> None:
        """
        The first part that cannot be sent is told.
        """
        online = [True]

        async def put(session: str, part: int, data: bytes) -> None:
            if not online[0]:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")

        streaming = Recorder.stream(
            "s3", {}, put_part=put, complete=self.completed, clock=self.clock, threads=in_place(),
            on_failure=self.reasons.append,
        )  # fmt: skip
        recorder: Recorder = self.done(streaming)
        online[0] = False
        recorder.print(b"x")
        self.clock.advance(1.1)
        self.assertIn("auth is away", self.reasons[0])

    def test_sync_mode_is_heard_of_in_a_long_silence(self) -> None:
        """
        The last part again, in vain or not, until the session ends.
        """
        told: list[tuple[int, bytes]] = []
        online = [True]

        async def put(session: str, part: int, data: bytes) -> None:
            told.append((part, data))
            if not online[0]:
                raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")

        async def complete(session: str, count: int) -> None:
            told.append((0, b"%d" % count))

        streaming = Recorder.stream("s4", {}, put_part=put, complete=complete, clock=self.clock, threads=in_place())
        recorder: Recorder = self.done(streaming)
        recorder.print(b"$ ")
        self.clock.advance(1.1)
        self.assertEqual([part for part, _ in told], [1, 2])
        self.clock.advance(recorder_module.ALIVE_SECONDS - 1)
        self.assertEqual(len(told), 2)
        self.clock.advance(1)
        self.assertEqual(told[2], told[1])
        online[0] = False
        self.clock.advance(recorder_module.ALIVE_SECONDS)
        online[0] = True
        self.clock.advance(recorder_module.ALIVE_SECONDS)
        self.assertEqual(told[2:], [told[1]] * 3)
        self.assertEqual(recorder.failed, "")
        self.done(recorder.close())
        self.assertEqual([part for part, _ in told[5:]], [3, 0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_session_id_is_no_path(self) -> None:
        """
        Neither here nor in the store.
        """
        for session in ("../x", "", "a/b", ".", "x" * 200, "a\0"):
            work = Recorder.open(session, {}, self.spool, clock=self.clock, threads=in_place())
            self.failureResultOf(Deferred.fromCoroutine(work), TeleportError)
            self.failureResultOf(Deferred.fromCoroutine(self.storage.put(session, 1, b"")), TeleportError)


class StorageTests(RecordingCase):
    """
    Parts and whole recordings.
    """

    def test_parts_are_read_while_they_come_and_end_as_one_file(self) -> None:
        """
        A complete recording is never changed again.
        """
        self.done(self.storage.put("a", 1, b"one"))
        self.done(self.storage.put("a", 2, b"TWO"))
        self.done(self.storage.put("a", 2, b"two"))

        async def read() -> bytes:
            return b"".join([data async for data in self.storage.stream("a")])

        self.assertEqual(self.done(read()), b"onetwo")
        self.failureResultOf(Deferred.fromCoroutine(self.storage.complete("a", 3)), TeleportError)
        for _ in range(2):
            self.done(self.storage.complete("a", 2))
        self.done(self.storage.put("a", 1, b"evil"))
        self.assertEqual(self.done(read()), b"onetwo")
        self.done(self.storage.delete("a"))
        self.failureResultOf(Deferred.fromCoroutine(read()), TeleportError)

    def test_bounds(self) -> None:
        """
        Size of a part, its number, size of a recording.
        """
        self.storage.max_bytes = 10
        self.done(self.storage.put("a", 1, b"12345678"))
        for part, data in ((0, b""), (100_001, b""), (2, bytes(5 << 20)), (2, b"123")):
            self.failureResultOf(Deferred.fromCoroutine(self.storage.put("a", part, data)), TeleportError)

    def test_abandoned_uploads_are_completed(self) -> None:
        """
        What a dead sender left is closed and searchable.
        """
        recorder = self.recorder("dead")
        recorder.print(b"last words\r\n")
        self.done(recorder.flush())
        [file] = self.spool.iterdir()
        self.done(self.archive.put("dead", 1, file.read_bytes()))
        self.assertGreater(ABANDONED_SECONDS, 0)
        self.assertEqual(self.done(self.archive.complete_abandoned()), ["dead"])
        self.assertEqual(len(self.done(self.archive.search("last words"))), 1)
        self.done(recorder.close())

    def test_a_tampered_recording_is_told(self) -> None:
        """
        The archive keeps it and says what is wrong.
        """
        recorder = self.recorder()
        recorder.print(b"x" * 100)
        self.done(recorder.close())
        [file] = self.spool.iterdir()
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        self.done(self.archive.put("s1", 1, bytes(data)))
        checked = self.done(self.archive.complete("s1", 1))
        self.assertIn("changed or cut", checked.problem)

    def test_the_index_has_a_bounded_beginning(self) -> None:
        """
        Whatever is written, even what makes no lines; the rest is checked all the same.
        """
        self.patch(archive_module, "MAX_INDEXED", 64 << 10)
        recorder = self.recorder("long")
        recorder.print(b"early words\r\n")
        for _ in range(5):
            recorder.print(bytes(16 << 10))
        recorder.print(b"late words\r\n")
        self.done(recorder.close())
        [file] = self.spool.iterdir()
        self.done(self.archive.put("long", 1, file.read_bytes()))
        checked = self.done(self.archive.complete("long", 1))
        self.assertEqual((checked.complete, checked.problem), (True, ""))
        self.assertEqual(len(self.done(self.archive.search("early words"))), 1)
        self.assertEqual(self.done(self.archive.search("late words")), [])

    def test_one_searches_while_another_recording_is_taken_in(self) -> None:
        """
        What is being written is not found yet, what was there is.
        """
        index, seen = self.archive.index, list[list[str]]()

        def lines(text: str) -> Iterator[Line]:
            for number in range(BATCH_LINES * 2):
                seen.append([found.session for found in index.find("words", limit=1)])
                yield Line(number, text)

        index.add("old", [Line(0, "old words")])
        index.add("new", lines("new words"))
        self.assertEqual(set(map(tuple, seen)), {("old",)})
        self.assertEqual([found.session for found in index.find("words", limit=1)], ["new"])

    def test_a_stop_leaves_the_rest_to_the_next_start(self) -> None:
        """
        Nothing of a recording is in the index then, and at the next start all of it.
        """
        recorder = self.recorder("s1")
        for _ in range(BATCH_LINES * 2):
            recorder.print(b"words\r\n")
        self.done(recorder.close())
        self.archive.index.stop()
        self.done(self.uploader.scan())
        self.assertEqual(self.done(self.archive.search("words")), [])
        self.done(self.archive.close())
        self.done(self.archive.start())
        self.assertEqual(len(self.done(self.archive.search("words"))), BATCH_LINES * 2)

        def lines() -> Iterator[Line]:
            for number in range(BATCH_LINES * 2):
                if number == BATCH_LINES:
                    self.archive.index.stop()
                yield Line(number, "other")

        self.assertRaises(Stopped, self.archive.index.add, "s2", lines())
        self.assertNotIn("s2", self.archive.index.sessions())
        self.assertEqual(self.archive.index.find("other"), [])


class UploaderTests(RecordingCase):
    """
    The loop round the scan.
    """

    def test_it_scans_at_start_when_woken_and_every_half_minute(self) -> None:
        """
        And after a failure tries again, keeping the file.
        """
        self.uploader.start()
        for number, wait in enumerate((self.uploader.wake, lambda: self.clock.advance(30.1))):
            recorder = self.recorder(f"s{number}")
            recorder.print(b"x")
            self.done(recorder.close())
            wait()
            self.clock.advance(GATHER_SECONDS)
            self.assertTrue(self.stored(f"s{number}")[0].complete)
        put, self.uploader.put_part = self.uploader.put_part, self.refuse
        self.done(self.recorder("s9").close())
        self.uploader.wake()
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual([path.name for path in self.spool.iterdir()], ["s9.rec"])
        self.uploader.put_part = put
        self.clock.advance(1.1)
        self.assertTrue(self.stored("s9")[0].complete)
        self.uploader.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_recordings_that_end_together_go_together(self) -> None:
        """
        And those that grow are not looked at each time: one without an owner goes with the next half minute's scan.
        """
        self.uploader.start()
        for number in range(3):
            self.done(self.recorder(f"s{number}").close())
            self.uploader.wake()
        left = self.recorder("left")
        os.close(left.drain._file)  # type: ignore[attr-defined]
        self.assertEqual(len(list(self.spool.iterdir())), 4)
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual([path.name for path in self.spool.iterdir()], ["left.part"])
        self.done(self.recorder("s3").close())
        self.uploader.wake()
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual([path.name for path in self.spool.iterdir()], ["left.part"])
        self.clock.advance(30.1)
        self.clock.advance(GATHER_SECONDS)
        self.assertEqual(list(self.spool.iterdir()), [])
        self.assertFalse(self.stored("left")[0].complete)
        self.flushLoggedErrors()
        self.uploader.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    async def refuse(self, session: str, part: int, data: bytes) -> None:
        raise TeleportError(Kind.CONNECTION_PROBLEM, "auth is away")


_WRITER = """
import sys
from pathlib import Path
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from teleport_tw.recordings.recorder import Recorder
from tests.doubles.threads import in_place
clock = Clock()
async def main():
    recorder = await Recorder.open("killed", {}, Path(sys.argv[1]), clock=clock, threads=in_place())
    number = 0
    while True:
        number += 1
        recorder.print(b"line %d\\r\\n" % number)
        clock.advance(1.1)
        print(number, flush=True)
Deferred.fromCoroutine(main())
"""


class KillTests(RecordingCase):
    """
    The recording process dies.
    """

    def test_kill_9_keeps_every_flushed_second_and_it_uploads_at_the_next_start(self) -> None:
        """
        All lines that were flushed are in the archive.
        """
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(self.spool)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(30)]
        self.assertEqual(self.done(self.uploader.scan()), 0)
        writer.kill()
        told += map(int, writer.stdout.read().split())
        writer.wait()
        writer.stdout.close()
        self.assertEqual(self.done(self.uploader.scan()), 1)
        shown = b"".join(record.fact.data for record in self.stored("killed")[1] if isinstance(record.fact, Output))
        self.assertIn(b"line %d\r\n" % told[-1], shown)
