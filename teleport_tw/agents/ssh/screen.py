"""
A terminal's screen as it is, so that it can be painted for somebody who comes late.

L{Screen} follows output in any slices: text, the cursor, colours, scrolling, the alternate screen, and the modes a
client's terminal has to be in. It follows at most L{BYTES_A_SECOND}, and touches at most L{CELLS_A_SECOND}: six bytes
may blank a whole screen. What a program writes faster waits, up to L{MAX_WAITING_BYTES}, and of what is more only the
modes are kept. After such a flood the screen holds its last lines.

@see: ECMA-48; DEC STD 070; xterm's control sequences
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from unicodedata import combining, east_asian_width

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.agents.ssh import controls
from teleport_tw.agents.ssh.cells import Cursor, Row, painted

MAX_COLUMNS, MAX_ROWS = 500, 200
"""What is followed of a larger terminal."""

BYTES_A_SECOND = 256 << 10
BURST_BYTES = 64 << 10
MAX_WAITING_BYTES = 128 << 10
CELLS_A_SECOND = 4 << 20
"""Forty times the largest screen; it takes a tenth of a second."""

MAX_SEQUENCE = 4096
"""Characters of an unfinished control sequence; more is taken for text."""
MAX_COMBINED = 8
"""Characters in one cell."""


@define(eq=False)
class Screen:
    """
    See the module.
    """

    columns: int
    rows: int
    clock: IReactorTime = field(kw_only=True)
    alternate: bool = field(default=False, init=False)
    _rows: list[Row] = field(init=False)
    _other: list[Row] | None = field(default=None, init=False)
    _at: Cursor = field(factory=Cursor, init=False)
    _saved: Cursor = field(factory=Cursor, init=False)
    _top: int = field(default=0, init=False)
    _bottom: int = field(init=False)
    _modes: dict[int, bool] = field(factory=dict, init=False)
    _keypad: bool = field(default=False, init=False)
    _wrapping: bool = field(default=False, init=False)
    _last: str = field(default=" ", init=False)
    _rest: str = field(default="", init=False)
    _waiting: bytearray = field(factory=bytearray, init=False)
    _allowed: float = field(default=BURST_BYTES, init=False)
    _allowed_at: float = field(init=False)
    _cells_left: float = field(default=CELLS_A_SECOND, init=False)
    _decoder: codecs.IncrementalDecoder = field(
        factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"), init=False
    )

    def __attrs_post_init__(self) -> None:
        self.columns, self.rows = controls.bounded(self.columns, MAX_COLUMNS), controls.bounded(self.rows, MAX_ROWS)
        self._rows = [Row.empty(self.columns) for _ in range(self.rows)]
        self._bottom = self.rows - 1
        self._allowed_at = self.clock.seconds()

    # --- what is written --------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """
        Follow output, now or later.
        """
        self._allow()
        waiting = self._waiting
        waiting += data
        too_many = len(waiting) - MAX_WAITING_BYTES
        if too_many > 0:  # of a flood only the end will be seen: what scrolls away is not worth the work
            self._skip(too_many)
            return
        now_bytes = min(len(waiting), int(self._allowed))
        if now_bytes and self._cells_left > 0:
            self._allowed -= now_bytes
            piece = bytes(waiting[:now_bytes])
            del waiting[:now_bytes]
            waiting[:0] = self._follow(self._decoder.decode(piece)).encode("utf-8", "replace")

    def _allow(self) -> None:
        now = self.clock.seconds()
        seconds, self._allowed_at = max(0.0, now - self._allowed_at), now
        self._allowed = min(BURST_BYTES, self._allowed + seconds * BYTES_A_SECOND)
        self._cells_left = min(CELLS_A_SECOND, self._cells_left + seconds * CELLS_A_SECOND)

    def _skip(self, size: int) -> None:
        end = self._waiting.find(b"\n", size, size + MAX_SEQUENCE) + 1 or size
        self._skipped(bytes(self._waiting[:end]))
        del self._waiting[:end]

    def _skipped(self, data: bytes) -> None:
        self._decoder.reset()
        self._rest = ""
        for mode, on in controls.modes_in(data).items():
            self._set_mode(mode, on)
        self._at.column = 0

    def resize(self, columns: int, rows: int) -> None:
        """
        The terminal has another size. Lines are cut, not wrapped anew; programs paint anew themselves.
        """
        self._catch_up()
        columns, rows = controls.bounded(columns, MAX_COLUMNS), controls.bounded(rows, MAX_ROWS)
        for lines in filter(None, (self._rows, self._other)):
            surplus = len(lines) - rows
            if surplus > 0:
                above = max(0, min(surplus, self._at.row - rows + 1))
                del lines[:above]
                del lines[rows:]
                if lines is self._rows:
                    self._at.row -= above
            lines += [Row.empty(columns) for _ in range(rows - len(lines))]
            for row in lines:
                row.fit(columns)
        self.columns, self.rows = columns, rows
        self._top, self._bottom, self._wrapping = 0, rows - 1, False
        self._go(self._at.row, self._at.column)

    def _catch_up(self) -> None:
        self._allow()
        left = self._follow(self._decoder.decode(bytes(self._waiting)))
        self._waiting.clear()
        if left:
            self._skipped(left.encode("utf-8", "replace"))

    # --- what is painted --------------------------------------------------------------------------------------------

    def paint(self) -> bytes:
        """
        @return: what makes any terminal, in whatever state, show this screen and behave as this one.
        """
        self._catch_up()
        said = ["\x1b[?1049l"]
        if self.alternate and self._other is not None:  # what comes back to view when the program has ended
            saved = self._saved
            said += [*painted(self._other), f"\x1b[{saved.row + 1};{saved.column + 1}H\x1b[?1049h"]
        said += painted(self._rows)
        if (self._top, self._bottom) != (0, self.rows - 1):
            said.append(f"\x1b[{self._top + 1};{self._bottom + 1}r")
        for mode in controls.KEPT_MODES:
            said.append(f"\x1b[?{mode}{'h' if self._modes.get(mode) else 'l'}")
        said.append(f"\x1b[?25{'h' if self._modes.get(25, True) else 'l'}")
        said.append("\x1b=" if self._keypad else "\x1b>")
        said.append(f"\x1b[{self._at.row + 1};{self._at.column + 1}H{self._at.style.sequence()}")
        if self._modes.get(7, True):
            said.append("\x1b[?7h")
        if self._at.drawing:
            said.append("\x1b(0")
        return "".join(said).encode("utf-8", "replace")

    def lines(self) -> list[str]:
        """
        @return: the text on it, without what is blank at the end of lines.
        """
        self._catch_up()
        return ["".join(row.cells).rstrip() for row in self._rows]

    def undone(self) -> bytes:
        """
        @return: what gives a terminal that shows this screen back to whoever used it before.
        """
        self._catch_up()
        modes = [f"\x1b[?{mode}l" for mode in controls.KEPT_MODES if self._modes.get(mode)]
        if self.alternate:
            modes.append("\x1b[r\x1b[?1049l")
        elif (self._top, self._bottom) != (0, self.rows - 1):
            modes.append(f"\x1b[r\x1b[{self.rows};1H")
        return f"{''.join(modes)}\x1b[?7h\x1b[?25h\x1b>\x1b(B\x0f\x1b[m".encode()

    def before_cursor(self) -> bytes:
        """
        @return: what writes the line that the cursor is in, up to the cursor.
        """
        self._catch_up()
        row, end = self._rows[self._at.row], self._at.column
        line = "".join(Row(row.cells[:end], row.styles[:end]).painted())
        return f"{line}\x1b[{self._at.column + 1}G{self._at.style.sequence()}".encode("utf-8", "replace")

    @property
    def cursor(self) -> tuple[int, int]:
        """
        Row and column, from zero.
        """
        return self._at.row, self._at.column

    # --- following --------------------------------------------------------------------------------------------------

    def _follow(self, text: str) -> str:
        """
        @return: what it was too much work to follow.
        """
        text = self._rest + text
        self._rest = ""
        position = 0
        while position < len(text):
            if self._cells_left <= 0:
                return text[position:]
            stop = controls.STOP.search(text, position)
            end = stop.start() if stop else len(text)
            if end > position:
                self._write(text[position:end])
                position = end
                continue
            if text[position] != "\x1b":
                self._control(text[position])
                position += 1
                continue
            sequence = controls.SEQUENCE.match(text, position)
            if sequence is None:
                if len(text) - position < MAX_SEQUENCE and "\x18" not in text[position:]:
                    self._rest = text[position:]
                    return ""
                position += 1
                continue
            position = sequence.end()
            self._obey(sequence)
        return ""

    def _write(self, text: str) -> None:
        at = self._at
        if at.drawing:
            text = "".join(controls.DRAWING.get(letter, letter) for letter in text)
        if not text.isascii():
            for letter in text:
                self._put(letter)
            return
        self._last = text[-1]
        while text:
            self._wrap()
            row, room = self._rows[at.row], self.columns - at.column
            piece, text = text[:room], text[room:]
            row.cells[at.column : at.column + len(piece)] = piece
            row.styles[at.column : at.column + len(piece)] = [at.style] * len(piece)
            at.column += len(piece)
            if at.column >= self.columns:
                at.column, self._wrapping = self.columns - 1, True

    def _wrap(self) -> None:
        if self._wrapping:
            self._wrapping = False
            if self._modes.get(7, True):
                self._at.column = 0
                self._feed_line()

    def _put(self, letter: str) -> None:
        at = self._at
        if combining(letter) or letter in "\u200b\u200c\u200d\ufe0e\ufe0f":
            row = self._rows[at.row].cells
            before = at.column if self._wrapping else at.column - 1
            if before >= 0 and len(row[before]) < MAX_COMBINED:
                row[before] += letter
            return
        width = 2 if east_asian_width(letter) in "WF" and self.columns > 1 else 1
        self._wrap()
        if at.column + width > self.columns:
            self._wrapping = True
            self._wrap()
            at.column = min(at.column, self.columns - width)
        row = self._rows[at.row]  # type: ignore[assignment]
        for index, cell in enumerate((letter, "")[:width]):
            row.cells[at.column + index] = cell  # type: ignore[attr-defined]
            row.styles[at.column + index] = at.style  # type: ignore[attr-defined]
        self._last = letter
        at.column += width
        if at.column >= self.columns:
            at.column, self._wrapping = self.columns - 1, True

    def _control(self, letter: str) -> None:
        at = self._at
        if letter in "\n\v\f":
            self._wrapping = False
            self._feed_line()
        elif letter == "\r":
            self._wrapping = False
            at.column = 0
        elif letter == "\b":
            self._wrapping = False
            at.column = max(0, at.column - 1)
        elif letter == "\t":
            at.column = min(self.columns - 1, at.column + 8 - at.column % 8)
        elif letter in "\x0e\x0f":
            at.drawing = letter == "\x0e"

    def _feed_line(self) -> None:
        if self._at.row == self._bottom:
            self._scroll(1)
        elif self._at.row < self.rows - 1:
            self._at.row += 1

    def _scroll(self, count: int) -> None:
        self._move_lines(self._top, count)

    def _move_lines(self, start: int, count: int) -> None:
        """
        Lines from C{start} to the bottom margin go up by C{count}, or down where it is below zero.
        """
        height = self._bottom - start + 1
        amount = min(abs(count), height)
        self._cells_left -= height + amount * self.columns
        blank = [Row.empty(self.columns, self._at.style.ground()) for _ in range(amount)]
        if count > 0:
            self._rows[start : self._bottom + 1] = [*self._rows[start + amount : self._bottom + 1], *blank]
        else:
            self._rows[start : self._bottom + 1] = [*blank, *self._rows[start : self._bottom + 1 - amount]]

    def _go(self, row: int, column: int) -> None:
        self._wrapping = False
        self._at.row = max(0, min(row, self.rows - 1))
        self._at.column = max(0, min(column, self.columns - 1))

    def _obey(self, sequence: re.Match[str]) -> None:
        arguments, between, final, designator, charset, escape = sequence.groups()
        if final:
            if not between:
                self._csi(arguments, final)
        elif designator == "(":
            self._at.drawing = charset == "0"
        elif escape and (does := _ESCAPES.get(escape)):
            does(self)

    def _csi(self, arguments: str, final: str) -> None:
        if arguments[:1] == "?":
            if final in "hl":
                self._set_modes(arguments[1:], final == "h")
            return
        if final == "m":
            self._at.style = self._at.style.changed(arguments)
            return
        if arguments[:1] in ("<", "=", ">"):
            return
        numbers = [controls.number(word) for word in arguments.split(";")]
        does = _SEQUENCES.get(final)
        if does is not None:
            does(self, numbers[0], numbers[1] if len(numbers) > 1 else 0)

    def _set_modes(self, arguments: str, on: bool) -> None:
        for word in arguments.split(";"):
            self._set_mode(controls.number(word), on)

    def _set_mode(self, mode: int, on: bool) -> None:
        if mode in controls.ALTERNATE:
            self._change_screen(on, saving=mode == 1049)
        elif mode in controls.FOLLOWED_MODES:
            self._modes[mode] = on

    def _change_screen(self, alternate: bool, *, saving: bool) -> None:
        if alternate == self.alternate:
            return
        self.alternate = alternate
        self._cells_left -= self.rows * self.columns
        if alternate:
            if saving:
                self._save()
            self._other, self._rows = self._rows, [Row.empty(self.columns) for _ in range(self.rows)]
        else:
            self._rows, self._other = self._other or self._rows, None
            if saving:
                self._restore()

    def _save(self) -> None:
        at = self._at
        self._saved = Cursor(at.row, at.column, at.style, at.drawing)

    def _restore(self) -> None:
        saved = self._saved
        self._at = Cursor(saved.row, saved.column, saved.style, saved.drawing)
        self._go(saved.row, saved.column)

    def _reset(self) -> None:
        self._cells_left -= self.rows * self.columns
        self._rows = [Row.empty(self.columns) for _ in range(self.rows)]
        self._other, self.alternate = None, False
        self._at, self._saved = Cursor(), Cursor()
        self._top, self._bottom, self._wrapping, self._keypad = 0, self.rows - 1, False, False
        self._modes.clear()

    def _reverse_feed(self) -> None:
        if self._at.row == self._top:
            self._scroll(-1)
        else:
            self._go(self._at.row - 1, self._at.column)

    def _next_line(self) -> None:
        self._at.column = 0
        self._feed_line()

    def _set_keypad(self, on: bool) -> None:
        self._keypad = on

    def _place(self, row: int, column: int) -> None:
        self._go((self._top if self._modes.get(6) else 0) + max(1, row) - 1, max(1, column) - 1)

    def _up(self, count: int) -> None:
        row = self._at.row - max(1, count)
        self._go(max(row, self._top) if self._at.row >= self._top else row, self._at.column)

    def _down(self, count: int) -> None:
        row = self._at.row + max(1, count)
        self._go(min(row, self._bottom) if self._at.row <= self._bottom else row, self._at.column)

    def _to_line(self, count: int) -> None:
        self._go(self._at.row + count, 0)

    def _erase(self, what: int) -> None:
        at, ground = self._at, self._at.style.ground()
        self._erase_line(what if what in (0, 1) else 2)
        before, after = range(at.row), range(at.row + 1, self.rows)
        wiped = {0: (*after,), 1: (*before,), 2: (*before, *after)}.get(what, ())
        self._cells_left -= len(wiped) * self.columns
        for line in wiped:
            self._rows[line].wipe(0, self.columns, ground)

    def _erase_line(self, what: int) -> None:
        at = self._at
        self._cells_left -= self.columns
        start, stop = {0: (at.column, self.columns), 1: (0, at.column + 1)}.get(what, (0, self.columns))
        self._rows[at.row].wipe(start, stop, at.style.ground())

    def _lines(self, count: int) -> None:
        if self._top <= self._at.row <= self._bottom:
            self._move_lines(self._at.row, count)

    def _cells(self, count: int) -> None:
        self._cells_left -= self.columns
        self._rows[self._at.row].shift(self._at.column, count, self._at.style.ground())

    def _margins(self, top: int, bottom: int) -> None:
        top, bottom = max(1, top) - 1, min(bottom or self.rows, self.rows) - 1
        if top < bottom:
            self._top, self._bottom = top, bottom
            self._place(1, 1)

    def _wipe_cells(self, count: int) -> None:
        column = self._at.column
        self._cells_left -= self.columns
        self._rows[self._at.row].wipe(column, column + max(1, count), self._at.style.ground())

    def _repeat(self, count: int) -> None:
        self._cells_left -= self.columns
        self._write(self._last * min(max(1, count), self.columns))


_ESCAPES: dict[str, Callable[[Screen], None]] = {
    "7": Screen._save,
    "8": Screen._restore,
    "D": Screen._feed_line,
    "E": Screen._next_line,
    "M": Screen._reverse_feed,
    "c": Screen._reset,
    "=": lambda screen: screen._set_keypad(True),
    ">": lambda screen: screen._set_keypad(False),
}

_SEQUENCES: dict[str, Callable[[Screen, int, int], None]] = {
    "A": lambda screen, count, _: screen._up(count),
    "B": lambda screen, count, _: screen._down(count),
    "C": lambda screen, count, _: screen._go(screen.cursor[0], screen.cursor[1] + max(1, count)),
    "D": lambda screen, count, _: screen._go(screen.cursor[0], screen.cursor[1] - max(1, count)),
    "E": lambda screen, count, _: screen._to_line(max(1, count)),
    "F": lambda screen, count, _: screen._to_line(-max(1, count)),
    "G": lambda screen, column, _: screen._go(screen.cursor[0], max(1, column) - 1),
    "H": lambda screen, row, column: screen._place(row, column),
    "f": lambda screen, row, column: screen._place(row, column),
    "d": lambda screen, row, _: screen._place(row, screen.cursor[1] + 1),
    "J": lambda screen, what, _: screen._erase(what),
    "K": lambda screen, what, _: screen._erase_line(what),
    "L": lambda screen, count, _: screen._lines(-max(1, count)),
    "M": lambda screen, count, _: screen._lines(max(1, count)),
    "P": lambda screen, count, _: screen._cells(-max(1, count)),
    "@": lambda screen, count, _: screen._cells(max(1, count)),
    "X": lambda screen, count, _: screen._wipe_cells(count),
    "S": lambda screen, count, _: screen._scroll(max(1, count)),
    "T": lambda screen, count, _: screen._scroll(-max(1, count)),
    "r": lambda screen, top, bottom: screen._margins(top, bottom),
    "s": lambda screen, *_: screen._save(),
    "u": lambda screen, *_: screen._restore(),
    "b": lambda screen, count, _: screen._repeat(count),
}
