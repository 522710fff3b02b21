"""
Which answer is for which statement.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.policy import Policy
from teleport_tw.agents.db.postgres import audit
from teleport_tw.agents.db.postgres.audit import SKIPPED, Audit
from teleport_tw.agents.db.telling import Running
from teleport_tw.events.kinds import Event, Fact
from teleport_tw.protocols.postgres import messages as m

ERROR = m.ErrorResponse({"V": b"ERROR", "C": b"42703", "M": b"no such column"})
SAID = "no such column (SQLSTATE 42703)"


@define(eq=False)
class Notes:
    """
    A teller that keeps what it is told.

    @ivar told: name of the event's class and what it says.
    @ivar ended: text, rows, error and message of each statement.
    """

    told: list[tuple[str, dict[str, Any]]] = field(factory=list)
    ended: list[tuple[str, int | None, str, str]] = field(factory=list)
    running: list[Running] = field(factory=list)

    def tell(self, kind: type[Fact], **own: Any) -> None:
        """As Session."""
        self.told.append((kind.__name__, {key: value for key, value in own.items() if value not in ("", (), None)}))

    def worded(self, kind: type[Fact], own: Mapping[str, Any]) -> Event:
        """As Session."""
        raise AssertionError("asked by Session only")

    def kept(self, parameters: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """As Session."""
        return Policy().kept(parameters)

    def cut(self, text: str, size: int | None) -> tuple[str, int | None]:
        """As Session."""
        return text, size

    def query(
        self,
        text: str,
        parameters: tuple[str | None, ...] = (),
        *,
        event: Callable[..., Event] | None = None,
        length: int | None = None,
    ) -> Running:
        """As Session."""
        self.running.append(Running(text, parameters, length, 0.0, event))
        return self.running[-1]

    def result(self, running: Running, *, affected: int | None = None, error: str = "", message: str = "") -> None:
        """As Session."""
        self.running.remove(running)
        self.ended.append((running.text, affected, error, message))


class AuditTests(SynchronousTestCase):
    """
    Both directions, by hand.
    """

    def setUp(self) -> None:
        self.notes = Notes()
        self.audit = Audit(self.notes)

    def user(self, *messages: Any) -> None:
        """Says these."""
        for message in messages:
            self.audit.user(message)

    def database(self, *messages: Any) -> None:
        """Says these."""
        for message in messages:
            self.audit.database(message)

    def run_of(self, name: bytes, text: bytes) -> tuple[Any, ...]:
        """An extended query without its Sync."""
        return m.Parse(name, text), m.Bind(b"", name), m.Describe(b"P"), m.Execute()

    def test_a_simple_query_ends_when_the_server_is_ready(self) -> None:
        """
        Rows of all its statements count.
        """
        self.user(m.Query(b"insert; select"), m.Query(b"bad"), m.Query(b""))
        self.database(m.CommandComplete(b"INSERT 0 2"), m.CommandComplete(b"SELECT 3"))
        self.assertEqual(self.notes.ended, [])
        self.database(m.ReadyForQuery(), ERROR, m.ReadyForQuery(), m.EmptyQueryResponse(), m.ReadyForQuery())
        self.assertEqual(
            self.notes.ended,
            [("insert; select", 5, "", "INSERT 0 2; SELECT 3"), ("bad", None, SAID, ""), ("", None, "", "empty query")],
        )
        self.assertEqual(self.audit.waiting, 0)

    def test_executions_end_one_by_one(self) -> None:
        """
        In a pipeline, and when more rows may follow.
        """
        self.user(*self.run_of(b"", b"one"), *self.run_of(b"s", b"two"), m.Sync())
        self.database(m.CommandComplete(b"SELECT 1"), m.PortalSuspended(), m.ReadyForQuery())
        self.assertEqual(self.notes.ended, [("one", 1, "", "SELECT 1"), ("two", None, "", "more rows may follow")])
        self.assertEqual(
            self.notes.told[-2:],
            [("PostgresParse", {"statement_name": "s", "query": "two"}), ("PostgresBind", {"statement_name": "s"})],
        )

    def test_an_error_skips_to_the_next_sync(self) -> None:
        """
        What comes before it was not executed, sent before the error was seen or after; then all is well again.
        """
        self.user(*self.run_of(b"", b"one"), *self.run_of(b"", b"two"))
        self.database(ERROR)
        self.user(*self.run_of(b"", b"three"), m.Query(b"simple"), m.Describe(b"S"), m.Sync())
        self.user(*self.run_of(b"", b"four"), m.Sync())
        self.database(m.ReadyForQuery(b"E"), m.CommandComplete(b"SELECT 4"), m.ReadyForQuery())
        self.assertEqual(
            [(text, error) for text, _, error, _ in self.notes.ended],
            [("one", SAID), ("two", SKIPPED), ("three", SKIPPED), ("simple", SKIPPED), ("four", "")],
        )

    def test_a_statement_that_cannot_be_prepared_is_told(self) -> None:
        """
        Though nothing was executed.
        """
        self.user(m.Parse(b"", b"bad"), m.Describe(b"S"), m.Sync())
        self.database(ERROR, m.ReadyForQuery())
        self.assertEqual(
            self.notes.told[-1], ("DatabaseQueryFailed", {"success": False, "query": "bad", "error": SAID})
        )

    def test_types_that_the_server_tells_read_parameters(self) -> None:
        """
        In their turn, between other answers.
        """
        self.user(m.Parse(b"s", b"select $1"), m.Describe(b"S", b"s"), m.Sync())
        self.database(m.ParameterDescription((23,)), m.ReadyForQuery(), m.ParameterDescription((25,)))
        self.user(m.Bind(b"", b"s", (1,), (b"\0\0\0\x2a", None)))
        self.assertEqual(self.notes.told[-1][1]["parameters"], ("42", None))

    def test_closing_and_calling(self) -> None:
        """
        Of statements, portals and functions; their errors too.
        """
        self.user(m.Close(b"S", b"s"), m.Close(b"P", b"p"), m.FunctionCall(954, (1,), (b"ab",)))
        self.database(ERROR, m.ReadyForQuery())
        self.assertEqual(
            self.notes.told,
            [
                ("PostgresClose", {"statement_name": "s"}),
                ("PostgresClose", {"portal_name": "p"}),
                ("PostgresFunctionCall", {"function_oid": 954, "arguments": ("YWI=",)}),
                ("DatabaseQueryFailed", {"success": False, "query": "function call", "error": SAID}),
            ],
        )

    def test_encodings_follow_the_servers_word(self) -> None:
        """
        From then on.
        """
        self.database(m.ParameterStatus(b"client_encoding", b"LATIN1"), m.ParameterStatus(b"TimeZone", b"UTC"))
        self.user(m.Query("straße".encode("latin1")))
        self.assertEqual(self.notes.running[0].text, "straße")

    def test_memory_is_bounded(self) -> None:
        """
        Of texts that are remembered, and of portals; the newest are kept.
        """
        for number in range(400):
            self.user(m.Parse(b"s%d" % number, b"x" * 30_000), m.Bind(b"p%d" % number, b"s%d" % number))
        for number in range(2 * audit.MAX_PORTALS):
            self.user(m.Bind(b"q%d" % number, b"s399"))
        self.assertLessEqual(self.audit._known_size, audit.MAX_KNOWN)
        self.assertLessEqual(len(self.audit._portals), audit.MAX_PORTALS)
        self.user(m.Execute(b"q1999"), m.Execute(b"q1"))
        self.assertEqual([len(each.text) for each in self.notes.running], [30_000, len("execute ")])

    def test_portals_hold_no_more_than_is_remembered(self) -> None:
        """
        Parameters count as well as portals: each may have hundreds, of some length.
        """
        values = (b"x" * 4000,) * 100
        many = range(audit.MAX_BOUND // 400_000 + 5)
        for number in many:
            self.user(m.Bind(b"p%d" % number, b"s", (), values))
        self.assertLessEqual(self.audit._bound_size, audit.MAX_BOUND)
        self.assertLess(len(self.audit._portals), 12)
        for number in many:
            self.user(m.Close(b"P", b"p%d" % number))
        self.assertEqual(self.audit._bound_size, 0)

    def test_a_portal_goes_on_with_its_statement(self) -> None:
        """
        Another one that takes its name does not pass for what is executed.
        """
        self.user(m.Parse(b"", b"drop table t"), m.Bind(b"p", b""), m.Parse(b"", b"select 1"), m.Execute(b"p"))
        self.assertEqual([each.text for each in self.notes.running], ["drop table t"])

    def test_answers_that_nobody_waits_for(self) -> None:
        """
        A server that goes down says so at any time.
        """
        self.database(ERROR, m.ReadyForQuery(), m.CommandComplete(b"X"), m.PortalSuspended(), m.BindComplete())
        self.user(m.Sync())
        self.database(m.CommandComplete(b"X"), m.ReadyForQuery())
        self.assertEqual(self.notes.ended, [])
