"""
Commands cut out of what users send.
"""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.redis.requests import HOLD_BYTES, Reader, Request, Rest, split
from teleport_tw.protocols.redis.wire import command

BAD = [
    b"*1\r\n:1\r\n",
    b"*1\r\n\r\n$4\r\n",
    b"*x\r\n",
    b"*01\r\n",
    b"* 1\r\n",
    b"*+1\r\n",
    b"*2147483648\r\n",
    b"*99999999999999999999\r\n",
    b"*" + b"1" * 100,
    b"*1\r\n$-1\r\n",
    b"*1\r\n$?\r\n",
    b"*1\r\n$04\r\nPING\r\n",
    b"*1\r\n$4\rX\r\nPING\r\n",
    b"*1\r\n$3\r\nPING\r\n",
    b"*1\r\n$5\r\nPING\r\n$",
    b"*1\r\n$" + b"1" * 100,
    b"x" * HOLD_BYTES,
    b'GET "a\r\n',
    b"GET 'a\r\n",
    b'GET "a"b\r\n',
    b"GET 'a'b\r\n",
    b'GET "a\\\r\n',
]


def read(octets: bytes, size: int = 0) -> tuple[list[Request], bytes]:
    """
    @return: commands, and all that is to be sent on.
    """
    reader, found = Reader(), []
    out = b""
    for start in range(0, len(octets), size or len(octets) or 1):
        for item in reader.feed(octets[start : start + (size or len(octets))]):
            out += item.octets
            if isinstance(item, Request):
                found.append(item)
    return found, out


class ReaderTests(SynchronousTestCase):
    """
    Whole and in pieces.
    """

    @given(st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=5), max_size=5), st.integers(1, 50))
    def test_round_trip(self, commands: list[list[bytes]], size: int) -> None:
        """
        What was sent is what is read, and what is sent on.
        """
        octets = b"".join(command(*words) for words in commands)
        for pieces in (0, size):
            found, out = read(octets, pieces)
            self.assertEqual([list(each.arguments) for each in found], commands)
            self.assertEqual([each.count for each in found], [len(words) for words in commands])
            self.assertTrue(all(each.is_whole for each in found))
            self.assertEqual(out, octets)

    def test_nothing(self) -> None:
        """
        Empty commands are no commands, and are not sent on.
        """
        found, out = read(b"*0\r\n\r\n*-1\r\n\n   \r\n*1\r\n$4\r\nping\r\n")
        self.assertEqual([each.name for each in found], [b"PING"])
        self.assertEqual(out, command("ping"))

    def test_typed(self) -> None:
        """
        A typed line is sent on as what was read in it.
        """
        found, out = read(b"set k 'a b'\r\n*1\r\n$4\r\nPING\r\nGET k\n", 1)
        self.assertEqual([each.arguments for each in found], [(b"set", b"k", b"a b"), (b"PING",), (b"GET", b"k")])
        self.assertEqual(out, command("set", "k", "a b") + command("PING") + command("GET", "k"))

    def test_long(self) -> None:
        """
        A command that is longer than we hold passes in pieces; its beginning is known, and so is where it ends.
        """
        big = bytes(range(256)) * 1024
        sent = command("SET", "k", big, "EX", "10")
        for size in (1000, HOLD_BYTES - 1, 100_000):
            reader, requests, rests, out = Reader(), [], [], b""
            octets = sent + command("PING")
            for start in range(0, len(octets), size):
                for item in reader.feed(octets[start : start + size]):
                    out += item.octets
                    (requests if isinstance(item, Request) else rests).append(item)
            self.assertEqual(out, octets)
            first, ping = requests
            assert isinstance(first, Request)
            assert isinstance(ping, Request)
            self.assertFalse(first.is_whole)
            self.assertEqual((first.arguments[:2], first.count), ((b"SET", b"k"), 5))
            self.assertTrue(big.startswith(first.arguments[2]))
            self.assertGreater(len(first.arguments[2]), HOLD_BYTES // 2)
            self.assertEqual([rest.is_last for rest in rests if isinstance(rest, Rest)][-1], True)
            self.assertEqual(ping.arguments, (b"PING",))
            self.assertTrue(reader.is_idle)

    def test_long_by_many(self) -> None:
        """
        Cut at each byte around the point from which a command is not held any more.
        """
        words = ["MSET", *(str(number) for number in range(20_000))]
        octets = command(*words)
        for cut in range(HOLD_BYTES + 1, HOLD_BYTES + 20):
            reader = Reader()
            [first] = reader.feed(octets[:cut])
            assert isinstance(first, Request)
            self.assertFalse(reader.is_idle)
            rests = [item for start in range(cut, len(octets), 7) for item in reader.feed(octets[start : start + 7])]
            self.assertEqual(first.octets + b"".join(rest.octets for rest in rests), octets)
            self.assertEqual([index for index, rest in enumerate(rests) if rest.is_last], [len(rests) - 1])  # type: ignore[union-attr]

    def test_long_and_bad(self) -> None:
        """
        Its lengths are looked at like any others.
        """
        start = b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n" + b"v" * 100_000 + b"\r\n"
        for bad in (b":1\r\n", b"$x\r\n", b"$1\n", b"$" + b"1" * 100, b"$1" + b" " * 100 + b"\r\n", b"\n"):
            for size in (len(start) + 200, 70_000):
                reader = Reader()
                octets = start + bad
                with self.assertRaises(RemoteProtocolError, msg=bad):
                    reader.feed(octets[: HOLD_BYTES + 1])
                    for position in range(HOLD_BYTES + 1, len(octets), size):
                        reader.feed(octets[position : position + size])
                    reader.feed(b"x" * 100)

    def test_bad(self) -> None:
        """
        What Redis would not take.
        """
        for octets in BAD:
            for size in (0, 1):
                with self.assertRaises(RemoteProtocolError, msg=octets[:30]):
                    read(octets, size)

    @given(st.binary(max_size=200), st.integers(1, 10))
    def test_garbage(self, octets: bytes, size: int) -> None:
        """
        Anything is commands, unfinished, or refused.
        """
        with contextlib.suppress(RemoteProtocolError):
            read(octets, size)

    def test_words(self) -> None:
        """
        Quotes and escapes as Redis has them.
        """
        for line, words in [
            (b"", ()),
            (b" \t a  b\v", (b"a", b"b\v")),
            (rb'"\x41UTH" "\n\r\t\b\a\q\"\xZZ"', (b"AUTH", b'\n\r\t\b\aq"xZZ')),
            (rb"'it\'s' '\n'", (b"it's", rb"\n")),
            (rb'pre"fix" ""', (b"prefix", b"")),
            (b"a\0b", (b"a",)),
            (rb'"\x4"', (b"x4",)),
        ]:
            self.assertEqual(split(line), words)
