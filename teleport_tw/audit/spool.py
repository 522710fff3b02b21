"""
Events on disk on their way out: lines appended to numbered segments, taken off the front once acknowledged.

Everything here blocks and may be called from several threads. A segment is a file of JSON lines; C{position} names
the first line that is not acknowledged. A crash leaves at most a torn last line, which L{Spool.open} cuts off, and a
C{position} that is a little behind, so that some lines are sent twice: the receiver knows them by C{uid}.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

from teleport_tw.base.errors import Kind, TeleportError

_SEGMENT = "{:012d}.jsonl"


@frozen(order=True)
class Position:
    """
    @ivar segment: its number.
    @ivar offset: bytes into it.
    """

    segment: int
    offset: int


@frozen
class Taken:
    """
    Lines read from the front, and where the next ones begin.
    """

    lines: tuple[bytes, ...]
    after: Position


@define(eq=False)
class Spool:
    """
    @ivar directory: used by one process at a time.
    @ivar segment_bytes: a segment is closed once it has this many.
    @ivar max_bytes: the most that is kept; beyond it L{append} refuses.
    """

    directory: Path
    segment_bytes: int = 4 << 20
    max_bytes: int = 1 << 30
    _turn: threading.RLock = field(factory=threading.RLock, init=False)
    _lock: int = field(default=-1, init=False)
    _file: int = field(default=-1, init=False)
    _end: Position = field(default=Position(1, 0), init=False)
    _front: Position = field(default=Position(1, 0), init=False)
    _kept: dict[int, int] = field(factory=dict, init=False)
    _moved: float = field(factory=time.monotonic, init=False)

    def open(self) -> None:
        """
        Take what an earlier process left.

        @raise TeleportError: ALREADY_EXISTS, another process uses the directory.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise TeleportError(Kind.ALREADY_EXISTS, f"{self.directory} is used by another process") from error
        self._kept = {int(path.stem): path.stat().st_size for path in self.directory.glob("*.jsonl")}
        last = max(self._kept, default=1)
        self._open_segment(last)
        self._kept[last] = _cut_torn_line(self._file)
        self._end = Position(last, self._kept[last])
        self._front = self._saved_front()

    def append(self, lines: Sequence[bytes]) -> None:
        """
        Write lines, each ending in a newline. They outlive the process from now on, and the machine after L{sync}.

        @raise TeleportError: LIMIT_EXCEEDED, C{max_bytes} are kept already.
        @raise OSError: the disk is full or gone; nothing of C{lines} was kept.
        """
        with self._turn:
            data = b"".join(lines)
            if self.pending_bytes + len(data) > self.max_bytes:
                raise TeleportError(
                    Kind.LIMIT_EXCEEDED, f"{self.directory} holds {self.max_bytes} bytes of unsent events"
                )
            if self._end.offset >= self.segment_bytes:
                self.sync()
                os.close(self._file)
                self._open_segment(self._end.segment + 1)
                self._end = Position(self._end.segment + 1, 0)
            if not self.pending_bytes:
                self._moved = time.monotonic()
            write_all(self._file, data, self._end.offset)
            self._end = Position(self._end.segment, self._end.offset + len(data))
            self._kept[self._end.segment] = self._end.offset

    def sync(self) -> None:
        """
        Have the disk confirm what was appended.
        """
        with self._turn:
            os.fdatasync(self._file)

    @property
    def pending_bytes(self) -> int:
        """
        Bytes that are not acknowledged.
        """
        return sum(self._kept.values()) - self._front.offset

    @property
    def stalled_seconds(self) -> float:
        """
        How long something has been waiting without anything being acknowledged; zero where nothing waits.
        """
        return time.monotonic() - self._moved if self.pending_bytes else 0.0

    def take(self, count: int, size: int) -> Taken:
        """
        @param count: the most lines.
        @param size: about the most bytes; at least one line is given.
        @return: the oldest lines that are not acknowledged; none when there are none.
        """
        with self._turn:
            front = self._front
            while front.offset >= self._kept.get(front.segment, 0) and front.segment < self._end.segment:
                front = Position(front.segment + 1, 0)
            lines: list[bytes] = []
            offset = front.offset
            limit = self._kept.get(front.segment, 0)
            if offset < limit:
                with open(self.directory / _SEGMENT.format(front.segment), "rb") as source:
                    source.seek(offset)
                    while offset < limit and len(lines) < count and offset - front.offset < size:
                        line = source.readline()
                        lines.append(line)
                        offset += len(line)
            return Taken(tuple(lines), Position(front.segment, offset))

    def acknowledge(self, until: Position) -> None:
        """
        Forget everything before C{until}.
        """
        with self._turn:
            self._front = until
            self._moved = time.monotonic()
            scratch = self.directory / "position.new"
            scratch.write_text(f"{until.segment} {until.offset}\n")
            scratch.replace(self.directory / "position")
            for number in [number for number in self._kept if number < until.segment]:
                (self.directory / _SEGMENT.format(number)).unlink(missing_ok=True)
                del self._kept[number]

    def refuse(self, line: bytes) -> None:
        """
        Keep a line that the receiver will never take, in C{refused}, for the operator.
        """
        with open(self.directory / "refused", "ab") as kept:
            kept.write(line)
            kept.flush()
            os.fdatasync(kept.fileno())

    def close(self) -> None:
        """
        Confirm and let go.
        """
        with self._turn:
            if self._file >= 0:
                try:
                    self.sync()
                finally:
                    os.close(self._file)
                    os.close(self._lock)
                    self._file = -1

    def _open_segment(self, number: int) -> None:
        flags = os.O_CREAT | os.O_RDWR | os.O_CLOEXEC
        self._file = os.open(self.directory / _SEGMENT.format(number), flags, 0o600)
        self._kept.setdefault(number, 0)

    def _saved_front(self) -> Position:
        first = min(self._kept)
        try:
            segment, offset = map(int, (self.directory / "position").read_text().split())
        except (OSError, ValueError):
            return Position(first, 0)
        if segment not in self._kept or offset > self._kept[segment]:
            return Position(first, 0)
        for number in [number for number in self._kept if number < segment]:
            (self.directory / _SEGMENT.format(number)).unlink(missing_ok=True)
            del self._kept[number]
        return Position(segment, offset)


def write_all(file: int, data: bytes, offset: int) -> None:
    """
    Write at C{offset}; where not all of it fits, cut the file back and raise.
    """
    done, view = 0, memoryview(data)
    try:
        while done < len(data):
            done += os.pwrite(file, view[done:], offset + done)
    except OSError:
        os.ftruncate(file, offset)
        raise


def _cut_torn_line(file: int) -> int:
    end = os.fstat(file).st_size
    position = end
    while position > 0:
        start = max(0, position - 65536)
        found = os.pread(file, position - start, start).rfind(b"\n")
        if found >= 0:
            position = start + found + 1
            break
        position = start
    if position < end:
        os.ftruncate(file, position)
    return position
