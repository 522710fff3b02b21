"""
RESP values: what the specification shows, splits, bounds and garbage.
"""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.redis.messages import (
    Array,
    Attributed,
    BigNumber,
    Boolean,
    Bulk,
    Double,
    Error,
    Integer,
    Map,
    Null,
    Push,
    Set,
    SimpleString,
    Type,
    Value,
    Verbatim,
)
from teleport_tw.protocols.redis.wire import MAX_DEPTH, Decoder, command, encode, error

# From the protocol specification's own examples.
VECTORS: list[tuple[Value, bytes]] = [
    (SimpleString(b"OK"), b"+OK\r\n"),
    (Error(b"ERR unknown command 'asdf'"), b"-ERR unknown command 'asdf'\r\n"),
    (Integer(-1000), b":-1000\r\n"),
    (Bulk(b"hello"), b"$5\r\nhello\r\n"),
    (Bulk(b""), b"$0\r\n\r\n"),
    (Bulk(b"a\r\nb"), b"$4\r\na\r\nb\r\n"),
    (Null(Type.BULK), b"$-1\r\n"),
    (Null(Type.ARRAY), b"*-1\r\n"),
    (Null(), b"_\r\n"),
    (Array(()), b"*0\r\n"),
    (Array((Integer(1), Array((SimpleString(b"Hello"), Error(b"World"))))), b"*2\r\n:1\r\n*2\r\n+Hello\r\n-World\r\n"),
    (Boolean(True), b"#t\r\n"),
    (Boolean(False), b"#f\r\n"),
    (Double(b"1.23"), b",1.23\r\n"),
    (Double(b"-inf"), b",-inf\r\n"),
    (BigNumber(b"3492890328409238509324850943850943825024385"), b"(3492890328409238509324850943850943825024385\r\n"),
    (Error(b"SYNTAX invalid syntax", is_bulk=True), b"!21\r\nSYNTAX invalid syntax\r\n"),
    (Verbatim(b"txt", b"Some string"), b"=15\r\ntxt:Some string\r\n"),
    (
        Map(((SimpleString(b"first"), Integer(1)), (SimpleString(b"second"), Integer(2)))),
        b"%2\r\n+first\r\n:1\r\n+second\r\n:2\r\n",
    ),
    (Set((SimpleString(b"orange"), Boolean(True))), b"~2\r\n+orange\r\n#t\r\n"),
    (Push((SimpleString(b"message"), Bulk(b"x"))), b">2\r\n+message\r\n$1\r\nx\r\n"),
    (
        Attributed(((SimpleString(b"ttl"), Integer(3600)),), Array((Integer(1), Integer(2)))),
        b"|1\r\n+ttl\r\n:3600\r\n*2\r\n:1\r\n:2\r\n",
    ),
    (
        Array((Integer(1), Attributed(((SimpleString(b"ttl"), Integer(3600)),), Integer(3)))),
        b"*2\r\n:1\r\n|1\r\n+ttl\r\n:3600\r\n:3\r\n",
    ),
    (Attributed((), Null()), b"|0\r\n_\r\n"),
]

STREAMED: list[tuple[Value, bytes]] = [
    (Bulk(b"Hello word"), b"$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n"),
    (Bulk(b""), b"$?\r\n;0\r\n"),
    (Array((Integer(1), Integer(2))), b"*?\r\n:1\r\n:2\r\n.\r\n"),
    (Map(((Integer(1), Integer(2)),)), b"%?\r\n:1\r\n:2\r\n.\r\n"),
    (Set(()), b"~?\r\n.\r\n"),
    (Push((Array(()), Bulk(b"x"))), b">?\r\n*?\r\n.\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n"),
    (Integer(5), b":+5\r\n"),
    (BigNumber(b"-5"), b"(-5\r\n"),
]

