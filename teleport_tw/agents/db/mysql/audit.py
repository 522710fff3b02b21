"""
What is told of each command, and which ones do not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from attrs import define, field, frozen

from teleport_tw.agents.db.policy import MASK, MAX_QUERY
from teleport_tw.events.kinds import (
    Event,
    MySQLCreateDB,
    MySQLDebug,
    MySQLDropDB,
    MySQLInitDB,
    MySQLProcessKill,
    MySQLRefresh,
    MySQLShutDown,
    MySQLStatementBulkExecute,
    MySQLStatementClose,
    MySQLStatementExecute,
    MySQLStatementFetch,
    MySQLStatementPrepare,
    MySQLStatementReset,
    MySQLStatementSendLongData,
)
from teleport_tw.protocols.mysql import parameters
from teleport_tw.protocols.mysql.capabilities import Status
from teleport_tw.protocols.mysql.commands import CAPTURE_BYTES, Piece
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.handshake import error
from teleport_tw.protocols.mysql.masking import mask
from teleport_tw.protocols.mysql.messages import Command
from teleport_tw.protocols.mysql.parameters import Statement
from teleport_tw.protocols.mysql.results import ANSWERS, Finished
from teleport_tw.protocols.mysql.wire import Fields, malformed

MAX_STATEMENTS = 16_382
"""Prepared statements of one session: as many as servers allow to all sessions together."""
MAX_STATEMENT_TEXT = 4 << 10
"""Characters kept of each, to name it at its executions."""
MAX_TEXTS, SHORT_TEXT = 4 << 20, 128
"""Characters kept of all together; of those that come then little is kept."""
MAX_PARAMETERS = 1 << 20
"""Of all prepared statements of a session together, their types being remembered."""
MAX_LONG = 100_000
"""Parameters sent ahead as long data for executions that have not come."""

_LAST = 0xFFFFFFFF
"""MariaDB: the statement that was prepared last, so that an execution can be sent behind without knowing its number."""

_REFRESH = ("GRANT", "LOG", "TABLES", "HOSTS", "STATUS", "THREADS", "SLAVE", "MASTER")

_REASONS: Mapping[int, str] = {
    Command.COM_CHANGE_USER: "a session keeps its user; connect again with a certificate for the other one",
    Command.COM_BINLOG_DUMP: "replication does not pass; a replica connects to its source directly",
    Command.COM_BINLOG_DUMP_GTID: "replication does not pass; a replica connects to its source directly",
    Command.COM_REGISTER_SLAVE: "replication does not pass; a replica connects to its source directly",
    Command.COM_TABLE_DUMP: "replication does not pass; a replica connects to its source directly",
    Command.COM_CLONE: "cloning does not pass; a new member connects to its donor directly",
}


def refusal(code: int) -> str:
    """
    @return: why the command does not pass; empty if it does.
    """
    return "" if code in ANSWERS else _REASONS.get(code, "the command is not known")


def refusal_packet(code: int) -> bytes:
    """
    @return: payload of the error that a client reads for it.
    """
    if code in _REASONS:
        return error(Errno.NOT_SUPPORTED_YET, f"Teleport: {_REASONS[code]}")
    return error(Errno.UNKNOWN_COM_ERROR, "Unknown command")


def name_of(code: int) -> str:
    """
    @return: C{COM_CHANGE_USER} and the like.
    """
    try:
        return Command(code).name
    except ValueError:
        return f"COM_{code:#x}"


@frozen(kw_only=True)
class Told:
    """
    What to tell of one command.

    @ivar fact: an event of its own, to be told at once.
    @ivar text: of a statement whose end is waited for; C{None} where nothing is.
    @ivar length: characters of the whole statement, where it was cut.
    @ivar event: in place of C{db.session.query}, takes the outcome.
    @ivar secret: the server's words may repeat a password.
    @ivar offers_file: the client has asked to send a file.
    """

    fact: Event | None = None
    text: str | None = None
    parameters: tuple[str | None, ...] = ()
    length: int | None = None
    event: Callable[..., Event] | None = None
    secret: bool = False
    offers_file: bool = False


@define(eq=False)
class Audit:
    """
    Of one session.

    @ivar named: whether both sides have C{QUERY_ATTRIBUTES}.
    @ivar facts: of all its events, as they are now.
    @ivar kept: what of parameters may be stored.
    @ivar escapes: a backslash means something in literals, as the server said last.
    """

    named: bool
    facts: Callable[[], Mapping[str, Any]]
    kept: Callable[[tuple[str | None, ...]], tuple[str | None, ...]]
    statements: dict[int, Statement] = field(factory=dict, init=False)
    escapes: bool = True
    schema: str | None = field(default=None, init=False)
    _last: int = field(default=0, init=False)
    _parameters: int = field(default=0, init=False)
    _texts: int = field(default=0, init=False)
    _long: int = field(default=0, init=False)
    _preparing: tuple[str, bool] = field(default=("", False), init=False)

    @property
    def full(self) -> bool:
        """
        Whether no further statement may be prepared.
        """
        return len(self.statements) >= MAX_STATEMENTS or self._parameters >= MAX_PARAMETERS

    def tell(self, piece: Piece) -> Told:
        """
        @param piece: the last of a command that passes.
        @raise RemoteProtocolError: it is not what it should be.
        """
        code, body, facts = piece.code, piece.body, self.facts()
        self.schema = None
        match code:
            case Command.COM_QUERY:
                return self._query(piece)
            case Command.COM_STMT_PREPARE:
                return self._prepare(piece, facts)
            case Command.COM_STMT_EXECUTE:
                return self._execute(piece, facts)
            case Command.COM_STMT_BULK_EXECUTE:
                return self._bulk(piece, facts)
            case Command.COM_STMT_SEND_LONG_DATA:
                fields = Fields(body)
                number, parameter = fields.number(4), fields.number(2)
                statement, size = self._statement(number), piece.size - 6
                if statement is not None:
                    before = len(statement.long)
                    statement.send_long(parameter, fields.rest(), size)
                    self._long += len(statement.long) - before
                if self._long > MAX_LONG:
                    raise malformed("long data for more parameters than anybody executes")
                return Told(
                    fact=MySQLStatementSendLongData(**facts, statement_id=number, parameter_id=parameter, size=size)
                )
            case Command.COM_STMT_CLOSE:
                number = Fields(body).number(4)
                self._forget(self.statements.pop(self._number(number), None))
                return Told(fact=MySQLStatementClose(**facts, statement_id=number))
            case Command.COM_STMT_RESET:
                number = Fields(body).number(4)
                statement = self._statement(number)
                if statement is not None:
                    self._long -= len(statement.long)
                    statement.reset()
                return Told(fact=MySQLStatementReset(**facts, statement_id=number))
            case Command.COM_STMT_FETCH:
                fields = Fields(body)
                number, rows = fields.number(4), fields.number(4)
                return Told(fact=MySQLStatementFetch(**facts, statement_id=number, rows=rows))
            case Command.COM_RESET_CONNECTION:
                self.statements.clear()
                self._parameters = self._texts = self._long = 0
                return Told()
            case _:
                return Told(fact=self._other(code, body, facts))

    def answered(self, finished: Finished) -> None:
        """
        The command that was told of last has its answer.
        """
        prepared = finished.prepared
        if finished.status:
            self.escapes = not finished.status & Status.NO_BACKSLASH_ESCAPES
        if prepared is not None:
            text, secret = self._preparing
            text = text[: MAX_STATEMENT_TEXT if self._texts < MAX_TEXTS else SHORT_TEXT]
            self._forget(self.statements.get(prepared.statement))
            self.statements[prepared.statement] = Statement(text, prepared.parameters, secret)
            self._texts += len(text)
            self._parameters += prepared.parameters
            self._last = prepared.statement
        self._preparing = ("", False)

    # --- inside --------------------------------------------------------------------------------------------------

    def _forget(self, statement: Statement | None) -> None:
        if statement is not None:
            self._texts -= len(statement.query)
            self._parameters -= statement.parameters
            self._long -= len(statement.long)

    def _query(self, piece: Piece) -> Told:
        query = parameters.query(piece.body, self.named)
        text, length, secret = self._text(query.text, piece)
        attributes = tuple(f"{name}={value}" for name, value in query.attributes)
        return Told(
            text=text,
            length=length,
            secret=secret,
            parameters=attributes,
            offers_file=_offers_file(query.text) or not piece.whole,
        )

    def _prepare(self, piece: Piece, facts: Mapping[str, Any]) -> Told:
        text, length, secret = self._text(piece.body, piece)
        self._preparing = (text, secret)
        event = partial(_prepared, facts, text[:MAX_QUERY], length)
        return Told(text=f"PREPARE: {text}", length=length, event=event, secret=secret)

    def _execute(self, piece: Piece, facts: Mapping[str, Any]) -> Told:
        number, statement = self._statement_of(piece)
        if statement is None:
            event = partial(MySQLStatementExecute, **facts, statement_id=number)
            return Told(text=f"EXECUTE: unknown statement {number}", event=event)
        before = len(statement.long)
        values = parameters.execution(piece.body, statement, self.named, piece.whole)
        self._long -= before - len(statement.long)
        if statement.secret:
            values = (MASK,) * len(values)
        event = partial(
            MySQLStatementExecute,
            **facts,
            statement_id=self._number(number),
            query=statement.query,
            parameters=self.kept(values),
        )
        return Told(
            text=statement.query,
            parameters=values,
            event=event,
            secret=statement.secret,
            offers_file=_offers_file(statement.query.encode()),
        )

    def _bulk(self, piece: Piece, facts: Mapping[str, Any]) -> Told:
        number, statement = self._statement_of(piece)
        if statement is None:
            event = partial(MySQLStatementBulkExecute, **facts, statement_id=number)
            return Told(text=f"EXECUTE: unknown statement {number}", event=event)
        values = parameters.bulk(piece.body, statement, piece.whole)
        if statement.secret:
            values = (MASK,) * len(values)
        event = partial(
            MySQLStatementBulkExecute,
            **facts,
            statement_id=self._number(number),
            query=statement.query,
            parameters=self.kept(values),
        )
        return Told(text=statement.query, parameters=values, event=event, secret=statement.secret)

    def _text(self, raw: bytes, piece: Piece) -> tuple[str, int | None, bool]:
        """
        @return: what may be stored, the whole length where it was cut, whether a password was in it.
        """
        text, secret = mask(raw.decode("utf-8", "backslashreplace"), self.escapes)
        cut = not piece.whole or len(text) > MAX_QUERY
        return text[:MAX_QUERY], piece.size - (len(piece.body) - len(raw)) if cut else None, secret

    def _number(self, number: int) -> int:
        return self._last if number == _LAST else number

    def _statement(self, number: int) -> Statement | None:
        return self.statements.get(self._number(number))

    def _statement_of(self, piece: Piece) -> tuple[int, Statement | None]:
        number = Fields(piece.body).number(4)
        return number, self._statement(number)

    def _other(self, code: int, body: bytes, facts: Mapping[str, Any]) -> Event | None:
        match code:
            case Command.COM_INIT_DB:
                self.schema = _name(body)
                return MySQLInitDB(**facts, schema_name=self.schema)
            case Command.COM_CREATE_DB:
                return MySQLCreateDB(**facts, schema_name=_name(body))
            case Command.COM_DROP_DB:
                return MySQLDropDB(**facts, schema_name=_name(body))
            case Command.COM_SHUTDOWN:
                return MySQLShutDown(**facts)
            case Command.COM_PROCESS_KILL:
                return MySQLProcessKill(**facts, process_id=Fields(body).number(4))
            case Command.COM_DEBUG:
                return MySQLDebug(**facts)
            case Command.COM_REFRESH:
                bits = Fields(body).number(1)
                words = ",".join(word for bit, word in enumerate(_REFRESH) if bits >> bit & 1)
                return MySQLRefresh(**facts, subcommand=words)
        return None


def _prepared(
    facts: Mapping[str, Any], query: str, length: int | None, *, success: bool, error: str, **rest: Any
) -> Event:
    """
    @param rest: how long it took and the like, which nobody asks of a preparation.
    """
    return MySQLStatementPrepare(**facts, query=query, length=length, success=success, error=error)


def _name(body: bytes) -> str:
    return body[:CAPTURE_BYTES].decode("utf-8", "backslashreplace")[:256]


def _offers_file(text: bytes) -> bool:
    """
    @return: whether it may be C{LOAD DATA LOCAL INFILE} or C{LOAD XML LOCAL INFILE}.
    """
    upper = text.upper()
    return b"LOCAL" in upper and b"INFILE" in upper


__all__ = ["Audit", "Told", "name_of", "refusal", "refusal_packet"]
