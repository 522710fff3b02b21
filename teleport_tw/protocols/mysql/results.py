"""
The way back: where an answer ends and what came of it, read off headers while its bytes go on untouched.

Theory of operation. L{Answers} is told which command was sent and walks the packets that answer it. Of rows and column
definitions it looks at length and first byte; only the short packets that begin or end something are kept until they
are whole: OK, error, end of rows, number of columns. Rows end with EOF (0xFE, below 9 bytes), or, where both sides
have C{DEPRECATE_EOF}, with an OK that begins with 0xFE; a row that begins so has a field of 16 MiB or more and cannot
be that short. A packet of 16 MiB less one byte is continued by the next, whose first byte means nothing.

@see: MySQL 8.4 source documentation, I{Text Resultset}, I{COM_STMT_PREPARE Response}; MariaDB knowledge base,
    I{Result Set Packets}.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from struct import Struct

from attrs import define, frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql.capabilities import Capability, Status
from teleport_tw.protocols.mysql.errors import PROGRESS, Errno
from teleport_tw.protocols.mysql.handshake import parse_error, parse_ok
from teleport_tw.protocols.mysql.messages import Command, Err
from teleport_tw.protocols.mysql.wire import HEADER_BYTES, MAX_PACKET, Fields, malformed

MAX_CONTROL_BYTES = 64 * 1024
"""Of an OK, which may tell of many changed variables, and of all other packets that are read; what is beyond is not."""

_ROW = Struct("<IB")
_OK, _FILE, _EOF, _ERR = 0x00, 0xFB, 0xFE, 0xFF
_MAX_EOF = 9
_CURSOR_EXISTS, _MORE_RESULTS_EXISTS = int(Status.CURSOR_EXISTS), int(Status.MORE_RESULTS_EXISTS)


class Expect(Enum):
    """
    What kind of answer a command has.
    """

    NOTHING = "none"
    SINGLE = "one packet: OK, error or EOF"
    TEXT = "one packet of any kind"
    RESULTS = "OK, error, rows, or several of them one after the other"
    FIELDS = "column definitions"
    PREPARED = "a statement's number, definitions of its parameters and columns"
    ROWS = "rows"


_C = Command
ANSWERS: Mapping[int, Expect] = {
    _C.COM_QUIT: Expect.NOTHING,
    _C.COM_INIT_DB: Expect.SINGLE,
    _C.COM_QUERY: Expect.RESULTS,
    _C.COM_FIELD_LIST: Expect.FIELDS,
    _C.COM_CREATE_DB: Expect.SINGLE,
    _C.COM_DROP_DB: Expect.SINGLE,
    _C.COM_REFRESH: Expect.SINGLE,
    _C.COM_SHUTDOWN: Expect.SINGLE,
    _C.COM_STATISTICS: Expect.TEXT,
    _C.COM_PROCESS_INFO: Expect.RESULTS,
    _C.COM_PROCESS_KILL: Expect.SINGLE,
    _C.COM_DEBUG: Expect.SINGLE,
    _C.COM_PING: Expect.SINGLE,
    _C.COM_STMT_PREPARE: Expect.PREPARED,
    _C.COM_STMT_EXECUTE: Expect.RESULTS,
    _C.COM_STMT_SEND_LONG_DATA: Expect.NOTHING,
    _C.COM_STMT_CLOSE: Expect.NOTHING,
    _C.COM_STMT_RESET: Expect.SINGLE,
    _C.COM_SET_OPTION: Expect.SINGLE,
    _C.COM_STMT_FETCH: Expect.ROWS,
    _C.COM_RESET_CONNECTION: Expect.SINGLE,
    _C.COM_STMT_BULK_EXECUTE: Expect.RESULTS,
}
"""The commands that can be relayed: those whose answer is known. All others are a replica's or unused."""


@frozen
class Prepared:
    """
    A statement that the server knows now.
    """

    statement: int
    parameters: int
    columns: int


