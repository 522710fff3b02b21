"""
Answers, walked. The packets are MariaDB 10.11.19's, captured over TCP.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mysql import handshake
from teleport_tw.protocols.mysql.capabilities import Capability
from teleport_tw.protocols.mysql.messages import Command, Err, Ok
from teleport_tw.protocols.mysql.results import ANSWERS, Answers, Expect, Farewell, FileWanted, Finished, Prepared
from teleport_tw.protocols.mysql.wire import MAX_PACKET, packets

C, M = Capability, Command
PLAIN, NEW = C.LOCAL_FILES, C.LOCAL_FILES | C.DEPRECATE_EOF | C.SESSION_TRACK
CACHED = C.MARIADB_CACHE_METADATA

COLUMN_A = "17000002036465660000000161000c3f0001000000038100000000"
COLUMN_B = "17000003036465660000000162000c2d0004000000fd0100270000"
PARAMETER = "1700000203646566000000013f000c3f0000000000068000000000"
PREPARED_COLUMNS = (
    "1700000403646566000000013f000c3f000000000006800000000017000005036465660000000179000c2d0004000000fd0100270000"
)
NO_TABLE = "2a000001ff7a042334325330325461626c6520276170702e6e6f74686572652720646f65736e2774206578697374"

CASES: list[tuple[str, Capability, int, str, Finished]] = [
    (
        "select 1 as a, 'x' as b",
        PLAIN,
        M.COM_QUERY,
        "0100000102" + COLUMN_A + COLUMN_B + "05000004fe000002000400000501310178" + "05000006fe00000200",
        Finished(rows=1, status=2),
    ),
    (
        "the same, without EOF",
        NEW,
        M.COM_QUERY,
        "0100000102" + COLUMN_A + COLUMN_B + "0400000401310178" + "07000005fe000002000000",
        Finished(rows=1, status=2),
    ),
    (
        "select 1; do 1",
        PLAIN,
        M.COM_QUERY,
        "0100000101"
        + COLUMN_A
        + "05000003fe00000a00"
        + "020000040131"
        + "05000005fe00000a00"
        + "0700000600000002000000",
        Finished(rows=1, status=2),
    ),
    (
        "select 1; select 2",
        PLAIN,
        M.COM_QUERY,
        ("0100000101" + COLUMN_A + "05000003fe00000a00" + "020000040131" + "05000005fe00000a00")
        + ("0100000601" + COLUMN_A + "05000008fe00000200" + "020000090132" + "0500000afe00000200"),
        Finished(rows=2, status=2),
    ),
    ("use app", NEW, M.COM_INIT_DB, "0f000001000000024000000006010403617070", Finished(schema="app", status=0x4002)),
    (
        "prepare",
        PLAIN,
        M.COM_STMT_PREPARE,
        "0c000001000100000002000100000000" + PARAMETER + "05000003fe00000200" + PREPARED_COLUMNS + "05000006fe00000200",
        Finished(prepared=Prepared(1, 1, 2)),
    ),
    (
        "prepare, without EOF",
        NEW,
        M.COM_STMT_PREPARE,
        "0c000001000100000002000100000000" + PARAMETER + PREPARED_COLUMNS,
        Finished(prepared=Prepared(1, 1, 2)),
    ),
    (
        "prepare do 1",
        PLAIN,
        M.COM_STMT_PREPARE,
        "0c000001000300000000000000000000",
        Finished(prepared=Prepared(3, 0, 0)),
    ),
    (
        "prepare without definitions",
        PLAIN | C.OPTIONAL_RESULTSET_METADATA,
        M.COM_STMT_PREPARE,
        "0d00000100010000000200010000000000",
        Finished(prepared=Prepared(1, 1, 2)),
    ),
    (
        "execute",
        PLAIN,
        M.COM_STMT_EXECUTE,
        "0100000102"
        + COLUMN_A
        + COLUMN_B
        + "05000004fe00000200"
        + "0c000005000005000000000000000179"
        + "05000006fe00000200",
        Finished(rows=1, status=2),
    ),
    (
        "execute with a cursor",
        PLAIN,
        M.COM_STMT_EXECUTE,
        "0100000102" + COLUMN_A + COLUMN_B + "05000004fe00004200",
        Finished(rows=0),
    ),
    (
        "execute with a cursor, without EOF",
        NEW,
        M.COM_STMT_EXECUTE,
        "0100000102" + COLUMN_A + COLUMN_B + "07000004fe000042000000",
        Finished(rows=0, status=0x42),
    ),
    (
        "fetch",
        PLAIN,
        M.COM_STMT_FETCH,
        "0c000001000005000000000000000179" + "05000002fe00008200",
        Finished(rows=1, status=0x82),
    ),
    (
        "execute, definitions known",
        CACHED,
        M.COM_STMT_EXECUTE,
        "020000010200" + "05000002fe00000200" + "0c000003000005000000000000000179" + "05000004fe00000200",
        Finished(rows=1, status=2),
    ),
    (
        "execute, definitions known, without EOF",
        CACHED | C.DEPRECATE_EOF,
        M.COM_STMT_EXECUTE,
        "020000010200" + "0c000002000005000000000000000179" + "07000003fe000002000000",
        Finished(rows=1, status=2),
    ),
    (
        "query, definitions may be known",
        CACHED,
        M.COM_QUERY,
        "020000010101" + COLUMN_A + "05000003fe00000200" + "020000040131" + "05000005fe00000200",
        Finished(rows=1, status=2),
    ),
    (
        "an error",
        NEW,
        M.COM_QUERY,
        NO_TABLE,
        Finished(error=Err(errno=1146, state="42S02", message="Table 'app.nothere' doesn't exist")),
    ),
    (
        "an error instead of fields",
        PLAIN,
        M.COM_FIELD_LIST,
        NO_TABLE,
        Finished(error=Err(errno=1146, state="42S02", message="Table 'app.nothere' doesn't exist")),
    ),
    ("fields", PLAIN, M.COM_FIELD_LIST, COLUMN_A + COLUMN_B + "05000004fe00000200", Finished()),
    ("set option", PLAIN, M.COM_SET_OPTION, "05000001fe00000200", Finished()),
    ("ping", PLAIN, M.COM_PING, "0700000100000002000000", Finished(status=2)),
    ("statistics", PLAIN, M.COM_STATISTICS, "06000001557074696d65", Finished()),
    (
        "progress on the way",
        PLAIN,
        M.COM_QUERY,
        "0d000001ffffff01010100000461626364" + "0700000200050002000000",
        Finished(affected=5, status=2),
    ),
    (
        "an error among rows",
        PLAIN,
        M.COM_QUERY,
        "0100000101" + COLUMN_A + "05000003fe00000200" + "020000040131" + "06000005ff010062" + "6164",
        Finished(rows=1, error=Err(errno=1, message="bad")),
    ),
]


class CaptureTests(SynchronousTestCase):
    """
    Whole answers.
    """

    def test_at_once_and_byte_by_byte(self) -> None:
        """
        However they are cut, they end where they end.
        """
        for name, capabilities, code, text, finished in CASES:
            octets = bytes.fromhex(text)
            for size in (len(octets), 1, 2, 3, 5, 7, 11):
                answers = Answers(capabilities)
                self.assertTrue(answers.expect(code))
                found = []
                for start in range(0, len(octets), size):
                    self.assertFalse(answers.idle, name)
                    found += answers.feed(octets[start : start + size])
                self.assertEqual(found, [finished], (name, size))
                self.assertTrue(answers.idle)
                self.assertEqual(answers.missing, 0)

    def test_numbers_of_packets(self) -> None:
        """
        The last one's is known, so that an error of ours can follow it.
        """
        answers = Answers(PLAIN)
        answers.expect(M.COM_QUERY)
        answers.feed(bytes.fromhex(CASES[0][3]))
        self.assertEqual(answers.sequence, 6)

    def test_commands_without_an_answer(self) -> None:
        """
        Three have none; what is not in the table does not pass at all.
        """
        silent = {code for code, expect in ANSWERS.items() if expect is Expect.NOTHING}
        self.assertEqual(silent, {M.COM_QUIT, M.COM_STMT_CLOSE, M.COM_STMT_SEND_LONG_DATA})
        for code in silent:
            self.assertFalse(Answers(PLAIN).expect(code))
        for code in (M.COM_CHANGE_USER, M.COM_BINLOG_DUMP, M.COM_MULTI):
            self.assertRaises(KeyError, Answers(PLAIN).expect, code)

    @given(st.sampled_from(CASES), st.lists(st.integers(1, 60), max_size=20), st.integers(0, 5000))
    def test_many_rows(self, case: tuple[str, Capability, int, str, Finished], cuts: list[int], rows: int) -> None:
        """
        Counted, whatever the cuts.
        """
        capabilities = case[1] & ~CACHED
        eof = "" if capabilities & C.DEPRECATE_EOF else "05000003fe00000200"
        end = "07000005fe000002000000" if capabilities & C.DEPRECATE_EOF else "05000005fe00000200"
        octets = bytes.fromhex("0100000101" + COLUMN_A + eof + "0400000403616263" * rows + end)
        answers = Answers(capabilities & ~C.OPTIONAL_RESULTSET_METADATA)
        answers.expect(M.COM_QUERY)
        found, position = [], 0
        for cut in (*cuts, len(octets)):
            found += answers.feed(octets[position : position + cut])
            position += cut
        self.assertEqual(found, [Finished(rows=rows, status=2)])


class LongTests(SynchronousTestCase):
    """
    Packets that are continued, and packets that are not kept.
    """

    def walk(self, octets: bytes, capabilities: Capability = PLAIN) -> list[object]:
        """
        Of one column and these rows, in large pieces.
        """
        eof = b"" if capabilities & C.DEPRECATE_EOF else bytes.fromhex("05000003fe00000200")
        answers = Answers(capabilities)
        answers.expect(M.COM_QUERY)
        found: list[object] = []
        octets = bytes.fromhex("0100000101" + COLUMN_A) + eof + octets
        for start in range(0, len(octets), 1_000_003):
            found += answers.feed(octets[start : start + 1_000_003])
        return found

    def test_rows_of_16_megabytes(self) -> None:
        """
        Whatever their first bytes, and those of their continuations.
        """
        for size in (MAX_PACKET - 1, MAX_PACKET, MAX_PACKET + 1):
            for first in (b"\xfe", b"\xfd", b"\xff"[:0]):
                row = packets(first + b"\xfe" * (size - len(first)), 4)
                for capabilities, end in ((PLAIN, "05000009fe00000200"), (NEW, "07000009fe000002000000")):
                    if size < MAX_PACKET and capabilities is NEW and first != b"\xfd":
                        continue  # no length in nine bytes is that short
                    found = self.walk(row + row + bytes.fromhex(end), capabilities)
                    self.assertEqual(found, [Finished(rows=2, status=2)], (size, first, capabilities))

    def test_rows_that_look_like_ends(self) -> None:
        """
        An EOF is never nine bytes long, and a row of nothing is one.
        """
        row = packets(b"\xfe" + bytes(8), 4)
        self.assertEqual(self.walk(row + bytes.fromhex("05000005fe00000200")), [Finished(rows=1, status=2)])
        self.assertEqual(self.walk(b"\0\0\0\4" + bytes.fromhex("05000005fe00000200")), [Finished(rows=1, status=2)])

    def test_an_ok_that_tells_a_lot(self) -> None:
        """
        Is read as far as it is kept.
        """
        for size in (70_000, 200_000):
            payload = (
                handshake.encode_ok(Ok(affected=7, status=0x4000))
                + b"\xfd"
                + (size).to_bytes(3, "little")
                + bytes(size)
            )
            answers = Answers(NEW)
            answers.expect(M.COM_QUERY)
            self.assertEqual(answers.feed(packets(payload, 1)), [Finished(affected=7, status=0x4000)])
            end = b"\xfe" + payload[1:]
            self.assertEqual(self.walk(packets(end, 4), NEW), [Finished(rows=0, status=0x4000)])

    def test_a_schema_at_the_end_of_rows(self) -> None:
        """
        A procedure may have changed it.
        """
        end = packets(bytes.fromhex("fe0000024000000006010403617070"), 4)
        self.assertEqual(self.walk(end, NEW), [Finished(rows=0, status=0x4002, schema="app")])

    def test_what_a_packet_lacks(self) -> None:
        """
        Is known while it passes, so that an error of ours goes between two packets.
        """
        answers = Answers(PLAIN)
        answers.expect(M.COM_QUERY)
        answers.feed(bytes.fromhex("0100000101" + COLUMN_A + "05000003fe00000200"))
        answers.feed(b"\x64\0\0\4abc")
        self.assertEqual(answers.missing, 97)
        answers.feed(bytes(97) + b"\x64\0")
        self.assertIsNone(answers.missing)


class OtherTests(SynchronousTestCase):
    """
    Files, farewells, and servers that do not keep to it.
    """

    def test_a_file(self) -> None:
        """
        Is asked for between the command and its answer.
        """
        answers = Answers(PLAIN)
        answers.expect(M.COM_QUERY)
        self.assertEqual(answers.feed(packets(b"\xfb/tmp/x", 1)), [FileWanted("/tmp/x", 1)])
        self.assertFalse(answers.idle)
        self.assertEqual(answers.feed(packets(handshake.encode_ok(Ok(affected=2)), 4)), [Finished(affected=2)])

    def test_a_farewell(self) -> None:
        """
        A server that ends a connection may say why.
        """
        answers = Answers(PLAIN)
        gone = Err(errno=4031, message="idle")
        self.assertEqual(answers.feed(packets(handshake.encode_error(gone), 0)), [Farewell(gone)])

    def test_servers_that_do_not_keep_to_it(self) -> None:
        """
        Speaking unasked, asking for a file that cannot be had, answers that make no sense.
        """
        start = bytes.fromhex("0100000101" + COLUMN_A)
        for code, octets, capabilities in [
            (None, b"\x07\0\0\1\0\0\0\2\0\0\0", PLAIN),
            (None, b"\0\0\0\0", PLAIN),
            (M.COM_QUERY, packets(b"\xfb/etc/passwd", 1), C(0)),
            (M.COM_QUERY, b"\0\0\0\1", PLAIN),
            (M.COM_QUERY, packets(b"\xfe", 1), PLAIN),
            (M.COM_QUERY, packets(b"\xfc\0\0", 1), PLAIN),
            (M.COM_QUERY, start + packets(b"\1x", 3), PLAIN),
            (M.COM_QUERY, bytes.fromhex("0100000102" + COLUMN_A + "05000003fe00000200"), PLAIN),
            (M.COM_QUERY, start + packets(b"\xfe\0", 3), PLAIN),
            (M.COM_STMT_PREPARE, packets(b"\1" + bytes(11), 1), PLAIN),
            (M.COM_STMT_PREPARE, packets(b"\0" + bytes(3), 1), PLAIN),
            (M.COM_PING, packets(b"\0", 1), PLAIN),
        ]:
            answers = Answers(capabilities)
            if code is not None:
                answers.expect(code)
            self.assertRaises(RemoteProtocolError, answers.feed, octets)

    @given(
        st.sampled_from(sorted(ANSWERS)),
        st.sampled_from([PLAIN, NEW, CACHED, C.OPTIONAL_RESULTSET_METADATA]),
        st.lists(
            st.one_of(st.binary(max_size=40), st.binary(max_size=20).map(lambda data: packets(data, 1))), max_size=8
        ),
    )
    def test_garbage(self, code: int, capabilities: Capability, octets: list[bytes]) -> None:
        """
        Ends in one kind of error only.
        """
        answers = Answers(capabilities)
        answers.expect(code)
        try:
            for data in octets:
                answers.feed(data)
        except RemoteProtocolError:
            pass
