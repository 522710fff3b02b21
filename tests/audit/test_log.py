"""
The audit log keeps events once and in order, finds them, and notices what was done to its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.api.contract import EventQuery
from teleport_tw.audit import log as log_module
from teleport_tw.audit.log import INDEX_EVENTS, INDEX_SECONDS, AuditLog
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.tasks import Threads
from tests.doubles.threads import in_place

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def event(number: int, **more: Any) -> dict[str, Any]:
    moment = NOON + timedelta(seconds=number)
    base = {"event": "user.login", "code": "T1000I", "uid": f"u{number}", "time": moment.isoformat(), "user": "alice"}
    return {**base, **more}


class LogCase(SynchronousTestCase):
    """
    A log in a scratch directory.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.key = Ed25519PrivateKey.generate()
        self.today = NOON
        self.log = self.opened()

    def opened(self) -> AuditLog:
        log = AuditLog(self.directory, self.key, in_place(), now=lambda: self.today)
        self.done(log.start())
        self.addCleanup(lambda: self.done(log.close()))
        return log

    def done(self, work: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(work))

    def emit(self, *events: dict[str, Any]) -> None:
        self.done(self.log.emit(events))

    def problems(self) -> tuple[str, ...]:
        found: tuple[str, ...] = self.done(self.log.verify()).problems
        return found

    @property
    def file(self) -> Path:
        return self.directory / "events.log"

    def edit(self, change: Any) -> None:
        lines = self.file.read_bytes().splitlines(keepends=True)
        with open(self.file, "r+b") as target:
            target.truncate(0)
            target.write(b"".join(change(lines)))


class StoreTests(LogCase):
    """
    Keeping and finding.
    """

    def test_lines_are_the_events_and_the_link_points_at_today(self) -> None:
        """
        Files are clean JSON lines.
        """
        self.emit(event(1), event(2))
        self.assertEqual(os.readlink(self.file), "2026-05-01.00:00:00.log")
        self.assertEqual([json.loads(line) for line in self.file.read_text().splitlines()], [event(1), event(2)])

    def test_the_same_uid_is_kept_once(self) -> None:
        """
        A batch sent twice is stored once, also after a restart.
        """
        self.emit(event(1), event(2), event(1))
        self.done(self.log.close())
        self.log = self.opened()
        self.emit(event(2), event(3))
        found = self.done(self.log.search(EventQuery()))
        self.assertEqual([item["uid"] for item in found.events], ["u1", "u2", "u3"])
        self.assertEqual(self.problems(), ())

    def test_search_by_everything(self) -> None:
        """
        Conditions narrow, text matches words in any case.
        """
        self.emit(
            event(1),
            event(2, event="exec", command="systemctl Restart nginx", sid="s1"),
            event(3, user="bob"),
            event(4, event="session.end", sid="s1", user="bob"),
        )

        def uids(**query: Any) -> list[str]:
            return [item["uid"] for item in self.done(self.log.search(EventQuery(**query))).events]

        self.assertEqual(uids(types=("exec",)), ["u2"])
        self.assertEqual(uids(users=("bob",)), ["u3", "u4"])
        self.assertEqual(uids(session="s1", descending=True), ["u4", "u2"])
        self.assertEqual(uids(text="restart NGINX"), ["u2"])
        self.assertEqual(uids(text='"; DROP TABLE events'), [])
        self.assertEqual(uids(since=NOON + timedelta(seconds=2), until=NOON + timedelta(seconds=4)), ["u2", "u3"])

    def test_pages_both_ways(self) -> None:
        """
        Pages follow each other without gap or overlap, though times are equal.
        """
        self.emit(*(event(0, uid=f"e{number}") for number in range(7)))
        for descending in (False, True):
            found: list[str] = []
            start = ""
            while True:
                page = self.done(self.log.search(EventQuery(limit=3, start=start, descending=descending)))
                found += [item["uid"] for item in page.events]
                start = page.next_start
                if not start:
                    break
            wanted = [f"e{number}" for number in range(7)]
            self.assertEqual(found, wanted[::-1] if descending else wanted)
        self.failureResultOf(Deferred.fromCoroutine(self.log.search(EventQuery(start="x"))), TeleportError)

    def test_what_is_no_event_is_refused(self) -> None:
        """
        Nothing of such a batch is stored.
        """
        for bad in (
            {},
            {"uid": "x"},
            {"uid": "x", "event": 3},
            event(1, value=float("nan")),
            event(1, x="y" * 2_000_000),
        ):
            self.failureResultOf(Deferred.fromCoroutine(self.log.emit([event(9), bad])), TeleportError)
        self.assertEqual(self.done(self.log.search(EventQuery())).events, ())

    def test_a_second_process_is_refused(self) -> None:
        """
        Two auths on one directory would tear the chain.
        """
        other = AuditLog(self.directory, self.key, in_place())
        failure = self.failureResultOf(Deferred.fromCoroutine(other.start()), TeleportError)
        self.assertIn("another process", str(failure.value))

    def test_a_lost_index_is_made_again(self) -> None:
        """
        The index is only a help.
        """
        self.emit(event(1), event(2, text="needle"))
        self.done(self.log.close())
        for path in self.directory.glob("index.sqlite*"):
            path.write_bytes(b"garbage, not a database at all" * 100)
        self.log = self.opened()
        found = self.done(self.log.search(EventQuery(text="needle")))
        self.assertEqual([item["uid"] for item in found.events], ["u2"])