BAD = [
    b"\r\n",
    b"?x\r\n",
    b"$-2\r\n",
    b"$01\r\n",
    b"$ 1\r\n",
    b"*-2\r\n",
    b"%-1\r\n",
    b"~x\r\n",
    b"|?\r\n",
    b"=?\r\n",
    b"$99999999999999999999\r\n",
    b"$9223372036854775808\r\n",
    b"$2000000\r\n",
    b"$1\r\nab\r\n",
    b"=3\r\ntxt\r\n",
    b"#x\r\n",
    b"_x\r\n",
    b",x\r\n",
    b"(x\r\n",
    b":x\r\n",
    b":--5\r\n",
    b";1\r\nx\r\n",
    b".\r\n",
    b"*1\r\n.\r\n",
    b"*?\r\n.x\r\n",
    b"%?\r\n:1\r\n.\r\n",
    b"$?\r\n:1\r\n",
    b"$?\r\n*1\r\n",
    b"$?\r\n$1\r\nx\r\n",
    b"$?\r\n.\r\n",
    b"*1\r\n;1\r\nx\r\n",
    b"*1\r\n" * (MAX_DEPTH + 1),
    b"+" + b"x" * 70_000,
    b"*2000000\r\n" + b"$1\r\nx\r\n" * 200_000,
]

_lines = st.binary(max_size=20).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
_integers = st.integers(-(2**63), 2**63 - 1)
_leaves: st.SearchStrategy[Any] = st.one_of(
    st.builds(SimpleString, _lines),
    st.builds(Error, _lines),
    st.builds(Error, st.binary(max_size=20), st.just(True)),
    st.builds(Integer, _integers),
    st.builds(Bulk, st.binary(max_size=200)),
    st.sampled_from([Null(), Null(Type.BULK), Null(Type.ARRAY), Boolean(True), Boolean(False)]),
    st.builds(Double, st.floats().map(lambda number: repr(number).encode())),
    st.builds(BigNumber, st.integers().map(lambda number: str(number).encode())),
    st.builds(Verbatim, st.just(b"txt"), st.binary(max_size=20)),
)


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inner, max_size=4).map(tuple)
    pairs = st.lists(st.tuples(inner, inner), max_size=3).map(tuple)
    return st.one_of(
        st.builds(Array, items),
        st.builds(Set, items),
        st.builds(Push, items),
        st.builds(Map, pairs),
        st.builds(Attributed, pairs, inner),
    )


values = st.recursive(_leaves, _nested, max_leaves=12)


class WireTests(SynchronousTestCase):
    """
    Both ways.
    """

    def test_vectors(self) -> None:
        """
        Each value, whole and byte by byte, with more behind it.
        """
        for value, octets in VECTORS:
            self.assertEqual(encode(value), octets)
        for value, octets in VECTORS + STREAMED:
            self.assertEqual(Decoder().feed(octets), [value], octets)
            decoder = Decoder()
            found = [each for index in range(len(octets)) for each in decoder.feed(octets[index : index + 1])]
            self.assertEqual(found, [value], octets)
            decoder = Decoder()
            self.assertEqual(decoder.feed(octets + octets + b"$5\r\nrest"), [value, value])
            self.assertEqual(decoder.rest, b"$5\r\nrest")

    def test_bad(self) -> None:
        """
        What is no RESP, or too much of it, is refused.
        """
        for octets in BAD:
            with self.assertRaises(RemoteProtocolError, msg=octets[:40]) as caught:
                Decoder().feed(octets)
            self.assertEqual(caught.exception.code, "ERR")

    @given(st.lists(values, max_size=4), st.integers(1, 30))
    def test_round_trip(self, sent: list[Value], size: int) -> None:
        """
        In pieces of any size.
        """
        octets = b"".join(map(encode, sent))
        decoder = Decoder()
        found: list[Value] = []
        for start in range(0, len(octets), size):
            found += decoder.feed(octets[start : start + size])
        self.assertEqual(found, sent)

    @given(st.lists(st.sampled_from([b"*", b"$", b"1", b"-1", b"?", b"\r\n", b";", b".", b"|", b"%", b"x", b":"])))
    def test_garbage(self, parts: list[bytes]) -> None:
        """
        Anything at all is values, unfinished, or refused.
        """
        with contextlib.suppress(RemoteProtocolError):
            Decoder().feed(b"".join(parts))

    def test_commands_and_errors(self) -> None:
        """
        What we say ourselves.
        """
        self.assertEqual(command("SET", b"k", "ü"), b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\n\xc3\xbc\r\n")
        self.assertEqual(error("ERR two\r\nlines"), b"-ERR two lines\r\n")
