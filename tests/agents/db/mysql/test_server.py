"""
MariaDB behind the agent, with drivers and its own client unmodified.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from teleport_tw.agents.db.mysql.session import MySQLEngine
from teleport_tw.agents.db.mysql.users import MySQLUsers, account_of
from teleport_tw.protocols.mysql.capabilities import Capability
from teleport_tw.protocols.mysql.compression import Unwrapper, Wrapper
from teleport_tw.protocols.mysql.handshake import encode_response, parse_error, parse_greeting, proxy_greeting
from teleport_tw.protocols.mysql.messages import HandshakeResponse
from teleport_tw.protocols.mysql.wire import packets
from teleport_tw.resources.databases import AdminUser
from tests.agents.db.rig import DatabaseTestCase
from tests.doubles.cluster import lock
from tests.peers.mariadb import MariaDB
from tests.peers.process import found, shared

pymysql = pytest.importorskip("pymysql")
connector = pytest.importorskip("mysql.connector")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing()),
]

C = Capability
NOTHING = Capability(0)

_made: set[str] = set()


def server() -> MariaDB:
    """
    One for all, with the accounts that the tests use.
    """
    peer = shared(MariaDB)
    if not _made:
        peer.sql("create database app; create database other")
        peer.user("alice")
        _made.add("alice")
    return peer


class ServerTestCase(DatabaseTestCase):
    """
    C{alice}, who may be C{alice} of the database.
    """

    async def there(self, *, engine: MySQLEngine | None = None, **listening: Any) -> int:
        """
        @return: the port that the user connects to.
        """
        self.role("access", allow={"db_users": ["alice"]})
        self.peer = server()
        await self.serve(engine or MySQLEngine(), "mysql", self.peer.port)
        return await self.listen(**listening)

    def mariadb(self, port: int, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """
        Run the native client.
        """
        command = [found("mariadb", "mariadb-client"), "--no-defaults", "-h127.0.0.1", f"-P{port}", "-ualice", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def connect(port: int, **more: Any) -> Any:
    """
    PyMySQL.
    """
    return pymysql.connect(**{"host": "127.0.0.1", "port": port, "user": "alice", "ssl_disabled": True, **more})


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
        told = {event["db_query"]: event for event in self.queries()}
        self.assertEqual(told["insert into t1 values (1), (2), (3)"]["affected_records"], 3)
        self.assertEqual(told["select 1, 'two', null union select 3, 'four', null"]["affected_records"], 2)
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
        self.assertEqual(self.queries()[2]["affected_records"], 4)

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
        told = {event["db_query"]: event for event in self.queries()}
        # it is told of early where it takes long, and its end by itself
        ends = (*self.queries(), *self.sink.named("db.session.result"))
        rows = [event.get("affected_records") for event in ends if event["db_query"] == statement]
        self.assertIn(100_000, rows)
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
        self.assertEqual([event["affected_records"] for event in self.queries()][-2:], [2, 1])


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


class RefusalTests(ServerTestCase):
    """
    Who does not get in.
    """

    async def test_another_user(self) -> None:
        """
        The certificate is for one.
        """
        port = await self.there()

        def work() -> Any:
            with self.assertRaises(pymysql.err.OperationalError) as caught:
                connect(port, user="root")
            return caught.exception.args

        code, text = await self.in_thread(work)
        self.assertEqual(code, 1045)
        self.assertIn("certificate is for database user 'alice'", text)
        [start] = self.sink.named("db.session.start")
        self.assertEqual((start["code"], start["success"]), ("TDB00W", False))

    async def test_the_server_does_not_take_us(self) -> None:
        """
        Its words reach the user.
        """
        self.role("access", allow={"db_users": ["nobody-there"]})
        await self.serve(MySQLEngine(), "mysql", server().port)
        port = await self.listen(user="nobody-there")

        def work() -> Any:
            with self.assertRaises(pymysql.err.OperationalError) as caught:
                connect(port, user="nobody-there")
            return caught.exception.args

        code, text = await self.in_thread(work)
        self.assertEqual(code, 1429)
        self.assertIn("does not take us: 1045 (28000)", text)

    async def test_the_server_is_not_there(self) -> None:
        """
        That is said in MySQL's way, although nobody could be asked for a greeting.
        """
        self.role("access", allow={"db_users": ["alice"]})
        await self.serve(MySQLEngine(), "mysql", 1)
        port = await self.listen()

        def work() -> Any:
            with self.assertRaises(pymysql.err.OperationalError) as caught:
                connect(port)
            return caught.exception.args

        code, text = await self.in_thread(work)
        self.assertEqual(code, 1429)
        self.assertIn("cannot be reached", text)


class PasswordTests(ServerTestCase):
    """
    Accounts that want a password beside the certificate.
    """

    async def test_each_plugin(self) -> None:
        """
        Native and Ed25519; the wrong one is refused.
        """
        peer = server()
        if "ed25519" not in peer.sql("show plugins"):
            peer.sql("install soname 'auth_ed25519'")
        accounts = {"native": "by 'secret'", "curve": "via ed25519 using password('secret')"}
        for name, how in accounts.items():
            peer.sql(f"create or replace user {name}@'%' identified {how} require subject '/CN={name}'")
        self.role("access", allow={"db_users": ["*"]})
        for name in accounts:
            for password, expected in (("secret", ((f"{name}@%",),)), ("wrong", 1429)):
                await self.serve(MySQLEngine(), "mysql", peer.port, passwords={name: password})
                port = await self.listen(user=name)

                def work(name: str = name, port: int = port) -> Any:
                    try:
                        with connect(port, user=name) as connection, connection.cursor() as cursor:
                            cursor.execute("select current_user()")
                            return cursor.fetchall()
                    except pymysql.err.OperationalError as error:
                        return error.args[0]

                self.assertEqual(await self.in_thread(work), expected, name)
                await self.stop()


class UserTests(ServerTestCase):
    """
    Users made for a session.
    """

    async def started(self, mode: str = "best_effort_drop", who: str = "ann") -> int:
        """
        The port of one user.
        """
        self.peer = server()
        if "admin" not in _made:
            self.peer.user("admin", grants="all privileges on *.* ")
            self.peer.sql("grant all privileges on *.* to admin@'%' with grant option")
            self.peer.sql("create role reader with admin admin@'%'; grant select on app.* to reader")
            self.peer.sql("create table if not exists app.readable as select 7 as a")
            _made.add("admin")
        self.role("auto", allow={"db_roles": ["reader"]}, create_db_user_mode=mode)
        await self.serve(
            MySQLEngine(),
            "mysql",
            self.peer.port,
            provisioners={"mysql": MySQLUsers},
            admin_user=AdminUser(name="admin"),
        )
        return await self.listen(who=who, user=who, roles=("auto",))

    def ask(self, port: int, who: str, text: str) -> Any:
        """
        In a session of its own.
        """
        with connect(port, user=who) as connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def accounts(self, name: str) -> str:
        """
        @return: what the server knows of them.
        """
        return self.peer.sql(f"select user from mysql.user where user like '{name}%' or user like 'tp-role-{name}%'")

    async def test_made_and_dropped(self) -> None:
        """
        It may what its roles may, and is gone with its session.
        """
        port = await self.started()
        for _ in range(2):
            rows = await self.in_thread(self.ask, port, "ann", "select current_user(), a from app.readable")
            self.assertEqual(rows, (("ann@%", 7),))
            await self.until(lambda: self.accounts("ann") == "")
        [made, _] = self.sink.named("db.session.user.create")
        self.assertEqual((made["username"], made["roles"]), ("ann", ["reader"]))
        [gone, _] = await self.until(
            lambda: (found := self.sink.named("db.session.user.deactivate")) and len(found) == 2 and found
        )
        self.assertEqual((gone["code"], gone["delete"]), ("TDB09I", True))
        self.assertEqual(list((self.root / "users").glob("*.json")), [])

    async def test_kept_and_locked(self) -> None:
        """
        It has nothing then, and comes back with the next session; a long name has a short account.
        """
        who = "kim." + "x" * 40
        account = account_of(who)
        self.assertEqual(len(account), 23)
        port = await self.started(mode="keep", who=who)
        locked = f"select json_value(priv, '$.account_locked') from mysql.global_priv where user = '{account}'"
        for _ in range(2):
            rows = await self.in_thread(self.ask, port, who, "select current_user(), a from app.readable")
            self.assertEqual(rows, ((f"{account}@%", 7),))
            await self.until(lambda: self.peer.sql(locked) in ("1", "true"))
        await self.until(lambda: len(self.sink.named("db.session.user.deactivate")) == 2)
        roles = self.peer.sql(f"select role from mysql.roles_mapping where user = '{account}'")
        self.assertEqual(roles, "teleport-auto-user")

    async def test_somebody_elses(self) -> None:
        """
        Is left alone.
        """
        port = await self.started(who="alice")

        def work() -> Any:
            with self.assertRaises(pymysql.err.OperationalError) as caught:
                self.ask(port, "alice", "select 1")
            return caught.exception.args

        code, text = await self.in_thread(work)
        self.assertEqual(code, 1045)
        self.assertIn("not made automatically", text)
        self.assertEqual(self.peer.sql("select count(*) from mysql.user where user = 'alice'"), "1")


class Wire:
    """
    A client that says what it likes: bytes in and out, in a thread.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)

    def read(self) -> tuple[int, bytes]:
        """
        @return: number and payload of a packet; -1 at the end.
        """
        head = self._exactly(4)
        return (head[3], self._exactly(int.from_bytes(head[:3], "little"))) if head else (-1, b"")

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                return b""
            data += more
        return data

    def say(self, payload: bytes, sequence: int = 0) -> None:
        """
        One packet.
        """
        self.socket.sendall(packets(payload, sequence))

    def login(self, capabilities: Capability = NOTHING, *, sequence: int = 1, greeted: bool = True) -> bytes:
        """
        As alice.

        @return: the answer.
        """
        if greeted:
            self.greeting = parse_greeting(self.read()[1])
        taken = C.PROTOCOL_41 | C.SECURE_CONNECTION | C.PLUGIN_AUTH | capabilities
        response = HandshakeResponse(capabilities=taken, username="alice", plugin="mysql_native_password")
        self.say(encode_response(response), sequence)
        return self.read()[1]

    def until_end(self) -> list[tuple[int, bytes]]:
        """
        @return: all packets.
        """
        found = []
        while True:
            number, payload = self.read()
            if number < 0:
                return found
            found.append((number, payload))

    def close(self) -> None:
        """
        At once.
        """
        self.socket.close()


