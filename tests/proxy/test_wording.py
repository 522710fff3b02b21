"""
Why there is no way to a database, read by each protocol's own rules.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.protocols.mongodb import wire as mongodb
from teleport_tw.protocols.mysql import handshake
from teleport_tw.protocols.postgres.wire import Decoder
from teleport_tw.protocols.redis import wire as redis
from teleport_tw.proxy.databases import FAREWELL_SECONDS, Turned
from teleport_tw.proxy.wording import Said, said

OFFLINE = TeleportError(Kind.CONNECTION_PROBLEM, "database 'orders' is offline")
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
STARTUP = bytes.fromhex("0000001300030000") + b"user\0bob\0\0"
RESPONSE = bytes.fromhex("05000002") + b"hello"
HELLO = mongodb.encode_message({"hello": 1, "$db": "admin"}, 7)
OLD_HELLO = mongodb.encode_query("admin.$cmd", {"isMaster": 1}, 8)
PROTOCOLS = ("postgres", "cockroachdb", "mysql", "mongodb", "redis")


class WordingTests(SynchronousTestCase):
    """
    Bytes in, bytes out.
    """

    def test_postgres(self) -> None:
        """
        A fatal error with its class of SQLSTATE, once the client has said what it wants.
        """
        self.assertIsNone(said("postgres", OFFLINE, b""))
        self.assertEqual(said("postgres", OFFLINE, SSL_REQUEST), Said(8, b"N", over=False))
        for kind, state in (
            (Kind.CONNECTION_PROBLEM, "08006"),
            (Kind.ACCESS_DENIED, "28000"),
            (Kind.INTERNAL, "XX000"),
        ):
            told = said("cockroachdb", TeleportError(kind, "no ünicorn"), STARTUP)
            assert told is not None
            (error,) = Decoder.backend().feed(told.answer)
            self.assertEqual((error.sqlstate, error.message, error.fatal), (state, "no ünicorn", True))
            self.assertTrue(told.over)

    def test_mysql(self) -> None:
        """
        In place of the greeting; or, after one, in the turn of the client's answer.
        """
        first = said("mysql", OFFLINE, b"")
        assert first is not None
        self.assertEqual(first.answer[3], 0)
        error = handshake.parse_error(first.answer[4:])
        self.assertEqual((error.errno, error.message), (1429, OFFLINE.message))
        self.assertIsNone(said("mysql", OFFLINE, b"", greeted=True))
        after = said("mysql", OFFLINE, RESPONSE, greeted=True)
        assert after is not None
        self.assertEqual(after.answer[3], 3)

    def test_mongodb(self) -> None:
        """
        The reply to what was asked, in the form in which it was asked.
        """
        self.assertIsNone(said("mongodb", OFFLINE, HELLO[:15]))
        for asked, number in ((HELLO, 7), (OLD_HELLO, 8)):
            told = said("mongodb", OFFLINE, asked)
            assert told is not None
            self.assertEqual(int.from_bytes(told.answer[8:12], "little"), number)
            self.assertEqual(told.answer[12:16], (2013 if asked is HELLO else 1).to_bytes(4, "little"))
            self.assertIn(b"HostUnreachable", told.answer)
            self.assertIn(OFFLINE.message.encode(), told.answer)

    def test_redis(self) -> None:
        """
        One line, whatever was asked.
        """
        self.assertIsNone(said("redis", OFFLINE, b""))
        told = said("redis", TeleportError(Kind.ACCESS_DENIED, "no\r\n+OK"), b"*1")
        assert told is not None
        self.assertEqual(told.answer, b"-ERR no +OK\r\n")
        self.assertEqual(len(redis.Decoder().feed(told.answer)), 1)

    def test_unknown_protocol(self) -> None:
        """
        Nothing is said.
        """
        self.assertEqual(said("oracle", OFFLINE, b"x"), Said(1, b""))

    @given(st.sampled_from(PROTOCOLS), st.binary(max_size=64), st.booleans())
    def test_whatever_the_client_says(self, protocol: str, data: bytes, greeted: bool) -> None:
        """
        It is answered or waited for.
        """
        told = said(protocol, OFFLINE, data, greeted=greeted)
        if told is not None:
            self.assertTrue(told.answer)
            self.assertLessEqual(told.take, len(data))


class TurnedTests(SynchronousTestCase):
    """
    On a connection.
    """

    def turned(self, protocol: str, *, greeted: bool = False) -> Any:
        """
        Connected.
        """
        self.clock = Clock()
        shared: Any = type("Shared", (), {"clock": self.clock})()
        turned = Turned(shared, protocol, OFFLINE, greeted=greeted)
        self.transport = StringTransport()
        turned.makeConnection(self.transport)  # type: ignore[no-untyped-call]
        return turned

    def test_told_when_it_listens(self) -> None:
        """
        Byte by byte, after a refusal of TLS inside TLS.
        """
        turned = self.turned("postgres")
        for index in range(len(SSL_REQUEST + STARTUP)):
            turned.dataReceived((SSL_REQUEST + STARTUP)[index : index + 1])
        self.assertTrue(self.transport.value().startswith(b"NE"))
        self.assertTrue(self.transport.disconnecting)
        turned.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_told_once(self) -> None:
        """
        Whatever it goes on to say.
        """
        turned = self.turned("redis")
        turned.dataReceived(b"PING\r\n")
        told = self.transport.value()
        turned.dataReceived(b"PING\r\n" * 100)
        self.assertEqual(self.transport.value(), told)

    def test_told_at_once(self) -> None:
        """
        Where the server speaks first.
        """
        self.turned("mysql")
        self.assertTrue(self.transport.disconnecting)

    def test_silence(self) -> None:
        """
        Is waited for so long and no longer.
        """
        self.turned("redis")
        self.clock.advance(FAREWELL_SECONDS - 0.1)
        self.assertFalse(self.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(self.transport.disconnected)
        self.assertEqual(self.transport.value(), b"")
