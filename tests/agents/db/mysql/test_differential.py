"""
MariaDB, asked directly and by way of us.
"""

from __future__ import annotations

import struct
from typing import Any

import pytest

from teleport_tw.protocols.mysql.handshake import encode_response, parse_greeting
from teleport_tw.protocols.mysql.messages import HandshakeResponse
from teleport_tw.protocols.mysql.wire import packets
from tests import differential
from tests.agents.db.mysql.rig import C, ServerTestCase, server
from tests.differential import Side, Step
from tests.peers.mariadb import MariaDB

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing())]

END = "END-OF-STEP"
CLASSIC = C.PROTOCOL_41 | C.SECURE_CONNECTION | C.PLUGIN_AUTH | C.TRANSACTIONS | C.LONG_PASSWORD | C.CONNECT_WITH_DB
MANY = CLASSIC | C.MULTI_STATEMENTS | C.MULTI_RESULTS | C.PS_MULTI_RESULTS | C.LOCAL_FILES
MODERN = MANY | C.DEPRECATE_EOF | C.SESSION_TRACK


class MySQLSide(Side):
    """
    Packets, with their numbers; each step is followed by a statement that ends it.
    """

    last = False

    def cut(self, buffer: bytearray) -> bytes | None:
        """As Side."""
        if len(buffer) < 4:
            return None
        end = 4 + int.from_bytes(buffer[:3], "little")
        if len(buffer) < end:
            return None
        message = bytes(buffer[:end])
        del buffer[:end]
        return message

    def ends(self, message: bytes) -> bool:
        """As Side."""
        if self.last:
            self.last = False
            return True
        self.last = message[4:] == bytes([len(END)]) + END.encode()
        return False

    def log_in(self, user: str, capabilities: C, *, tls: bool) -> bytes:
        """
        @return: the server's last word.
        """
        greeting: Any = parse_greeting(self.message()[4:])
        self.facts["version"] = greeting.version.encode()
        taken = capabilities | (C.SSL if tls else C(0))
        response = encode_response(
            HandshakeResponse(capabilities=taken, username=user, plugin="mysql_native_password", database="app")
        )
        number = 1
        if tls:
            self.socket.sendall(packets(response[:32], number))
            self.socket = differential.encrypted(self.socket, user)
            number = 2
        self.socket.sendall(packets(response, number))
        return self.message()[4:]


def say(code: int, body: bytes = b"", *, ends: bool = True) -> bytes:
    """
    A command, and the one behind it that ends the step.
    """
    after = packets(b"\x03select '" + END.encode() + b"'", 0) if ends else b""
    return packets(bytes([code]) + body, 0) + after


def query(statement: str) -> Step:
    """
    C{COM_QUERY}.
    """
    return Step(statement[:70], say(3, statement.encode()))


def execute(number: int, types: bytes, values: bytes, nulls: bytes = b"\0", cursor: int = 0) -> bytes:
    """
    C{COM_STMT_EXECUTE}.
    """
    return say(0x17, struct.pack("<IBI", number, cursor, 1) + nulls + b"\1" + types + values)