class WireTests(ServerTestCase):
    """
    What no driver does.
    """

    async def test_opened_by_a_proxy(self) -> None:
        """
        It has greeted; the response comes second, and the user kills by the number that the proxy told.
        """
        opening = proxy_greeting(77, b"s" * 20)
        port = await self.there(opening=opening)
        number = 0x80000000 + 77

        def work() -> Any:
            wire, other = Wire(port), Wire(port)
            self.addCleanup(wire.close)
            self.addCleanup(other.close)
            first = wire.login(sequence=2, greeted=False)
            wire.say(b"\x03select sleep(30)")
            other.login(sequence=2, greeted=False)
            return first, wire, other

        first, wire, other = await self.in_thread(work)
        self.assertEqual(first[0], 0)
        # the second session was told the same number here, so it is the first that is meant as long as it stands
        self.agent.engines["mysql"]._numbers = {key: min(self.ids()) for key in self.agent.engines["mysql"]._numbers}

        def kill() -> Any:
            other.say(b"\x03KILL QUERY %d" % number)
            return other.read(), wire.read()[1], wire.read()[1]

        killed, *_ = await self.in_thread(kill)
        self.assertEqual(killed[1][0], 0, killed)
        self.assertIn(f"KILL QUERY {min(self.ids())}", [event["db_query"] for event in self.queries()])

    def ids(self) -> list[int]:
        """
        @return: numbers of alice's connections at the server.
        """
        rows = self.peer.sql("select id from information_schema.processlist where user = 'alice'")
        return [int(row) for row in rows.split()]

    async def test_smuggling(self) -> None:
        """
        Commands before the login, behind it in the same breath, with wrong numbers, or empty: none reaches the server.
        """
        port = await self.there()
        self.peer.sql("create or replace table app.smuggled (a int)")
        drop = packets(b"\x03drop table app.smuggled", 0)

        def attempts() -> Any:
            answers = []
            for before, behind in [
                (drop, b""),
                (packets(b"\x03drop table app.smuggled", 1), b""),
                (b"", drop),
                (b"", packets(b"\x03drop table app.smuggled", 2)),
            ]:
                wire = Wire(port)
                wire.read()
                response = HandshakeResponse(
                    capabilities=C.PROTOCOL_41 | C.SECURE_CONNECTION | C.PLUGIN_AUTH,
                    username="alice",
                    plugin="mysql_native_password",
                )
                wire.socket.sendall(before + packets(encode_response(response), 1) + behind)
                answers.append(wire.until_end())
                wire.close()
            for octets in (packets(b"\x03drop table app.smuggled", 1), packets(b"", 0), b"\x01\0\0\0\xfe"):
                wire = Wire(port)
                self.assertEqual(wire.login()[0], 0)
                wire.socket.sendall(octets)
                answers.append([wire.read()])
                wire.close()
            return answers

        answers = await self.in_thread(attempts)
        for answer in answers:
            self.assertEqual([payload[0] for _, payload in answer if payload], [0xFF] * len(answer), answers)
        self.assertEqual(self.peer.sql("show tables from app like 'smuggled'"), "smuggled")
        self.assertFalse([event for event in self.queries() if "smuggled" in event["db_query"]])

    async def test_early_commands_wait(self) -> None:
        """
        Commands sent without waiting are answered one after the other, each told of; content of a file is none.
        """
        port = await self.there()
        self.peer.sql("create or replace table app.early (a text)")

        def work() -> Any:
            wire = Wire(port)
            wire.login(C.LOCAL_FILES)
            many = b"".join(packets(b"\x03do %d" % number, 0) for number in range(500))
            wire.socket.sendall(many + packets(b"\x03load data local infile 'x' into table app.early", 0))
            answers = [wire.read()[1][0] for _ in range(501)]
            wire.socket.sendall(
                packets(b"\x03drop table app.early\n", 2) + packets(b"", 3) + packets(b"\x03do 1000", 0)
            )
            answers += [wire.read()[1][0], wire.read()[1][0]]
            wire.close()
            return answers

        self.assertEqual(await self.in_thread(work), [0] * 500 + [0xFB, 0, 0])
        self.assertEqual(self.peer.sql("select count(*) from app.early"), "1")
        await self.until(lambda: self.sink.named("db.session.end"))
        texts = [event["db_query"] for event in self.queries()]
        self.assertEqual(texts[:500], [f"do {number}" for number in range(500)])
        self.assertIn("do 1000", texts)

    async def test_replication_and_nonsense(self) -> None:
        """
        Are refused, each in the server's way, and the session goes on.
        """
        port = await self.there()

        def work() -> Any:
            wire = Wire(port)
            wire.login()
            answers = []
            for code in (0x12, 0x15, 0x1E, 0x11, 0x55, 0xFE, 0x0F):
                wire.say(bytes((code,)) + b"x" * 20)
                number, payload = wire.read()
                answers.append((number, parse_error(payload).errno))
            wire.say(b"\x11" + b"x" * 20_000_000)
            answers.append((wire.read()[0], 0))
            wire.say(b"\x0e")
            answers.append((wire.read()[0], 1))
            wire.close()
            return answers

        answers = await self.in_thread(work)
        self.assertEqual(answers, [(1, 1235)] * 4 + [(1, 1047)] * 3 + [(2, 0), (1, 1)])
        failed = [event["db_query"] for event in self.sink.named("db.session.query.failed")]
        self.assertEqual(failed[:3], ["COM_BINLOG_DUMP", "COM_REGISTER_SLAVE", "COM_BINLOG_DUMP_GTID"])

    async def test_zstd(self) -> None:
        """
        Between us and the user, whatever the server can do.
        """
        port = await self.there()

        def work() -> Any:
            wire = Wire(port)
            wire.login(C.ZSTD_COMPRESSION_ALGORITHM | C.DEPRECATE_EOF)
            wrapper, unwrapper = Wrapper("zstd"), Unwrapper("zstd")
            numbers, lengths = [], []
            for size in (1, 5_000_000):
                wrapper.sequence = 0
                wire.socket.sendall(wrapper.wrap(packets(b"\x03select repeat('z', %d)" % size, 0)))
                answer, first = b"", None
                while not answer.endswith(bytes.fromhex("fe000002000000")):
                    unwrapper.feed(wire.socket.recv(65536))
                    while data := unwrapper.read():
                        answer += data
                        first = unwrapper.sequence if first is None else first
                numbers.append(first)
                lengths.append(answer.count(b"z"))
            wire.close()
            return numbers, lengths

        numbers, lengths = await self.in_thread(work)
        self.assertEqual((numbers, lengths), ([1, 1], [2, 5_000_001]))

    async def test_a_slow_reader(self) -> None:
        """
        Costs what buffers hold; others are not held up, and what comes is whole.
        """
        port = await self.there()
        rows = 60_000

        def begin() -> Any:
            wire = Wire(port)
            wire.login(C.DEPRECATE_EOF)
            wire.say(b"\x03select repeat('x', 1000) from app.seq_1_to_%d" % rows)
            return wire

        wire = await self.in_thread(begin)
        [session] = self.agent.commons.sessions
        await self.until(lambda: session.sent > 100_000)
        done = await self.in_thread(lambda: self.mariadb(port, "-N", "-eselect 1"))
        self.assertEqual(done.stdout, "1\n")
        self.assertLess(session.sent, rows * 500)

        def all_of_it() -> int:
            total, tail = 0, b""
            while not (tail[-11:-8] == b"\x07\0\0" and tail[-7:-4] == b"\xfe\0\0"):
                data = wire.socket.recv(1 << 20)
                assert data
                total += len(data)
                tail = (tail + data)[-11:]
            wire.close()
            return total

        size = await self.in_thread(all_of_it)
        self.assertGreater(size, rows * 1000)


