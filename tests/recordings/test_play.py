"""
Playing, exporting, and what a screen showed.
"""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.recordings.container import End, Fact, Note, Output, Resized, Start, Timed
from teleport_tw.recordings.play import CLEAR, Player, export
from teleport_tw.recordings.screen import MAX_LINE, LineReader

RECORDS = [
    Timed(0, Start({"user": "alice", "sid": "s1", "size": "100:30", "time": "2026-01-01T00:00:00Z"})),
    Timed(100, Output(b"$ ls\r\n")),
    Timed(10_100, Output("größe\r\n".encode()[:3])),
    Timed(10_200, Output("größe\r\n".encode()[3:])),
    Timed(10_300, Resized(80, 24)),
    Timed(10_400, Note({"event": "session.join"})),
    Timed(10_500, End({})),
]


def facts(records: list[Timed]) -> list[Fact]:
    return [record.fact for record in records]


class PlayerTests(SynchronousTestCase):
    """
    Time passes by hand.
    """

    def test_in_real_time(self) -> None:
        """
        Nothing early, nothing twice.
        """
        player = Player(RECORDS)
        self.assertEqual(len(player.advance(0)), 1)
        self.assertEqual(player.advance(0.0999), [])
        self.assertEqual(len(player.advance(0.0002)), 1)
        self.assertAlmostEqual(player.wait() or 0, 10.0, places=2)
        self.assertEqual(len(player.advance(100)), 5)
        self.assertTrue(player.ended)
        self.assertIsNone(player.wait())

    def test_speed_pause_and_idle(self) -> None:
        """
        Twice as fast; paused stands still; a silence shrinks to a second.
        """
        player = Player(RECORDS, speed=2.0, skip_idle=True)
        player.advance(0.06)
        self.assertAlmostEqual(player.wait() or 0, 0.5, places=1)
        player.paused = True
        self.assertEqual((player.advance(100), player.wait()), ([], None))
        player.paused = False
        self.assertEqual(len(player.advance(0.5)), 1)
        player.faster(100)
        self.assertEqual(player.speed, 16.0)

    def test_seek_both_ways(self) -> None:
        """
        Forwards shows what lies between, backwards begins anew; beyond the ends stops there.
        """
        player = Player(RECORDS)
        self.assertEqual(len(player.seek(10_150)), 3)
        back = player.seek(50)
        self.assertEqual(back[0].fact, Output(CLEAR))
        self.assertEqual(len(back), 2)
        self.assertEqual(len(player.seek(10**9)), 6)
        self.assertEqual(player.position_ms, 10_500)
        self.assertEqual(len(player.seek(-5)), 2)


class ExportTests(SynchronousTestCase):
    """
    Formats.
    """

    def test_asciicast(self) -> None:
        """
        Version 2; a character split over two writes comes whole.
        """
        header, *lines = [json.loads(line) for line in export(RECORDS, "cast")]
        self.assertEqual((header["version"], header["width"], header["height"]), (2, 100, 30))
        self.assertEqual(header["timestamp"], 1767225600)
        self.assertEqual("".join(text for _, kind, text in lines if kind == "o"), "$ ls\r\ngröße\r\n")
        self.assertIn([10.3, "r", "80x24"], lines)

    def test_json_yaml_text(self) -> None:
        """
        Names of the reference; plain lines.
        """
        events = [json.loads(line) for line in export(RECORDS, "json")]
        self.assertEqual(events[0]["event"], "session.start")
        self.assertEqual([event["event"] for event in events[1:4]], ["print"] * 3)
        self.assertEqual(events[2]["offset"], 6)
        self.assertIn("event: resize", "".join(export(RECORDS, "yaml")))
        self.assertEqual("".join(export(RECORDS, "text")), "$ ls\ngröße\n")
        self.assertRaises(TeleportError, export, RECORDS, "gif")


class ScreenTests(SynchronousTestCase):
    """
    Lines out of terminal output.
    """

    def lines(self, *pieces: bytes) -> list[str]:
        reader = LineReader()
        found = [line.text for piece in pieces for line in reader.feed(piece, 0)]
        return found + [line.text for line in reader.end()]

    def test_sequences_and_editing(self) -> None:
        """
        As the line looked when it was left.
        """
        for data, wanted in [
            (b"\x1b[1;31mred\x1b[0m plain\r\n", ["red plain"]),
            (b"\x1b]0;title\x07text", ["text"]),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", ["link"]),
            (b"abc\b\bX", ["aXc"]),
            (b"50%\r100%", ["100%"]),
            (b"secret\r\x1b[Kgone", ["gone"]),
            (b"one\x1b[5;1Htwo", ["one", "two"]),
            (b"\x1b(Bascii\x1b[?2004h", ["ascii"]),
            (b"a\tb", ["a       b"]),
            (b"\xff\xfe", ["\ufffd\ufffd"]),
        ]:
            self.assertEqual(self.lines(data), wanted)
            self.assertEqual(self.lines(*(data[i : i + 1] for i in range(len(data)))), wanted)

    @settings(max_examples=100, deadline=None)
    @given(
        st.lists(
            st.sampled_from(
                [
                    b"\x1b",
                    b"[",
                    b"]",
                    b"3",
                    b"K",
                    b"m",
                    b"x",
                    b"\r",
                    b"\n",
                    b"\xc3",
                    b"\xa4",
                    b"P",
                    b"\0",
                    b"\b",
                    b"yz",
                    b"m\r\n",
                ]
            )
        )
    )
    def test_splits_make_no_difference(self, pieces: list[bytes]) -> None:
        """
        Whatever comes, in whatever slices.
        """
        self.assertEqual(self.lines(*pieces), self.lines(b"".join(pieces)))

    def test_bounded(self) -> None:
        """
        An endless line and an endless sequence end.
        """
        self.assertGreater(len(self.lines(b"x" * (3 * MAX_LINE))), 0)
        self.assertGreater(len(self.lines(*([b"\x1b]" + b"y" * 1000] + [b"z" * 1000] * 10))), 0)
        self.assertLess(len(self.lines(b"\x1b[99999C" * 10 + b"x")[0]), 2 * MAX_LINE)
