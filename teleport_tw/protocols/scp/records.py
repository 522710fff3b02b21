"""
What scp's two ends tell each other, and the command that starts the far one.

A record is a line::

    C<mode> <size> <name>       a file; then its bytes, then a zero byte
    D<mode> 0 <name>            a directory, whose records follow
    E                           its end
    T<mtime> 0 <atime> 0        times of what comes next, seconds since 1970

and each is answered by a zero byte, or by 1 (go on) or 2 (give up) and a line saying why.

@see: OpenSSH, C{scp.c} 9.2, C{source} and C{sink}
"""

from __future__ import annotations

from typing import NamedTuple

from teleport_tw.base.errors import RemoteProtocolError

MAX_LINE_BYTES = 16 * 1024
MAX_SIZE = 2**63 - 1
_MAX_TIME_DIGITS = 12
_MODE_DIGITS = 4


class Entry(NamedTuple):
    """
    A file or directory is next.

    @ivar mode: permission bits.
    """

    directory: bool
    mode: int
    size: int
    name: bytes


class Times(NamedTuple):
    """
    Of what is next.
    """

    mtime: int
    atime: int


class End(NamedTuple):
    """
    Of a directory.
    """


Record = Entry | Times | End


def parse(line: bytes) -> Record:
    """
    @param line: without its newline.
    @raise RemoteProtocolError: it is no record, or its name is not that of a file in a directory.
    """
    kind, rest = line[:1], line[1:]
    if kind == b"E" and not rest:
        return End()
    if kind == b"T":
        fields = rest.split(b" ")
        if len(fields) != 4 or not all(each.isdigit() for each in fields) or max(map(len, fields)) > _MAX_TIME_DIGITS:
            raise RemoteProtocolError("scp: times make no sense")
        return Times(int(fields[0]), int(fields[2]))
    if kind in (b"C", b"D"):
        return _entry(kind == b"D", rest)
    raise RemoteProtocolError("scp: no such record")


def _entry(directory: bool, rest: bytes) -> Entry:
    mode, _, rest = rest.partition(b" ")
    size, space, name = rest.partition(b" ")
    if len(mode) != _MODE_DIGITS or mode.translate(None, b"01234567") or not space:
        raise RemoteProtocolError("scp: mode makes no sense")
    if not size.isdigit() or len(size) > 19 or int(size) > MAX_SIZE:
        raise RemoteProtocolError("scp: size makes no sense")
    if not name or name in (b".", b"..") or b"/" in name or b"\0" in name or b"\n" in name:
        raise RemoteProtocolError("scp: unexpected filename")
    return Entry(directory, int(mode, 8), int(size), name)


def encode(record: Record) -> bytes:
    """
    @return: the line with its newline; what would end it early in a name is shown as a question mark.
    """
    match record:
        case Entry(directory, mode, size, name):
            letter = b"D" if directory else b"C"
            return b"%s%04o %d %s\n" % (letter, mode & 0o7777, size, name.replace(b"\n", b"?"))
        case Times(mtime, atime):
            return b"T%d 0 %d 0\n" % (max(mtime, 0), max(atime, 0))
    return b"E\n"


class Wanted(NamedTuple):
    """
    C{scp -t} or C{-f}, as a client asks for.

    @ivar upload: the client sends.
    @ivar paths: patterns for C{glob}, wherever the shell would have expanded them.
    """

    upload: bool
    recursive: bool
    times: bool
    directory: bool
    paths: tuple[str, ...]


_META = "*?["
_FOR_A_SHELL = set("$`;|&<>(){}!#\n\r")
"""Unquoted, these ask for more than words; C{#} and C{!} are rare enough to be left to a real shell too."""


def command(text: str) -> Wanted | None:
    """
    Read a command as a shell would.

    @return: C{None} if it is not scp's, or asks a shell for more than words and patterns.
    """
    words = _words(text)
    if not words or words[0].rpartition("/")[2] != "scp":
        return None
    flags: set[str] = set()
    position = 1
    while position < len(words) and words[position].startswith("-") and len(words[position]) > 1:
        word = words[position]
        position += 1
        if word == "--":
            break
        flags |= set(word[1:])
    paths = tuple(words[position:])
    if flags - set("tfrpdvqE") or ("t" in flags) == ("f" in flags) or not paths:
        return None
    if "t" in flags and len(paths) != 1:
        return None
    return Wanted("t" in flags, "r" in flags, "p" in flags, "d" in flags, paths)


def _words(text: str) -> list[str] | None:
    """
    @return: patterns for C{glob}: what was quoted stands in brackets where it would mean something.
    """
    words: list[str] = []
    word: str | None = None
    position = 0
    while position < len(text):
        letter = text[position]
        position += 1
        if letter in " \t":
            if word is not None:
                words.append(word)
                word = None
            continue
        if letter == "'":
            end = text.find("'", position)
            if end < 0:
                return None
            word = (word or "") + _literal(text[position:end])
            position = end + 1
        elif letter == '"':
            found = _double(text, position)
            if found is None:
                return None
            word, position = (word or "") + _literal(found[0]), found[1]
        elif letter == "\\":
            if position >= len(text):
                return None
            word = (word or "") + _literal(text[position])
            position += 1
        elif letter in _FOR_A_SHELL:
            return None
        else:
            word = (word or "") + letter
    if word is not None:
        words.append(word)
    return words


def _double(text: str, position: int) -> tuple[str, int] | None:
    found = ""
    while position < len(text):
        letter = text[position]
        position += 1
        if letter == '"':
            return found, position
        if letter in "$`":
            return None
        if letter == "\\" and position < len(text) and text[position] in '"\\$`':
            letter = text[position]
            position += 1
        found += letter
    return None


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in _META or letter == "~" else letter for letter in text)