class EndingTests(ServerTestCase):
    """
    Sessions that we end, and targets that go.
    """

    async def test_a_lock(self) -> None:
        """
        Is read as an error by whoever waits, and by whoever asks next.
        """
        port = await self.there()

        def begin() -> Any:
            idle, busy, full = Wire(port), Wire(port), Wire(port)
            for wire in (idle, busy, full):
                wire.login()
            busy.say(b"\x03select sleep(60)")
            full.say(b"\x03select repeat('x', 1000000) from app.seq_1_to_1000")
            return idle, busy, full

        wires = await self.in_thread(begin)
        await self.until(lambda: sum(session.queries for session in self.agent.commons.sessions) == 2)
        self.cluster.copy.put(lock("l", "holiday", user="alice"))
        answers = await self.in_thread(lambda: [wire.until_end() for wire in wires])
        for wire in wires:
            wire.close()
        for (number, payload), expected in zip([answer[-1] for answer in answers[:2]], (1, 1), strict=True):
            error = parse_error(payload)
            self.assertEqual((number, error.errno, error.state), (expected, 1927, "70100"))
            self.assertIn("holiday", error.message)
        # what was under way is cut off, but between two packets
        self.assertEqual(parse_error(answers[2][-1][1]).errno, 1927)
        self.assertTrue(all(len(payload) == 1_000_004 for _, payload in answers[2][3:-1]))
        await self.until(lambda: len(self.sink.named("db.session.end")) == 3)
        self.assertIn("lock", self.sink.named("db.session.end")[0]["reason"])

    async def test_the_target_goes(self) -> None:
        """
        That is said, and the session ends.
        """
        port = await self.there()

        def begin() -> Any:
            wire = Wire(port)
            wire.login()
            wire.say(b"\x03select sleep(60)")
            return wire

        wire = await self.in_thread(begin)
        await self.until(lambda: sum(session.queries for session in self.agent.commons.sessions))
        rows = self.peer.sql("select id from information_schema.processlist where user = 'alice'").split()
        for row in rows:
            self.peer.sql(f"kill {row}")
        answer = await self.in_thread(wire.until_end)
        wire.close()
        self.assertIn(parse_error(answer[-1][1]).errno, (1053, 1927))
        await self.until(lambda: self.sink.named("db.session.end"))

    async def test_the_client_goes(self) -> None:
        """
        In the middle of a statement: the server is left as well, and the statement told of.
        """
        port = await self.there()

        def work() -> None:
            wire = Wire(port)
            wire.login()
            wire.say(b"\x03select sleep(60)")
            wire.close()

        await self.in_thread(work)
        await self.until(lambda: self.sink.named("db.session.end"))
        [failed] = self.sink.named("db.session.query.failed")
        self.assertIn("ended before", failed["error"])
