"""
PostgreSQL, asked directly and by way of us.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
from typing import Any

import pytest

from teleport_tw.agents.db.postgres.session import PostgresEngine
from tests import differential
from tests.agents.db.rig import DatabaseTestCase
from tests.differential import Side, Step
from tests.peers.postgres import Postgres
from tests.peers.process import shared, until

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Postgres.missing()), reason=Postgres.missing())]

USER = "different"

_TABLE = re.compile(rb"([^\0]*\0).{4}(.{14})", re.DOTALL)
_TEMPORARY = re.compile(rb"pg_temp_\d+")


class PostgresSide(Side):
    """
    Messages of a letter and a length; keys and process ids differ.
    """

    def cut(self, buffer: bytearray) -> bytes | None:
        """As Side."""
        if len(buffer) < 5:
            return None
        end = 1 + int.from_bytes(buffer[1:5])
        if len(buffer) < end:
            return None
        message = bytes(buffer[:end])
        del buffer[:end]
        return message

    def ends(self, message: bytes) -> bool:
        """As Side."""
        return message[:1] in b"ZGHW"

    def masked(self, message: bytes) -> bytes:
        """As Side."""
        if message[:1] == b"K":
            self.facts["key"] = message[5:]
            return b"K%d" % len(message)
        if message[:1] == b"A":
            return b"A" + message[9:]
        if message[:1] == b"T":  # numbers of tables, which each connection makes for itself
            return _TABLE.sub(rb"\1\2", message[7:])
        return _TEMPORARY.sub(b"pg_temp", message) if message[:1] == b"E" else message


def say(letter: str, *parts: bytes) -> bytes:
    """
    One message.
    """
    body = b"".join(parts)
    return letter.encode() + struct.pack("!I", len(body) + 4) + body


def text(value: str) -> bytes:
    """
    With its zero.
    """
    return value.encode() + b"\0"


def query(statement: str) -> bytes:
    """
    A simple one.
    """
    return say("Q", text(statement))


def parse(statement: str, name: str = "", *types: int) -> bytes:
    """
    Prepare.
    """
    return say("P", text(name), text(statement), struct.pack(f"!H{len(types)}I", len(types), *types))


def bind(*values: bytes | None, name: str = "", portal: str = "", results: int = 0, binary: int = 0) -> bytes:
    """
    Parameters, all in one form.
    """
    data = b"".join(struct.pack("!i", -1) if each is None else struct.pack("!i", len(each)) + each for each in values)
    forms = struct.pack("!HHH", 1, binary, len(values))
    return say("B", text(portal), text(name), forms, data, struct.pack("!HH", 1, results))


def startup(version: int, **parameters: str) -> bytes:
    """
    The first message.
    """
    words = b"".join(text(key) + text(value) for key, value in parameters.items()) + b"\0"
    return struct.pack("!II", len(words) + 8, version) + words


DESCRIBE, EXECUTE, SYNC, FLUSH = say("D", b"P\0"), say("E", b"\0\0\0\0\0"), say("S"), say("H")
ROWS = say("E", b"\0", struct.pack("!I", 3))

SIMPLE = [
    "select 1",
    "",
    ";;",
    "select 1; select 'two', null; select 3::numeric",
    "select generate_series(1, 5000), repeat('x', 100)",
    "create temp table t (id int primary key, name text, data bytea, at timestamptz)",
    "insert into t values (1, 'one', '\\x00ff', '2020-01-01'), (2, null, null, null)",
    "insert into t values (1, 'again')",
    "update t set name = upper(name) returning *",
    "select * from nothing",
    "selec 1",
    "select 1/0; select 2",
    "begin; insert into t values (3); select 1/0; select 3",
    "select 'in a failed transaction'",
    "rollback",
    "do $$ begin raise notice 'look: %', 7; raise warning 'and here'; end $$",
    "set client_encoding to latin1",
    "select 'ö'",
    "set client_encoding to utf8",
    "set application_name to 'other'; show application_name",
    "set timezone to 'Asia/Kolkata'; select '2020-01-01 00:00:00+00'::timestamptz",
    "listen news",
    "notify news, 'read all about it'",
    "unlisten *",
    "drop table if exists never_there",
    "prepare p as select $1::int + 1; execute p(41); deallocate p",
    "declare c cursor with hold for select generate_series(1, 9); fetch 3 from c; move 2 in c; fetch c; close c",
    "select repeat('y', 3000000)",
    "explain (costs off) select * from t where id = 1",
    "select array[[1,2],[3,4]], '{\"a\": 1}'::jsonb, '[1,5)'::int4range, 'b'::\"char\", '1 day'::interval",
    "alter role different password 'unkept'",
]

BATTERY = [
    *(Step(statement[:60] or "nothing", query(statement)) for statement in SIMPLE),
    Step("extended", parse("select $1::int + $2::int, $3::text") + bind(b"40", b"2", None) + DESCRIBE + EXECUTE + SYNC),
    Step(
        "binary both ways",
        parse("select $1, $2", "", 20, 17)
        + bind(struct.pack("!q", -5), b"\0\xff", binary=1, results=1)
        + DESCRIBE
        + EXECUTE
        + SYNC,
    ),
    Step("named", parse("select $1::text", "s1", 25) + say("D", b"Ss1\0") + SYNC),
    Step("named again", bind(b"x", name="s1", portal="p1") + say("E", b"p1\0\0\0\0\0") + SYNC),
    Step("one that is there", parse("select 1", "s1") + SYNC),
    Step("closed", say("C", b"Ss1\0") + say("C", b"Pnone\0") + SYNC),
    Step("one that is not there", bind(name="s1") + EXECUTE + SYNC),
    Step("in pieces", parse("select generate_series(1, 8)") + bind() + ROWS + ROWS + ROWS + SYNC),
    Step("an error skips", parse("select 1/0") + bind() + EXECUTE + parse("select 2") + bind() + EXECUTE + SYNC),
    Step("a pipeline", b"".join(parse(f"select {n}") + bind() + EXECUTE + SYNC for n in range(50)), 50),
    Step("flushed", parse("select 9") + bind() + DESCRIBE + EXECUTE + FLUSH + SYNC),
    Step("empty", parse("") + bind() + DESCRIBE + EXECUTE + SYNC),
    Step("function call", say("F", struct.pack("!IHHH", 1610, 0, 0, 0))),
    Step("copy out", query("copy (select generate_series(1, 3000), 'x') to stdout"), 2),
    Step("copy out, binary", query("copy (select 1, null::text) to stdout (format binary)"), 2),
    Step("copy in begins", query("copy t (id, name) from stdin")),
    Step("copy in", say("d", b"10\tten\n11\t") + say("d", b"\\N\n") + say("c")),
    Step("copy in begins again", query("copy t (id, name) from stdin")),
    Step("copy in that fails", say("d", b"10\tten\n") + say("c")),
    Step("copy in once more", query("copy t (id, name) from stdin")),
    Step("copy in given up", say("f", text("no more"))),
    Step("copied", query("select id, name from t order by id")),
    Step("large object", query("begin; select lo_from_bytea(4711, '\\x0102030405'); select lo_get(4711); commit")),
    Step(
        "parts of a large object",
        query(
            "begin; select lo_open(4711, 393216); select loread(0, 2), lo_lseek(0, 1, 0), lowrite(0, '\\xaa'); commit"
        ),
    ),
    Step("no large object", query("select lo_unlink(4711)")),
    Step("none any more", query("select lo_get(4711)")),
    Step("a parameter too many", parse("select $1::int") + bind(b"1", b"2") + EXECUTE + SYNC),
    Step("goodbye", say("X")),
]


class DifferentialTests(DatabaseTestCase):
    """
    With a raw client, so that nothing is smoothed over.
    """

    async def sides(self) -> tuple[PostgresSide, PostgresSide]:
        """
        @return: to the server, and by way of us; nothing said.
        """
        self.peer = shared(Postgres)
        if not self.peer.sql(f"select 1 from pg_roles where rolname = '{USER}'"):
            self.peer.role(USER)
            self.peer.sql(f"create database {USER} owner {USER}")
        self.role("access", allow={"db_users": [USER], "db_names": [USER]})
        await self.serve(PostgresEngine(), "postgres", self.peer.port)
        port = await self.listen(user=USER)

        def connect() -> tuple[PostgresSide, PostgresSide]:
            return PostgresSide(self.direct()), PostgresSide(differential.plain(port))

        sides = await self.in_thread(connect)
        self.port = port
        for side in sides:
            self.addCleanup(side.close)
        return sides  # type: ignore[no-any-return]

    def direct(self) -> Any:
        """
        @return: inside TLS.
        """
        bare = differential.plain(self.peer.port)
        bare.sendall(struct.pack("!II", 8, 80877103))
        assert bare.recv(1) == b"S"
        return differential.encrypted(bare, USER)

    async def test_a_battery(self) -> None:
        """Byte for byte."""
        direct, through = await self.sides()
        first = Step("startup", startup(196608, user=USER, database=USER, application_name="raw"))
        self.assertEqual(await self.in_thread(differential.differences, direct, through, [first, *BATTERY]), [])
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertNotIn("unkept", repr(self.sink.events))

    async def test_statements_in_any_pieces(self) -> None:
        """However the bytes come."""
        direct, through = await self.sides()
        first = Step("startup", startup(196608, user=USER, database=USER))
        self.assertEqual(await self.in_thread(differential.differences, direct, through, [first]), [])
        octets = parse("select $1::int") + bind(b"7") + DESCRIBE + EXECUTE + SYNC + query("select 8")

        def slowly() -> list[bytes]:
            for octet in octets:
                through.socket.sendall(bytes([octet]))
            return through.ask(Step("", b"", 2))

        got = await self.in_thread(slowly)
        self.assertEqual(got, await self.in_thread(direct.ask, Step("", octets, 2)))

    async def test_versions_to_come(self) -> None:
        """Minor versions and options that the server does not know are negotiated as it does."""
        for version, more in ((196610, {}), (196608, {"_pq_.tomorrow": "1"}), (196708, {"_pq_.a": "1", "_pq_.b": "2"})):
            direct, through = await self.sides()
            first = Step("startup", startup(version, user=USER, database=USER, **more))
            self.assertEqual(await self.in_thread(differential.differences, direct, through, [first]), [], version)
            await self.stop()

    async def test_a_cancel_request(self) -> None:
        """By the key that each was given."""
        direct, through = await self.sides()
        first = Step("startup", startup(196608, user=USER, database=USER))
        self.assertEqual(await self.in_thread(differential.differences, direct, through, [first]), [])

        def work() -> list[list[bytes]]:
            answers = []
            for side, connect in ((direct, self.direct), (through, lambda: differential.plain(self.port))):
                side.socket.sendall(query("select pg_sleep(60)"))
                until(
                    lambda: "pg_sleep(60)" in self.peer.sql("select query from pg_stat_activity"),
                    "the statement to run",
                )
                key = side.facts["key"]
                connection = connect()
                connection.sendall(struct.pack("!II", 8 + len(key), 80877102) + key)
                connection.close()
                answers.append(side.ask(Step("", b"")))
            return answers

        wanted, got = await self.in_thread(work)
        self.assertEqual(wanted, got)
        self.assertIn(b"canceling statement due to user request", b"".join(got))

    async def test_much_data(self) -> None:
        """Fifty megabytes out and in again, by their digest."""
        direct, through = await self.sides()
        first = Step("startup", startup(196608, user=USER, database=USER))
        self.assertEqual(await self.in_thread(differential.differences, direct, through, [first]), [])

        def digest(side: PostgresSide) -> str:
            side.socket.sendall(query("copy (select n, repeat('z', 1000) from generate_series(1, 50000) n) to stdout"))
            found = hashlib.sha256()
            while (message := side.message())[:1] != b"Z":
                found.update(message)
            return found.hexdigest()

        self.assertEqual(await self.in_thread(digest, through), await self.in_thread(digest, direct))
        rows = b"".join(b"%d\t%s\n" % (number, os.urandom(500).hex().encode()) for number in range(50_000))

        def there_and_back(side: PostgresSide) -> list[bytes]:
            copy = Step("", query("create temp table much (n int, text text); copy much from stdin"))
            answers = side.ask(copy)
            pieces = b"".join(say("d", rows[at : at + 70_001]) for at in range(0, len(rows), 70_001))
            answers += side.ask(Step("", pieces + say("c")))
            return [
                *answers,
                *side.ask(Step("", query("select count(*), md5(string_agg(text, ',' order by n)) from much"))),
            ]

        self.assertEqual(await self.in_thread(there_and_back, through), await self.in_thread(there_and_back, direct))