STATEMENTS = [
    "select 1",
    "select 'a', null, 2.50, 1e10, x'00ff', date '2020-01-02', time '-12:34:56.5', timestamp '2020-01-02 03:04:05'",
    "create temporary table t (id int auto_increment primary key, name varchar(20) not null, n decimal(9,2), j json)",
    "insert into t (name) values ('one'), ('two')",
    "select * from t",
    "insert into t (id, name) values (1, 'again')",
    "insert ignore into t (id, name) values (1, 'again'), (9, repeat('long', 30))",
    "show warnings",
    "update t set name = 'x' where id > 0",
    "delete from t where id = 9",
    "select * from missing",
    "selec",
    "",
    "select 1 from t where id = (select id from t)",
    "use other",
    "use app",
    "set names latin1",
    "select 'ö'",
    "set names utf8mb4",
    "set @a = 1",
    "begin",
    "commit",
    "show variables like 'wait_timeout'",
    "explain select * from t",
    "select seq, repeat('x', 50) from seq_1_to_20000",
    "select repeat('y', 3000000)",
    "do sleep(0)",
    "signal sqlstate '45000' set message_text = 'of ours', mysql_errno = 31001",
    "select /* comment */ 1 -- and more",
    "select 1 into @x",
    "select * from t procedure analyse()",
    "load data local infile '/does/not/matter' into table missing",
]
TYPES = b"\x01\x00\x02\x00\x03\x00\x08\x00\x04\x00\x05\x00\xfd\x00\xfc\x00\x0c\x00\x0b\x00\x06\x00\x08\x80"
VALUES = (
    struct.pack("<bhiqfd", -1, -2, -3, -4, 1.5, 2.5)
    + b"\x05text!\x03\x00\xff\x01"
    + b"\x0b"
    + struct.pack("<HBBBBBI", 2020, 1, 2, 3, 4, 5, 600)
    + b"\x08"
    + struct.pack("<BIBBB", 1, 1, 2, 3, 4)
    + struct.pack("<Q", 1 << 63)
)
PREPARED = [
    Step("prepare", say(0x16, b"select " + b", ".join([b"?"] * 12))),
    Step("execute", execute(1, TYPES, VALUES, b"\0\x04")),
    Step("prepare what is wrong", say(0x16, b"select ? from missing")),
    Step("prepare a change", say(0x16, b"insert into t (name) values (?)")),
    Step("execute a change", execute(2, b"\xfd\x00", b"\x03abc")),
    Step("long data", say(0x18, struct.pack("<IH", 2, 0) + b"much", ends=False) + execute(2, b"\xfc\x00", b"")),
    Step("reset", say(0x1A, struct.pack("<I", 2))),
    Step("prepare with a cursor", say(0x16, b"select seq from seq_1_to_10 where seq > ?")),
    Step("execute with a cursor", execute(3, b"\x01\x00", b"\x02", cursor=1)),
    Step("fetch", say(0x1C, struct.pack("<II", 3, 4))),
    Step("fetch more", say(0x1C, struct.pack("<II", 3, 100))),
    Step("fetch no more", say(0x1C, struct.pack("<II", 3, 1))),
    Step("close", say(0x19, struct.pack("<I", 3), ends=False) + say(0x1C, struct.pack("<II", 3, 1))),
    Step("not there", say(0x17, struct.pack("<IBI", 99, 0, 1))),
]
OTHERS = [
    Step("ping", say(0x0E)),
    Step("database", say(2, b"other")),
    Step("no database", say(2, b"nowhere")),
    Step("back", say(2, b"app")),
    Step("fields", say(4, b"things\0%")),
    Step("no option", say(0x1B, b"\2\0")),
    Step("option", say(0x1B, b"\1\0")),
    Step("option back", say(0x1B, b"\0\0")),
    Step("reset the connection", say(0x1F)),
]
SEVERAL = [
    query("select 1; select 2 union select 3; set @b = 2; select 4"),
    query("select 1; selec; select 2"),
    query("create or replace procedure twice(out a int) begin select 5; select 6; set a = 7; end"),
    query("call twice(@a)"),
    Step("prepare a call", say(0x16, b"call twice(?)")),
    Step("call", execute(4, b"\x01\x00", b"\x01")),
]


class DifferentialTests(ServerTestCase):
    """
    With a raw client.
    """

    async def _same(self, capabilities: C, battery: list[Step]) -> None:
        server().sql("create table if not exists app.things (id int, name text)")
        port = await self.there()

        def work() -> list[str]:
            direct = MySQLSide(differential.plain(self.peer.port))
            through = MySQLSide(differential.plain(port))
            try:
                for side, tls in ((direct, True), (through, False)):
                    said = side.log_in("alice", capabilities, tls=tls)
                    assert said[:1] == b"\0", said
                assert direct.facts == through.facts
                return differential.differences(direct, through, battery)
            finally:
                direct.close()
                through.close()

        self.assertEqual(await self.in_thread(work), [])

    async def test_as_of_old(self) -> None:
        """EOF packets, one result."""
        await self._same(CLASSIC, [*map(query, STATEMENTS[:-1]), *PREPARED, *OTHERS])

    async def test_several_results(self) -> None:
        """Of statements together, and of procedures."""
        await self._same(MANY, [*map(query, STATEMENTS), *PREPARED[:4], *PREPARED[4:8], *SEVERAL, *OTHERS])

    async def test_as_today(self) -> None:
        """No EOF packets, and the session's state told."""
        await self._same(MODERN, [*map(query, STATEMENTS[:-1]), *PREPARED, *SEVERAL, *OTHERS])

    async def test_rows_of_several_packets(self) -> None:
        """One a little below the border, one at it, one far above."""
        sizes = ((1 << 24) - 2, (1 << 24) - 1, 1 << 24, 31_000_000)  # of rows, four bytes before each value included
        longs = [f"select repeat('z', {size - 15_500_008}), repeat('y', 15500000)" for size in sizes]
        await self._same(CLASSIC, list(map(query, longs)))
