"""
What only a file can get wrong: crashes, a second opener, a full disk, old schemas.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from teleport_tw.backends import schema
from teleport_tw.backends.sqlite import SqliteBackend, open_sqlite
from teleport_tw.base.errors import Kind, TeleportError

_WRITER = """
import sys
from pathlib import Path
from teleport_tw.base.loop import install
install()
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from teleport_tw.backends.sqlite import open_sqlite
backend = open_sqlite(Path(sys.argv[1]), reactor)
async def write(lane):
    n = 0
    while True:
        await backend.put(("lane", str(lane)), str(n).encode())
        await backend.create(("n", f"{sys.argv[2]}-{lane}-{n}"), b"x" * 200)
        sys.stdout.write(f"{sys.argv[2]}-{lane}-{n}\\n")
        sys.stdout.flush()
        n += 1
for lane in range(8):
    Deferred.fromCoroutine(write(lane)).addErrback(lambda f: (f.printTraceback(), reactor.stop()))
reactor.run()
"""


class Acknowledged(ProcessProtocol):
    """
    Collects what a writer said was written, and kills it in the middle.
    """

    def __init__(self, enough: int) -> None:
        self.enough = enough
        self.said = b""
        self.complaints = b""
        self.ended: Deferred[None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        """
        Acknowledgements, a line each.
        """
        self.said += data
        if self.said.count(b"\n") >= self.enough and self.transport.pid is not None:
            self.transport.signalProcess("KILL")

    def errReceived(self, data: bytes) -> None:
        """
        Should stay empty.
        """
        self.complaints += data

    def processEnded(self, reason: Failure) -> None:
        """
        Killed, as we did.
        """
        reason.trap(ProcessTerminated)
        self.ended.callback(None)


class FileTests(TestCase):
    """
    One file and its troubles.
    """

    timeout = 120

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def open(self, **options: int) -> SqliteBackend:
        """
        The backend, closed after the test.
        """
        backend = open_sqlite(self.path, reactor, **options)  # type: ignore[arg-type]
        self.addCleanup(lambda: Deferred.fromCoroutine(backend.close()))
        return backend

    async def test_what_was_acknowledged_survives_kill(self) -> None:
        """
        A writer killed again and again, never at a good moment, loses nothing it acknowledged.
        """
        acknowledged: set[str] = set()
        for turn in range(4):
            writer = Acknowledged(40 + 37 * turn)
            reactor.spawnProcess(  # type: ignore[attr-defined]
                writer, sys.executable, [sys.executable, "-c", _WRITER, str(self.path), str(turn)], env=os.environ
            )
            await writer.ended
            self.assertEqual(writer.complaints, b"")
            acknowledged |= set(writer.said.decode().rpartition("\n")[0].split("\n"))
        backend = self.open()
        found: set[str] = set()
        page = await backend.range(("n",))
        while True:
            found |= {item.key[1] for item in page.items}
            if not page.more:
                break
            page = await backend.range(("n",), start_after=page.items[-1].key)
        self.assertGreater(len(acknowledged), 200)
        self.assertEqual(acknowledged - found, set())
        self.assertEqual(backend._transaction.connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])

    async def test_second_opener_is_refused(self) -> None:
        """
        Two auths never share a file; after a close the next may open it, and finds everything.
        """
        backend = self.open()
        await backend.put(("a",), b"1")
        with self.assertRaises(TeleportError) as raised:
            open_sqlite(self.path, reactor)  # type: ignore[arg-type]
        self.assertEqual(raised.exception.kind, Kind.ALREADY_EXISTS)
        await backend.close()
        again = self.open()
        item = await again.get(("a",))
        self.assertEqual(item.value, b"1")
        self.assertGreater(await again.put(("a",), b"2"), item.revision)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    async def test_full_disk_is_reported_and_survived(self) -> None:
        """
        A write that finds no room fails with a clear error, the others go on, and reading never stops.
        """
        backend = self.open(max_pages=64)
        number = 0
        with self.assertRaises(TeleportError) as raised:
            for number in range(100):
                await backend.put(("n", str(number)), bytes(8000))
        self.assertEqual(raised.exception.kind, Kind.CONNECTION_PROBLEM)
        self.assertIn("full", str(raised.exception))
        self.assertEqual(len((await backend.range(("n",))).items), number)
        small, large = (
            Deferred.fromCoroutine(backend.put(("n", "0"), b"small")),
            Deferred.fromCoroutine(backend.put(("n", "new"), bytes(90_000))),
        )
        await small
        await self.assertFailure(large, TeleportError)
        await backend.delete(("n", "1"))
        await backend.put(("n", "room"), b"again")

    async def test_read_only_folder(self) -> None:
        """
        A place that cannot be written, or is no folder, is named in the error.
        """
        self.path.write_bytes(b"")
        with self.assertRaises(TeleportError) as raised:
            open_sqlite(self.path / "backend", reactor)  # type: ignore[arg-type]
        self.assertEqual(raised.exception.kind, Kind.CONNECTION_PROBLEM)
        self.assertIn(str(self.path / "backend"), str(raised.exception))
        self.path.write_bytes(b"this is no database at all, but long enough to be looked at" * 9)
        with self.assertRaises(TeleportError) as raised:
            self.open()
        self.assertEqual(raised.exception.kind, Kind.CONNECTION_PROBLEM)

    async def test_a_file_that_turns_read_only(self) -> None:
        """
        Writes fail with a clear error, reads go on, and writes work again once it is writable.
        """
        backend = self.open()
        await backend.put(("a",), b"1")
        connection = backend._transaction.connection
        await backend._writer.run(lambda: connection.execute("PRAGMA query_only = ON").close())
        with self.assertRaises(TeleportError) as raised:
            await backend.put(("a",), b"2")
        self.assertEqual(raised.exception.kind, Kind.CONNECTION_PROBLEM)
        self.assertEqual((await backend.get(("a",))).value, b"1")
        await backend._reader.run(lambda: None)

    async def test_unknown_settings(self) -> None:
        """
        Journal and sync are words of SQLite's, not SQL.
        """
        for settings in ({"journal": "WAL; DROP TABLE item"}, {"synchronous": "sometimes"}):
            with self.assertRaises(TeleportError) as raised:
                open_sqlite(self.path, reactor, **settings)  # type: ignore[arg-type]
            self.assertEqual(raised.exception.kind, Kind.BAD_PARAMETER)


class SchemaTests(SynchronousTestCase):
    """
    Steps from schema to schema.
    """

    def test_upgrade_backs_up_first(self) -> None:
        """
        An existing file is copied before its schema changes, a failed step changes nothing, and a later one is refused.
        """
        path = Path(self.mktemp()).absolute()
        connection = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(connection.close)
        known = dict(schema.steps())
        newest = max(known)
        self.assertIsNone(schema.upgrade(connection, path, known))
        connection.execute("INSERT INTO item VALUES (x'61', x'', 1, NULL)")
        self.assertIsNone(schema.upgrade(connection, path, known))
        broken = {**known, newest + 1: "CREATE TABLE more (x) STRICT;\nthis is no SQL;"}
        with self.assertRaises(sqlite3.Error):
            schema.upgrade(connection, path, broken)
        better = {**known, newest + 1: "ALTER TABLE item ADD COLUMN more TEXT;"}
        backup = schema.upgrade(connection, path, better)
        assert backup is not None
        with sqlite3.connect(backup) as old:
            self.assertEqual(old.execute("SELECT * FROM item").fetchall(), [(b"a", b"", 1, None)])
        old.close()
        with self.assertRaises(TeleportError) as raised:
            schema.upgrade(connection, path, known)
        self.assertEqual(raised.exception.kind, Kind.BAD_PARAMETER)
