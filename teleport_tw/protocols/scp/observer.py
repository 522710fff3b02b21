"""
Somebody else's scp, read in passing: which file went where, how long it was, and whether it arrived.

The two ends take turns: the sender's record, the other end's answer; the file's bytes and a word of the sender's, the
other end's verdict. A sender who does not wait for an answer is an error: what it says next could not be told from a
file, and would be done unseen. Files are skipped without being collected.

@see: L{teleport_tw.protocols.scp.records}
"""

from __future__ import annotations

from enum import Enum, auto

from attrs import evolve, frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.scp import records
from teleport_tw.protocols.scp.records import End, Entry, Wanted

MAX_DEPTH = 256
"""Directories inside each other."""


@frozen
class Copied:
    """
    One file.

    @ivar path: where it is on the server: what was asked for, and the names inside.
    @ivar error: why it was not copied; empty when it was.
    """

    path: str
    length: int
    error: str = ""


class Turn(Enum):
    """
    Whose turn it is, and to say what.
    """

    READY = auto()
    """The other end says that it is there."""

    RECORD = auto()
    ANSWER = auto()
    CONTENTS = auto()
    WORD = auto()
    """Whether the sender could read all of the file."""

    VERDICT = auto()


_SENDERS = frozenset({Turn.RECORD, Turn.CONTENTS, Turn.WORD})


class Observer:
    """
    Follows one run.
    """

    def __init__(self, wanted: Wanted) -> None:
        """
        @param wanted: the command that the server runs.
        """
        self.turn = Turn.READY
        self._upload = wanted.upload
        self._many = wanted.recursive or wanted.directory
        self._base = wanted.paths[0] if len(wanted.paths) == 1 else ""
        self._folders: list[str] = []
        self._entry: Entry | None = None
        self._copied = Copied("", 0)
        self._left = 0
        self._line = b""
        self._seen: list[Copied] = []

    def client(self, data: bytes) -> list[Copied]:
        """
        @param data: from the user.
        @return: files that are done with.
        @raise RemoteProtocolError: it cannot be followed.
        """
        return self._take(data, sender=self._upload)

    def server(self, data: bytes) -> list[Copied]:
        """
        @param data: from the server; otherwise as L{client}.
        """
        return self._take(data, sender=not self._upload)

    def _take(self, data: bytes, *, sender: bool) -> list[Copied]:
        while data:
            if sender is not (self.turn in _SENDERS):
                raise RemoteProtocolError("scp: something was said out of turn")
            if self.turn is Turn.CONTENTS:
                data = self._contents(data)
                continue
            line, data = self._collected(data)
            if line is None:
                break
            if self.turn is Turn.RECORD:
                self._record(line)
            else:
                self._answer(_words(line))
        seen, self._seen = self._seen, []
        return seen

    def _contents(self, data: bytes) -> bytes:
        passed = min(self._left, len(data))
        self._left -= passed
        if not self._left:
            self.turn = Turn.WORD
        return data[passed:]

    def _collected(self, data: bytes) -> tuple[bytes | None, bytes]:
        """
        A zero byte stands alone, where an answer is due; all else are lines.

        @return: the line once it is whole, and what follows.
        """
        if self.turn is not Turn.RECORD and not self._line and data[:1] == b"\0":
            return b"\0", data[1:]
        line, newline, rest = data.partition(b"\n")
        self._line += line
        if len(self._line) > records.MAX_LINE_BYTES:
            raise RemoteProtocolError("scp: a line is too long")
        if not newline:
            return None, b""
        whole, self._line = self._line, b""
        return whole, rest

    def _record(self, line: bytes) -> None:
        if line[:1] in (b"\1", b"\2"):  # a file that the sender cannot read; nobody answers
            self._seen.append(Copied(self._path(b""), 0, _words(line)))
            return
        record = records.parse(line)
        self._entry = None
        match record:
            case Entry():
                self._entry = record
            case End() if self._folders:
                self._folders.pop()
        self.turn = Turn.ANSWER

    def _answer(self, error: str) -> None:
        match self.turn:
            case Turn.READY:
                if error:
                    self._seen.append(Copied(self._base, 0, error))
                self.turn = Turn.RECORD
            case Turn.ANSWER:
                self._answered(error)
            case Turn.WORD:
                self._copied = evolve(self._copied, error=error)
                self.turn = Turn.VERDICT
            case _:
                self._seen.append(evolve(self._copied, error=self._copied.error or error))
                self.turn = Turn.RECORD

    def _answered(self, error: str) -> None:
        self.turn = Turn.RECORD
        entry = self._entry
        if entry is None:
            return
        if entry.directory:
            if error:
                self._seen.append(Copied(self._path(entry.name), 0, error))
            elif len(self._folders) >= MAX_DEPTH:
                raise RemoteProtocolError("scp: too many directories inside each other")
            else:
                self._folders.append(_text(entry.name))
            return
        self._copied = Copied(self._path(entry.name), entry.size, error)
        if error:
            self._seen.append(self._copied)
            return
        self._left = entry.size
        self.turn = Turn.CONTENTS if entry.size else Turn.WORD

    def _path(self, name: bytes) -> str:
        """
        What was asked for, the folders since, the name. One file goes to what was asked for, whatever it is called; a
        downloaded folder's first record is what was asked for.
        """
        if self._upload:
            words = [self._base, *self._folders, _text(name)] if self._many or self._folders else [self._base]
        elif self._base:
            words = [self._base, *self._folders[1:], _text(name)] if self._folders else [self._base]
        else:
            words = [*self._folders, _text(name)]
        return "/".join(each for each in words if each)


def _words(line: bytes) -> str:
    """
    @return: what an answer complains of; empty when it does not.
    @raise RemoteProtocolError: no such answer.
    """
    if line == b"\0":
        return ""
    if line[:1] not in (b"\1", b"\2"):
        raise RemoteProtocolError("scp: an answer makes no sense")
    return _text(line[1:]).removeprefix("scp: ") or "failed"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")
