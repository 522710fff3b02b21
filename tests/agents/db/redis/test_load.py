"""
Much at once, too much at once, and servers that are none.
"""

from __future__ import annotations

import ssl
import threading
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from teleport_tw.agents.db.redis.session import MAX_WAITING
from teleport_tw.base.net.endpoints import TLSServer
from teleport_tw.protocols.redis.wire import command
from tests.agents.db.redis.test_session import RedisCase, Wire, wire
from tests.peers.certificates import authorities
from tests.peers.process import shared
from tests.peers.redis import Redis

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing())]


class LoadTests(RedisCase):
    """
    What is held is bounded, and nobody waits for anybody else.
    """

    async def test_a_reader_that_is_slow(self) -> None:
        """
        It is sent no more than it takes, and then all of it; somebody else is answered meanwhile.
        """
        port = await self.there()
        big, count = b"x" * (1 << 20), 60

        def work() -> list[Any]:
            with wire(port) as slow, wire(port) as other:
                slow.ask("SET", "big", big)
                slow.socket.sendall(command("GET", "big") * count)
                said = [other.ask("PING") for _ in range(50)]
                sent = max(session.sent for session in self.agent.commons.sessions)
                return [said, sent, [len(slow.read()) for _ in range(count)]]

        said, sent, lengths = await self.in_thread(work)
        self.assertEqual(set(said), {"SimpleString(text=b'PONG')"})
        self.assertLess(sent, count * len(big) // 2)
        self.assertEqual(len(set(lengths)), 1)

    async def test_many_commands_behind_one_that_waits(self) -> None:
        """
        From some number on they wait with the user, and all are answered in order in the end.
        """
        port = await self.there()
        count = MAX_WAITING * 3

        def work() -> list[Any]:
            with wire(port) as our, wire(port) as other:
                our.send("BLPOP", "list", "0")
                sender = threading.Thread(target=our.socket.sendall, args=(b"PING\r\n" * count,))
                sender.start()
                while shared(Redis).cli("info", "clients").find("blocked_clients:1") < 0:
                    pass
                other.ask("LPUSH", "list", "x")
                first, rest = our.read(), [our.read() for _ in range(count)]
                sender.join()
                return [first, set(rest)]

        first, rest = await self.in_thread(work)
        self.assertIn("b'x'", first)
        self.assertEqual(rest, {"SimpleString(text=b'PONG')"})

    async def test_long_commands_that_are_refused(self) -> None:
        """
        Nothing of them reaches the server, and what comes behind is read where it begins.
        """
        port = await self.there()
        big = "x" * (1 << 20)

        def work() -> list[str]:
            our = Wire(port)
            our.socket.sendall(command("SET", "stolen", big) + command("AUTH", "alice", "wonderland"))
            said = [our.read(), our.read()]
            our.socket.sendall(command("AUTH", "alice", big) + command("GET", "stolen"))
            said += [our.read(), our.read()]
            our.socket.close()
            return said

        said = await self.in_thread(work)
        self.assertIn("NOAUTH", said[0])
        self.assertIn("OK", said[1])
        self.assertIn("syntax error in AUTH", said[2])
        self.assertIn("Null", said[3])

    async def test_bad_bytes_behind_much(self) -> None:
        """
        The error comes whatever came before, and the session ends.
        """

        def work(our: Wire) -> list[str]:
            our.socket.sendall(b"*2\r\n$3\r\nGET\r\n$200000\r\n" + b"x" * 200_000 + b"\r\n!!\r\n")
            our.socket.sendall(b"*3\r\n$3\r\nSET\r\n$200000\r\n" + b"x" * 200_000 + b"\r\n:1\r\n")
            said = [our.read()]
            while said[-1]:
                said.append(our.read())
            return said

        said = await self.wired(work)
        self.assertIn("Protocol error", said[-2])


class _Says(Protocol):
    def dataReceived(self, data: bytes) -> None:
        factory: Any = self.factory  # type: ignore[attr-defined]
        answer = factory.answers.pop(0) if factory.answers else None
        if answer is None:
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self.transport.write(answer)  # type: ignore[union-attr]


class OddServerTests(RedisCase):
    """
    Servers that answer oddly.
    """

    async def _odd(self, *answers: bytes | None) -> int:
        files = authorities().server()
        certificate, key, _ = files.written(self.root)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        factory: Any = Factory.forProtocol(_Says)
        factory.answers = list(answers)
        listening = await TLSServer(reactor, "127.0.0.1", 0, context).listen(factory)
        self.addCleanup(listening.stopListening)
        return await self.there(port=listening.getHost().port)

    async def _said(self, port: int, *words: str) -> list[str]:
        def work() -> list[str]:
            our = Wire(port)
            with our.socket:
                return [our.ask(*words), our.read()]

        found: list[str] = await self.in_thread(work)
        return found

    async def test_no_redis(self) -> None:
        """
        Found out while signing in.
        """
        said = await self._said(await self._odd(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "PING")
        self.assertIn("cannot be signed in to: Protocol error", said[0])
        self.assertEqual(said[1], "")

    async def test_no_redis_later(self) -> None:
        """
        Found out when the user asks.
        """
        said = await self._said(await self._odd(b"$5\r\nalice\r\n", b"what?\r\n" * 20), "PING")
        self.assertIn("the database does not speak Redis", said[0])
        self.assertEqual(said[1], "")

    async def test_it_hangs_up(self) -> None:
        """
        While signing in; and while the user waits.
        """
        said = await self._said(await self._odd(None), "PING")
        self.assertIn("has closed the connection", said[0])
        await self.stop()
        said = await self._said(await self._odd(b"$5\r\nalice\r\n", None), "PING")
        self.assertIn("the database has closed the connection", said[0])

    async def test_signed_in_by_certificate(self) -> None:
        """
        Where the server says that it knows the user, nobody has to sign in; after C{RESET} somebody has to.
        """
        port = await self._odd(b"$5\r\nalice\r\n", b"+PONG\r\n", b"+RESET\r\n", b"-ERR auth needs arguments\r\n")

        def work() -> list[str]:
            our = Wire(port)
            with our.socket:
                return [our.ask("PING"), our.ask("RESET"), our.ask("PING")]

        said = await self.in_thread(work)
        self.assertIn("PONG", said[0])
        self.assertIn("RESET", said[1])
        self.assertIn("NOAUTH", said[2])

    async def test_older_than_users(self) -> None:
        """
        A server that knows no users is not taken for one that has let ours in.
        """
        said = await self._said(await self._odd(b"-ERR unknown command 'ACL'\r\n"), "PING")
        self.assertIn("older than Redis 6", said[0])
