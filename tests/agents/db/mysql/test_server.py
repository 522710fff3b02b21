"""
MariaDB behind the agent, with drivers and its own client unmodified.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.agents.db.mysql.rig import ServerTestCase, connect
from tests.peers.mariadb import MariaDB
from tests.peers.process import found

pymysql = pytest.importorskip("pymysql")
connector = pytest.importorskip("mysql.connector")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing()),
]


class QueryTests(ServerTestCase):
    """
    What people do.
    """

    async def test_a_query(self) -> None:
        """
        It is answered as the database answers, and told of.
        """
        port = await self.there()

        def work() -> Any:
            with connect(port, database="app") as connection, connection.cursor() as cursor:
                cursor.execute("select 1, 'two', null union select 3, 'four', null")
                rows = cursor.fetchall()
                cursor.execute("create or replace table t1 (a int)")
                cursor.execute("insert into t1 values (1), (2), (3)")
                return rows, cursor.rowcount, connection.get_server_info()

        rows, count, version = await self.in_thread(work)
        self.assertEqual(rows, ((1, "two", None), (3, "four", None)))
        self.assertEqual(count, 3)
        self.assertIn("MariaDB", version)
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertEqual(self.affected("insert into t1 values (1), (2), (3)"), [3])
        self.assertEqual(self.affected("select 1, 'two', null union select 3, 'four', null"), [2])
        [start] = self.sink.named("db.session.start")
        self.assertEqual((start["db_user"], start["db_name"], start["user_agent"]), ("alice", "app", "pymysql 1.2.4"))

    async def test_errors_are_the_servers(self) -> None:
        """
        Number, SQLSTATE and text pass; the event has them.
        """
        port = await self.there()

        def work() -> Any:
            with connect(port) as connection, connection.cursor() as cursor:
                with self.assertRaises(pymysql.err.ProgrammingError) as caught:
                    cursor.execute("select * from app.missing")
                cursor.execute("select 1")
                return caught.exception.args

        self.assertEqual(await self.in_thread(work), (1146, "Table 'app.missing' doesn't exist"))
        await self.until(lambda: self.sink.named("db.session.end"))
        [failed] = self.sink.named("db.session.query.failed")
        self.assertEqual(failed["error"], "1146 (42S02): Table 'app.missing' doesn't exist")

    async def test_several_results(self) -> None:
        """
        Statements in one command, and procedures, answer several times; it is one event.
        """
        port = await self.there()

        def work() -> Any:
            flags = pymysql.constants.CLIENT.MULTI_STATEMENTS
            with connect(port, client_flag=flags, database="app") as connection, connection.cursor() as cursor:
                cursor.execute("select 1; select 2 union select 3; set @a = 1; select 4")
                found: list[Any] = [cursor.fetchall()]
                while cursor.nextset():
                    found.append(cursor.fetchall())
                cursor.execute("create or replace procedure twice() begin select 5; select 6; end")
                cursor.callproc("twice")
                found += [cursor.fetchall()]
                cursor.execute("select 7")
                return found, cursor.fetchall()

        found, last = await self.in_thread(work)
        self.assertEqual(found, [((1,),), ((2,), (3,)), [], ((4,),), ((5,),)])
        self.assertEqual(last, ((7,),))
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertEqual(self.queries()[2]["db_query"], "select 1; select 2 union select 3; set @a = 1; select 4")
        self.assertEqual(self.affected("select 1; select 2 union select 3; set @a = 1; select 4"), [4])

    async def test_prepared_statements(self) -> None:
        """
        Parameters are decoded, long data and NULL among them.
        """
        port = await self.there()

        def work() -> Any:
            with (
                connector.connect(
                    host="127.0.0.1", port=port, user="alice", ssl_disabled=True, use_pure=True, database="app"
                ) as connection,
                connection.cursor(prepared=True) as cursor,
            ):
                cursor.execute("select ?, ?, ?, ?", (1, "two", None, 2.5))
                rows = [cursor.fetchall()]
                cursor.execute("select ?, ?, ?, ?", (-7, "süß", b"\xff\x00", 1e100))
                rows.append(cursor.fetchall())
                return rows

        rows = await self.in_thread(work)
        self.assertEqual(rows[0][0][:3], (1, "two", None))
        await self.until(lambda: self.sink.named("db.session.end"))
        executed = self.sink.named("db.session.mysql.statements.execute")
        self.assertEqual(executed[0]["parameters"], ["1", "two", None, "2.5"])
        self.assertEqual(executed[1]["parameters"], ["-7", "süß", "/wA=", "1e+100"])
        self.assertEqual(executed[0]["query"], "select ?, ?, ?, ?")
        self.assertEqual(executed[0]["affected_records"], 1)
        self.assertEqual(len(self.sink.named("db.session.mysql.statements.prepare")), 1)
        self.assertTrue(self.sink.named("db.session.mysql.statements.close"))

    async def test_other_commands(self) -> None:
        """
        Each as the server takes it; a change of user is refused and the session goes on.
        """
        port = await self.there()

        def work() -> Any:
            connection = connector.connect(
                host="127.0.0.1", port=port, user="alice", ssl_disabled=True, use_pure=True, database="app"
            )
            connection.cmd_init_db("other")
            statistics = connection.cmd_statistics()
            connection.cmd_reset_connection()
            connection.ping()
            with self.assertRaises(connector.Error) as caught:
                connection.cmd_change_user("root", "", "mysql")
            with connection.cursor() as cursor:
                cursor.execute("select current_user()")
                who = cursor.fetchall()
            connection.close()
            return statistics, caught.exception, who

        statistics, refused, who = await self.in_thread(work)
        self.assertIn("Uptime", statistics)
        self.assertEqual((refused.errno, refused.sqlstate), (1235, "42000"))
        self.assertIn("keeps its user", refused.msg)
        self.assertEqual(who, [("alice@%",)])
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertEqual(self.sink.named("db.session.mysql.init_db")[0]["schema_name"], "other")
        self.assertEqual(self.sink.named("db.session.query.failed")[0]["db_query"], "COM_CHANGE_USER")
        self.assertEqual(self.sink.named("db.session.end")[0]["db_name"], "other")

    async def test_a_password_is_not_kept(self) -> None:
        """
        Neither of the statement nor of the error about it.
        """
        port = await self.there()

        def work() -> None:
            with connect(port) as connection, connection.cursor() as cursor:
                cursor.execute("create or replace user someone identified by 'S3CRET'")
                with self.assertRaises(pymysql.err.ProgrammingError):
                    cursor.execute("alter user someone identified by 'S3CRET' nonsense 'S3CRET'")
                cursor.execute("drop user someone")

        await self.in_thread(work)
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertNotIn("S3CRET", repr(self.sink.events))
        self.assertIn("create or replace user someone identified by '***'", [e["db_query"] for e in self.queries()])

    async def test_a_password_with_a_backslash(self) -> None:
        """
        Where the session says that it escapes nothing, the server tells us, and it is found all the same.
        """
        port = await self.there()

        def work() -> None:
            with connect(port) as connection, connection.cursor() as cursor:
                cursor.execute("set sql_mode = 'NO_BACKSLASH_ESCAPES'")
                cursor.execute("create or replace user someone identified by 'x\\', another identified by 'S3CRET'")
                cursor.execute("drop user someone, another")
                cursor.execute("set sql_mode = ''")
                cursor.execute("set @a = '\\' identified by', @b = 'kept'")

        await self.in_thread(work)
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertNotIn("S3CRET", repr(self.sink.events))
        self.assertIn("kept", self.queries()[-1]["db_query"])

    async def test_a_file_of_the_clients(self) -> None:
        """
        LOAD DATA LOCAL INFILE passes where the client offers it.
        """
        port = await self.there()
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(lambda: (folder / "rows").unlink() or folder.rmdir())
        (folder / "rows").write_text("".join(f"{number}\trow\n" for number in range(100_000)))
        statement = f"load data local infile '{folder}/rows' into table loaded"

        def work() -> Any:
            with connect(port, database="app", local_infile=True) as connection, connection.cursor() as cursor:
                cursor.execute("create or replace table loaded (a int, b text)")
                cursor.execute(statement)
                cursor.execute("select count(*) from loaded")
                return cursor.fetchall()

        self.assertEqual(await self.in_thread(work), ((100_000,),))

        def unoffered() -> None:
            with connect(port, database="app") as connection, connection.cursor() as cursor:
                cursor.execute(statement)

        with self.assertRaises(pymysql.err.Error):
            await self.in_thread(unoffered)
        await self.until(lambda: len(self.sink.named("db.session.end")) == 2)
        told = [event["db_query"] for event in self.queries()]
        self.assertIn(100_000, self.affected(statement))
        self.assertIn(f"-- the client's file '{folder}/rows' is sent", told)

    async def test_a_statement_of_50_megabytes(self) -> None:
        """
        It passes whole; of it is kept what an event may hold.
        """
        port = await self.there()

        def work() -> Any:
            with connect(port, max_allowed_packet=1 << 28) as connection, connection.cursor() as cursor:
                cursor.execute("select length('" + "x" * 50_000_000 + "')")
                return cursor.fetchall()

        self.assertEqual(await self.in_thread(work), ((50_000_000,),))
        await self.until(lambda: self.sink.named("db.session.end"))
        told = self.queries()[-1]
        self.assertTrue(told["db_query"].endswith("… [truncated]"))
        self.assertEqual(told["db_query_length"], 50_000_017)

    async def test_a_row_of_40_megabytes(self) -> None:
        """
        Its continuation packets are not taken for rows or ends.
        """
        port = await self.there()

        def work() -> Any:
            with connect(port) as connection, connection.cursor() as cursor:
                cursor.execute("select repeat(unhex('fe'), 40000000), 1 union all select 'a', 2")
                rows = cursor.fetchall()
                cursor.execute("select 3")
                return len(rows[0][0]), rows[1][1], cursor.fetchall()

        self.assertEqual(await self.in_thread(work), (40_000_000, 2, ((3,),)))
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertEqual(self.affected("select repeat(unhex('fe'), 40000000), 1 union all select 'a', 2"), [2])
        self.assertEqual(self.affected("select 3"), [1])


class NativeTests(ServerTestCase):
    """
    The client of MariaDB's own.
    """

    async def test_as_it_comes(self) -> None:
        """
        Rows, warnings, several statements.
        """
        port = await self.there()
        done = await self.in_thread(
            lambda: self.mariadb(port, "-vvv", "app", stdin="select 1 as a, 'x' as b; show warnings;\nstatus\n")
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| 1 | x |", done.stdout)
        self.assertIn("Server version:\t\t10.", done.stdout)

    async def test_compressed(self) -> None:
        """
        With zlib on both legs; large statements and large results.
        """
        port = await self.there()
        script = "show status like 'Compression';\nselect length('" + "x" * 3_000_000 + "');\n"
        script += "select seq, repeat('y', 100) from seq_1_to_50000;\nselect 'end';\n"
        done = await self.in_thread(lambda: self.mariadb(port, "-C", "-N", "mysql", stdin=script))
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = done.stdout.splitlines()
        self.assertEqual(lines[:2], ["Compression\tON", "3000000"])
        self.assertEqual((len(lines), lines[-1]), (50_003, "end"))
        self.assertTrue(lines[-2].startswith("50000\tyyy"))

    async def test_a_password_of_the_users_is_not_looked_at(self) -> None:
        """
        The certificate is the proof, whatever the client says.
        """
        port = await self.there()
        for words in (
            ("-pwhatever",),
            ("-pwhatever", "--default-auth=caching_sha2_password"),
            ("--default-auth=caching_sha2_password",),
            ("-pwhatever", "--default-auth=client_ed25519"),
        ):
            done = await self.in_thread(lambda words=words: self.mariadb(port, *words, "-N", "-eselect 1"))
            self.assertEqual((done.returncode, done.stdout), (0, "1\n"), (words, done.stderr))

    async def test_dump(self) -> None:
        """
        mariadb-dump: differences to a dump past us are none.
        """
        port = await self.there()
        self.peer.sql("create or replace table app.dumped (a int, b blob)")
        self.peer.sql("insert into app.dumped select seq, repeat(char(seq % 256), 200) from seq_1_to_3000")
        dump = found("mariadb-dump", "mariadb-client")
        words = [dump, "--no-defaults", "--skip-comments", "--hex-blob"]

        def through() -> Any:
            where = ["-h127.0.0.1", f"-P{port}", "-ualice", "app", "dumped"]
            return subprocess.run([*words, *where], capture_output=True, timeout=60, check=True).stdout

        got = await self.in_thread(through)
        direct = self.peer.run(*words, "-S", f"{self.peer.folder}/m.sock", "-uroot", "app", "dumped")
        self.assertEqual(got.decode(), direct)
