"""
Where one reply of the server ends and the next begins, found while the bytes pass.

Replies go on in the pieces in which they arrive. Only their outlines are read: the length of a string, the count of an
array. What stands at a reply's very beginning is held back until it tells what the reply is, which takes L{HEAD_BYTES}
at the most.
"""

from __future__ import annotations

from typing import Protocol

from teleport_tw.protocols.redis.messages import Type
from teleport_tw.protocols.redis.wire import MAX_DEPTH, STREAMED, length, number, refused

HEAD_BYTES = 64
"""C{*3}, C{$12}, C{punsubscribe} and their line ends are 23; a line of C{MONITOR} is known after 20."""

MAX_LINE_BYTES = 512
"""Of a number; the longest double has some 330 digits."""

MAX_ERROR_BYTES = 1024
"""Of an error's text that is told on."""

_TEXTS = frozenset(map(int, (Type.SIMPLE_STRING, Type.ERROR, Type.BIG_NUMBER)))
_NUMBERS = frozenset(map(int, (Type.INTEGER, Type.NULL, Type.BOOLEAN, Type.DOUBLE)))
_BULKS = frozenset(map(int, (Type.BULK, Type.BULK_ERROR, Type.VERBATIM)))
_AGGREGATES = frozenset(map(int, (Type.ARRAY, Type.SET, Type.PUSH, Type.MAP, Type.ATTRIBUTE)))
_INTEGER, _BULK, _CHUNK, _END = map(int, (Type.INTEGER, Type.BULK, Type.CHUNK, Type.END))

_OPEN_END = -1
"""On the stack: an aggregate that ends with a dot."""

_STRING = -3
"""On the stack: a string in parts."""


class Judge(Protocol):
    """
    Knows what each reply answers.
    """

    copies: bool
    """A copy of all data was asked for, or is under way: ask L{is_raw}."""

    def is_raw(self, first: int) -> bool:
        """
        @param first: byte of what comes now.
        @return: whether it is no RESP any more.
        """
        ...

    def is_plain(self, first: int) -> bool:
        """
        @param first: byte of a reply that is no aggregate and is here as a whole.
        @return: whether it passes and that is all; nothing else is asked of it then.
        """
        ...

    def begins(self, head: bytes) -> bool:
        """
        @param head: the first L{HEAD_BYTES} of a reply, or all of a shorter one.
        @return: whether it is passed on.
        """
        ...

    def ended(self, head: bytes, integer: int) -> bytes:
        """
        @param head: as before, up to L{MAX_ERROR_BYTES} if the whole reply was at hand.
        @param integer: the last number in the reply.
        @return: what is sent in place of one that is not passed on.
        """
        ...


