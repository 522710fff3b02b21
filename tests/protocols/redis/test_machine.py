"""
Which reply answers what.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.protocols.redis.machine import KINDS, MISTAKE, REPLY_ON, Ledger
from teleport_tw.protocols.redis.replies import Walker
from teleport_tw.protocols.redis.requests import Request
from teleport_tw.protocols.redis.wire import command

MISTAKEN = b"-ERR wrong number of arguments for 'auth' command\r\n"
ON = b"+OK\r\n"


def request(*words: str) -> Request:
    """
    As it was read.
    """
    return Request(tuple(word.encode() for word in words), command(*words), len(words))


def confirmed(verb: str, channel: str, total: int, first: str = "*") -> bytes:
    """
    What the server says of each channel.
    """
    return f"{first}3\r\n${len(verb)}\r\n{verb}\r\n${len(channel)}\r\n{channel}\r\n:{total}\r\n".encode()


class _World:
    """
    A ledger with its walker.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.walker = Walker(self.ledger)

    def ask(self, *words: str) -> bytes:
        return self.ledger.ask(request(*words), " ".join(words))

    def hear(self, octets: bytes) -> bytes:
        return b"".join(self.walker.feed(octets))

    def answered(self) -> list[Any]:
        found = [asked.about for asked, _ in self.ledger.answered]
        self.ledger.answered.clear()
        return found