class LaterIndexTests(LogCase):
    """
    The index follows with pauses, and nobody can tell.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        super().setUp()

    def opened(self) -> AuditLog:
        log = AuditLog(self.directory, self.key, in_place(), now=lambda: self.today, clock=self.clock)
        self.done(log.start())
        self.addCleanup(lambda: self.done(log.close()))
        return log

    def indexed(self) -> int:
        with contextlib.closing(sqlite3.connect(self.directory / "index.sqlite")) as reader:
            number: int = reader.execute("SELECT count(*) FROM events").fetchone()[0]
            return number

    def found(self, **query: Any) -> list[str]:
        return [item["uid"] for item in self.done(self.log.search(EventQuery(limit=5000, **query))).events]

    def many(self, first: int, count: int) -> None:
        self.emit(*(event(number) for number in range(first, first + count)))

    def test_steps_while_events_come_and_all_when_they_do_not(self) -> None:
        """
        A step at once, one after each pause, and what is left in the first pause that brought nothing.
        """
        self.many(0, 2000)
        self.assertEqual(self.indexed(), INDEX_EVENTS)
        self.many(2000, 1000)
        self.assertEqual(self.indexed(), INDEX_EVENTS)
        self.clock.advance(INDEX_SECONDS - 0.01)
        self.assertEqual(self.indexed(), INDEX_EVENTS)
        self.clock.advance(0.01)
        self.assertEqual(self.indexed(), 2 * INDEX_EVENTS)
        self.clock.advance(INDEX_SECONDS)
        self.assertEqual(self.indexed(), 3000)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.many(3000, 1)
        self.assertEqual(self.indexed(), 3001)

    def test_who_searches_finds_what_is_not_indexed_yet(self) -> None:
        """
        The latest event too, by its words.
        """
        self.many(0, 2000)
        self.emit(event(2000, text="needle"))
        self.assertLess(self.indexed(), 2000)
        self.assertEqual(self.found(text="needle"), ["u2000"])
        self.assertEqual(self.indexed(), 2001)
        self.clock.advance(INDEX_SECONDS)
        self.assertEqual((self.clock.getDelayedCalls(), self.found(text="needle")), ([], ["u2000"]))

    def test_the_same_uid_is_kept_once(self) -> None:
        """
        Indexed, not indexed yet, or indexed since.
        """
        self.many(0, 1000)
        self.many(0, 1000)
        self.clock.advance(INDEX_SECONDS)
        self.clock.advance(INDEX_SECONDS)
        self.many(0, 1001)
        self.assertEqual(self.found(), [f"u{number}" for number in range(1001)])

    def test_too_far_behind_is_brought_up_to_date_at_once(self) -> None:
        """
        However many come.
        """
        self.patch(log_module, "BEHIND_EVENTS", 700)
        self.many(0, 1401)
        self.assertEqual(self.indexed(), 1401)
        self.many(1401, 1)
        self.assertEqual(self.indexed(), 1402)
        self.many(1402, 1300)
        self.assertEqual(self.indexed(), 2702)

    def test_a_stop_brings_it_up_to_date(self) -> None:
        """
        And a crash leaves it to the next start.
        """
        self.many(0, 1000)
        self.done(self.log.close())
        self.assertEqual((self.indexed(), self.clock.getDelayedCalls()), (1000, []))
        self.log = self.opened()
        self.many(1000, 1000)
        kept = {path.name: path.read_bytes() for path in self.directory.iterdir() if path.is_file()}
        self.done(self.log.close())
        for name, data in kept.items():
            (self.directory / name).write_bytes(data)
        self.log = self.opened()
        self.many(1000, 1000)
        self.assertEqual((self.indexed(), len(self.found())), (2000, 2000))
        self.assertEqual(self.problems(), ())

    def test_a_stop_waits_for_the_step_under_way(self) -> None:
        """
        The index is not closed under a thread that reads it; SQLite would end the process.
        """
        held: list[tuple[Deferred[Any], Any]] = []

        def run(call: Any, *args: Any) -> Deferred[Any]:
            if args != (INDEX_EVENTS,):
                return in_place().run(call, *args)
            waiting: Deferred[Any] = Deferred()
            held.append((waiting, lambda: call(*args)))
            return waiting

        self.log.threads = cast(Threads, SimpleNamespace(run=run))
        self.many(0, 10)
        closing = Deferred.fromCoroutine(self.log.close())
        self.assertNoResult(closing)
        ((waiting, step),) = held
        waiting.callback(step())
        self.successResultOf(closing)
        self.assertEqual(self.indexed(), 10)

    def test_a_cut_end_is_noticed_before_it_was_indexed(self) -> None:
        """
        The log itself knows how many it has written.
        """
        self.many(0, 1000)
        chain = self.file.resolve().with_suffix(".chain")
        self.edit(lambda lines: lines[:-3])
        kept = [line for line in chain.read_bytes().splitlines(keepends=True) if b"checkpoint" not in line]
        chain.write_bytes(b"".join(kept[:-3]))
        self.assertTrue(any("its end was cut off" in problem for problem in self.problems()))
        self.clock.advance(INDEX_SECONDS)
        self.clock.advance(INDEX_SECONDS)
        self.assertLessEqual(len(self.clock.getDelayedCalls()), 1)

    def test_days_that_go_take_their_words_along(self) -> None:
        """
        Though they were not indexed yet.
        """
        self.many(0, 1000)
        self.today += timedelta(days=3)
        self.emit(event(1000, time=self.today.isoformat()))
        self.assertEqual(self.done(self.log.truncate(self.today - timedelta(days=1))), 1000)
        self.emit(event(1001, text="needle"))
        self.assertEqual((self.found(text="needle"), self.found(text="alice")), (["u1001"], ["u1001", "u1000"]))
        self.assertEqual(self.problems(), ())


class VerifyTests(LogCase):
    """
    Attacks on the files, each named.
    """

    def setUp(self) -> None:
        super().setUp()
        self.emit(*(event(number) for number in range(1, 11)))

    def test_a_whole_log_has_no_problems_over_days(self) -> None:
        """
        Rotation continues the chain.
        """
        self.today += timedelta(days=1)
        self.emit(event(11))
        self.assertEqual(os.readlink(self.file), "2026-05-02.00:00:00.log")
        self.assertEqual(self.problems(), ())
        self.done(self.log.close())
        self.log = self.opened()
        self.emit(event(12))
        self.assertEqual(self.problems(), ())
        self.assertEqual(self.done(self.log.verify()).checked, 12)

    def test_an_edited_line(self) -> None:
        """
        One byte is enough.
        """
        self.edit(lambda lines: [line.replace(b"alice", b"mallo") if i == 3 else line for i, line in enumerate(lines)])
        self.assertEqual(self.problems(), ("2026-05-01.00:00:00.log line 4: was changed",))

    def test_a_removed_line(self) -> None:
        """
        The number it had is named.
        """
        self.edit(lambda lines: lines[:4] + lines[5:])
        self.assertEqual(self.problems(), ("2026-05-01.00:00:00.log line 5: was removed",))

    def test_swapped_lines(self) -> None:
        """
        Order matters.
        """
        self.edit(lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]])
        self.assertEqual(self.problems(), ("2026-05-01.00:00:00.log line 4: was moved, its place is line 3",))

    def test_an_added_line(self) -> None:
        """
        Nobody writes into the past.
        """
        self.edit(lambda lines: [*lines[:2], b'{"forged":1}\n', *lines[2:]])
        self.assertEqual(self.problems(), ("2026-05-01.00:00:00.log line 3: was put in",))

    def test_a_cut_end(self) -> None:
        """
        The tail is named as such.
        """
        self.edit(lambda lines: lines[:7])
        self.assertEqual(self.problems(), ("2026-05-01.00:00:00.log: lines 8 to 10 were cut off its end",))

    def test_a_line_edited_together_with_its_digest(self) -> None:
        """
        The signed checkpoint does not fit any more.
        """
        import hashlib

        self.done(self.log.close())
        self.edit(lambda lines: [b'{"forged":1}\n', *lines[1:]])
        chain = self.directory / "2026-05-01.00:00:00.chain"
        lines = chain.read_text().splitlines()
        lines[1] = hashlib.sha256(b'{"forged":1}\n').hexdigest()
        chain.write_text("\n".join(lines) + "\n")
        self.log = self.opened()
        self.assertIn("changed together with its digest", self.problems()[0])

    def test_a_checkpoint_of_another_key(self) -> None:
        """
        Whoever rewrites the whole file cannot sign it.
        """
        self.done(self.log.close())
        forger = AuditLog(self.directory, Ed25519PrivateKey.generate(), in_place(), now=lambda: self.today)
        self.done(forger.start())
        self.done(forger.emit([event(11)]))
        self.done(forger.close())
        self.log = self.opened()
        self.assertEqual(len(self.problems()), 1)
        self.assertIn("after event 11 was not signed by this cluster", self.problems()[0])

    def test_both_files_cut_back(self) -> None:
        """
        The index remembers how many there were.
        """
        self.done(self.log.close())
        self.edit(lambda lines: lines[:5])
        chain = self.directory / "2026-05-01.00:00:00.chain"
        kept = [line for line in chain.read_text().splitlines() if not line.startswith("checkpoint 10")]
        chain.write_text("\n".join(kept[:6]) + "\n")
        self.log = self.opened()
        self.assertTrue(any("cut off" in problem for problem in self.problems()), self.problems())

    def test_a_whole_day_taken_away(self) -> None:
        """
        The next day's file does not continue what is left; a lone chain file is told too.
        """
        for _ in range(2):
            self.today += timedelta(days=1)
            self.emit(event(self.today.day + 100))
        (self.directory / "2026-05-02.00:00:00.log").unlink()
        self.assertEqual(
            self.problems(),
            (
                "2026-05-03.00:00:00.log: does not continue what came before it: events or whole files are missing",
                "2026-05-02.00:00:00.log is missing, its chain file is there",
            ),
        )

    def test_lines_that_a_crash_left_unconfirmed_are_put_aside(self) -> None:
        """
        Their sender still has them; the chain stays whole.
        """
        self.done(self.log.close())
        with open(self.file, "ab") as target:
            target.write(b'{"uid":"u11","event":"x"}\n{"torn')
        self.log = self.opened()
        self.emit(event(11))
        self.assertEqual(self.problems(), ())
        self.assertEqual(len(self.done(self.log.search(EventQuery())).events), 11)
        self.flushLoggedErrors()


_WRITER = """
import sys
from pathlib import Path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from teleport_tw.audit.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]), Ed25519PrivateKey.from_private_bytes(bytes(32)))
ledger.open()
number = 0
while True:
    ledger.append([b'{"event":"x","uid":"%d"}\\n' % (number + step) for step in range(20)])
    number += 20
    print(number, flush=True)
