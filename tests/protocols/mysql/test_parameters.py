"""
Parameters as text.
"""

from __future__ import annotations

import contextlib
from struct import pack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql import wire
from teleport_tw.protocols.mysql.parameters import (
    MAX_LONG_BYTES,
    MAX_ROWS,
    TRUNCATED,
    Query,
    Statement,
    Type,
    bulk,
    execution,
    query,
)

NONE, NAMED = False, True
HEAD = b"\1\0\0\0" + b"\0" + b"\1\0\0\0"
VAR_STRING, BLOB, UNSIGNED = 253, 252, 0x8000

VALUES: list[tuple[int, bytes, str]] = [
    (Type.TINY, b"\xff", "-1"),
    (Type.TINY | UNSIGNED, b"\xff", "255"),
    (Type.SHORT, b"\xfe\xff", "-2"),
    (Type.YEAR | UNSIGNED, b"\xea\x07", "2026"),
    (Type.LONG, b"\xff\xff\xff\x7f", "2147483647"),
    (Type.INT24, b"\xff\xff\xff\xff", "-1"),
    (Type.LONGLONG | UNSIGNED, b"\xff" * 8, "18446744073709551615"),
    (Type.LONGLONG, b"\xff" * 8, "-1"),
    (Type.FLOAT, pack("<f", 0.5), "0.5"),
    (Type.DOUBLE, pack("<d", 1e100), "1e+100"),
    (Type.DECIMAL, b"\x041.50", "1.50"),
    (VAR_STRING, b"\x05gr\xc3\xbcn", "grün"),
    (BLOB, b"\x02\xff\x00", "/wA="),
    (Type.DATE, b"\x04\xea\x07\x0b\x16", "2026-11-22"),
    (Type.DATETIME, b"\x07\xea\x07\x0b\x16\x0d\x0e\x0f", "2026-11-22 13:14:15"),
    (Type.TIMESTAMP, b"\x0b\xea\x07\x0b\x16\x0d\x0e\x0f\x07\0\0\0", "2026-11-22 13:14:15.000007"),
    (Type.DATETIME, b"\0", "0000-00-00"),
    (Type.TIME, b"\0", "00:00:00"),
    (Type.TIME, b"\x08\x01\x05\0\0\0\x01\x02\x03", "-121:02:03"),
    (Type.TIME, b"\x0c\0\0\0\0\0\x01\x02\x03\x40\xe2\x01\0", "01:02:03.123456"),
]


def bound(*values: tuple[int, bytes], nulls: bytes = b"") -> bytes:
    """
    An execution with types.
    """
    bitmap = nulls or bytes(len(values) + 7 >> 3)
    types = b"".join(kind.to_bytes(2, "little") for kind, _ in values)
    return HEAD + bitmap + b"\1" + types + b"".join(octets for _, octets in values)


class ExecutionTests(SynchronousTestCase):
    """
    COM_STMT_EXECUTE.
    """

    def test_each_type(self) -> None:
        """
        As a person would write it.
        """
        statement = Statement("select", len(VALUES))
        body = bound(*((kind, octets) for kind, octets, _ in VALUES))
        self.assertEqual(execution(body, statement, NONE, True), tuple(text for *_, text in VALUES))

    def test_null(self) -> None:
        """
        By the bitmap, or by its type.
        """
        statement = Statement("select", 9)
        kinds = [(Type.TINY, b"\1")] * 7 + [(Type.NULL, b"")]
        body = bound(*kinds, (Type.TINY, b""), nulls=b"\0\1")
        self.assertEqual(execution(body, statement, NONE, True), ("1",) * 7 + (None, None))

    def test_types_are_remembered(self) -> None:
        """
        They come once, and again when they change.
        """
        statement = Statement("select", 1)
        self.assertEqual(execution(bound((Type.TINY, b"\1")), statement, NONE, True), ("1",))
        self.assertEqual(execution(HEAD + b"\0\0\2", statement, NONE, True), ("2",))
        self.assertEqual(execution(bound((VAR_STRING, b"\1x")), statement, NONE, True), ("x",))
        self.assertRaises(RemoteProtocolError, execution, HEAD + b"\0\0\2", Statement("", 1), NONE, True)

    def test_without_parameters(self) -> None:
        """
        There is nothing to read.
        """
        self.assertEqual(execution(HEAD, Statement("select", 0), NONE, True), ())
        self.assertEqual(execution(HEAD, Statement("select", 0), NAMED, True), ())

    def test_long_data(self) -> None:
        """
        Was sent ahead, and is left out of the values; it is good for one execution.
        """
        statement = Statement("insert", 2)
        statement.send_long(0, b"abc", 3)
        statement.send_long(0, b"def", 3)
        statement.send_long(7, b"nobody asked", 12)
        body = bound((BLOB, b""), (Type.TINY, b"\1"))
        self.assertEqual(execution(body, statement, NONE, True), ("abcdef", "1"))
        statement.send_long(0, b"x" * 5000, 1 << 30)
        [long, _] = execution(body, statement, NONE, True)
        self.assertEqual(long, "x" * MAX_LONG_BYTES + TRUNCATED)
        statement.send_long(0, b"abc", 3)
        statement.reset()
        again = execution(bound((BLOB, b"\1y"), (Type.TINY, b"\1")), statement, NONE, True)
        self.assertEqual(again, ("y", "1"))

    def test_long_data_of_many(self) -> None:
        """
        Of those that no event keeps only the size is known.
        """
        statement = Statement("insert", 300)
        statement.send_long(299, b"abc", 3)
        body = bound(*[(Type.NULL, b"")] * 299, (BLOB, b""))
        self.assertEqual(execution(body, statement, NONE, True)[-1], TRUNCATED)

    def test_attributes(self) -> None:
        """
        MySQL 8: further values with names, whose number is told.
        """
        statement = Statement("select", 1)
        names = b"\x08\0" + wire.string(b"") + b"\xfd\0" + wire.string(b"trace")
        body = b"\1\0\0\0" + b"\x08" + b"\1\0\0\0" + b"\2" + b"\0\1" + names + (5).to_bytes(8, "little") + b"\3abc"
        self.assertEqual(execution(body, statement, NAMED, True), ("5", "abc"))

    def test_cut_off(self) -> None:
        """
        What is there of a long command is told, with a mark.
        """
        body = bound((Type.TINY, b"\1"), (VAR_STRING, wire.length(10_000) + b"x" * 300))
        statement = Statement("select", 2)
        [first, second] = execution(body, statement, NONE, False)
        assert second is not None
        self.assertEqual(first, "1")
        self.assertTrue(second.endswith("xxx" + TRUNCATED))
        self.assertEqual(execution(HEAD, Statement("", 100_000), NONE, False), (TRUNCATED,))
        self.assertRaises(RemoteProtocolError, execution, body, statement, NONE, True)

    @given(st.binary(max_size=60), st.integers(0, 10), st.booleans(), st.sampled_from([NONE, NAMED]))
    def test_garbage(self, octets: bytes, count: int, whole: bool, named: bool) -> None:
        """
        Ends in one kind of error only.
        """
        for body in (octets, HEAD + octets, b"\1\0\0\0\x80\0" + octets):
            for read in (
                lambda body: execution(body, Statement("", count), named, whole),
                lambda body: bulk(body, Statement("", count), whole),
                lambda body: query(body, named),
            ):
                with contextlib.suppress(RemoteProtocolError):
                    read(body)


