"""
What users ask: one command after another, cut out of the stream without holding more of it than must be judged.

A command of up to L{HOLD_BYTES} is handed out whole. Of a longer one the beginning is, with all arguments that fit in,
and the rest follows in the pieces in which it arrives, so that half a gigabyte passes in no more memory than a line.

Numbers and line ends are read as Redis reads them, or not at all; a line that is typed (an I{inline command}) is sent
on as the array that we read in it. So what was judged is what the server gets.

@see: C{processMultibulkBuffer}, C{processInlineBuffer} and C{sdssplitargs} of Redis 7
"""

from __future__ import annotations

from attrs import define, frozen

from teleport_tw.protocols.redis.messages import Type
from teleport_tw.protocols.redis.wire import MAX_LINE_BYTES, command, length, number, refused

HOLD_BYTES = 64 * 1024
"""Of a command that is judged and audited in full: as much as Redis takes of a typed line."""

MAX_ARGUMENTS = (1 << 31) - 1
"""As in Redis."""

_COUNTS = {b"*%d" % count: count for count in range(1, 65)}
_SIZES = {b"$%d" % size: size for size in range(4096)}
_ESCAPES = {ord("n"): 10, ord("r"): 13, ord("t"): 9, ord("b"): 8, ord("a"): 7}
_SPACES = b" \t\n\v\f\r"


@define(eq=False)
class Request:
    """
    A command, or its beginning.

    @ivar arguments: the name first; of one that is not whole those that have come, the last perhaps in part.
    @ivar octets: to be sent on.
    @ivar count: of all arguments.
    @ivar is_whole: no L{Rest} follows.
    """

    arguments: tuple[bytes, ...]
    octets: bytes
    count: int
    is_whole: bool = True

    @property
    def name(self) -> bytes:
        """
        In capitals.
        """
        return self.arguments[0].upper()


@frozen
class Rest:
    """
    More of the command before.

    @ivar octets: to be sent on.
    @ivar is_last: the command is complete with it.
    """

    octets: bytes
    is_last: bool


class Reader:
    """
    Bytes to commands.
    """

    __slots__ = ("_arguments", "_count", "_kept", "_left", "_line", "_position", "_skip", "_streams")

    def __init__(self) -> None:
        self._kept = bytearray()  # of the command under way
        self._position = 0  # of the kept: behind what was read of it
        self._arguments: list[bytes] = []
        self._count = self._left = 0  # arguments of it, and those that are still to be read
        self._streams = False  # it is longer than we hold
        self._skip = 0  # bytes to come of the argument under way, with its line end
        self._line = bytearray()  # of the line that says how long the next one is

    @property
    def is_idle(self) -> bool:
        """
        No command is under way.
        """
        return not self._kept and not self._streams

    def feed(self, data: bytes) -> list[Request | Rest]:
        """
        Take in bytes from the user and return what they complete.

        A command is an array of bulk strings::

            *<count>\\r\\n  then count times  $<bytes>\\r\\n<that many bytes>\\r\\n

        or, where the first byte is no asterisk, a line of words, with quotes as in a shell.

        @param data: any slice of the stream.
        @raise RemoteProtocolError: Redis would refuse it too; the text is worded as Redis does.
        """
        found: list[Request | Rest] = []
        if self._streams:
            end = self._pass(data)
            found.append(Rest(data[:end], not self._streams))
            if end == len(data):
                return found
            data = data[end:]
        if not self._kept:
            begin = _short(data, found)
            if begin:
                data = data[begin:]
            if data:
                end = self._read(data, found)
                self._kept += data[end:]
        else:
            self._kept += data
            end = self._read(self._kept, found)
            del self._kept[:end]
        if len(self._kept) > HOLD_BYTES:
            found.append(self._begin_to_pass())
        return found

    def _read(self, source: bytes | bytearray, found: list[Request | Rest]) -> int:
        """
        Read all complete commands.

        @return: where the first incomplete one starts; L{_position} is counted from there.
        """
        start, position, left = 0, self._position, self._left
        arguments = self._arguments
        size = len(source)
        while True:
            if not left:
                if start == size:
                    position = start
                    break
                if source[start] != Type.ARRAY:
                    end = self._inline(source, start, found)
                    if end < 0:
                        position = start
                        break
                    start = end
                    continue
                end = source.find(b"\r\n", start, start + MAX_LINE_BYTES)
                if end < 0:
                    if size - start >= MAX_LINE_BYTES:
                        raise refused("too big mbulk count string")
                    position = start
                    break
                left = self._counted(source[start + 1 : end])
                position = end + 2
                if left <= 0:
                    start, left = position, 0
                    continue
                self._count = left
                arguments = []
            while left:
                end = source.find(b"\r\n", position, position + MAX_LINE_BYTES)
                if end < 0:
                    if size - position >= MAX_LINE_BYTES:
                        raise refused("too big bulk count string")
                    break
                if source[position] != Type.BULK:
                    raise refused(f"expected '$', got '{chr(source[position])}'")
                begin = end + 2
                end = begin + _sized(source[position + 1 : end])
                if end + 2 > size:
                    break
                if source[end] != 13 or source[end + 1] != 10:
                    raise refused("invalid bulk length")
                arguments.append(bytes(source[begin:end]))
                position = end + 2
                left -= 1
            if left:
                break
            found.append(Request(tuple(arguments), bytes(source[start:position]), self._count))
            start = position
        self._position, self._left, self._arguments = position - start, left, arguments
        return start

    @staticmethod
    def _counted(line: bytes | bytearray) -> int:
        count = number(line)
        if count > MAX_ARGUMENTS:
            raise refused("invalid multibulk length")
        return count

    def _inline(self, source: bytes | bytearray, start: int, found: list[Request | Rest]) -> int:
        end = source.find(b"\n", start, start + HOLD_BYTES)
        if end < 0:
            if len(source) - start >= HOLD_BYTES:
                raise refused("too big inline request")
            return -1
        words = split(bytes(source[start:end]).removesuffix(b"\r"))
        if words:
            found.append(Request(words, command(*words), len(words)))
        return end + 1

    def _begin_to_pass(self) -> Request:
        """
        The command under way is longer than we hold: hand out what there is of it.
        """
        kept, self._kept = bytes(self._kept), bytearray()
        position, self._position = self._position, 0
        arguments, self._arguments = self._arguments, []
        self._streams = True
        self._line, self._skip = bytearray(), 0
        end = kept.find(b"\r\n", position, position + MAX_LINE_BYTES)
        if end < 0:
            self._line += kept[position:]
        else:
            begin = end + 2
            self._skip = begin + _sized(kept[position + 1 : end]) + 2 - len(kept)
            arguments.append(kept[begin : begin + self._skip + len(kept) - begin - 2])
        return Request(tuple(arguments), kept, self._count, is_whole=False)

    def _pass(self, data: bytes) -> int:
        """
        @return: where the command under way ends, or the end of the data.
        """
        position, size = 0, len(data)
        while True:
            if self._skip:
                if self._skip > size - position:
                    self._skip -= size - position
                    return size
                position += self._skip
                self._skip = 0
                self._left -= 1
                if not self._left:
                    self._streams = False
                    return position
            end = data.find(b"\n", position, position + MAX_LINE_BYTES)
            self._line += data[position : end + 1] if end >= 0 else data[position:]
            if len(self._line) > MAX_LINE_BYTES:
                raise refused("too big bulk count string")
            if end < 0:
                return size
            if self._line[0] != Type.BULK or not self._line.endswith(b"\r\n"):
                raise refused(f"expected '$', got '{chr(self._line[0])}'")
            self._skip = _sized(self._line[1:-2]) + 2
            self._line.clear()
            position = end + 1


