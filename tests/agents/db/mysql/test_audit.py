"""
What is told of commands, without a server.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.mysql import audit, faults
from teleport_tw.agents.db.mysql.audit import MAX_LONG, MAX_PARAMETERS, MAX_STATEMENTS, Audit, Told
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.events.kinds import Actor, DatabaseTarget, Session
from teleport_tw.protocols.mysql.commands import CAPTURE_BYTES, Piece
from teleport_tw.protocols.mysql.errors import Errno
from teleport_tw.protocols.mysql.handshake import parse_error
from teleport_tw.protocols.mysql.messages import Command
from teleport_tw.protocols.mysql.results import ANSWERS, Finished, Prepared

C = Command
FACTS: dict[str, Any] = {
    "actor": Actor(user="alice"),
    "session": Session(id="s"),
    "database": DatabaseTarget(service="shop"),
}


def piece(code: int, body: bytes = b"", size: int | None = None) -> Piece:
    """
    The last of a command.
    """
    return Piece(b"raw", code, True, 0, body, len(body) if size is None else size)


def auditing(named: bool = False) -> Audit:
    """
    Of a new session.
    """
    return Audit(named, lambda: FACTS, lambda values: values)


def prepared(one: Audit, text: bytes, number: int, parameters: int = 1) -> Told:
    """
    A statement that the server took.
    """
    told = one.tell(piece(C.COM_STMT_PREPARE, text))
    one.answered(Finished(prepared=Prepared(number, parameters, 0)))
    return told


def number(value: int) -> bytes:
    """
    Four bytes.
    """
    return value.to_bytes(4, "little")


class CommandTests(SynchronousTestCase):
    """
    Each command.
    """

    def test_events(self) -> None:
        """
        The ones that are told of at once.
        """
        for code, body, name, facts in [
            (C.COM_INIT_DB, b"app", "db.session.mysql.init_db", {"schema_name": "app"}),
            (C.COM_CREATE_DB, b"app", "db.session.mysql.create_db", {"schema_name": "app"}),
            (C.COM_DROP_DB, b"app", "db.session.mysql.drop_db", {"schema_name": "app"}),
            (C.COM_SHUTDOWN, b"", "db.session.mysql.shut_down", {}),
            (C.COM_PROCESS_KILL, number(7), "db.session.mysql.process_kill", {"process_id": 7}),
            (C.COM_DEBUG, b"", "db.session.mysql.debug", {}),
            (C.COM_REFRESH, b"\x05", "db.session.mysql.refresh", {"subcommand": "GRANT,TABLES"}),
            (C.COM_STMT_CLOSE, number(9), "db.session.mysql.statements.close", {"statement_id": 9}),
            (C.COM_STMT_RESET, number(9), "db.session.mysql.statements.reset", {"statement_id": 9}),
            (C.COM_STMT_FETCH, number(9) + number(5), "db.session.mysql.statements.fetch", {"rows_count": 5}),
            (
                C.COM_STMT_SEND_LONG_DATA,
                number(9) + b"\1\0abc",
                "db.session.mysql.statements.send_long_data",
                {"statement_id": 9, "parameter_id": 1, "data_size": 3},
            ),
        ]:
            fact = auditing().tell(piece(code, body)).fact
            assert fact is not None
            self.assertEqual(fact.NAME, name)
            self.assertEqual({key: fact.fields()[key] for key in facts}, facts)
        for code in (C.COM_PING, C.COM_STATISTICS, C.COM_FIELD_LIST, C.COM_SET_OPTION, C.COM_RESET_CONNECTION):
            self.assertEqual(auditing().tell(piece(code, b"x")), Told())

    def test_every_command_is_told_of_or_refused(self) -> None:
        """
        Whatever its first byte.
        """
        for code in range(256):
            if code in ANSWERS:
                self.assertEqual(audit.refusal(code), "")
            else:
                self.assertTrue(audit.refusal(code))
                self.assertIn(parse_error(audit.refusal_packet(code)).errno, (1235, 1047))
            self.assertTrue(audit.name_of(code).startswith("COM_"))

    def test_short_ones(self) -> None:
        """
        Are malformed, and nothing else happens.
        """
        for code in (C.COM_PROCESS_KILL, C.COM_REFRESH, C.COM_STMT_CLOSE, C.COM_STMT_RESET, C.COM_STMT_FETCH,
                     C.COM_STMT_SEND_LONG_DATA, C.COM_STMT_EXECUTE, C.COM_STMT_BULK_EXECUTE):  # fmt: skip
            self.assertRaises(RemoteProtocolError, auditing().tell, piece(code))
        self.assertRaises(RemoteProtocolError, auditing(named=True).tell, piece(C.COM_QUERY))


class StatementTests(SynchronousTestCase):
    """
    Prepared ones.
    """

    def test_execution(self) -> None:
        """
        Names its statement; one that is unknown is told of all the same, and the last one has a number of its own.
        """
        one = auditing()
        prepared(one, b"select ?", 3)
        execute = b"\0\1\0\0\0" + b"\0\1\x08\0" + (5).to_bytes(8, "little")
        for known in (3, 0xFFFFFFFF):
            told = one.tell(piece(C.COM_STMT_EXECUTE, number(known) + execute))
            self.assertEqual((told.text, told.parameters), ("select ?", ("5",)))
            assert told.event is not None
            fields = told.event(success=True, error="", duration_ms=1.0, affected=1).fields()
            self.assertEqual((fields["statement_id"], fields["query"]), (3, "select ?"))
        told = one.tell(piece(C.COM_STMT_EXECUTE, number(77) + execute))
        self.assertEqual((told.text, told.parameters), ("EXECUTE: unknown statement 77", ()))
        one.tell(piece(C.COM_STMT_CLOSE, number(3)))
        self.assertEqual(one.statements, {})

    def test_bulk(self) -> None:
        """
        As MariaDB has it.
        """
        one = auditing()
        prepared(one, b"insert into t values (?)", 3)
        told = one.tell(piece(C.COM_STMT_BULK_EXECUTE, number(3) + b"\x80\0\x03\0" + b"\0" + number(1) + b"\1"))
        self.assertEqual((told.text, told.parameters), ("insert into t values (?)", ("1", None)))
        told = one.tell(piece(C.COM_STMT_BULK_EXECUTE, number(8)))
        self.assertEqual(told.text, "EXECUTE: unknown statement 8")

    def test_secrets(self) -> None:
        """
        Parameters of a statement about passwords are not kept, nor what the server says of it.
        """
        one = auditing()
        told = prepared(one, b"set password = password(?)", 1)
        self.assertTrue(told.secret)
        body = number(1) + b"\0\1\0\0\0" + b"\0\1\xfd\0" + b"\x06S3CRET"
        told = one.tell(piece(C.COM_STMT_EXECUTE, body))
        self.assertNotIn("S3CRET", repr(told))
        self.assertTrue(told.secret)
        told = one.tell(piece(C.COM_STMT_BULK_EXECUTE, number(1) + b"\x80\0\xfd\0" + b"\0\x06S3CRET"))
        self.assertNotIn("S3CRET", repr(told))

    def test_bounds(self) -> None:
        """
        Nobody fills the agent's memory with statements or with what is never executed.
        """
        one = auditing()
        for index in range(MAX_STATEMENTS):
            self.assertFalse(one.full)
            prepared(one, b"select ?" + b"x" * 1000, index)
        self.assertTrue(one.full)
        self.assertLess(sum(len(statement.query) for statement in one.statements.values()), 7 << 20)
        one.tell(piece(C.COM_RESET_CONNECTION))
        self.assertFalse(one.full)
        prepared(one, b"select ?", 1, MAX_PARAMETERS)
        self.assertTrue(one.full)
        for index in range(2):
            prepared(one, b"select ?", 2 + index, 65_535)
        for index in range(MAX_LONG):
            one.statements[2 + index // 65_535].send_long(index % 65_535, b"", 0)
        one._long = MAX_LONG
        self.assertRaises(
            RemoteProtocolError, one.tell, piece(C.COM_STMT_SEND_LONG_DATA, number(3) + b"\xfe\xff" + b"x")
        )
        one.tell(piece(C.COM_STMT_RESET, number(2)))
        one.tell(piece(C.COM_STMT_CLOSE, number(1)))
        self.assertFalse(one.full)


class TextTests(SynchronousTestCase):
    """
    Statements as text.
    """

    def test_cut(self) -> None:
        """
        With the length of the whole, of text and not of what stands before it.
        """
        body = b"\0\1" + b"x" * (CAPTURE_BYTES - 2)
        told = auditing(named=True).tell(piece(C.COM_QUERY, body, 50_000_002))
        self.assertEqual(told.length, 50_000_000)
        self.assertTrue(told.offers_file)

    def test_files(self) -> None:
        """
        Only who says so offers one.
        """
        for text, offers in [(b"load data local infile 'x' into table t", True), (b"select 1", False)]:
            self.assertEqual(auditing().tell(piece(C.COM_QUERY, text)).offers_file, offers)

    def test_what_is_no_text(self) -> None:
        """
        Is shown as what it is.
        """
        self.assertEqual(auditing().tell(piece(C.COM_QUERY, b"select '\xff'")).text, "select '\\xff'")


class FaultTests(SynchronousTestCase):
    """
    Our errors.
    """

    def test_each_kind_has_a_number(self) -> None:
        """
        And a state, and says whose it is.
        """
        for kind in Kind:
            error = parse_error(faults.refusal(TeleportError(kind, "why")))
            self.assertEqual((error.errno, error.message), (faults.CODES[kind], "Teleport: why"))
            self.assertEqual(len(error.state), 5)
        self.assertEqual(parse_error(faults.refusal(RemoteProtocolError("x", code=1156))).errno, 1156)
        self.assertEqual(parse_error(faults.refusal(RemoteProtocolError("x"))).errno, Errno.MALFORMED_PACKET)
