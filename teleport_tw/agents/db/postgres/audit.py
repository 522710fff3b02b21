"""
Statements to events: messages of both directions in, audit events out. Pure.

A server answers in order, so what a user sends is queued here as far as something is to be said at its end, and each
answer is for the head of the queue. After an error in an extended query the server skips to the next Sync, and so does
the queue. COPY data is no statement, whatever it looks like: the decoder leaves it out.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Protocol

from attrs import define, field

from teleport_tw.agents.db.policy import MAX_QUERY
from teleport_tw.agents.db.postgres import texts
from teleport_tw.agents.db.telling import Running
from teleport_tw.events.kinds import (
    DatabaseQueryFailed,
    Event,
    Fact,
    PostgresBind,
    PostgresClose,
    PostgresExecute,
    PostgresFunctionCall,
    PostgresParse,
)
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres.bodies import USUAL_BYTES

MAX_KNOWN = 4 << 20
"""Characters of prepared statements' texts that are remembered for their executions; the oldest are forgotten."""
KNOWN_COST = 200
MAX_PORTALS = 1000
MAX_BOUND = 4 << 20
"""Characters of portals' texts and parameters that are remembered for their executions; the oldest are forgotten."""
MANY, FEW = 10_000, 5_000
"""Unanswered messages at which a user is not read any more, and is again. A server holds back the answers of at most
two thousand (8 KiB), so that it must have answered some."""

SKIPPED = "not executed: a statement before it failed"