@define(kw_only=True)
class Finished:
    """
    A command has its whole answer. It is filled in on the way, and is the caller's then.

    @ivar rows: sent, C{None} where there were no rows to send.
    @ivar affected: rows that were changed.
    @ivar error: the first, which is also the last.
    @ivar schema: that the session is in now, where the server told.
    @ivar status: the server's, with its last packet.
    """

    rows: int | None = None
    affected: int = 0
    error: Err | None = None
    prepared: Prepared | None = None
    schema: str | None = None
    status: int = 0


@frozen
class FileWanted:
    """
    The server asks the client for the content of a file.

    @ivar sequence: of the packet.
    """

    name: str
    sequence: int


@frozen
class Farewell:
    """
    The server spoke without being asked: it ends the connection.
    """

    error: Err


Outcome = Finished | FileWanted | Farewell


class _State(Enum):
    IDLE = "nothing is due"
    FIRST = "the first packet of a result"
    SINGLE = "the only packet"
    TEXT = "the only packet, whatever it is"
    PREPARED = "the first packet about a statement"
    DEFINITIONS = "definitions, counted"
    DEFINED = "the EOF behind definitions"
    FIELDS = "definitions, up to EOF"
    ROWS = "rows"


_BEGIN = {
    Expect.SINGLE: _State.SINGLE,
    Expect.TEXT: _State.TEXT,
    Expect.RESULTS: _State.FIRST,
    Expect.FIELDS: _State.FIELDS,
    Expect.PREPARED: _State.PREPARED,
    Expect.ROWS: _State.ROWS,
}
_EXECUTIONS = frozenset({int(Command.COM_STMT_EXECUTE), int(Command.COM_STMT_BULK_EXECUTE)})
_KEPT_WHOLE = frozenset({_State.IDLE, _State.FIRST, _State.SINGLE, _State.TEXT, _State.PREPARED, _State.DEFINED})
"""States in which every packet is read; in the others those that begin with 0xFE or 0xFF."""