class Walker:
    """
    Bytes of the server to bytes for the user.
    """

    __slots__ = (
        "_cr",
        "_head",
        "_inside",
        "_integer",
        "_judge",
        "_kept",
        "_line",
        "_passes",
        "_skip",
        "_stack",
        "_text",
    )

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._kept = b""  # the beginning of a reply that does not tell yet what it is
        self._inside = False  # a reply has begun and was judged
        self._passes = True  # what the judge said of it
        self._head = b""  # its beginning
        self._stack: list[int] = []  # twice the parts to come of each open aggregate, plus one for attributes
        self._skip = 0  # bytes to come of a string, with its line end
        self._text = self._cr = False  # in a line of text; and its last byte was a carriage return
        self._line = b""  # of a line that was cut
        self._integer = 0

    @property
    def is_idle(self) -> bool:
        """
        Between two replies: something of ours may be sent.
        """
        return not self._inside

    def feed(self, data: bytes) -> list[bytes]:
        """
        @param data: any slice of the stream.
        @return: what goes to the user now.
        @raise RemoteProtocolError: this is not RESP.
        """
        if self._kept:
            data, self._kept = self._kept + data, b""
        judge = self._judge
        out: list[bytes] = []
        position, cut, size = 0, 0, len(data)  # what is between cut and position passes
        if self._inside:
            position = self._walk(data, 0, size)
            if not self._passes:
                cut = position
            if self._inside:
                return [data] if self._passes else []
            self._end(out)
        while position < size:
            start = position
            if judge.copies and judge.is_raw(data[start]):
                position = size
                break
            position = self._quick(data, start, size)
            if position and judge.is_plain(data[start]):
                continue
            position = position or self._walk(data, start, size)
            if self._inside and size - start < HEAD_BYTES:
                self._reset()
                self._kept = data[start:]
                position = start
                break
            whole = not self._inside
            self._head = data[start : min(position, start + (MAX_ERROR_BYTES if whole else HEAD_BYTES))]
            self._passes = judge.begins(self._head)
            if not self._passes:
                if start > cut:
                    out.append(data[cut:start])
                cut = position
            if not whole:
                break
            self._end(out)
        if position > cut:
            out.append(data[cut:position] if cut or position < size else data)
        return out

    def _end(self, out: list[bytes]) -> None:
        """
        A reply is complete; one that was not passed on may have something in its place.
        """
        added = self._judge.ended(self._head, self._integer)
        if added:
            out.append(added)

    def _reset(self) -> None:
        self._inside = self._text = self._cr = False
        self._stack.clear()
        self._skip = 0
        self._line = b""

    def _quick(self, data: bytes, start: int, size: int) -> int:
        """
        The usual: one line, or one string, that is here as a whole.

        @return: behind it; 0 if this is something else.
        """
        kind = data[start]
        if kind in _TEXTS:
            end = data.find(b"\r\n", start)
            return end + 2 if end >= 0 else 0
        if kind == _BULK:
            end = data.find(b"\r\n", start, start + MAX_LINE_BYTES)
            text = data[start + 1 : end]
            if end < 0 or not text.isdigit() or len(text) > 9:
                return 0
            end += 4 + int(text)
            return end if end <= size and data[end - 2 : end] == b"\r\n" else 0
        return 0

    def _walk(self, data: bytes, position: int, size: int) -> int:
        """
        Go on until the reply ends or the data do.

        @return: behind what was read.
        """
        stack = self._stack
        self._inside = True
        while position < size:
            if self._skip:
                if self._skip > size - position:
                    self._skip -= size - position
                    return size
                position += self._skip
                self._skip = 0
                if stack and stack[-1] == _STRING:
                    continue
            elif self._text:
                position = self._through_text(data, position)
                if self._text:
                    return size
            else:
                kind = self._line[0] if self._line else data[position]
                if kind in _TEXTS:
                    self._text, self._cr = True, False
                    if stack and stack[-1] == _STRING:
                        raise refused("a value inside a streamed string")
                    continue
                end = data.find(b"\n", position, position + MAX_LINE_BYTES)
                if end < 0:
                    self._line += data[position:]
                    if len(self._line) > MAX_LINE_BYTES:
                        raise refused("a number without an end")
                    return size
                line = self._line + data[position : end + 1]
                position, self._line = end + 1, b""
                if not line.endswith(b"\r\n"):
                    raise refused("a line does not end where it should")
                if not self._outline(kind, line[1:-2]):
                    continue
            if self._completed():
                self._inside = False
                return position
        return position

    def _through_text(self, data: bytes, position: int) -> int:
        """
        Find the end of a line of text, which may be as long as it likes.
        """
        if self._cr and data[position] == 10:
            self._text = self._cr = False
            return position + 1
        end = data.find(b"\r\n", position)
        if end >= 0:
            self._text = self._cr = False
            return end + 2
        self._cr = data.endswith(b"\r")
        return len(data)

    def _outline(self, kind: int, line: bytes) -> bool:
        """
        @return: whether this line is a value already.
        """
        stack = self._stack
        if stack and stack[-1] == _STRING:
            if kind != _CHUNK:
                raise refused("a value inside a streamed string")
            self._skip = length(kind, line) + 2
            if self._skip > 2:
                return False
            self._skip = 0
            stack.pop()
            return True
        if kind in _NUMBERS:
            if kind == _INTEGER:
                self._integer = number(line.removeprefix(b"+"))
            return True
        if kind in _BULKS:
            size = length(kind, line)
            if size == STREAMED:
                self._push(_STRING)
            elif size >= 0:
                self._skip = size + 2
            return size == -1
        if kind in _AGGREGATES:
            return self._aggregate(kind, length(kind, line))
        if kind == _END and not line and stack and stack[-1] == _OPEN_END:
            stack.pop()
            return True
        raise refused(f"unexpected byte {chr(kind)!r}")

    def _aggregate(self, kind: int, count: int) -> bool:
        if count == STREAMED:
            self._push(_OPEN_END)
            return False
        if kind == Type.ATTRIBUTE:
            if count:
                self._push(count * 4 + 1)
            return False
        if count > 0:
            self._push(count * (4 if kind == Type.MAP else 2))
            return False
        return True

    def _push(self, left: int) -> None:
        if len(self._stack) == MAX_DEPTH:
            raise refused("too deep")
        self._stack.append(left)

    def _completed(self) -> bool:
        """
        A value is complete: perhaps so are those around it.

        @return: whether the reply is.
        """
        stack = self._stack
        while stack:
            left = stack[-1]
            if left == _OPEN_END:
                return False
            if left > 3:
                stack[-1] = left - 2
                return False
            stack.pop()
            if left == 3:  # of attributes: the value that they are about follows
                return False
        return True
