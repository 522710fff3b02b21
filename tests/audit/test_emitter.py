"""
The emitter spools first, sends in order, and says so when it cannot.
"""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.audit.emitter import BATCH_EVENTS, MAX_EVENT_BYTES, Emitter
from teleport_tw.audit.redact import Outlet, redacted
from teleport_tw.audit.spool import Spool
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Backoff
from teleport_tw.events import kinds
from teleport_tw.events.worded import worded, words_of
from teleport_tw.resources.metadata import Json
from tests.doubles.threads import in_place

ALICE = kinds.Actor(user="alice")
_SHUT = Secret("hunter2")


class Auth:
    """
    Takes batches, or refuses them with the error it is told.
    """

    def __init__(self) -> None:
        self.stored: list[Json] = []
        self.error: Exception | None = None
        self.poison = ""

    async def emit(self, events: Sequence[Json]) -> None:
        if self.error is not None:
            raise self.error
        if self.poison and any(self.poison in json.dumps(event) for event in events):
            raise TeleportError(Kind.BAD_PARAMETER, "not an event")
        self.stored += events


class EmitterCase(SynchronousTestCase):
    """
    An emitter with a clock by hand.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.auth, self.clock, self.reasons = Auth(), Clock(), list[str]()

    today = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)

    def emitter(self, *, gather: float = 0.0, **spool: Any) -> Emitter:
        made = Emitter(
            write_seconds=gather,
            send_seconds=gather * 5,
            cluster="example",
            spool=Spool(self.directory, **spool),
            send=self.auth.emit,
            threads=in_place(),
            clock=self.clock,
            on_failure=self.reasons.append,
            now=lambda: self.today,
            backoff=Backoff(timedelta(seconds=1), timedelta(seconds=1), draw=lambda: 0.9999),
        )
        self.done(made.start())
        return made

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def names(self) -> list[str]:
        return [item["reason"] for item in self.auth.stored]


def cut(reason: str) -> kinds.ClientDisconnect:
    return kinds.ClientDisconnect(actor=ALICE, reason=reason)


class EmitterTests(EmitterCase):
    """
    From event to auth.
    """

    def test_events_are_completed(self) -> None:
        """
        Name, code, time in milliseconds, uid, cluster, and an index within the session.
        """
        emitter = self.emitter()
        session = kinds.Session(id="s1")
        for _ in range(2):
            emitter.emit(kinds.Resize(actor=ALICE, session=session, size="80:24"))
        emitter.emit(kinds.SessionUpload(session=session))
        emitter.emit(cut("idle"))
        first, second, upload, other = self.auth.stored
        self.assertEqual(first["event"], "resize")
        self.assertEqual(first["code"], "T2002I")
        self.assertEqual(first["time"], "2026-01-02T03:04:05.678Z")
        self.assertEqual(first["cluster_name"], "example")
        self.assertNotEqual(first["uid"], second["uid"])
        self.assertEqual([item["ei"] for item in (first, second, upload, other)], [0, 1, 2**31 - 1, 0])
        self.done(emitter.close())

    def test_events_in_words_are_completed_alike(self) -> None:
        """
        With the same indexes; one that is too long is cut like any other.
        """
        emitter = self.emitter()
        session = kinds.Session(id="s1")
        target = kinds.DatabaseTarget(service="pg")
        facts: dict[str, Any] = {"actor": ALICE, "session": session, "database": target}
        words = words_of(facts.values())
        emitter.emit(kinds.DatabaseQuery(**facts, query="select 1"))
        emitter.emit(worded(kinds.DatabaseQuery)(words, "s1", {"success": True, "query": "select 1"}))
        emitter.emit(worded(kinds.DatabaseQuery)(words, "s1", {"query": "x" * MAX_EVENT_BYTES}))
        typed, fast, long = self.auth.stored
        self.assertEqual((typed["ei"], fast["ei"], long["ei"]), (0, 1, 2))
        self.assertEqual(len({item["uid"] for item in self.auth.stored}), 3)
        self.assertEqual(len(fast["uid"]), len(typed["uid"]))
        for item in (typed, fast):
            del item["ei"], item["uid"]
        self.assertEqual(fast, typed)
        self.assertTrue(long["truncated"])
        self.done(emitter.close())

    def test_the_time_of_events_in_words(self) -> None:
        """
        To the millisecond, as other events have it.
        """
        for moment in (0, 999, 1_000, 120_000, 999_999, 1_000_000, 59_999_500):
            self.today = datetime(2026, 1, 2, 3, 4, tzinfo=UTC) + timedelta(microseconds=moment)
            emitter = self.emitter()
            emitter.emit(cut("idle"))
            emitter.emit(worded(kinds.DatabaseQuery)(words_of([ALICE]), "s1", {"query": "x"}))
            typed, fast = self.auth.stored[-2:]
            self.assertEqual(fast["time"], typed["time"])
            self.done(emitter.close())

    def test_events_go_as_text_where_that_is_taken(self) -> None:
        """
        The same JSON.
        """
        emitter, sent = self.emitter(), list[str]()

        async def take(events: Sequence[str]) -> None:
            sent.extend(events)

        emitter.send_text = take
        emitter.emit(cut("idle"))
        self.assertEqual([json.loads(text)["reason"] for text in sent], ["idle"])
        self.assertEqual(self.auth.stored, [])
        self.done(emitter.close())

    def test_a_full_batch_is_followed_at_once(self) -> None:
        """
        However long batches are gathered.
        """
        emitter = self.emitter(gather=1.0)
        emitter.emit(cut("first"))
        for number in range(2 * BATCH_EVENTS + 1):
            emitter.emit(cut(str(number)))
        self.clock.advance(1.0)  # written
        self.clock.advance(4.1)  # and sent, five seconds after the first
        self.assertEqual(len(self.auth.stored), 2 * BATCH_EVENTS + 2)
        self.done(emitter.close())

    def test_order_is_kept_while_auth_is_away(self) -> None:
        """
        What was emitted during the outage follows, nothing twice.
        """
        emitter = self.emitter(segment_bytes=300)
        emitter.emit(cut("1"))
        self.auth.error = TeleportError(Kind.CONNECTION_PROBLEM, "away")
        for number in range(2, 9):
            emitter.emit(cut(str(number)))
        self.assertEqual(self.names(), ["1"])
        self.auth.error = None
        self.clock.advance(0.9)
        self.assertEqual(self.names(), ["1"])
        self.clock.advance(0.2)
        self.assertEqual(self.names(), [str(number) for number in range(1, 9)])
        self.done(emitter.close())
        self.assertEqual(len(list(self.directory.glob("*.jsonl"))), 1)

    def test_what_was_not_sent_goes_out_after_a_restart(self) -> None:
        """
        Closing gives up in time and keeps the rest; a torn last line is cut off.
        """
        self.auth.error = RuntimeError("anything at all")
        emitter = self.emitter()
        emitter.emit(cut("1"))
        emitter.emit(cut("2"))
        closing = Deferred.fromCoroutine(emitter.close(5.0))
        self.assertNoResult(closing)
        self.clock.pump([1.1] * 6)
        self.successResultOf(closing)
        with open(next(self.directory.glob("*.jsonl")), "ab") as segment:
            segment.write(b'{"event":"torn')
        self.auth.error = None
        again = self.emitter()
        again.emit(cut("3"))
        self.assertEqual(self.names(), ["1", "2", "3"])
        self.done(again.close())

    def test_many_go_together(self) -> None:
        """
        The first at once; those that follow soon wait for company and go as one batch; whoever flushes waits for none.
        """
        batches: list[int] = []
        emit = self.auth.emit

        async def counted(events: Sequence[Json]) -> None:
            batches.append(len(events))
            await emit(events)

        self.auth.emit = counted  # type: ignore[method-assign]
        emitter = self.emitter(gather=0.02)
        self.clock.advance(1)
        emitter.emit(cut("1"))
        self.assertEqual(self.names(), ["1"])
        for number in range(2, 6):
            emitter.emit(cut(str(number)))
        self.clock.advance(0.019)
        self.assertEqual(batches, [1])
        self.clock.advance(0.002)
        emitter.emit(cut("6"))
        self.clock.advance(0.08)
        self.assertEqual(batches, [1, 5])
        emitter.emit(cut("7"))
        self.done(emitter.flush())
        self.assertEqual(self.names(), [str(number) for number in range(1, 8)])
        emitter.emit(cut("8"))
        self.done(emitter.close())
        self.assertEqual(self.names()[-1], "8")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_event_that_auth_refuses_stops_nobody(self) -> None:
        """
        It is put aside, with a report; the others go on.
        """
        self.auth.error = TeleportError(Kind.CONNECTION_PROBLEM, "away")
        self.auth.poison = "evil"
        emitter = self.emitter()
        for reason in ("1", "evil", "2"):
            emitter.emit(cut(reason))
        self.auth.error = None
        self.clock.advance(1.1)
        self.assertEqual(self.names(), ["1", "2"])
        self.assertIn(b"evil", (self.directory / "refused").read_bytes())
        self.assertEqual(len(self.reasons), 1)
        self.done(emitter.close())

    def test_a_full_spool_is_told(self) -> None:
        """
        Beyond the bound events are lost, and whoever must know does.
        """
        self.auth.error = TeleportError(Kind.CONNECTION_PROBLEM, "away")
        emitter = self.emitter(max_bytes=400)
        for number in range(5):
            emitter.emit(cut(str(number)))
        self.assertGreater(emitter.lost, 0)
        self.assertEqual(emitter.lost, len(self.reasons))
        self.assertIn("of unsent events", self.reasons[0])
        self.auth.error = None
        self.clock.advance(1.1)
        self.assertEqual(len(self.auth.stored) + emitter.lost, 5)
        self.done(emitter.close())

    def test_a_full_disk_is_told_and_leaves_no_half_line(self) -> None:
        """
        The kernel refuses further bytes (RLIMIT_FSIZE); what was kept before still goes out.
        """
        self.auth.error = TeleportError(Kind.CONNECTION_PROBLEM, "away")
        emitter = self.emitter()
        emitter.emit(cut("before"))
        before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
            emitter.emit(cut("x" * 400))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            signal.signal(signal.SIGXFSZ, handler)
        self.assertEqual(emitter.lost, 1)
        emitter.emit(cut("after"))
        self.auth.error = None
        self.clock.advance(1.1)
        self.assertEqual(self.names(), ["before", "after"])
        self.done(emitter.close())

    def test_an_enormous_event_is_cut_and_not_dropped(self) -> None:
        """
        A command line of a megabyte still leaves its trace.
        """
        emitter = self.emitter()
        emitter.emit(kinds.Exec(actor=ALICE, command="x" * (4 * MAX_EVENT_BYTES)))
        [stored] = self.auth.stored
        self.assertTrue(stored["truncated"])
        self.assertTrue(stored["command"].startswith("xxxx"))
        self.assertLess(len(stored["command"]), 3000)
        self.done(emitter.close())

    def test_after_close_nothing_is_lost_in_silence(self) -> None:
        """
        A late event is counted.
        """
        emitter = self.emitter()
        self.done(emitter.close())
        emitter.emit(cut("late"))
        self.assertEqual(emitter.lost, 1)

    def test_one_process_a_spool(self) -> None:
        """
        A second one is refused.
        """
        emitter = self.emitter()
        self.assertRaises(TeleportError, Spool(self.directory).open)
        self.done(emitter.close())


class RedactTests(SynchronousTestCase):
    """
    What ratings let out.
    """

    def test_ratings(self) -> None:
        """
        Commands are for the audit log and not for the program's own.
        """
        event = kinds.Exec(actor=ALICE, command="ls /secret")
        self.assertEqual(redacted(event)["command"], "ls /secret")
        self.assertEqual(redacted(event, Outlet.LOG)["command"], "<redacted>")
        self.assertEqual(redacted(event, Outlet.LOG)["user"], "alice")

    def test_unrated_fields_and_secrets_never_leave(self) -> None:
        """
        Neither by forgetting, nor by putting a Secret where it does not belong.
        """

        @frozen(kw_only=True)
        class Careless(kinds.Fact):
            NAME = "careless"
            CODE = "X"
            SAYS = ""
            forgotten: str = "hunter2"
            shut: kinds.Public[Any] = _SHUT

        class Foreign:
            NAME = "foreign"
            code = "X"

            def fields(self) -> dict[str, Any]:
                return {"password": "hunter2"}

        self.assertNotIn("hunter2", json.dumps([redacted(Careless()), redacted(Foreign())]))


_WRITER = """
import sys
from pathlib import Path
from teleport_tw.audit.spool import Spool
spool = Spool(Path(sys.argv[1]), segment_bytes=2000)
spool.open()
number = 0
while True:
    number += 1
    spool.append([b'{"n":%d}\\n' % number])
    print(number, flush=True)
"""


class KillTests(SynchronousTestCase):
    """
    A process killed while it writes.
    """

    def test_kill_9_loses_no_appended_line(self) -> None:
        """
        All lines are there, in order, and not one is torn.
        """
        directory = Path(self.mktemp())
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(directory)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        told = [int(writer.stdout.readline()) for _ in range(500)]
        writer.kill()
        told += map(int, writer.stdout.read().split())
        writer.wait()
        writer.stdout.close()
        spool = Spool(directory)
        spool.open()
        found: list[int] = []
        while True:
            taken = spool.take(100, 1 << 20)
            if not taken.lines:
                break
            found += [json.loads(line)["n"] for line in taken.lines]
            spool.acknowledge(taken.after)
        spool.close()
        self.assertEqual(found, list(range(1, len(found) + 1)))
        self.assertGreaterEqual(len(found), told[-1])