class Answers:
    """
    Walks one target's bytes.

    @ivar sequence: of the packet that came last.
    """

    __slots__ = ("_continued", "_counts", "_cursors", "_deprecate_eof", "_done", "_files", "_first", "_flag", "_head",
                 "_kept", "_left", "_max_eof", "_optional", "_state", "_tracked", "sequence")  # fmt: skip

    def __init__(self, capabilities: Capability) -> None:
        """
        @param capabilities: that the login to the target ended with.
        """
        # numbers and no flags: flags cost more than all else here
        self._files = bool(capabilities & Capability.LOCAL_FILES)
        self._tracked = bool(capabilities & Capability.SESSION_TRACK)
        self._optional = bool(capabilities & Capability.OPTIONAL_RESULTSET_METADATA)
        self._deprecate_eof = bool(capabilities & Capability.DEPRECATE_EOF)
        self._max_eof = MAX_PACKET if self._deprecate_eof else _MAX_EOF
        self._flag = bool(capabilities & (Capability.OPTIONAL_RESULTSET_METADATA | Capability.MARIADB_CACHE_METADATA))
        self._state = _State.IDLE
        self._cursors = False  # the command may leave a cursor open in place of rows
        self._counts: list[int] = []  # definitions that are due, one entry for each group
        self._done = Finished()
        self._head = b""  # of a packet of which neither length nor kind is known yet
        self._first = 0  # byte of the current packet
        self._left = 0  # bytes of the current packet
        self._continued = False  # another packet belongs to the current one
        self._kept: bytearray | None = None  # the current packet, where it is read
        self.sequence = 0

    @property
    def idle(self) -> bool:
        """
        Whether every command has its answer.
        """
        return self._state is _State.IDLE

    @property
    def missing(self) -> int | None:
        """
        @return: how many bytes the current packet lacks, C{None} where that cannot be known yet.
        """
        return None if self._head or self._continued else self._left

    def expect(self, code: int) -> bool:
        """
        A command was sent.

        @param code: a key of L{ANSWERS}.
        @return: whether an answer is due.
        """
        expected = ANSWERS[code]
        if expected is Expect.NOTHING:
            return False
        self._state = _BEGIN[expected]
        self._cursors = code in _EXECUTIONS
        self._done = Finished(rows=0 if expected is Expect.ROWS else None)
        return True

    def feed(self, data: bytes) -> list[Outcome]:
        """
        @param data: any slice of the stream.
        @return: what was completed by it, oldest first; all of C{data} goes to the user either way.
        @raise RemoteProtocolError: the server does not keep to the protocol.
        """
        outcomes: list[Outcome] = []
        position, end = 0, len(data)
        while position < end:
            if self._left:
                position = self._body(data, position, end, outcomes)
                continue
            if self._state is _State.ROWS and not self._head and not self._continued:
                position = self._rows(data, position, end)
                if self._left or position == end:
                    continue
            position = self._header(data, position, end, outcomes)
        return outcomes

    def _rows(self, data: bytes, position: int, end: int) -> int:
        """
        The hot path: whole rows, and the beginning of one.

        @return: the position of a header that wants a closer look, or of the end.
        """
        begin, limit, count, unpack = position, end - HEADER_BYTES, 0, _ROW.unpack_from
        while position < limit:
            word, first = unpack(data, position)
            size = word & MAX_PACKET
            if first >= _EOF or size == MAX_PACKET or not size:
                break
            begin = position
            position += HEADER_BYTES + size
            count += 1
        if count:
            self.sequence = data[begin + HEADER_BYTES - 1]
            self._done.rows = (self._done.rows or 0) + count
        if position > end:
            self._left, self._kept = position - end, None
            return end
        return position

    def _header(self, data: bytes, position: int, end: int, outcomes: list[Outcome]) -> int:
        """
        Begin a packet, as soon as its header and first byte are there.
        """
        wanted = HEADER_BYTES + 1 - len(self._head)
        head = self._head + data[position : position + wanted]
        size = int.from_bytes(head[:3], "little") if len(head) >= HEADER_BYTES else 1
        if len(head) <= HEADER_BYTES and size:
            self._head = head
            return end
        position += HEADER_BYTES - len(self._head)
        self._head = b""
        self.sequence = head[3]
        goes_on, self._continued = self._continued, size == MAX_PACKET
        self._left = size
        if goes_on:
            self._kept = None
        else:
            self._first = head[HEADER_BYTES] if size else -1
            self._kept = bytearray() if self._reads(size) else None
            if self._kept is None:
                self._passed()
        if not size:
            self._completed(outcomes)
        return position

    def _reads(self, size: int) -> bool:
        """
        @return: whether the packet that begins is one to be read.
        """
        if self._state in _KEPT_WHOLE:
            return True
        if self._first == _EOF:
            return size < self._max_eof
        return self._first == _ERR

    def _passed(self) -> None:
        """
        A row or a definition has begun.
        """
        if self._state is _State.ROWS:
            self._done.rows = (self._done.rows or 0) + 1
        elif self._state is _State.DEFINITIONS:
            self._counts[0] -= 1
            if not self._counts[0]:
                self._counts.pop(0)
                self._state = _State.DEFINED

    def _body(self, data: bytes, position: int, end: int, outcomes: list[Outcome]) -> int:
        stop = min(position + self._left, end)
        kept = self._kept
        if kept is not None and len(kept) < MAX_CONTROL_BYTES:
            kept += data[position : min(stop, position + MAX_CONTROL_BYTES - len(kept))]
        self._left -= stop - position
        if not self._left:
            self._completed(outcomes)
        return stop

    def _completed(self, outcomes: list[Outcome]) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            self._read(bytes(kept), outcomes)
        if self._state is _State.DEFINED and self._deprecate_eof:
            self._defined(0, outcomes)

    # --- packets that are read ------------------------------------------------------------------------------------

    def _read(self, payload: bytes, outcomes: list[Outcome]) -> None:
        if self._first == _ERR:
            self._failed(parse_error(payload), outcomes)
            return
        match self._state:
            case _State.IDLE:
                raise RemoteProtocolError("the server spoke out of turn", code=Errno.PACKETS_OUT_OF_ORDER)
            case _State.FIRST:
                self._result(payload, outcomes)
            case _State.PREPARED:
                self._statement(payload, outcomes)
            case _State.SINGLE if self._first == _OK:
                self._went_well(payload, outcomes)
            case _State.DEFINED:
                if self._first != _EOF:
                    raise malformed("something else behind definitions")
                self._defined(_eof_status(payload), outcomes)
            case _State.ROWS:
                self._rows_ended(payload, outcomes)
            case _State.DEFINITIONS:
                raise malformed("fewer definitions than announced")
            case _:
                self._finish(outcomes)

    def _failed(self, error: Err, outcomes: list[Outcome]) -> None:
        if error.errno == PROGRESS:
            return
        if self._state is _State.IDLE:
            outcomes.append(Farewell(error))
            return
        self._done.error = error
        self._finish(outcomes)

    def _result(self, payload: bytes, outcomes: list[Outcome]) -> None:
        if self._first == _OK:
            self._went_well(payload, outcomes)
        elif self._first == _FILE:
            if not self._files:
                raise RemoteProtocolError("the server wants a file unasked", code=Errno.MALFORMED_PACKET)
            outcomes.append(FileWanted(payload[1:].decode("utf-8", "replace"), self.sequence))
        else:
            fields = Fields(payload)
            count = fields.length()
            if self._done.rows is None:
                self._done.rows = 0
            follows = not self._flag or not len(fields) or fields.number(1)
            self._define([count] if follows else [])

    def _statement(self, payload: bytes, outcomes: list[Outcome]) -> None:
        fields = Fields(payload, 1)
        statement, columns, parameters = fields.number(4), fields.number(2), fields.number(2)
        if self._first != _OK:
            raise malformed("something else about a statement")
        self._done.prepared = Prepared(statement, parameters, columns)
        follows = True
        if self._optional:
            fields.take(3)
            follows = not len(fields) or bool(fields.number(1))
        counts = [count for count in (parameters, columns) if count] if follows else []
        if counts:
            self._define(counts)
        else:
            self._finish(outcomes)

    def _define(self, counts: list[int]) -> None:
        if 0 in counts:
            raise malformed("a result of no columns")
        self._counts = counts
        self._state = _State.DEFINITIONS if counts else _State.DEFINED
        if not counts and self._deprecate_eof:
            self._state = _State.ROWS

    def _defined(self, status: int, outcomes: list[Outcome]) -> None:
        """
        A group of definitions has ended.
        """
        if self._counts:
            self._state = _State.DEFINITIONS
        elif self._done.prepared is not None or (self._cursors and status & _CURSOR_EXISTS):
            self._finish(outcomes)
        else:
            self._state = _State.ROWS

    def _rows_ended(self, payload: bytes, outcomes: list[Outcome]) -> None:
        if not self._deprecate_eof:
            self._next(_eof_status(payload), outcomes)
            return
        ok = parse_ok(payload, self._tracked and len(payload) < MAX_CONTROL_BYTES)
        if ok.schema is not None:
            self._done.schema = ok.schema
        self._next(ok.status, outcomes)

    def _went_well(self, payload: bytes, outcomes: list[Outcome]) -> None:
        ok = parse_ok(payload, self._tracked and len(payload) < MAX_CONTROL_BYTES)
        self._done.affected += ok.affected
        if ok.schema is not None:
            self._done.schema = ok.schema
        self._next(ok.status, outcomes)

    def _next(self, status: int, outcomes: list[Outcome]) -> None:
        """
        A result has ended; others may follow.
        """
        self._done.status = status
        if status & _MORE_RESULTS_EXISTS:
            self._state = _State.FIRST
        else:
            self._finish(outcomes)

    def _finish(self, outcomes: list[Outcome]) -> None:
        self._state = _State.IDLE
        self._counts = []
        outcomes.append(self._done)


def _eof_status(payload: bytes) -> int:
    """
    C{uint8} 0xFE; C{uint16} warnings; C{uint16} status.
    """
    return Fields(payload, 3).number(2)
