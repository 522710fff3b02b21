"""
Terminal output as lines of text: control sequences taken out, overwriting and backspace followed within the line.

It is no terminal: a sequence that moves to another line ends the line it leaves. That is what search and a text export
want of a shell, and enough to find words in a full-screen program.
"""

from __future__ import annotations

import codecs
import re

from attrs import define, field, frozen

MAX_LINE = 4096
"""Characters; a longer line is given in pieces."""
MAX_SEQUENCE = 4096
"""Characters of an unfinished control sequence; more is taken for text."""

_ESCAPE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*[ -/]*[@-~]"
    r"|\][^\x07\x1b]*(?:\x07|\x1b\\)"
    r"|[PX^_][^\x1b]*\x1b\\"
    r"|[ -/]+[0-~]"
    r"|[0-OQ-WYZ\\`-~]"
    r")"
)
_STOP = re.compile(r"[\x00-\x1f\x7f]")
_PLAIN = re.compile(rf"([^\x00-\x1f\x7f]{{0,{MAX_LINE - 1}}})\r*\n")
"""A whole line, as most are."""
_SILENT = re.compile(r"(?:[\x00-\x07\x0e-\x1a\x1c-\x1f\x7f]+|\x1b\[[0-;]*m)+")
"""Control characters and colours, which change nothing here; raw data is full of the first, shells of the others."""


@frozen
class Line:
    """
    @ivar ms: when its first character was written, since the start.
    """

    ms: int
    text: str


@define
class LineReader:
    """
    Feeds on output in any slices, even inside a sequence or character.
    """

    _decoder: codecs.IncrementalDecoder = field(factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    _rest: str = ""
    _cells: list[str] = field(factory=list)
    _column: int = 0
    _since: int = 0

    def feed(self, data: bytes, ms: int) -> list[Line]:
        """
        @param ms: when it was written.
        @return: the lines that ended.
        """
        found: list[Line] = []
        text = self._rest + self._decoder.decode(data)
        self._rest = ""
        position = 0
        while position < len(text):
            if not self._cells and not self._column and (plain := _PLAIN.match(text, position)):
                position = plain.end()
                if line := plain[1].rstrip():
                    found.append(Line(ms, line))
                continue
            stop = _STOP.search(text, position)
            end = stop.start() if stop else len(text)
            if end > position:
                found += self._write(text[position:end], ms)
                position = end
                continue
            char = text[position]
            if char not in "\r\n\b\t" and (silent := _SILENT.match(text, position)):
                position = silent.end()
                continue
            if char == "\x1b":
                sequence = _ESCAPE.match(text, position)
                if sequence is None:
                    if len(text) - position < MAX_SEQUENCE:
                        self._rest = text[position:]
                        break
                    position += 1
                    continue
                position = sequence.end()
                found += self._obey(sequence[0], ms)
                continue
            position += 1
            if char in "\n\v\f":
                found += self._finish()
            elif char == "\r":
                self._column = 0
            elif char == "\b":
                self._column = max(0, self._column - 1)
            elif char == "\t":
                found += self._write(" " * (8 - self._column % 8), ms)
        return found

    def end(self) -> list[Line]:
        """
        @return: the line that was not ended.
        """
        self._rest = ""
        return self._finish()

    def _write(self, text: str, ms: int) -> list[Line]:
        if not self._cells:
            self._since = ms
        gap = self._column - len(self._cells)
        if gap > 0:
            self._cells += " " * gap
        self._cells[self._column : self._column + len(text)] = text
        self._column += len(text)
        return self._finish() if len(self._cells) >= MAX_LINE else []

    def _finish(self) -> list[Line]:
        text = "".join(self._cells).rstrip()
        self._cells, self._column = [], 0
        return [Line(self._since, text)] if text else []

    def _obey(self, sequence: str, ms: int) -> list[Line]:
        if not sequence.startswith("\x1b["):
            return self._finish() if sequence in ("\x1bc", "\x1bD", "\x1bE", "\x1bM") else []
        arguments, final = sequence[2:-1], sequence[-1]
        number = int(arguments) if arguments.isdigit() and len(arguments) < 6 else 0
        match final:
            case "K" if number == 0:
                del self._cells[self._column :]
            case "K":
                self._cells = [" "] * self._column if number == 1 else []
            case "C":
                self._column = min(self._column + max(1, number), MAX_LINE)
            case "D":
                self._column = max(0, self._column - max(1, number))
            case "G":
                self._column = min(max(0, number - 1), MAX_LINE)
            case "P":
                del self._cells[self._column : self._column + max(1, number)]
            case "A" | "B" | "E" | "F" | "H" | "J" | "S" | "T" | "d" | "f":
                return self._finish()
            case _:
                pass
        return []
