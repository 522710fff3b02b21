"""
Tests for L{teleport_tw.agents.ssh.screen} and L{teleport_tw.agents.ssh.cells}.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.ssh.cells import PLAIN, Row, Style
from teleport_tw.agents.ssh.screen import BURST_BYTES, CELLS_A_SECOND, MAX_COLUMNS, MAX_ROWS, MAX_WAITING_BYTES, Screen

SHOWN: list[tuple[str, list[str], tuple[int, int]]] = [
    ("one\r\ntwo", ["one", "two", "", ""], (1, 3)),
    ("abc\b\bX", ["aXc", "", "", ""], (0, 2)),
    ("a\tb", ["a       b", "", "", ""], (0, 9)),
    ("0123456789ab", ["0123456789", "ab", "", ""], (1, 2)),
    ("0123456789", ["0123456789", "", "", ""], (0, 9)),
    ("0123456789\r\nx", ["0123456789", "x", "", ""], (1, 1)),
    ("\x1b[?7l0123456789ab", ["012345678b", "", "", ""], (0, 9)),
    ("1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"], (3, 1)),
    ("\x1b[3;4Hx", ["", "", "   x", ""], (2, 4)),
    ("\x1b[3;4fx\x1b[Ay\x1b[2Dz", ["", "   zy", "   x", ""], (1, 4)),
    ("\x1b[99;99Hx", ["", "", "", " " * 9 + "x"], (3, 9)),
    ("abc\x1b[2G\x1b[K", ["a", "", "", ""], (0, 1)),
    ("abc\x1b[2G\x1b[1K", ["  c", "", "", ""], (0, 1)),
    ("abc\x1b[2K", ["", "", "", ""], (0, 3)),
    ("a\r\nb\r\nc\x1b[2;1H\x1b[J", ["a", "", "", ""], (1, 0)),
    ("a\r\nb\r\nc\x1b[2;1H\x1b[1J", ["", "", "c", ""], (1, 0)),
    ("a\r\nb\x1b[2J", ["", "", "", ""], (1, 1)),
    ("abcd\x1b[1;2H\x1b[2P", ["ad", "", "", ""], (0, 1)),
    ("abcd\x1b[1;2H\x1b[2@", ["a  bcd", "", "", ""], (0, 1)),
    ("abcd\x1b[1;2H\x1b[2X", ["a  d", "", "", ""], (0, 1)),
    ("a\r\nb\r\nc\x1b[1;1H\x1b[L", ["", "a", "b", "c"], (0, 0)),
    ("a\r\nb\r\nc\x1b[1;1H\x1b[2M", ["c", "", "", ""], (0, 0)),
    ("a\r\nb\x1b[S", ["b", "", "", ""], (1, 1)),
    ("a\r\nb\x1b[T", ["", "a", "b", ""], (1, 1)),
    ("\x1b[2;3rx\r\na\r\nb\r\nc", ["x", "b", "c", ""], (2, 1)),
    ("\x1b[2;3r\x1b[?6h\x1b[1;1Ha", ["", "a", "", ""], (1, 1)),
    ("\x1b[2;3r\x1b[2;1Ha\x1bMb", ["", " b", "a", ""], (1, 2)),
    ("\x1b[3;2rx", ["x", "", "", ""], (0, 1)),
    ("ab\x1bEc\x1bDd", ["ab", "c", " d", ""], (2, 2)),
    ("ab\x1b7\x1b[3;3Hx\x1b8c", ["abc", "", "  x", ""], (0, 3)),
    ("ab\x1b[s\x1b[3;3Hx\x1b[uc", ["abc", "", "  x", ""], (0, 3)),
    ("main\x1b[?1049hother", ["    other", "", "", ""], (0, 9)),
    ("main\x1b[?1049h\x1b[Hother\x1b[?1049l!", ["main!", "", "", ""], (0, 5)),
    ("main\x1b[?47hx\x1b[?47l\x1b[?47l", ["main", "", "", ""], (0, 5)),
    ("x\x1b[3b", ["xxxx", "", "", ""], (0, 4)),
    ("\x0elqk\x0f|", ["┌─┐|", "", "", ""], (0, 4)),
    ("\x1b(0x\x1b(Bx", ["│x", "", "", ""], (0, 2)),
    ("日本", ["日本", "", "", ""], (0, 4)),
    ("123456789日", ["123456789", "日", "", ""], (1, 2)),
    ("e\u0301x", ["e\u0301x", "", "", ""], (0, 2)),
    ("\u0301", ["", "", "", ""], (0, 0)),
    ("a\x1b]0;title\x07b\x1bPq\x1b\\c", ["abc", "", "", ""], (0, 3)),
    ("a\x1b[>1;2mb\x1b[5$pc\x1b[=1hd\x1b[99~e", ["abcde", "", "", ""], (0, 5)),
    ("a\x1bcb", ["b", "", "", ""], (0, 1)),
    ("a\x1b\x18b", ["ab", "", "", ""], (0, 2)),
    ("\x1b[2Bx\x1b[Fy\x1b[Ez", ["", "y", "z", ""], (2, 1)),
    ("ab\x1b[3Cc\x1b[4Gd\x1b[2de", ["ab d c", "    e", "", ""], (1, 5)),
    ("\x1b[9Ax", ["x", "", "", ""], (0, 1)),
    ("\x1b[m\x07\x00x", ["x", "", "", ""], (0, 1)),
]


def screen(columns: int = 10, rows: int = 4) -> Screen:
    """
    An empty one.
    """
    return Screen(columns, rows, clock=Clock())


def repainted(shown: Screen, columns: int = 10, rows: int = 4) -> Screen:
    """
    Another, which was in some other state, after it was painted the first.
    """
    other = screen(columns, rows)
    other.feed(b"\x1b[?1049hrubbish\x1b[2;3r\x1b[?6h\x1b[31m\x0e")
    other.feed(shown.paint())
    return other


def state(shown: Screen) -> tuple[object, ...]:
    """
    What can be seen of it, and how it goes on.
    """
    return shown.lines(), shown.cursor, shown.alternate, shown.paint()


class ScreenTests(SynchronousTestCase):
    """
    What is on it.
    """

    def test_table(self) -> None:
        """
        Lines and cursor.
        """
        for written, lines, cursor in SHOWN:
            shown = screen()
            shown.feed(written.encode())
            self.assertEqual((shown.lines(), shown.cursor), (lines, cursor), written)

    def test_painted_elsewhere_it_is_the_same(self) -> None:
        """
        Whatever state the other terminal was in.
        """
        for written, _, _ in SHOWN:
            shown = screen()
            shown.feed(b"\x1b[1;44m" + written.encode())
            self.assertEqual(state(repainted(shown)), state(shown), written)

    def test_any_slices(self) -> None:
        """
        Byte by byte it is as at once.
        """
        for written, _, _ in SHOWN:
            whole, pieces = screen(), screen()
            whole.feed(written.encode())
            for byte in written.encode():
                pieces.feed(bytes((byte,)))
            self.assertEqual(state(pieces), state(whole), written)

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 300))
    def test_garbage(self, data: bytes, columns: int, rows: int) -> None:
        """
        Nothing breaks it, and it stays within its bounds.
        """
        shown = screen()
        shown.feed(b"\x1b[" + data)
        shown.resize(columns, rows)
        shown.feed(data)
        self.assertEqual(len(shown.lines()), max(1, min(rows, MAX_ROWS)))
        self.assertLess(shown.cursor[0], max(1, min(rows, MAX_ROWS)))
        self.assertLess(shown.cursor[1], max(1, min(columns, MAX_COLUMNS)))
        shown.paint()

    @settings(max_examples=100, deadline=None)
    @given(st.text(alphabet="\x1b[;?0123456789hlmHJKLMPrABCD\r\nabc日", max_size=200))
    def test_sequences(self, written: str) -> None:
        """
        Anything like control sequences is painted elsewhere as it is.
        """
        shown = screen()
        shown.feed(written.encode() + b"\x18")
        self.assertEqual(repainted(shown).lines(), shown.lines())

    def test_resizing(self) -> None:
        """
        Lines are cut; what the cursor is in stays.
        """
        shown = screen()
        shown.feed(b"1\r\n2\r\n3\r\nlonger")
        shown.resize(4, 2)
        self.assertEqual((shown.lines(), shown.cursor), (["3", "long"], (1, 3)))
        shown.resize(6, 3)
        self.assertEqual(shown.lines(), ["3", "long", ""])
        shown = screen()
        shown.feed(b"main\x1b[?1049hother")
        shown.resize(3, 2)
        shown.feed(b"\x1b[?1049l")
        self.assertEqual(shown.lines(), ["mai", ""])

    def test_modes_are_painted(self) -> None:
        """
        What keys and mouse send, whether the cursor is seen, wrapping.
        """
        shown = screen()
        shown.feed(b"\x1b[?1;2004h\x1b[?25l\x1b=\x1b[?1000h\x1b[?1000l\x1b[?7l")
        painted = shown.paint()
        for expected in (b"\x1b[?1h", b"\x1b[?2004h", b"\x1b[?25l", b"\x1b=", b"\x1b[?1000l"):
            self.assertIn(expected, painted)
        self.assertNotIn(b"\x1b[?7h", painted)

    def test_below_the_alternate_screen_is_the_other(self) -> None:
        """
        When the program ends, whoever came late sees what everybody sees.
        """
        shown = screen()
        shown.feed(b"$ vim\r\n\x1b[?1049h\x1b[2;3Htext")
        other = repainted(shown)
        for each in (shown, other):
            each.feed(b"\x1b[?1049l$ ")
        self.assertEqual(state(other), state(shown))
        self.assertEqual(other.lines()[:2], ["$ vim", "$"])

    def test_giving_a_terminal_back(self) -> None:
        """
        To the screen and the modes that anybody expects.
        """
        shown = screen()
        shown.feed(b"$ vim\r\n\x1b[?1049h\x1b[?25l\x1b[?1000;1h\x1b[2;3r\x1b[31mtext")
        shown.feed(shown.undone() + b"x")
        self.assertEqual((shown.lines()[:2], shown.cursor), (["$ vim", "x"], (1, 1)))
        self.assertNotIn(b"h", shown.undone().replace(b"\x1b[?7h", b"").replace(b"\x1b[?25h", b""))
        shown = screen()
        shown.feed(b"\x1b[2;3ra")
        shown.feed(shown.undone())
        self.assertEqual(shown.cursor, (3, 0))

    def test_the_line_before_the_cursor(self) -> None:
        """
        A prompt, with its colours.
        """
        shown = screen()
        shown.feed(b"x\r\n\x1b[32m$ \x1b[mls\x1b[D")
        other = screen()
        other.feed(shown.before_cursor())
        self.assertEqual((other.lines()[0], other.cursor), ("$ l", (0, 3)))


class FloodTests(SynchronousTestCase):
    """
    More than can be followed.
    """

    def test_the_last_lines_are_there_and_the_modes(self) -> None:
        """
        Of megabytes, little is looked at; what waits is bounded.
        """
        shown = screen(20)
        shown.feed(b"\x1b[?1049h")
        for number in range(200_000):
            shown.feed(b"line %d\r\n\x1b[?2004h" % number if number == 10 else b"line %d\r\n" % number)
        self.assertLessEqual(len(shown._waiting), MAX_WAITING_BYTES)
        self.assertEqual(shown.lines()[:3], [f"line {number}" for number in (199_997, 199_998, 199_999)])
        self.assertTrue(shown.alternate)
        self.assertIn(b"\x1b[?2004h", shown.paint())

    def test_modes_in_what_is_left_out(self) -> None:
        """
        A flood between entering the alternate screen and leaving it.
        """
        shown = screen()
        shown.feed(b"a" * BURST_BYTES)
        shown.feed(b"\x1b[?1049h" + b"b\r\n" * MAX_WAITING_BYTES)
        self.assertTrue(shown.alternate)

    def test_time_gives_room(self) -> None:
        """
        What comes slowly is followed at once.
        """
        clock = Clock()
        shown = Screen(10, 4, clock=clock)
        shown.feed(b"a" * (BURST_BYTES + 100))
        self.assertEqual(len(shown._waiting), 100)
        clock.advance(1)
        shown.feed(b"\r\nb")
        self.assertEqual(len(shown._waiting), 0)


class StyleTests(SynchronousTestCase):
    """
    Colours and effects.
    """

    def test_table(self) -> None:
        """
        Parameters, one after the other.
        """
        table = [
            ("1;31", "\x1b[0;1;31m"),
            ("1;4;22", "\x1b[0;4m"),
            ("38;5;200;48;2;1;2;3", "\x1b[0;38;5;200;48;2;1;2;3m"),
            ("38:5:200", "\x1b[0;38;5;200m"),
            ("97;107;39", "\x1b[0;107m"),
            ("44;49", "\x1b[0m"),
            ("7;1;7", "\x1b[0;1;7m"),
            ("38;5", "\x1b[0m"),
            ("38", "\x1b[0m"),
            ("99999;x;3", "\x1b[0;3m"),
            ("", "\x1b[0m"),
        ]
        for parameters, expected in table:
            found = Style().changed(parameters).sequence()
            self.assertEqual(found, expected, parameters)

    def test_no_style_is_plain_itself(self) -> None:
        """
        So that blank ends of lines are found.
        """
        self.assertIs(Style().changed("1;31").changed("0"), PLAIN)
        self.assertIs(Style().changed("1;31").ground(), PLAIN)
        self.assertEqual(Style().changed("1;44").ground(), Style(background="44"))


@pytest.mark.servers
class RealTerminalTests(SynchronousTestCase):
    """
    The same bytes to tmux, which shows what it thinks they mean.
    """

    def test_programs(self) -> None:
        """
        An editor and a pager that moved about, as tmux has them.
        """
        tmux = shutil.which("tmux")
        if tmux is None or shutil.which("vim") is None or shutil.which("less") is None:
            self.skipTest("needs tmux, vim and less")
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        text = folder / "text"
        text.write_text("\n".join(f"{number} {'word ' * (number % 17)}" for number in range(200)))
        keys = "iinserted \x1b40Goo-x-\x1b:set nu\r:vsplit\rgg"
        for name, words in (("vim", ["vim", "-u", "NONE", "-n", str(text)]), ("less", ["less", str(text)])):
            typed = keys if name == "vim" else "G5k/99\rp"
            written = folder / f"{name}.out"
            environment = {**os.environ, "TERM": "screen", "LINES": "24", "COLUMNS": "80", "LC_ALL": "C.UTF-8"}
            socket = ["-S", str(folder / f"{name}.tmux"), "-f", "/dev/null"]

            def run(*arguments: str, socket: list[str] = socket, environment: dict[str, str] = environment) -> str:
                command = [tmux, *socket, *arguments]
                return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

            run("new-session", "-d", "-s", "x", "-x", "80", "-y", "25", "sleep 0.5; exec " + " ".join(words))
            try:
                run("pipe-pane", "-t", "x", "-o", f"cat > {written}")
                self._settled(lambda run=run: run("capture-pane", "-p", "-t", "x"))  # type: ignore[misc]
                run("send-keys", "-t", "x", "-l", typed)
                self._settled(lambda run=run: run("capture-pane", "-p", "-t", "x"))  # type: ignore[misc]
                expected = [line.rstrip() for line in run("capture-pane", "-p", "-t", "x").splitlines()]
                height = int(run("display", "-p", "-t", "x", "#{pane_height}"))
            finally:
                run("kill-server")
            shown = screen(80, height)
            shown.feed(written.read_bytes())
            self.assertEqual(shown.lines(), (expected + [""] * height)[:height], name)

    @staticmethod
    def _settled(look: object) -> None:
        before, same = None, 0
        for _ in range(200):
            now = look()  # type: ignore[operator]
            same = same + 1 if now == before and now.strip() else 0
            if same >= 8:
                return
            before = now
            time.sleep(0.1)


class WorkTests(SynchronousTestCase):
    """
    Output that says little and asks for much: all sessions of a host share one thread.
    """

    def rows_made(self, flood: bytes) -> int:
        """
        @return: rows made for it on the largest screen, fed at once and painted.
        """
        clock, made = Clock(), [0]
        shown = Screen(MAX_COLUMNS, MAX_ROWS, clock=clock)
        empty = Row.empty

        def counted(columns: int, style: Style = PLAIN) -> Row:
            made[0] += 1
            return empty(columns, style)

        self.patch(Row, "empty", staticmethod(counted))
        for _ in range(3):
            shown.feed(flood)
            shown.paint()
        shown.feed(b"\x1b[?25l")
        clock.advance(60)
        shown.feed(b"\r\nstill here")
        self.assertIn("still here", "".join(shown.lines()))
        return made[0]

    def test_work_is_bounded(self) -> None:
        """
        However little is written for it, no more rows are made than a second allows.
        """
        most = CELLS_A_SECOND // MAX_COLUMNS + 2 * MAX_ROWS
        for flood in (b"\x1b[200L", b"\x1bc", b"\x1b[?47h\x1b[?47l", b"\x1b[200S"):
            self.assertLess(self.rows_made(flood * 500), 2 * most, flood)

    def test_modes_of_what_is_skipped(self) -> None:
        """
        What is not followed still says which modes the client's terminal has to be in.
        """
        shown = Screen(MAX_COLUMNS, MAX_ROWS, clock=Clock())
        shown.feed(b"\x1b[200L" * 2000 + b"\x1b[?2004h\x1b[?1000h\x1b[?1000l")
        painted = shown.paint()
        self.assertIn(b"\x1b[?2004h", painted)
        self.assertIn(b"\x1b[?1000l", painted)
