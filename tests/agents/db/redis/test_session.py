"""
Real clients through the agent to a real Redis.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from twisted.internet.defer import Deferred

from teleport_tw.agents.db.policy import Keeping, Policy
from teleport_tw.agents.db.redis.session import RedisEngine
from teleport_tw.protocols.redis.messages import Value
from teleport_tw.protocols.redis.wire import Decoder, command
from tests.agents.db.rig import DatabaseTestCase
from tests.doubles.cluster import lock
from tests.peers.process import found, shared
from tests.peers.redis import Redis

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing()),
]
PASSWORDS = {"alice": "wonderland", "bob": "builder"}


class Wire:
    """
    A client that shows each value.
    """

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 20)
        self._decoder = Decoder(1 << 26)
        self._values: list[Value] = []

    def send(self, *words: str | bytes) -> None:
        """One command."""
        self.socket.sendall(command(*words))

    def read(self) -> str:
        """@return: the next value's repr without the class's module; empty at the end."""
        while not self._values:
            data = self.socket.recv(1 << 16)
            if not data:
                return ""
            self._values += self._decoder.feed(data)
        return repr(self._values.pop(0))

    def ask(self, *words: str | bytes) -> str:
        """Both."""
        self.send(*words)
        return self.read()


@contextmanager
def wire(port: int, user: str = "alice") -> Iterator[Wire]:
    """
    Signed in.
    """
    client = Wire(port)
    try:
        if user:
            assert client.ask("AUTH", user, PASSWORDS[user]) == "SimpleString(text=b'OK')"
        yield client
    finally:
        client.socket.close()


class RedisCase(DatabaseTestCase):
    """
    An agent in front of the shared Redis.
    """

    def setUp(self) -> None:
        super().setUp()
        shared(Redis).cli("flushall")
        self.role("access", allow={"db_users": ["alice", "bob", "default"]})

    async def there(
        self,
        *,
        policy: Policy | None = None,
        passwords: dict[str, str] | None = None,
        port: int = 0,
        user: str = "alice",
        **more: Any,
    ) -> int:
        """
        @return: the port of a user.
        """
        port = port or shared(Redis).port
        await self.serve(RedisEngine(), "redis", port, policy=policy, passwords=passwords, **more)
        return await self.listen(user=user)

    async def wired(self, work: Callable[[Wire], Any], *, user: str = "alice", port: int = 0) -> Any:
        """
        Run a client of ours, signed in.
        """
        port = port or await self.there()

        def run() -> Any:
            with wire(port, user) as client:
                return work(client)

        return await self.in_thread(run)

    def texts(self) -> list[str]:
        """
        @return: commands that were told of, refused ones too.
        """
        names = ("db.session.query", "db.session.query.failed")
        return [event.fields()["db_query"] for event in self.sink.events if event.NAME in names]


def client(port: int, **options: Any) -> redis.Redis:
    """
    redis-py's, which retries nothing.
    """
    return redis.Redis(
        **{
            "host": "127.0.0.1",
            "port": port,
            "username": "alice",
            "password": "wonderland",
            "retry": Retry(NoBackoff(), 0),
            "decode_responses": True,
            **options,
        }
    )


class DriverTests(RedisCase):
    """
    redis-py and redis-cli.
    """

    async def test_both_protocols(self) -> None:
        """
        The ordinary things, in RESP2 and RESP3, and all of it in the audit log.
        """
        port = await self.there()

        def work(version: int) -> None:
            with client(port, protocol=version) as our:
                self.assertTrue(our.set(f"k{version}", "v"))
                self.assertEqual(our.get(f"k{version}"), "v")
                our.hset("h", mapping={"a": "1", "b": "2"})
                self.assertEqual(our.hgetall("h"), {"a": "1", "b": "2"})
                self.assertEqual(our.zadd("z", {"m": 1.5}), 1)
                self.assertEqual(our.zscore("z", "m"), 1.5)
                with our.pipeline(transaction=True) as pipe:
                    self.assertEqual(pipe.set("t", 1).incr("t").get("t").execute(), [True, 2, "2"])
                with self.assertRaises(redis.ResponseError):
                    our.lpush("h", "x")
                self.assertEqual(our.eval("return {1, {KEYS[1], 'x'}}", 1, "k"), [1, ["k", "x"]])
                our.delete("t", "h", "z")

        for version in (2, 3):
            await self.in_thread(work, version)
        told = self.texts()
        self.assertIn("SET k2 v", told)
        self.assertIn("MULTI", told)
        self.assertIn("HELLO 3 AUTH alice ****", told)
        self.assertNotIn("wonderland", " ".join(told))
        every = self.sink.named("db.session.query.failed")
        failed, _ = [event for event in every if event["db_query"] == "LPUSH h x"]
        self.assertIn("WRONGTYPE", failed["error"])
        start = self.sink.named("db.session.start")[0]
        self.assertEqual((start["code"], start["db_user"], start["db_protocol"]), ("TDB00I", "alice", "redis"))
        await self.until(lambda: len(self.sink.named("db.session.end")) >= 2)

    async def test_command_line(self) -> None:
        """
        redis-cli, which asks for the commands there are before anything else.
        """
        port = await self.there()

        def work() -> list[str]:
            said = []
            for words in (("-3", "get", "k"), ("set", "k", "v"), ("get", "k")):
                base = [found("redis-cli", "redis-tools"), "-p", str(port), "--user", "alice", "--pass", "wonderland"]
                done = subprocess.run(
                    [*base, "--no-auth-warning", *words], capture_output=True, text=True, timeout=30, check=False
                )
                said.append(done.stdout.strip() + done.stderr.strip())
            base = [found("redis-cli", "redis-tools"), "-p", str(port)]
            lines = "get k\nauth alice wrong\nauth alice wonderland\nget k\n"
            done = subprocess.run(base, input=lines, capture_output=True, text=True, timeout=30, check=False)
            return [*said, *done.stdout.split("\n")]

        said = await self.in_thread(work)
        self.assertEqual(said[1:3], ["OK", "v"])
        self.assertIn("NOAUTH Authentication required.", said[3])
        self.assertIn("WRONGPASS", "".join(said[4:]))
        self.assertEqual(said[-3:-1], ["OK", "v"])

    async def test_publish_subscribe(self) -> None:
        """
        Both versions: channels, patterns and shards, with every way to leave.
        """
        port = await self.there()

        def work(version: int) -> list[Any]:
            with client(port, protocol=version) as our, client(port) as other, our.pubsub() as sub:
                sub.subscribe("a", "b")
                sub.psubscribe("p*")
                sub.ssubscribe("s")
                for _ in range(4):
                    sub.get_message(timeout=5)
                other.publish("a", "1")
                other.publish("px", "2")
                other.spublish("s", "3")
                heard = [sub.get_message(timeout=5) for _ in range(3)]
                sub.ping()
                pong = sub.get_message(timeout=5)
                sub.unsubscribe()
                sub.punsubscribe()
                sub.sunsubscribe()
                left = [sub.get_message(timeout=5) for _ in range(4)]
                return [
                    [(each["type"], each["data"]) for each in heard if each],
                    pong and pong["type"],
                    sorted(each["type"] for each in left if each),
                ]

        for version in (2, 3):
            heard, pong, left = await self.in_thread(work, version)
            self.assertEqual(sorted(heard), [("message", "1"), ("pmessage", "2"), ("smessage", "3")])
            self.assertIn(pong, ("pong", "P"))  # what redis-py makes of +PONG in RESP3
            self.assertEqual(left, ["punsubscribe", "sunsubscribe", "unsubscribe", "unsubscribe"])

    async def test_half_a_gigabyte_passes(self) -> None:
        """
        As far as a test has the time: 64 MB in and out, of which little is held and less is kept.
        """
        port = await self.there()
        big = b"0123456789abcdef" * (4 << 20)

        def work() -> None:
            with client(port, decode_responses=False, socket_timeout=60) as our:
                our.set("big", big)
                self.assertEqual(our.strlen("big"), len(big))
                self.assertEqual(our.get("big"), big)

        await self.in_thread(work)
        event = next(event for event in self.queries() if event["db_query"].startswith("SET big"))
        self.assertTrue(event["db_query"].endswith("… [truncated]"))
        self.assertLess(len(event["db_query"]), 1 << 16)


class WireTests(RedisCase):
    """
    What drivers do not show.
    """

    async def test_pipeline(self) -> None:
        """
        A refusal comes in its turn between replies of the server, and what it refuses is not done.
        """

        def work(our: Wire) -> list[str]:
            our.socket.sendall(
                command("SET", "k", "1")
                + command("AUTH", "bob", "builder")
                + command("INCR", "k")
                + b"SET inline 'a b'\r\n"
                + command("AUTH", "secret")
                + command("HELLO", "3", "AUTH", "bob", "builder")
                + command("ACL", "WHOAMI")
            )
            return [our.read() for _ in range(7)]

        said = await self.wired(work)
        self.assertEqual(said[0], "SimpleString(text=b'OK')")
        self.assertEqual(said[2], "Integer(value=2)")
        for refused in (said[1], said[4], said[5]):
            self.assertIn("this session is for database user \\'alice\\'", refused.replace("'alice'", "\\'alice\\'"))
        self.assertEqual(said[6], "Bulk(octets=b'alice')")
        self.assertEqual(shared(Redis).cli("get", "inline"), "a b")
        failed = [event["db_query"] for event in self.sink.named("db.session.query.failed")]
        self.assertEqual(failed, ["AUTH bob ****", "AUTH ****", "HELLO 3 AUTH bob ****"])
        self.assertNotIn("builder", str(self.sink.events))

    async def test_nobody_gets_through_unsigned(self) -> None:
        """
        Also where the server's default user may do everything; and C{RESET} does not make anybody that user.
        """
        with Redis(default="on nopass ~* &* +@all") as peer:
            port = await self.there(port=peer.port)

            def work() -> list[str]:
                our = Wire(port)
                said = [our.ask("SET", "stolen", "1"), our.ask("AUTH", "alice", "wrong"), our.ask("GET", "k")]
                our.socket.sendall(command("AUTH", "alice", "wrong") + command("SET", "stolen", "2"))
                said += [our.read(), our.read()]
                our.socket.sendall(command("AUTH", "alice", "wonderland") + command("SET", "fine", "1"))
                said += [our.read(), our.read()]
                our.socket.sendall(command("RESET") + command("SET", "stolen", "3"))
                said += [our.read(), our.read(), our.ask("HELLO", "2", "AUTH", "alice", "wonderland")]
                said.append(our.ask("ACL", "WHOAMI"))
                our.socket.close()
                return said

            said = await self.in_thread(work)
            self.assertEqual(peer.cli("exists", "stolen"), "0")
            self.assertEqual(peer.cli("exists", "fine"), "1")
        for index in (0, 2, 4, 8):
            self.assertIn("NOAUTH", said[index])
        self.assertIn("WRONGPASS", said[1])
        self.assertIn("WRONGPASS", said[3])
        self.assertEqual(said[10], "Bulk(octets=b'alice')")

    async def test_default_user(self) -> None:
        """
        A session for the default user needs no signing in where the server asks for none, and is no other's.
        """
        with Redis(default="on nopass ~* &* +@all") as peer:
            port = await self.there(port=peer.port, user="default")

            def work() -> list[str]:
                our = Wire(port)
                said = [our.ask("SET", "k", "1"), our.ask("AUTH", "x"), our.ask("AUTH", "alice", "wonderland")]
                said += [our.ask("RESET"), our.ask("GET", "k")]
                our.socket.close()
                return said

            said = await self.in_thread(work)
        self.assertIn("OK", said[0])
        self.assertIn("without any password configured", said[1])  # the server's own words
        self.assertIn("this session is for", said[2])
        self.assertEqual(said[4], "Bulk(octets=b'1')")

    async def test_password_of_the_agent(self) -> None:
        """
        The agent signs in; whatever the user types as password is not what is sent; C{RESET} is followed by it.
        """
        port = await self.there(passwords={"alice": "wonderland"})

        def work(our: Wire) -> list[str]:
            said = [our.ask("ACL", "WHOAMI"), our.ask("AUTH", "alice", "nonsense")]
            said += [our.ask("HELLO", "3", "AUTH", "alice", "nonsense", "SETNAME", "me"), our.ask("CLIENT", "GETNAME")]
            our.socket.sendall(command("RESET") + command("ACL", "WHOAMI"))
            return [*said, our.read(), our.read(), our.ask("AUTH", "bob", "builder")]

        said = await self.wired(work, user="", port=port)
        self.assertEqual(said[0], "Bulk(octets=b'alice')")
        self.assertIn("OK", said[1])
        self.assertIn("proto", said[2])
        self.assertEqual(said[3], "Bulk(octets=b'me')")
        self.assertEqual(said[4:6], ["SimpleString(text=b'RESET')", "Bulk(octets=b'alice')"])
        self.assertIn("this session is for", said[6])

    async def test_wrong_password_of_the_agent(self) -> None:
        """
        The first command hears of it.
        """
        port = await self.there(passwords={"alice": "outdated"})

        def work() -> list[str]:
            our = Wire(port)
            return [our.ask("PING"), our.read()]

        said = await self.in_thread(work)
        self.assertIn("did not take our password", said[0])
        self.assertEqual(said[1], "")
        [start] = self.sink.named("db.session.start")
        self.assertEqual(start["code"], "TDB00W")

    async def test_reply_off_and_skip(self) -> None:
        """
        As the server has them.
        """

        def work(our: Wire) -> list[str]:
            for words in (
                ("CLIENT", "REPLY", "OFF"),
                ("SET", "k", "1"),
                ("AUTH", "bob", "x"),
                ("CLIENT", "REPLY", "ON"),
            ):
                our.send(*words)
            said = [our.read()]
            our.send("CLIENT", "REPLY", "SKIP")
            our.send("INCR", "k")
            return [*said, our.ask("INCR", "k")]

        self.assertEqual(await self.wired(work), ["SimpleString(text=b'OK')", "Integer(value=3)"])

    async def test_transactions(self) -> None:
        """
        A refusal inside spoils the transaction, as any error does.
        """

        def work(our: Wire) -> list[str]:
            said = []
            for inside in (("AUTH", "bob", "x"), ("SUBSCRIBE", "a"), ("CLIENT", "REPLY", "OFF")):
                said += [our.ask("MULTI"), our.ask("SET", "k", "1"), our.ask(*inside), our.ask("EXEC")]
            return [*said, our.ask("GET", "k")]

        said = await self.wired(work)
        for start in (0, 4, 8):
            self.assertIn("QUEUED", said[start + 1])
            self.assertIn("ERR Teleport", said[start + 2])
            self.assertIn("EXECABORT", said[start + 3])
        self.assertEqual(said[-1], "Null(form=36)")

    async def test_blocking_and_monitor(self) -> None:
        """
        What takes long holds up nobody else; what somebody monitors comes as it happens.
        """
        port = await self.there()

        def work() -> list[str]:
            with wire(port) as first, wire(port) as second, wire(port) as watching:
                said = [watching.ask("MONITOR")]
                first.send("BLPOP", "list", "20")
                said.append(second.ask("LPUSH", "list", "x"))
                said += [first.read(), watching.read(), watching.ask("RESET")]
                while "RESET" not in said[-1]:
                    said.append(watching.read())
                return said

        said = await self.in_thread(work)
        self.assertEqual(said[1], "Integer(value=1)")
        self.assertIn("b'x'", said[2])
        self.assertTrue(any("BLPOP" in line or "LPUSH" in line for line in said[3:]))
        told = [event for event in self.queries() if event["db_query"] == "BLPOP list 20"]
        self.assertEqual(len(told), 1)

    async def test_subscriptions_in_one_go(self) -> None:
        """
        Subscriptions, messages and refusals in one read, in both versions.
        """
        port = await self.there()

        def work(version: str) -> list[str]:
            with wire(port) as our:
                our.ask("HELLO", version)
                our.socket.sendall(
                    command("SUBSCRIBE", "a", "b")
                    + command("PUBLISH" if version == "3" else "PING", *(("a", "m") if version == "3" else ()))
                    + command("AUTH", "bob", "x")
                    + command("UNSUBSCRIBE")
                    + command("UNSUBSCRIBE")
                    + command("GET", "k")
                )
                return [our.read() for _ in range(8 + (version == "3"))]

        for version in ("2", "3"):
            said = await self.in_thread(work, version)
            self.assertIn("Teleport", said[3 + (version == "3")])
            self.assertIn("Null", said[-1])

    async def test_copy(self) -> None:
        """
        C{redis-cli --rdb} gets its copy of everything.
        """
        port = await self.there()
        file = self.root / "copy.rdb"

        def work() -> bytes:
            base = [found("redis-cli", "redis-tools"), "-p", str(port), "--user", "alice", "--pass", "wonderland"]
            done = subprocess.run([*base, "--rdb", str(file)], capture_output=True, timeout=60, check=False)
            return done.stderr

        said = await self.in_thread(work)
        self.assertEqual(file.read_bytes()[:5] if file.exists() else said, b"REDIS")
        self.assertTrue([text for text in self.texts() if "SYNC" in text.upper()])

    async def test_bad_bytes(self) -> None:
        """
        They end the session with Redis's own error, and are told of.
        """

        def work(our: Wire) -> list[str]:
            our.socket.sendall(b"*1\r\n:1\r\n")
            return [our.read(), our.read()]

        said = await self.wired(work)
        self.assertIn("Protocol error: expected '$'", said[0])
        self.assertEqual(said[1], "")
        [event] = self.sink.named("db.session.malformed_packet")
        self.assertIn("expected '$'", event["error"])

    async def test_values_are_kept_back(self) -> None:
        """
        By policy.
        """
        port = await self.there(policy=Policy(parameters=Keeping.MASKED))
        await self.wired(lambda our: our.ask("SET", "k", "private"), port=port)
        self.assertEqual(self.texts()[-1], "SET k ***")


class EndingTests(RedisCase):
    """
    Refusals, locks, and a server that goes.
    """

    async def test_refused_by_role(self) -> None:
        """
        The first command hears why.
        """
        port = await self.there(user="admin")

        def work() -> list[str]:
            our = Wire(port)
            return [our.ask("PING"), our.read()]

        said = await self.in_thread(work)
        self.assertIn("ERR Teleport: access denied as 'admin'", said[0])
        self.assertEqual(said[1], "")

    async def test_lock(self) -> None:
        """
        It ends the session with words.
        """
        port = await self.there()
        ready, go = threading.Event(), threading.Event()

        def work() -> list[str]:
            with wire(port) as our:
                said = [our.ask("PING")]
                ready.set()
                go.wait(20)
                return [*said, our.read(), our.read()]

        running = self.in_thread(work)
        await self.until(ready.is_set)
        self.cluster.copy.put(lock("l", "holiday", user="alice"))
        go.set()
        said = await running
        self.assertIn("holiday", said[1])
        self.assertEqual(said[2], "")
        [end] = await self.until(lambda: self.sink.named("db.session.end"))
        self.assertIn("lock", end["reason"])

    async def test_a_server_that_goes(self) -> None:
        """
        Whoever waits for a reply hears of it; new ones are told that it cannot be reached.
        """
        with Redis() as peer:
            port = await self.there(port=peer.port)
            ready = threading.Event()

            def work() -> list[str]:
                with wire(port) as our:
                    our.send("BLPOP", "x", "0")
                    ready.set()
                    return [our.read(), our.read()]

            running = self.in_thread(work)
            await self.until(ready.is_set)
            await self.until(lambda: "blocked_clients:1" in peer.cli("info", "clients"))
            peer.kill()
            said = await running
            self.assertIn("the database has closed the connection", said[0])
            self.assertEqual(said[1], "")

            def again() -> str:
                return Wire(port).ask("PING")

            self.assertIn("cannot be reached", await self.in_thread(again))
            peer.start()
            with_password = await self.wired(lambda our: our.ask("PING"), port=port)
            self.assertEqual(with_password, "SimpleString(text=b'PONG')")

    async def test_a_server_that_is_silent(self) -> None:
        """
        When it is to take our password.
        """
        port = await self.there()

        async def login(*_: Any) -> Any:
            await Deferred()

        session = "teleport_tw.agents.db.redis.session"
        with mock.patch(f"{session}.login", login), mock.patch(f"{session}.LOGIN_SECONDS", 0.3):
            said = await self.wired(lambda our: our.ask("AUTH", "alice", PASSWORDS["alice"]), user="", port=port)
        self.assertIn("it takes too long to answer", said)

    async def test_quit(self) -> None:
        """
        The server says goodbye and closes.
        """
        said = await self.wired(lambda our: [our.ask("QUIT"), our.read()])
        self.assertEqual(said, ["SimpleString(text=b'OK')", ""])