class Teller(Protocol):
    """
    The part of L{teleport_tw.agents.db.telling.Telling} that takes what is told.
    """

    def tell(self, kind: type[Fact], **own: Any) -> None:
        """
        Tell the audit log.
        """
        ...

    def worded(self, kind: type[Fact], own: Mapping[str, Any]) -> Event:
        """
        What L{tell} would tell.
        """
        ...

    def kept(self, parameters: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """
        What the policy keeps of parameters.
        """
        ...

    def cut(self, text: str, size: int | None) -> tuple[str, int | None]:
        """
        What is kept of a long text, and its whole length where it was cut.
        """
        ...

    def query(
        self,
        text: str,
        parameters: tuple[str | None, ...] = (),
        *,
        event: Callable[..., Event] | None = None,
        length: int | None = None,
    ) -> Running:
        """
        A statement is on its way.
        """
        ...

    def result(self, running: Running, *, affected: int | None = None, error: str = "", message: str = "") -> None:
        """
        It has ended.
        """
        ...


@define(eq=False)
class _Prepared:
    text: str
    length: int | None
    types: tuple[int, ...]


@define(eq=False)
class _Bound:
    """
    A portal: it goes on with the statement that it was made of, whatever is called by that name later.
    """

    statement: bytes
    text: str
    parameters: tuple[str | None, ...]
    size: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.size = len(self.text) + sum(map(len, filter(None, self.parameters)))


@define(eq=False)
class _Simple:
    """
    A simple query, up to ReadyForQuery.
    """

    running: Running
    affected: int | None = None
    tag: str = ""
    error: str = ""


@define(eq=False)
class _Executed:
    running: Running


@define(eq=False)
class _Described:
    """
    A statement whose types will be told.
    """

    statement: bytes


def _told(tag: bytes) -> tuple[str, int | None]:
    """
    @return: a tag as people read it, and the rows it tells of.
    """
    return tag.decode("utf-8", "replace"), m.CommandComplete(tag).rows


_usual = lru_cache(500)(_told)


def _outcome(tag: bytes) -> tuple[str, int | None]:
    return _usual(tag) if len(tag) <= USUAL_BYTES else _told(tag)


_OUTCOMES: Mapping[type, str] = {m.PortalSuspended: "more rows may follow", m.EmptyQueryResponse: "empty query"}
_SYNC = object()
_CALL = object()


@define(eq=False)
class Audit:
    """
    One session's.

    @ivar encoding: of the user's texts, Python's name.
    """

    teller: Teller
    encoding: str = "utf-8"
    _waiting: deque[Any] = field(factory=deque, init=False)
    _known: OrderedDict[bytes, _Prepared] = field(factory=OrderedDict, init=False)
    _known_size: int = field(default=0, init=False)
    _portals: OrderedDict[bytes, _Bound] = field(factory=OrderedDict, init=False)
    _bound_size: int = field(default=0, init=False)
    _skipping: bool = field(default=False, init=False)
    _last: str = field(default="", init=False)

    @property
    def waiting(self) -> int:
        """
        How many answers are due.
        """
        return len(self._waiting)

    # --- what the user says ----------------------------------------------------------------------------------

    def user(self, message: Any) -> None:
        """
        Take one message that goes to the database.
        """
        handler = _USER.get(type(message))
        if handler is not None:
            handler(self, message)

    def _query(self, message: m.Query) -> None:
        text, length = texts.statement(message.text, self.encoding, MAX_QUERY)
        running = self.teller.query(text, length=message.size or length)
        if self._skipping:
            self.teller.result(running, error=SKIPPED)
        else:
            self._waiting.append(_Simple(running))

    def _parse(self, message: m.Parse) -> None:
        text, length = texts.statement(message.text, self.encoding, MAX_QUERY)
        text, length = self.teller.cut(text, message.size or length)
        self._forget(message.name)
        self._known[message.name] = _Prepared(text, length, message.types)
        self._known_size += len(text) + KNOWN_COST
        while self._known_size > MAX_KNOWN and len(self._known) > 1:
            self._forget(next(iter(self._known)))
        self._last = text
        self.teller.tell(PostgresParse, statement_name=self._name(message.name), query=text, length=length)

    def _bind(self, message: m.Bind) -> None:
        known = self._known.get(message.statement)
        shown: tuple[str | None, ...] = ()
        if message.values:
            types = known.types if known is not None else ()
            shown = self.teller.kept(texts.parameters(message.values, message.formats, types, self.encoding))
        self._unbind(message.portal)
        bound = _Bound(message.statement, known.text if known is not None else "", shown)
        self._portals[message.portal] = bound
        self._bound_size += bound.size
        while len(self._portals) > MAX_PORTALS or (self._bound_size > MAX_BOUND and len(self._portals) > 1):
            self._unbind(next(iter(self._portals)))
        self.teller.tell(
            PostgresBind,
            statement_name=self._name(message.statement),
            portal_name=self._name(message.portal),
            parameters=shown,
        )

    def _execute(self, message: m.Execute) -> None:
        bound = self._portals.get(message.portal) or _Bound(b"", "", ())
        event = partial(self._executed, self._name(message.portal), bound.text, bound.parameters)
        running = self.teller.query(bound.text or f"execute {self._name(bound.statement)}", (), event=event)
        if self._skipping:
            self.teller.result(running, error=SKIPPED)
        else:
            self._waiting.append(_Executed(running))

    def _executed(self, portal: str, text: str, parameters: tuple[str | None, ...], **outcome: Any) -> Event:
        return self.teller.worded(
            PostgresExecute, {"portal_name": portal, "query": text, "parameters": parameters, **outcome}
        )

    def _describe(self, message: m.Describe) -> None:
        if message.kind == b"S" and not self._skipping:
            self._waiting.append(_Described(message.name))

    def _close(self, message: m.Close) -> None:
        if message.kind == b"S":
            self._forget(message.name)
            self.teller.tell(PostgresClose, statement_name=self._name(message.name))
        else:
            self._unbind(message.name)
            self.teller.tell(PostgresClose, portal_name=self._name(message.name))

    def _sync(self, message: m.Sync) -> None:
        self._waiting.append(_SYNC)
        self._skipping = False

    def _call(self, message: m.FunctionCall) -> None:
        shown = self.teller.kept(texts.parameters(message.arguments, message.formats, (), self.encoding))
        self.teller.tell(PostgresFunctionCall, function_oid=message.function, arguments=shown)
        self._waiting.append(_CALL)

    # --- what the database says ------------------------------------------------------------------------------

    def database(self, message: Any) -> None:
        """
        Take one message of those that L{teleport_tw.protocols.postgres.wire.Walker} gives.
        """
        handler = _DATABASE.get(type(message))
        if handler is not None:
            handler(self, message)

    def _complete(self, message: Any) -> None:
        waiting = self._waiting
        tag, rows = _outcome(message.tag) if type(message) is m.CommandComplete else (_OUTCOMES[type(message)], None)
        while waiting:
            head = waiting[0]
            if type(head) is _Simple:
                if rows is not None:
                    head.affected = rows + (head.affected or 0)
                head.tag = f"{head.tag}; {tag}" if head.tag and len(head.tag) < 1000 else head.tag or tag
                return
            if head is _SYNC or head is _CALL:
                return
            waiting.popleft()
            if type(head) is _Executed:
                self.teller.result(head.running, affected=rows, message=tag)
                return

    def _error(self, message: m.ErrorResponse) -> None:
        error = f"{message.message} (SQLSTATE {message.sqlstate})"
        waiting = self._waiting
        if waiting and type(waiting[0]) is _Simple:
            waiting[0].error = error
            return
        if waiting and waiting[0] is _CALL:
            self._untold(error, "function call")
            return
        first = True
        while waiting and waiting[0] is not _SYNC:
            head = waiting.popleft()
            if isinstance(head, _Executed | _Simple):
                self.teller.result(head.running, error=error if first else SKIPPED)
                first = False
        if first and waiting:
            self._untold(error, self._last)
        self._skipping = not waiting

    def _untold(self, error: str, text: str) -> None:
        self.teller.tell(DatabaseQueryFailed, success=False, query=text, error=error)

    def _ready(self, message: m.ReadyForQuery) -> None:
        waiting = self._waiting
        while waiting:
            head = waiting.popleft()
            if type(head) is _Simple:
                self.teller.result(head.running, affected=head.affected, error=head.error, message=head.tag)
                return
            if head is _SYNC or head is _CALL:
                return
            if type(head) is _Executed:  # it had no answer of its own, which no server does
                self.teller.result(head.running)

    def _types(self, message: m.ParameterDescription) -> None:
        while self._waiting and type(self._waiting[0]) is _Described:
            described = self._waiting.popleft()
            known = self._known.get(described.statement)
            if known is not None:
                known.types = message.types
            return

    def _setting(self, message: m.ParameterStatus) -> None:
        if message.name == b"client_encoding":
            self.encoding = texts.encoding_of(message.value)

    # --- inside ----------------------------------------------------------------------------------------------

    def _name(self, name: bytes) -> str:
        return name[:256].decode(self.encoding, "backslashreplace") if name else ""

    def _unbind(self, portal: bytes) -> None:
        with contextlib.suppress(KeyError):
            self._bound_size -= self._portals.pop(portal).size

    def _forget(self, name: bytes) -> None:
        with contextlib.suppress(KeyError):
            self._known_size -= len(self._known.pop(name).text) + KNOWN_COST


_USER: dict[type, Callable[[Audit, Any], None]] = {
    m.Query: Audit._query,
    m.Parse: Audit._parse,
    m.Bind: Audit._bind,
    m.Execute: Audit._execute,
    m.Describe: Audit._describe,
    m.Close: Audit._close,
    m.Sync: Audit._sync,
    m.FunctionCall: Audit._call,
}
_DATABASE: dict[type, Callable[[Audit, Any], None]] = {
    m.CommandComplete: Audit._complete,
    m.EmptyQueryResponse: Audit._complete,
    m.PortalSuspended: Audit._complete,
    m.ErrorResponse: Audit._error,
    m.ReadyForQuery: Audit._ready,
    m.ParameterDescription: Audit._types,
    m.ParameterStatus: Audit._setting,
}
