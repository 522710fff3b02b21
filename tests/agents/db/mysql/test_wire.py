"""
What no driver does, and ends.
"""

from __future__ import annotations

from typing import Any

import pytest

from teleport_tw.protocols.mysql.compression import Unwrapper, Wrapper
from teleport_tw.protocols.mysql.handshake import encode_response, parse_error, proxy_greeting
from teleport_tw.protocols.mysql.messages import HandshakeResponse
from teleport_tw.protocols.mysql.wire import packets
from tests.agents.db.mysql.rig import C, ServerTestCase, Wire
from tests.doubles.cluster import lock
from tests.peers.mariadb import MariaDB

pymysql = pytest.importorskip("pymysql")

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(MariaDB.missing()), reason=MariaDB.missing()),
]


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
        await self.until(lambda: sum(session.telling.queries for session in self.agent.commons.sessions) == 2)
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
        await self.until(lambda: sum(session.telling.queries for session in self.agent.commons.sessions))
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