"""


class KillTests(SynchronousTestCase):
    """
    A process killed while it writes.
    """

    def test_kill_9_loses_nothing_that_was_acknowledged(self) -> None:
        """
        Every line reported before the kill is there and the chain is whole.
        """
        directory = Path(self.mktemp())
        writer = subprocess.Popen([sys.executable, "-c", _WRITER, str(directory)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        acknowledged = [int(writer.stdout.readline()) for _ in range(20)]
        writer.kill()
        acknowledged += map(int, writer.stdout.read().split())
        writer.wait()
        writer.stdout.close()
        log = AuditLog(directory, Ed25519PrivateKey.from_private_bytes(bytes(32)), in_place())
        self.successResultOf(Deferred.fromCoroutine(log.start()))
        found = self.successResultOf(Deferred.fromCoroutine(log.verify()))
        self.successResultOf(Deferred.fromCoroutine(log.close()))
        self.assertEqual(found.problems, ())
        self.assertGreaterEqual(found.checked, acknowledged[-1])


class RetentionTests(LogCase):
    """
    Days that are deleted for their age, and days that somebody takes away.
    """

    def setUp(self) -> None:
        super().setUp()
        for number in range(1, 6):
            self.emit(event(number, text=f"needle{number}"))
            self.today += timedelta(days=1)
        self.emit(event(6))

    def days(self) -> list[str]:
        return sorted(path.name[8:10] for path in self.directory.glob("????-??-??.*.log"))

    def found(self, **query: Any) -> list[str]:
        return [item["uid"] for item in self.done(self.log.search(EventQuery(**query))).events]

    def test_old_days_go_and_the_rest_is_whole(self) -> None:
        """Files, index and words; what is appended later goes on."""
        first = self.days()[0]
        self.assertEqual(self.done(self.log.truncate(self.today - timedelta(days=3))), 2)
        self.assertEqual((len(self.days()), first in self.days()), (4, False))
        self.assertEqual(self.found(), ["u3", "u4", "u5", "u6"])
        self.assertEqual((self.found(text="needle2"), self.found(text="needle3")), ([], ["u3"]))
        self.assertEqual(self.problems(), ())
        self.assertEqual(self.done(self.log.truncate(self.today - timedelta(days=3))), 0)
        self.emit(event(7))
        self.done(self.log.close())
        self.log = self.opened()
        self.assertEqual((self.problems(), self.log.head()[0]), ((), 7))
        self.done(self.log.truncate(self.today - timedelta(days=2)))
        self.assertEqual(self.problems(), ())

    def test_the_day_that_is_written_stays(self) -> None:
        """However little is kept."""
        self.done(self.log.truncate(self.today + timedelta(days=30)))
        self.assertEqual(len(self.days()), 1)
        self.assertEqual(self.found(), ["u6"])
        self.assertEqual(self.problems(), ())

    def test_a_lost_index_is_made_again(self) -> None:
        """With the numbers that the events had."""
        self.done(self.log.truncate(self.today - timedelta(days=3)))
        self.done(self.log.close())
        for path in self.directory.glob("index.sqlite*"):
            path.unlink()
        self.log = self.opened()
        self.assertEqual(self.found(), ["u3", "u4", "u5", "u6"])
        self.assertEqual(self.problems(), ())

    def test_a_crash_between_the_word_and_the_deed(self) -> None:
        """The next start deletes what the truncation says is gone."""
        kept = {path: path.read_bytes() for path in self.directory.glob("????-??-??.*")}
        self.done(self.log.truncate(self.today - timedelta(days=3)))
        self.done(self.log.close())
        for path, data in kept.items():
            if not path.exists():
                path.write_bytes(data)
        self.assertEqual(len(self.days()), 6)
        self.log = self.opened()
        self.assertEqual(len(self.days()), 4)
        self.assertEqual(self.problems(), ())

    def test_a_thief_cannot_pass_for_age(self) -> None:
        """More days taken than were signed for, a truncation of another key, one that is edited, or none at all."""
        self.done(self.log.truncate(self.today - timedelta(days=3)))
        said = self.directory / "truncation"
        good = said.read_text()
        words = good.split()
        for forged in (
            " ".join([words[0], "3", *words[2:]]),
            " ".join([*words[:2], "0" * 64, *words[3:]]),
            " ".join([*words[:5], "AAAA"]),
            "nonsense",
        ):
            said.write_text(forged)
            self.assertTrue(any("was not signed" in problem for problem in self.problems()), forged)
        said.unlink()
        self.assertTrue(any("does not continue" in problem for problem in self.problems()))
        said.write_text(good)
        oldest = min(self.directory.glob("????-??-??.*.log"))
        oldest.unlink()
        oldest.with_suffix(".chain").unlink()
        self.assertTrue(any("does not continue" in problem for problem in self.problems()))
