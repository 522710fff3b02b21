"""
A user's own clients, by way of us, with a real PostgreSQL.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from typing import Any

import pytest

from teleport_tw.agents.db.policy import Keeping, Policy
from teleport_tw.agents.db.postgres.session import PostgresEngine
from teleport_tw.dial.lifetime import Ending
from teleport_tw.recordings.container import Output, Reader
from tests.agents.db.postgres.clients import PsqlMixin
from tests.agents.db.rig import DatabaseTestCase
from tests.peers.postgres import Postgres

MISSING = Postgres.missing()
server: Postgres | None = None


def setUpModule() -> None:
    """One for all tests here."""
    global server
    if not MISSING:
        server = Postgres().start()
        for name in ("alice", "bob"):
            server.role(name)
        server.role("carol", password="pencil", group="by_scram")
        server.role("dave", password="pencil", group="by_md5")
        server.role("erin", password="pencil", group="by_password")
        server.sql("create database alice owner alice; create database other owner bob; grant pg_signal_backend to bob")
        server.sql("create table things (id int primary key, name text); grant all on things to alice", "alice")


def tearDownModule() -> None:
    """It goes with the tests."""
    if server is not None:
        server.stop()


class PostgresTestCase(PsqlMixin, DatabaseTestCase):
    """
    An agent in front of the server; alice may be alice in databases alice and postgres.
    """

    skip = MISSING or None

    def setUp(self) -> None:
        super().setUp()
        self.role("access", allow={"db_users": ["alice", "carol", "dave", "erin"], "db_names": ["alice", "postgres"]})

    async def started(self, protocol: str = "postgres", **more: Any) -> int:
        """The port."""
        assert server is not None
        await self.serve(PostgresEngine(), protocol, server.port, **more)
        return await self.listen(user="")


@pytest.mark.servers
class PsqlTests(PostgresTestCase):
    """
    By its shell.
    """

    async def test_statements_are_answered_and_told(self) -> None:
        """
        Rows, duration and the error of each are in its event; the session has a beginning and an end.
        """
        port = await self.started()
        said = await self.psql(port, "select 1;\nselect generate_series(1, 3);\nselect nothing;\n")
        self.assertIn("1\n1\n2\n3\n", said)
        self.assertIn('column "nothing" does not exist', said)
        await self.until(lambda: self.sink.named("db.session.end"))
        (start,) = self.sink.named("db.session.start")
        self.assertEqual(
            (start["user"], start["db_user"], start["db_name"], start["db_protocol"], start["user_agent"]),
            ("alice", "alice", "alice", "postgres", "psql"),
        )
        self.assertGreater(start["postgres_pid"], 0)
        one, three = self.queries()
        self.assertEqual((one["db_query"], one["affected_records"]), ("select 1;", 1))
        self.assertEqual((three["affected_records"], three["code"]), (3, "TDB02I"))
        self.assertGreater(three["duration_ms"], 0)
        (failed,) = self.sink.named("db.session.query.failed")
        self.assertIn("(SQLSTATE 42703)", failed["error"])
        (end,) = self.sink.named("db.session.end")
        self.assertEqual(end["queries"], 3)

    async def test_data_is_copied_both_ways_and_is_no_statement(self) -> None:
        """
        Lines of COPY that look like statements are data; what follows is a statement again.
        """
        port = await self.started()
        script = (
            "create temp table t (a text);\ncopy t from stdin;\ndrop table things;\nQ\t\n\\.\n".replace("Q\t\n", "")
            + "copy t to stdout;\nselect count(*) from t;\n"
        )
        self.assertEqual(await self.psql(port, script), "drop table things;\n1\n")
        told = [
            each["db_query"] for each in await self.until(lambda: self.sink.named("db.session.end") and self.queries())
        ]
        self.assertEqual(
            told,
            ["create temp table t (a text);", "copy t from stdin;", "copy t to stdout;", "select count(*) from t;"],
        )
        self.assertEqual(self.queries()[1]["affected_records"], 1)

    async def test_large_objects_notifications_and_passwords(self) -> None:
        """
        Functions are told by number; a password in a statement is not told.
        """
        port = await self.started()
        said = await self.psql(
            port,
            "\\lo_import /etc/hostname\nlisten news;\nnotify news, 'now';\n"
            "alter role alice password 'hunter2';\nalter role alice password null;\n",
        )
        self.assertIn('Asynchronous notification "news" with payload "now"', said)
        await self.until(lambda: self.sink.named("db.session.end"))
        self.assertGreater(len(self.sink.named("db.session.postgres.function")), 1)
        told = "".join(str(event.fields()) for event in self.sink.events)
        self.assertIn("alter role alice password '***'", told)
        self.assertNotIn("hunter2", told)
        self.assertNotIn("hunter2", self.transcript())

    async def test_the_recording_reads_like_a_terminal(self) -> None:
        """
        Statements behind a prompt, and what came of them.
        """
        port = await self.started()
        await self.psql(port, "select 1;\nselect nothing;\n")
        await self.until(lambda: self.sink.named("db.session.end"))
        shown = self.transcript()
        self.assertIn("-- alice is connected to target, database alice as alice", shown)
        self.assertIn("alice=> select 1;\r\nSELECT 1 (", shown)
        self.assertIn('ERROR: column "nothing" does not exist', shown)

    async def test_long_statements_pass_and_are_cut_in_the_log(self) -> None:
        """
        50 MB of text reach the database whole; the event has a mark.
        """
        port = await self.started()
        size = 50 << 20
        script = f"select length('{'x' * size}');\n"
        self.assertEqual(await self.psql(port, script), f"{size}\n")
        (told,) = await self.until(self.queries)
        self.assertTrue(told["db_query"].endswith("… [truncated]"))
        self.assertLess(len(told["db_query"]), 40_000)
        self.assertEqual(told["db_query_length"], len(script) - 1)
        await self.until(lambda: self.sink.named("db.session.end"))
        ended = self.sink.named("db.session.result") or [told]  # where it took more than a second
        self.assertEqual(ended[0]["affected_records"], 1)

    def transcript(self) -> str:
        """What the recordings show."""
        shown = b""
        for path in sorted((self.root / "recordings").iterdir()):
            for record in Reader().feed(path.read_bytes()):
                if isinstance(record.fact, Output):
                    shown += record.fact.data
        return shown.decode()


@pytest.mark.servers
class RefusalTests(PostgresTestCase):
    """
    What roles and certificates do not allow.
    """

    async def test_roles_say_which_users_and_databases(self) -> None:
        """
        In PostgreSQL's words, and in the log with the reason.
        """
        port = await self.started()
        for where, wanted in [
            ("dbname=alice user=bob", "access denied to database \"alice\" as 'bob'"),
            ("dbname=other user=alice", "access denied to database 'other'"),
            ("dbname=alice user=alice replication=database", "replication connections are not served"),
            ("dbname=alice user=alice options='-c role=bob'", "is not served"),
        ]:
            said = await self.psql(port, "select 1", where, 2)
            self.assertIn("FATAL", said)
            self.assertIn(wanted.replace('\\"', "'").replace('"', "'"), said)
        refused = await self.until(lambda: self.sink.named("db.session.start"))
        self.assertEqual([each["code"] for each in refused], ["TDB00W"] * 4)
        self.assertIn("db_users 'bob'", refused[0]["error"])
        self.assertIn("db_names 'other'", refused[1]["error"])

    async def test_a_name_left_out_is_judged_as_the_server_would_fill_it_in(self) -> None:
        """
        carol may be used, and no database of that name.
        """
        port = await self.started()
        said = await self.psql(port, "select 1", "user=carol", 2)
        self.assertIn("access denied to database 'carol'", said)

    async def test_a_certificate_for_one_user_is_not_for_another(self) -> None:
        """
        Though the roles allow both.
        """
        await self.started()
        port = await self.listen(user="alice", name="alice")
        self.assertIn(
            "certificate is for database user 'alice'", await self.psql(port, "", "dbname=alice user=carol", 2)
        )
        self.assertEqual(await self.psql(port, "select 1"), "1\n")

    async def test_what_the_server_refuses_is_told_in_its_words(self) -> None:
        """
        An existing user with a database that is not there.
        """
        self.role("wide", allow={"db_users": ["*"], "db_names": ["*"]})
        await self.started()
        port = await self.listen(user="", roles=("wide",))
        self.assertIn('database "nowhere" does not exist', await self.psql(port, "", "dbname=nowhere user=alice", 2))
        (start,) = await self.until(lambda: self.sink.named("db.session.start"))
        self.assertEqual(start["code"], "TDB00W")
        self.assertIn("3D000", start["error"])


@pytest.mark.servers
class LoginTests(PostgresTestCase):
    """
    How we prove ourselves to the server.
    """

    async def test_passwords_of_every_kind_come_from_the_user(self) -> None:
        """
        SCRAM bound to the channel, MD5 and clear text, all within TLS.
        """
        port = await self.started()
        for user in ("carol", "dave", "erin"):
            where = f"dbname=postgres user={user} password=pencil"
            self.assertEqual(await self.psql(port, "select current_user", where), f"{user}\n")
            wrong = f"dbname=postgres user={user} password=wrong"
            self.assertIn("password authentication failed", await self.psql(port, "", wrong, 2))
        told = "".join(str(event.fields()) for event in self.sink.events)
        self.assertNotIn("pencil", told)

    async def test_certificates_are_signed_once_for_each_user(self) -> None:
        """
        A second session asks auth for nothing.
        """
        port = await self.started()
        for _ in range(3):
            await self.psql(port, "select 1")
        self.assertEqual(self.certifier.issued, ["alice"])

    async def test_a_server_that_cannot_be_reached_is_a_clear_error(self) -> None:
        """
        And comes back.
        """
        await self.serve(PostgresEngine(), "postgres", 1)
        port = await self.listen(user="")
        self.assertIn("cannot be reached", await self.psql(port, "", code=2))


@pytest.mark.servers
class DriverTests(PostgresTestCase):
    """
    By drivers.
    """

    async def test_prepared_statements_and_pipelines(self) -> None:
        """
        psycopg: parameters are told as text, a pipeline's answers go to their statements.
        """
        import psycopg

        port = await self.started()

        def fail(connection: Any) -> None:
            with connection.pipeline():
                connection.execute("select 1/0 + %s", (0,))
                connection.execute("select %s::text", ("never",))

        def work() -> list[Any]:
            where = f"host=127.0.0.1 port={port} sslmode=disable dbname=alice user=alice"
            with psycopg.connect(where, autocommit=True) as connection:
                found = connection.execute("select %s::int + 1, %s", (41, None), binary=True).fetchall()
                with connection.pipeline():
                    cursors = [connection.execute("select %s::text", (str(number),)) for number in range(50)]
                    found += [cursor.fetchone() for cursor in cursors]
                self.assertRaises(psycopg.Error, fail, connection)
                with connection.cursor() as cursor, cursor.copy("copy things to stdout (format binary)") as copy:
                    found.append(len(b"".join(copy)))
            return found

        found = await self.in_thread(work)
        self.assertEqual(found[0], (42, None))
        self.assertEqual([each[0] for each in found[1:51]], [str(number) for number in range(50)])
        await self.until(lambda: self.sink.named("db.session.end"))
        executed = self.sink.named("db.session.postgres.statements.execute")
        self.assertEqual((executed[0]["parameters"], executed[0]["affected_records"]), (["41", None], 1))
        self.assertEqual([each["parameters"] for each in executed[1:51]], [[str(number)] for number in range(50)])
        self.assertIn("division by zero", executed[51]["error"])
        self.assertEqual(executed[52]["error"], "not executed: a statement before it failed")

    async def test_binary_parameters_are_read_by_their_types(self) -> None:
        """
        asyncpg sends all in binary, of types it has asked the server for; the policy masks them where it says so.
        """
        port = await self.started(policy=Policy(Keeping.FULL))
        await self.in_thread(_asyncpg, port)
        await self.until(lambda: self.sink.named("db.session.end"))
        bound = [
            each["parameters"]
            for each in self.sink.named("db.session.postgres.statements.bind")
            if "parameters" in each
        ]
        self.assertIn(["7", "true story", "1.5", "12345.678", "t"], bound)

    async def test_a_cancel_request_cancels(self) -> None:
        """
        From the same user, over a connection of its own.
        """
        import psycopg

        port = await self.started()
        stopped: list[str] = []

        def work() -> None:
            where = f"host=127.0.0.1 port={port} sslmode=disable dbname=alice user=alice"
            with psycopg.connect(where, autocommit=True) as connection:
                timer = threading.Timer(0.3, connection.cancel_safe)
                timer.start()
                try:
                    connection.execute("select pg_sleep(30)")
                except psycopg.errors.QueryCanceled as error:
                    stopped.append(str(error))
                timer.join()
                stopped.append(str(connection.execute("select 1").fetchone()))

        await self.in_thread(work)
        self.assertEqual(stopped, ["canceling statement due to user request", "(1,)"])


@pytest.mark.servers
class EndingTests(PostgresTestCase):
    """
    Sessions that we end.
    """

    async def test_a_lock_says_goodbye_and_stops_the_statement(self) -> None:
        """
        In PostgreSQL's words, within two seconds; the server works on it no more.
        """
        import psycopg

        assert server is not None
        port = await self.started()
        said: list[str] = []

        def work() -> None:
            where = f"host=127.0.0.1 port={port} sslmode=disable dbname=alice user=alice"
            with psycopg.connect(where, autocommit=True) as connection:
                try:
                    connection.execute("select pg_sleep(60)")
                except psycopg.OperationalError as error:
                    said.append(f"{error.sqlstate} {error}")

        done = self.in_thread(work)
        await self.until(self.queries)  # told of because it takes long
        self.agent.commons.lifetimes.end_all(Ending("locked", "user alice is locked"))
        await done
        self.assertEqual(len(said), 1)
        self.assertIn("57P01", said[0])
        self.assertIn("user alice is locked", said[0])
        (end,) = await self.until(lambda: self.sink.named("db.session.end"))
        self.assertEqual(end["reason"], "locked")
        (result,) = self.sink.named("db.session.result")
        self.assertTrue(result["error"])
        count = "select count(*) from pg_stat_activity where query like '%pg_sleep(60)%' and pid <> pg_backend_pid()"
        peer = server
        await self.until(lambda: peer.sql(count) == "0")

    async def test_a_server_that_dies_is_a_clear_error(self) -> None:
        """
        Its process for the session is killed, and cannot say a word itself.
        """
        import psycopg

        assert server is not None
        peer, port = server, await self.started()
        said: list[str] = []

        def work() -> None:
            where = f"host=127.0.0.1 port={port} sslmode=disable dbname=alice user=alice"
            with psycopg.connect(where, autocommit=True) as connection:
                os.kill(connection.info.backend_pid, signal.SIGKILL)
                try:
                    connection.execute("select 1")
                except psycopg.OperationalError as error:
                    said.append(f"{error.sqlstate} {error}")

        await self.in_thread(work)
        self.assertIn("08006 the database has closed the connection", said[0])
        await self.until(lambda: self.sink.named("db.session.end"))
        await self.in_thread(lambda: self.recovered(peer))

    @staticmethod
    def recovered(peer: Postgres) -> None:
        """PostgreSQL starts anew after such a death."""
        for _ in range(100):
            if peer.is_ready():
                return
            time.sleep(0.1)

    async def test_nonsense_is_refused_and_told(self) -> None:
        """
        In the middle of a session, and in place of its beginning; others do not notice.
        """
        port = await self.started()

        def work() -> list[bytes]:
            found = []
            opening = b"user\0alice\0database\0alice\0\0"
            startup = (len(opening) + 8).to_bytes(4, "big") + b"\0\3\0\0" + opening
            for data in (b"GET / HTTP/1.0\r\n\r\n", startup, startup[:4] + b"\0\2\0\0" + opening):
                with socket.create_connection(("127.0.0.1", port), 20) as connection:
                    connection.sendall(data)
                    if data is startup:
                        while not (got := connection.recv(65536)).endswith(b"Z\0\0\0\5I"):
                            self.assertTrue(got)
                        connection.sendall(b"p\0\0\0\4" + b"Q\0\0\0\x0dselect 1\0")
                    said = b""
                    while got := connection.recv(65536):
                        said += got
                    found.append(said)
            return found

        http, session, old = await self.in_thread(work)
        for said, code in ((http, b"08P01"), (session, b"08P01"), (old, b"0A000")):
            self.assertEqual((said[:1], said.count(code)), (b"E", 1))
        self.assertEqual(len(await self.until(lambda: self.sink.named("db.session.malformed_packet"))), 1)
        self.assertEqual(self.queries(), [])
        self.assertEqual(await self.psql(port, "select 1"), "1\n")


def _asyncpg(port: int) -> None:
    import asyncio

    import asyncpg

    async def work() -> None:
        connection = await asyncpg.connect(host="127.0.0.1", port=port, user="alice", database="alice", ssl=False)
        statement = "select $1::int, $2::text, $3::float8, $4::numeric, $5::bool"
        from decimal import Decimal

        await connection.fetch(statement, 7, "true story", 1.5, Decimal("12345.678"), True)
        await connection.close()

    asyncio.run(work())