class LedgerTests(SynchronousTestCase):
    """
    Commands and their replies.
    """

    def setUp(self) -> None:
        self.world = _World()
        self.ask, self.hear, self.answered = self.world.ask, self.world.hear, self.world.answered

    def _hears(self, octets: bytes, *answered: str) -> None:
        self.assertEqual(self.hear(octets), octets)
        self.assertEqual(self.answered(), list(answered))

    def test_in_order(self) -> None:
        """
        One reply each; errors are known as such.
        """
        self.assertEqual(self.ask("GET", "a"), command("GET", "a"))
        self.ask("GET", "b")
        self.hear(b"$1\r\nx\r\n-WRONGTYPE no\r\n")
        [(first, fine), (second, error)] = self.world.ledger.answered
        self.assertEqual((first.about, fine, second.about, error), ("GET a", b"", "GET b", b"-WRONGTYPE no\r\n"))

    def test_unasked(self) -> None:
        """
        A server that speaks unasked is heard, and nothing is made of it.
        """
        self._hears(b"-ERR max number of clients reached\r\n")
        self._hears(b">2\r\n+invalidate\r\n*1\r\n$1\r\na\r\n")

    def test_refusal_in_its_turn(self) -> None:
        """
        Our words come where the server's would.
        """
        self.ask("GET", "a")
        self.assertEqual(self.world.ledger.refuse("ERR not you", "AUTH"), MISTAKE)
        self.ask("GET", "b")
        self.assertEqual(self.hear(b":1\r\n" + MISTAKEN + b":2\r\n"), b":1\r\n-ERR not you\r\n:2\r\n")
        self.assertEqual(self.answered(), ["GET a", "AUTH", "GET b"])

    def test_in_place_of_the_reply(self) -> None:
        """
        Something of our own is answered for nobody, or by other words.
        """
        ledger = self.world.ledger
        self.assertEqual(ledger.replace(command("AUTH", "a", "b"), b"", "ours"), command("AUTH", "a", "b"))
        ledger.replace(command("PING"), b"+OK\r\n", "theirs")
        self.assertEqual(self.hear(b"+OK\r\n+PONG\r\n"), b"+OK\r\n")
        self.assertEqual(self.answered(), ["ours", "theirs"])

    def test_subscribe(self) -> None:
        """
        RESP2: one confirmation a channel; messages in between; leaving all of them.
        """
        self.ask("SUBSCRIBE", "a", "b")
        self.ask("PSUBSCRIBE", "p*")
        self.ask("PING")
        self._hears(confirmed("subscribe", "a", 1))
        self._hears(confirmed("message", "a", 1))
        self._hears(confirmed("subscribe", "b", 2), "SUBSCRIBE a b")
        self._hears(confirmed("psubscribe", "p*", 3), "PSUBSCRIBE p*")
        self._hears(b"*4\r\n$8\r\npmessage\r\n$2\r\np*\r\n$2\r\npx\r\n$1\r\n!\r\n")
        self._hears(b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", "PING")
        self.ask("UNSUBSCRIBE")
        self.ask("PUNSUBSCRIBE", "p*")
        self.ask("UNSUBSCRIBE")
        self.ask("LRANGE", "l", "0", "-1")
        self._hears(confirmed("unsubscribe", "a", 2))
        self._hears(confirmed("unsubscribe", "b", 1), "UNSUBSCRIBE")
        self._hears(confirmed("punsubscribe", "p*", 0), "PUNSUBSCRIBE p*")
        self._hears(b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n", "UNSUBSCRIBE")
        self._hears(confirmed("message", "a", 1), "LRANGE l 0 -1")  # a list that looks like a message

    def test_shards(self) -> None:
        """
        They are counted on their own; the server may end a subscription by itself.
        """
        self.ask("SSUBSCRIBE", "s")
        self._hears(confirmed("ssubscribe", "s", 1), "SSUBSCRIBE s")
        self.ask("PING")
        self._hears(confirmed("smessage", "s", 1))
        self._hears(confirmed("sunsubscribe", "s", 0))
        self._hears(b"+PONG\r\n", "PING")

    def test_subscribe_in_resp3(self) -> None:
        """
        Confirmations are pushes, so a list is a list; a refusal is an ordinary reply.
        """
        self.ask("HELLO", "3")
        self._hears(b"%1\r\n+proto\r\n:3\r\n", "HELLO 3")
        self.assertEqual(self.world.ledger.version, 3)
        self.ask("SUBSCRIBE", "a")
        self.ask("SUBSCRIBE", "secret")
        self.ask("LRANGE", "l", "0", "-1")
        self._hears(confirmed("subscribe", "a", 1, ">"), "SUBSCRIBE a")
        self._hears(confirmed("message", "a", 1, ">"))
        self._hears(b"-NOPERM no\r\n", "SUBSCRIBE secret")
        self._hears(confirmed("message", "a", 1), "LRANGE l 0 -1")
        self.ask("HELLO")
        self._hears(b"%1\r\n+proto\r\n:3\r\n", "HELLO")
        self.assertEqual(self.world.ledger.version, 3)
        self.ask("HELLO", "2")
        self._hears(b"-NOPERM no\r\n", "HELLO 2")
        self.assertEqual(self.world.ledger.version, 3)

    def test_monitor(self) -> None:
        """
        Its lines come unasked; other statuses are replies still; C{RESET} ends it.
        """
        self.ask("MONITOR")
        self.ask("PING")
        line = b'+1339518083.107412 [0 127.0.0.1:60866] "keys" "*"\r\n'
        self._hears(b"+OK\r\n" + line, "MONITOR")
        self._hears(line + b"+PONG\r\n" + line, "PING")
        self.ask("RESET")
        self.ask("EVAL", "return", "0")
        self._hears(b"+RESET\r\n", "RESET")
        self._hears(line, "EVAL return 0")

    def test_reply_off(self) -> None:
        """
        The server goes on answering, the user does not hear it, until he wants to.
        """
        self.assertEqual(self.ask("CLIENT", "REPLY", "OFF"), REPLY_ON)
        self.ask("SET", "a", "1")
        self.world.ledger.refuse("ERR no", "no")
        self.assertEqual(self.ask("CLIENT", "REPLY", "SKIP"), REPLY_ON)
        self.ask("GET", "a")
        self.assertEqual(self.ask("CLIENT", "REPLY", "ON"), command("CLIENT", "REPLY", "ON"))
        self.ask("GET", "b")
        self.assertEqual(self.hear(ON + ON + MISTAKEN + ON + b":1\r\n"), b"")
        self.assertEqual(len(self.answered()), 5)
        self._hears(ON + b":1\r\n", "CLIENT REPLY ON", "GET b")

    def test_reply_skip(self) -> None:
        """
        Just one.
        """
        self.ask("CLIENT", "REPLY", "SKIP")
        self.ask("GET", "a")
        self.ask("GET", "b")
        self.assertEqual(self.hear(ON + b":1\r\n:2\r\n"), b":2\r\n")

    def test_reply_skip_and_subscribe(self) -> None:
        """
        Confirmations are heard all the same, as with a server.
        """
        self.ask("CLIENT", "REPLY", "SKIP")
        self.ask("SUBSCRIBE", "a")
        self.ask("PING")
        self.hear(ON)
        self.answered()
        self._hears(confirmed("subscribe", "a", 1) + b"*2\r\n$4\r\npong\r\n$0\r\n\r\n", "SUBSCRIBE a", "PING")

    def test_reply_off_refused(self) -> None:
        """
        A user who may not is told so, and hears on.
        """
        for how in ("OFF", "SKIP"):
            self.ask("CLIENT", "REPLY", how)
            self.ask("PING")
            self._hears(b"-NOPERM no\r\n+PONG\r\n", f"CLIENT REPLY {how}", "PING")
            self.ask("MULTI")
            self.ask("EXEC")
            self._hears(b"+OK\r\n*0\r\n", "MULTI", "EXEC")

    def test_other_client_commands(self) -> None:
        """
        They are like any others.
        """
        for words in (("CLIENT",), ("CLIENT", "REPLY"), ("CLIENT", "REPLY", "x"), ("CLIENT", "ID")):
            self.assertEqual(self.ask(*words), command(*words))
            self._hears(b"-ERR x\r\n", " ".join(words))

    def test_transactions(self) -> None:
        """
        What would change the framing of replies is refused inside, so that C{EXEC} fails too.
        """
        for words in (
            ("SUBSCRIBE", "a"),
            ("HELLO", "3"),
            ("MONITOR",),
            ("PSYNC", "?", "-1"),
            ("CLIENT", "REPLY", "OFF"),
        ):
            self.ask("MULTI")
            self.assertEqual(self.ask(*words), MISTAKE)
            self.ask("GET", "a")
            self.ask("EXEC")
            answers = self.hear(b"+OK\r\n" + MISTAKEN + b"+QUEUED\r\n-EXECABORT no\r\n")
            self.assertIn(b"\r\n-ERR Teleport: " + words[0].encode() + b" is not supported inside MULTI", answers)
            self.assertEqual(len(self.answered()), 4)
            self.assertFalse(self.world.ledger.in_transaction)

    def test_exec_of_queued(self) -> None:
        """
        C{EXEC} has one reply, however deep.
        """
        self.ask("MULTI")
        self.ask("GET", "a")
        self.ask("EXEC")
        self._hears(b"+OK\r\n+QUEUED\r\n*1\r\n*2\r\n:1\r\n%1\r\n:1\r\n:2\r\n", "MULTI", "GET a", "EXEC")

    def test_copy(self) -> None:
        """
        After C{SYNC} comes what is no RESP.
        """
        self.ask("GET", "a")
        self.ask("SYNC")
        self.ask("REPLCONF", "ACK", "0")
        self._hears(b":1\r\n", "GET a")
        self._hears(b"\n\n$5\r\nREDIS*1\r\n", "SYNC", "REPLCONF ACK 0")
        self.assertTrue(self.world.ledger.is_copying)
        self._hears(b"?!")

    def test_copy_refused(self) -> None:
        """
        Then it goes on as before.
        """
        self.ask("PSYNC", "?", "-1")
        self.ask("PING")
        self._hears(b"-NOPERM no\r\n+PONG\r\n", "PSYNC ? -1", "PING")
        self.assertFalse(self.world.ledger.is_copying)

    def test_waiting(self) -> None:
        """
        What was never answered.
        """
        self.ask("BLPOP", "a", "0")
        self.assertEqual(len(self.world.ledger), 1)
        self.assertEqual([asked.about for asked in self.world.ledger.waiting()], ["BLPOP a 0"])
        self.assertEqual(len(self.world.ledger), 0)

    def test_every_kind(self) -> None:
        """
        Whatever was asked, an error is its answer, and one is enough.
        """
        for name in KINDS:
            for rest in ((), ("x",), ("x", "y")):
                world = _World()
                words = (name.decode(), *rest)
                world.ask(*words)
                world.ask("GET", "a")
                world.hear(b"-ERR no\r\n:1\r\n")
                self.assertEqual(world.answered(), [" ".join(words), "GET a"], words)
