"""
Lines of a terminal's screen, and how characters on them look.

@see: ECMA-48 section 8.3.117; xterm's control sequences for the colours beyond eight
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from attrs import define, evolve, frozen

MAX_STYLES = 1024
"""Remembered; equal ones are the same object."""

MAX_PARAMETERS = 32

_OFF = {22: (1, 2), 23: (3,), 24: (4, 21), 25: (5, 6), 27: (7,), 28: (8,), 29: (9,), 55: (53,)}
_LENGTHS = {5: 3, 2: 5}
"""Of C{38;5;n} and C{38;2;r;g;b}."""


@frozen
class Style:
    """
    @ivar effects: numbers of bold, underlined and the like.
    @ivar colour: parameters that set it; empty for the terminal's own. C{background} likewise.
    """

    effects: tuple[int, ...] = ()
    colour: str = ""
    background: str = ""

    def sequence(self) -> str:
        """
        @return: what makes a terminal write so, whatever it wrote like before.
        """
        words = ["0", *map(str, self.effects), *filter(None, (self.colour, self.background))]
        return f"\x1b[{';'.join(words)}m"

    def changed(self, parameters: str) -> Style:
        """
        @param parameters: of C{CSI m}.
        @return: the style from then on.
        """
        return _changed(self, parameters[:256])

    def ground(self) -> Style:
        """
        @return: of a cell that is erased while this style is in force.
        """
        return _known(Style(background=self.background)) if self.background else PLAIN


PLAIN = Style()


@lru_cache(MAX_STYLES)
def _known(style: Style) -> Style:
    return PLAIN if style == PLAIN else style


@lru_cache(MAX_STYLES)
def _changed(style: Style, parameters: str) -> Style:
    words = parameters.replace(":", ";").split(";")[:MAX_PARAMETERS]
    numbers = [int(word) if word.isdecimal() and len(word) < 4 else 0 for word in words]
    while numbers:
        number = numbers[0]
        length = 1
        if number in (38, 48):
            length = _LENGTHS.get(numbers[1] if len(numbers) > 1 else 0, 1)
            colour = ";".join(map(str, numbers[:length])) if 1 < length <= len(numbers) else ""
            if colour:
                style = evolve(style, colour=colour) if number == 38 else evolve(style, background=colour)
        elif number == 0:
            style = PLAIN
        elif number < 10 or number in (21, 53):
            style = evolve(style, effects=(*(each for each in style.effects if each != number), number))
        elif number in _OFF:
            style = evolve(style, effects=tuple(each for each in style.effects if each not in _OFF[number]))
        elif 30 <= number <= 37 or 90 <= number <= 97 or number == 39:
            style = evolve(style, colour="" if number == 39 else str(number))
        elif 40 <= number <= 47 or 100 <= number <= 107 or number == 49:
            style = evolve(style, background="" if number == 49 else str(number))
        del numbers[:length]
    return _known(style)


@define
class Row:
    """
    One line.

    @ivar cells: a character each, with what combines with it; empty behind a wide one.
    @ivar styles: as many.
    """

    cells: list[str]
    styles: list[Style]

    @classmethod
    def empty(cls, columns: int, style: Style = PLAIN) -> Row:
        """
        @return: a blank line.
        """
        return cls([" "] * columns, [style] * columns)

    def fit(self, columns: int) -> None:
        """
        Cut, or fill up with blanks.
        """
        more = columns - len(self.cells)
        if more > 0:
            self.cells += [" "] * more
            self.styles += [PLAIN] * more
        del self.cells[columns:], self.styles[columns:]

    def shift(self, column: int, count: int, style: Style) -> None:
        """
        @param count: of blank cells put in at C{column}, or, below zero, of cells taken out.
        """
        columns = len(self.cells)
        if count > 0:
            self.cells[column:column] = [" "] * min(count, columns)
            self.styles[column:column] = [style] * min(count, columns)
            self.fit(columns)
        else:
            del self.cells[column : column - count], self.styles[column : column - count]
            self.fit(columns)

    def wipe(self, start: int, stop: int, style: Style) -> None:
        """
        Blank cells from C{start} up to C{stop}.
        """
        count = max(0, min(stop, len(self.cells)) - start)
        self.cells[start : start + count] = [" "] * count
        self.styles[start : start + count] = [style] * count

    def painted(self) -> Iterator[str]:
        """
        @return: pieces that write the line on a terminal whose style is plain.
        """
        cells, styles = self.cells, self.styles
        end = len(cells)
        while end and cells[end - 1] == " " and styles[end - 1] is PLAIN:
            end -= 1
        style = PLAIN
        for cell, wanted in zip(cells[:end], styles[:end], strict=True):
            if wanted is not style:
                style = wanted
                yield style.sequence()
            yield cell


@define
class Cursor:
    """
    @ivar style: of what is written next.
    @ivar drawing: letters are line drawings.
    """

    row: int = 0
    column: int = 0
    style: Style = PLAIN
    drawing: bool = False


_CLEAN = "\x1b[r\x1b[?6l\x1b[?7l\x1b(B\x0f\x1b[m\x1b[H\x1b[2J"


def painted(rows: list[Row]) -> list[str]:
    """
    @return: what shows them on a terminal, whatever it shows before.
    """
    lines = enumerate(("".join(row.painted()) for row in rows), 1)
    return [_CLEAN, *(f"\x1b[{number};1H{line}\x1b[m" for number, line in lines if line)]