def _short(data: bytes, found: list[Request | Rest]) -> int:
    """
    Most of what comes: short commands without line ends in their arguments, that are all there. All is cut at line ends
    at once, and what stands where a length should be is compared with what follows it.

    @return: where something else begins.
    """
    parts = data.split(b"\r\n")
    index, start, last = 0, 0, len(parts) - 1
    while (count := _COUNTS.get(parts[index])) is not None:
        end = index + 2 * count + 1
        if end > last:
            break
        arguments = tuple(parts[index + 2 : end : 2])
        if list(map(_SIZES.get, parts[index + 1 : end : 2])) != list(map(len, arguments)):
            break
        stop = start + sum(map(len, parts[index:end])) + 2 * (end - index)
        found.append(Request(arguments, data[start:stop], count))
        index, start = end, stop
    return start


def _sized(line: bytes | bytearray) -> int:
    if len(line) == 1 and 48 <= line[0] <= 57:
        return line[0] - 48
    size = length(Type.BULK, line)
    if size < 0:
        raise refused("invalid bulk length")
    return size


def split(line: bytes) -> tuple[bytes, ...]:
    """
    The words of a typed line. Double quotes take C{\\n}, C{\\r}, C{\\t}, C{\\b}, C{\\a} and C{\\xHH}, single ones
    C{\\'}; a NUL ends the line.

    @raise RemoteProtocolError: a quote is left open, or something follows where it closes.
    """
    line = line.partition(b"\0")[0]
    words: list[bytes] = []
    position, end = 0, len(line)
    while True:
        while position < end and line[position] in _SPACES:
            position += 1
        if position == end:
            return tuple(words)
        word = bytearray()
        while position < end and line[position] not in b" \n\r\t":
            byte = line[position]
            position += 1
            if byte not in b"\"'":
                word.append(byte)
                continue
            position = _quoted(line, position, byte, word)
            if position < end and line[position] not in _SPACES:
                raise refused("unbalanced quotes in request")
            break
        words.append(bytes(word))


def _quoted(line: bytes, position: int, quote: int, word: bytearray) -> int:
    """
    @param position: behind the opening quote.
    @return: behind the closing one.
    """
    end = len(line)
    while position < end:
        byte = line[position]
        following = line[position + 1] if position + 1 < end else -1
        position += 1
        if byte == quote:
            return position
        if byte == ord("\\") and following >= 0 and (quote == ord('"') or following == quote):
            digits = line[position + 1 : position + 3]
            if quote == ord('"') and following == ord("x") and len(digits) == 2 and _is_hex(digits):
                word.append(int(digits, 16))
                position += 3
                continue
            word.append(_ESCAPES.get(following, following) if quote == ord('"') else following)
            position += 1
            continue
        word.append(byte)
    raise refused("unbalanced quotes in request")


def _is_hex(digits: bytes) -> bool:
    return all(digit in b"0123456789abcdefABCDEF" for digit in digits)