class BulkTests(SynchronousTestCase):
    """
    COM_STMT_BULK_EXECUTE of MariaDB.
    """

    START = b"\1\0\0\0" + b"\x80\0" + b"\x03\0" + b"\xfd\0"

    def test_rows(self) -> None:
        """
        Each value has an indicator before it.
        """
        rows = b"\0\1\0\0\0" + b"\0\3one" + b"\1" + b"\2" + b"\3" + b"\4"
        statement = Statement("insert", 2)
        self.assertEqual(
            bulk(self.START + rows, statement, True), ("1", "one", None, "DEFAULT", "IGNORE", "IGNORE_ROW")
        )
        # types are known now
        self.assertEqual(bulk(b"\1\0\0\0\0\0" + b"\0\7\0\0\0\1", statement, True), ("7", None))

    def test_what_cannot_be_read(self) -> None:
        """
        No types, no such indicator, half a value.
        """
        for body in (b"\1\0\0\0\0\0\0", self.START + b"\5", self.START + b"\0\1"):
            self.assertRaises(RemoteProtocolError, bulk, body, Statement("", 2), True)

    def test_many(self) -> None:
        """
        Some are told of.
        """
        found = bulk(self.START + b"\1\1" * 1000, Statement("", 2), True)
        self.assertEqual((len(found), found[-1]), (MAX_ROWS + 1, TRUNCATED))

    def test_cut_off(self) -> None:
        """
        Between two values, or within one.
        """
        self.assertEqual(bulk(self.START + b"\0\1\0\0\0", Statement("", 2), False), ("1", TRUNCATED))
        self.assertEqual(bulk(self.START + b"\0\1", Statement("", 2), False), (TRUNCATED,))


class QueryTests(SynchronousTestCase):
    """
    COM_QUERY.
    """

    def test_text(self) -> None:
        """
        With attributes the text begins behind them, whatever they look like.
        """
        self.assertEqual(query(b"select 1", NONE), Query(b"select 1"))
        self.assertEqual(query(b"\0\1select 1", NAMED), Query(b"select 1"))
        body = b"\2\1" + b"\2" + b"\1" + b"\xfd\0\5trace" + b"\xfd\0\1n" + b"\x0bdrop table t" + b"select 1"
        body = body.replace(b"\x0bdrop table t", wire.string(b"drop table t"))
        self.assertEqual(query(body, NAMED), Query(b"select 1", (("trace", "drop table t"), ("n", None))))

    def test_attributes_that_cannot_be_read(self) -> None:
        """
        Then nobody knows where the text begins, and it does not pass.
        """
        for body in (b"", b"\0", b"\0\2x", b"\1\1\0\0select 1", b"\1\1\0\1\xfd\0\x09n", b"\xfb\1"):
            self.assertRaises(RemoteProtocolError, query, body, NAMED)
