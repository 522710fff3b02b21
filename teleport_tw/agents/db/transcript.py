"""
A database session as somebody would have seen it in a terminal: statements, and what came of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import ClassVar

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_tw.recordings.recorder import Recorder

HOLD_SECONDS = 0.2
"""How long lines are gathered, so that a thousand statements a second are not a thousand records."""
MAX_HELD = 64 << 10
MAX_LINE = 16 << 10
"""Of a statement; the recording is for reading, the audit log has more of it."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""They would do something to the terminal of whoever plays the recording."""


@define(eq=False)
class Transcript:
    """
    One session's. Nothing is written before L{begin}; a recorder that cannot be had leaves everything out.

    @ivar held: lines that wait for a recorder, or for company.
    """

    clock: IReactorTime
    _recorder: Recorder | None = field(default=None, init=False)
    _held: list[str] = field(factory=list, init=False)
    _size: int = field(default=0, init=False)
    _timer: IDelayedCall | None = field(default=None, init=False)
    _log: ClassVar[Logger] = Logger()

    @property
    def wanted(self) -> bool:
        """
        Whether anybody keeps it.
        """
        return self._recorder is not None

    def begin(self, recorder: Recorder) -> None:
        """
        Write from now on.
        """
        self._recorder = recorder

    def statement(self, name: str, text: str) -> None:
        """
        @param name: of the logical database, which stands as the prompt.
        """
        if self._recorder is not None:
            self._add(f"{_prompt(name)}{_shown(text).rstrip()}\n")

    def outcome(self, text: str, error: str = "", milliseconds: float | None = None) -> None:
        """
        @param text: what the database says of success.
        """
        if self._recorder is not None:
            took = "" if milliseconds is None else f" ({milliseconds:.1f} ms)"
            self._add(f"ERROR: {_shown(error)}{took}\n" if error else f"{_shown(text)}{took}\n")

    def note(self, text: str) -> None:
        """
        Something else that a viewer should know.
        """
        if self._recorder is not None:
            self._add(f"-- {_shown(text)}\n")

    def flush(self) -> None:
        """
        Give the recorder what waits.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._write()

    def _add(self, lines: str) -> None:
        self._held.append(lines)
        self._size += len(lines)
        if self._size >= MAX_HELD:
            self.flush()
        elif self._timer is None:
            self._timer = self.clock.callLater(HOLD_SECONDS, self._write)

    def _write(self) -> None:
        self._timer = None
        if self._held and self._recorder is not None:
            text = "".join(self._held).replace("\n", "\r\n")
            self._held.clear()
            self._size = 0
            self._recorder.print(text.encode("utf-8", "replace"))


@lru_cache(100)
def _prompt(name: str) -> str:
    return f"{_shown(name)}=> "


def _shown(text: str) -> str:
    if len(text) > MAX_LINE:
        text = f"{text[:MAX_LINE]}… [{len(text)} characters in all]"
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n")) if not text.isprintable() else text
