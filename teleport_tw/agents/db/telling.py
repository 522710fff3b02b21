"""
What the audit log and the transcript are told of one database session, above all of its statements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.agents.db.policy import MAX_QUERY, Policy
from teleport_tw.agents.db.transcript import Transcript
from teleport_tw.base.errors import TeleportError
from teleport_tw.events.kinds import DatabaseQuery, DatabaseQueryFailed, DatabaseResult, DatabaseTarget, Event, Fact
from teleport_tw.events.sink import EventSink
from teleport_tw.events.worded import worded, words_of


@define(eq=False)
class Running:
    """
    A statement that was sent to the database.

    @ivar length: of the whole text, where it was cut.
    @ivar at: seconds of the clock.
    @ivar told: an event was sent already.
    @ivar event: what to tell at the end in place of L{DatabaseQuery}: takes outcome facts as keywords.
    """

    text: str
    parameters: tuple[str | None, ...]
    length: int | None
    at: float
    event: Callable[..., Event] | None = None
    told: bool = False


@define(eq=False)
class Telling:
    """
    Of one L{teleport_tw.agents.db.flow.Session}.

    @ivar facts: C{actor}, C{session} and C{database}, as every event of the session takes them.
    @ivar queries: statements so far.
    """

    _id: str
    facts: dict[str, Any]
    _clock: IReactorTime
    _policy: Policy
    _sink: EventSink
    _transcript: Transcript
    queries: int = field(default=0, init=False)
    running: list[Running] = field(factory=list, init=False)
    _words: str = field(default="", init=False)
    _worded_of: object = field(default=None, init=False)

    @property
    def target(self) -> DatabaseTarget:
        """
        Where the session goes, as far as it is known.
        """
        target: DatabaseTarget = self.facts["database"]
        return target

    def know(self, **target: Any) -> None:
        """
        @param target: fields of L{DatabaseTarget} that are known from now on.
        """
        self.facts = {**self.facts, "database": evolve(self.target, **target)}

    def emit(self, event: Event) -> None:
        """
        Tell the audit log.
        """
        self._sink.emit(event)

    def tell(self, kind: type[Fact], **own: Any) -> None:
        """
        Tell the audit log of something that happens often: faster than L{emit}, and just the same.

        @param kind: of event, one that has the session's facts.
        @param own: further fields of it, of plain JSON types.
        """
        self._sink.emit(self.worded(kind, own))

    def worded(self, kind: type[Fact], own: Mapping[str, Any]) -> Event:
        """
        @return: the event that L{tell} tells.
        """
        if self._worded_of is not self.facts:
            self._worded_of = self.facts
            self._words = words_of(self.facts.values())
        return worded(kind)(self._words, self._id, own)

    def query(
        self,
        text: str,
        parameters: tuple[str | None, ...] = (),
        *,
        event: Callable[..., Event] | None = None,
        length: int | None = None,
    ) -> Running:
        """
        A statement goes to the database. Have L{result} follow; statements may overlap.

        @param text: cut here where it is too long to keep.
        @param parameters: as text, binary ones as base64, C{None} for NULL; the policy decides what is kept of them.
        @param event: what to tell in place of L{DatabaseQuery}: is called with C{error}, C{success}, C{duration_ms},
            C{affected}.
        @param length: of the whole text, where the caller has cut it already.
        """
        self.queries += 1
        text, length = self.cut(text, length)
        if parameters:
            parameters = self.kept(parameters)
        running = Running(text, parameters, length, self._clock.seconds(), event)
        self.running.append(running)
        if self._transcript.wanted:
            self._transcript.statement(self.target.name, text)
            if parameters:
                self._transcript.note(
                    "parameters: " + ", ".join("NULL" if each is None else each for each in parameters)
                )
        return running

    def cut(self, text: str, length: int | None = None) -> tuple[str, int | None]:
        """
        @param length: of the whole text, where the caller has cut it already.
        @return: what is kept of a statement, with a mark where it was cut, and then its whole length.
        """
        if length is None and len(text) <= MAX_QUERY:
            return text, None
        return f"{text[:MAX_QUERY]}… [truncated]", length or len(text)

    def kept(self, parameters: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """
        @return: what the policy keeps of parameters.
        """
        return self._policy.kept(parameters)

    def result(
        self, running: Running, *, affected: int | None = None, error: str = "", message: str = "", ended: bool = True
    ) -> None:
        """
        A statement has ended.

        @param affected: rows, as far as they can be known.
        @param error: the database's, with its code.
        @param message: what the database says of success, for the transcript.
        @param ended: false where its end cannot be known.
        """
        took = round((self._clock.seconds() - running.at) * 1000, 3) if ended else None
        try:
            self.running.remove(running)
        except ValueError:
            return
        if running.told:
            self.emit(
                DatabaseResult(
                    **self.facts,
                    success=not error,
                    error=error,
                    affected=affected,
                    user_message=message,
                    duration_ms=took,
                    query=running.text[:256],
                )
            )
        else:
            self._tell(running, affected, error, took)
        if self._transcript.wanted:
            self._transcript.outcome(message or "done", error, took)

    def refused(self, text: str, error: TeleportError, parameters: tuple[str | None, ...] = ()) -> None:
        """
        A statement that we did not let through.
        """
        running = self.query(text, parameters)
        self.result(running, error=error.details or error.message, ended=False)

    def look(self, before: float) -> None:
        """
        Tell of statements that run since before C{before}.
        """
        for running in self.running:
            if not running.told and running.at <= before:
                running.told = True
                self._tell(running, None, "", None)

    def _tell(self, running: Running, affected: int | None, error: str, took: float | None) -> None:
        if running.event is not None:
            self.emit(running.event(success=not error, error=error, duration_ms=took, affected=affected))
            return
        self.tell(
            DatabaseQueryFailed if error else DatabaseQuery,
            success=not error,
            query=running.text,
            parameters=running.parameters,
            length=running.length,
            error=error,
            duration_ms=took,
            affected=affected,
        )
