"""
Framing: captures, round trips, every split, bounds, garbage.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.postgres import messages as m
from teleport_tw.protocols.postgres import wire
from teleport_tw.protocols.postgres.startup import (
    PROTOCOL_3_2,
    CancelRequest,
    GSSENCRequest,
    Parameters,
    SSLRequest,
    StartupMessage,
)
from teleport_tw.protocols.postgres.wire import Decoder, OpeningDecoder, Walker, encode, encode_opening

# Sent by psql 15 (libpq) to a listener on loopback: `psql "sslmode=prefer gssencmode=prefer user=alice dbname=things"`.
SSL_REQUEST = bytes.fromhex("0000000804d2162f")
GSSENC_REQUEST = bytes.fromhex("0000000804d21630")
STARTUP = (
    b"\x00\x00\x00O\x00\x03\x00\x00user\x00alice\x00database\x00things\x00application_name\x00psql\x00"
    b"client_encoding\x00UTF8\x00\x00"
)
CANCEL = bytes.fromhex("0000001004d2162e0000000700000009")

TEXT = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b"\1"))
NUMBER16 = st.integers(0, 0xFFFF)
NUMBER32 = st.integers(0, 0xFFFFFFFF)
NUMBERS16 = st.lists(NUMBER16, max_size=4).map(tuple)
NUMBERS32 = st.lists(NUMBER32, max_size=4).map(tuple)
VALUES = st.lists(st.none() | st.binary(max_size=20), max_size=4).map(tuple)
FIELDS = st.dictionaries(st.sampled_from("SVCMDHPpqWstcdnFLR"), TEXT, max_size=5)
KIND = st.sampled_from([b"S", b"P"])

FRONTEND: st.SearchStrategy[Any] = st.one_of(
    st.builds(m.Query, TEXT),
    st.builds(m.Parse, TEXT, TEXT, NUMBERS32),
    st.builds(m.Bind, TEXT, TEXT, NUMBERS16, VALUES, NUMBERS16),
    st.builds(m.Describe, KIND, TEXT),
    st.builds(m.Execute, TEXT, NUMBER32),
    st.builds(m.Close, KIND, TEXT),
    st.builds(m.FunctionCall, NUMBER32, NUMBERS16, VALUES, NUMBER16),
    st.builds(m.CopyData, st.binary(max_size=30)),
    st.builds(m.CopyFail, TEXT),
    st.builds(m.PasswordMessage, st.binary(max_size=30).map(Secret)),
    *(st.just(each) for each in (m.Flush(), m.Sync(), m.CopyDone(), m.Terminate())),
)
COPYING = (m.CopyInResponse, m.CopyOutResponse, m.CopyBothResponse)
BACKEND: st.SearchStrategy[Any] = st.one_of(
    st.builds(m.Authentication, NUMBER32, st.binary(max_size=20)),
    st.builds(m.BackendKeyData, NUMBER32, st.binary(min_size=4, max_size=256)),
    st.builds(m.ParameterStatus, TEXT, TEXT),
    st.builds(m.NegotiateProtocolVersion, NUMBER32, st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(m.ReadyForQuery, st.sampled_from([b"I", b"T", b"E"])),
    st.builds(m.ErrorResponse, FIELDS),
    st.builds(m.NoticeResponse, FIELDS),
    st.builds(m.CommandComplete, TEXT),
    st.builds(m.DataRow, VALUES),
    *(st.builds(each, st.booleans(), NUMBERS16) for each in COPYING),
    st.builds(m.CopyData, st.binary(max_size=30)),
    st.builds(m.FunctionCallResponse, st.none() | st.binary(max_size=20)),
    st.builds(m.NotificationResponse, NUMBER32, TEXT, TEXT),
    st.builds(m.RowDescription, st.binary(max_size=20)),
    st.builds(m.ParameterDescription, NUMBERS32),
    *(
        st.just(each)
        for each in (
            *(m.EmptyQueryResponse(), m.ParseComplete(), m.BindComplete(), m.CloseComplete()),
            *(m.PortalSuspended(), m.NoData(), m.CopyDone()),
        )
    ),
)
TOLD = (
    *(m.ReadyForQuery, m.ErrorResponse, m.CommandComplete, m.EmptyQueryResponse, m.PortalSuspended),
    *(m.FunctionCallResponse, m.ParameterDescription, m.ParameterStatus),
)


def framed(kind: str, body: bytes) -> bytes:
    """A message."""
    return kind.encode() + sized(body)


def sized(body: bytes) -> bytes:
    """Behind its length."""
    return (len(body) + 4).to_bytes(4, "big") + body


def fed(decoder: Any, data: bytes, size: int) -> list[Any]:
    """In pieces of a size."""
    found: list[Any] = []
    for at in range(0, len(data), size):
        found += decoder.feed(data[at : at + size])
    return found


class OpeningTests(SynchronousTestCase):
    """
    What stands before the first typed message.
    """

    def test_what_psql_sends(self) -> None:
        """
        Both ways.
        """
        parameters = (
            (b"user", b"alice"),
            (b"database", b"things"),
            (b"application_name", b"psql"),
            (b"client_encoding", b"UTF8"),
        )
        for data, packet in [
            (SSL_REQUEST, SSLRequest()),
            (GSSENC_REQUEST, GSSENCRequest()),
            (STARTUP, StartupMessage(parameters)),
            (CANCEL, CancelRequest(7, b"\0\0\0\t")),
        ]:
            self.assertEqual(OpeningDecoder().feed(data), packet)
            self.assertEqual(encode_opening(packet), data)
            decoder = OpeningDecoder()
            for byte in data[:-1]:
                self.assertIsNone(decoder.feed(bytes((byte,))))
            self.assertEqual(decoder.feed(data[-1:] + b"behind"), packet)
            self.assertEqual((decoder.rest(), decoder.rest()), (b"behind", b""))
        startup = StartupMessage(parameters, PROTOCOL_3_2)
        self.assertEqual((startup.major, startup.minor, startup.get(b"user"), startup.get(b"x")), (3, 2, b"alice", b""))

    @given(st.lists(st.tuples(TEXT.filter(bool), TEXT), max_size=5).map(tuple), st.sampled_from([0, 2, 9]))
    def test_any_parameters_survive(self, parameters: Parameters, minor: int) -> None:
        """
        Empty values and doubled names included.
        """
        packet = StartupMessage(parameters, 0x30000 + minor)
        self.assertEqual(OpeningDecoder().feed(encode_opening(packet)), packet)

    @given(st.binary(min_size=4, max_size=256))
    def test_keys_of_protocol_3_2_are_longer(self, secret: bytes) -> None:
        """
        Of four bytes to 256.
        """
        packet = CancelRequest(1, secret)
        self.assertEqual(OpeningDecoder().feed(encode_opening(packet)), packet)
        self.assertNotIn(repr(secret), repr(packet))

    def test_packets_that_are_none(self) -> None:
        """
        Lengths, versions, ends.
        """
        v3, cancel = b"\0\3\0\0", CANCEL[4:8]
        for data in [
            b"\0\0\0\7abc",
            b"\0\0\x27\x11",
            b"GET / HTTP/1.1\r\n",
            *(sized(b"\0\2\0\0"), sized(v3), sized(v3 + b"x"), sized(v3 + b"user"), sized(v3 + b"user\0")),
            *(sized(v3 + b"user\0\0"), sized(v3 + b"user\0a\0b\0\0"), sized(v3 + b"a\0b\0\0\0")),
            *(sized(v3 + b"\0a\0\0"), sized(SSL_REQUEST[4:] + b"more"), sized(GSSENC_REQUEST[4:] + b"more")),
            *(sized(cancel + b"\0\0\0\1abc"), sized(cancel + bytes(4 + 257))),
        ]:
            self.assertRaises(RemoteProtocolError, OpeningDecoder().feed, data)
        self.assertRaises(LocalProtocolError, encode_opening, StartupMessage(((b"a\0", b"b"),)))
        self.assertRaises(LocalProtocolError, encode_opening, StartupMessage(((b"", b"b"),)))

    @given(st.binary(max_size=60))
    def test_garbage(self, data: bytes) -> None:
        """
        Ends in one error.
        """
        with contextlib.suppress(RemoteProtocolError):
            OpeningDecoder().feed(data)


class MessageTests(SynchronousTestCase):
    """
    Typed messages.
    """

    def test_layouts_of_the_manual(self) -> None:
        """
        By hand from I{Message Formats}.
        """
        for message, data in [
            (m.Query(b"select 1"), b"Q\0\0\0\x0dselect 1\0"),
            (m.Parse(b"s", b"select $1", (23,)), b"P\0\0\0\x16s\0select $1\0\0\1\0\0\0\x17"),
            (
                m.Bind(b"", b"s", (1,), (b"\0\0\0\7", None), (0,)),
                b"B\0\0\0\x1d\0s\0\0\1\0\1\0\2\0\0\0\4\0\0\0\7\xff\xff\xff\xff\0\1\0\0",
            ),
            (m.Describe(b"S", b"s"), b"D\0\0\0\7Ss\0"),
            (m.Execute(b"", 5), b"E\0\0\0\x09\0\0\0\0\5"),
            (m.Close(b"P", b""), b"C\0\0\0\6P\0"),
            (m.Sync(), b"S\0\0\0\4"),
            (m.Flush(), b"H\0\0\0\4"),
            (m.Terminate(), b"X\0\0\0\4"),
            (m.FunctionCall(954, (1,), (b"ab",), 1), b"F\0\0\0\x16\0\0\x03\xba\0\1\0\1\0\1\0\0\0\2ab\0\1"),
            (m.CopyData(b"1\n"), b"d\0\0\0\x061\n"),
            (m.CopyDone(), b"c\0\0\0\4"),
            (m.CopyFail(b"no"), b"f\0\0\0\7no\0"),
        ]:
            self.assertEqual(encode(message), data)
            self.assertEqual(Decoder.frontend().feed(data), [message])
        for answer, data in [
            (m.Authentication(m.Auth.MD5, b"salt"), b"R\0\0\0\x0c\0\0\0\5salt"),
            (m.BackendKeyData(7, b"\0\0\0\x09"), b"K\0\0\0\x0c\0\0\0\7\0\0\0\x09"),
            (m.ParameterStatus(b"a", b"b"), b"S\0\0\0\x08a\0b\0"),
            (m.NegotiateProtocolVersion(0x30000, (b"_pq_.x",)), b"v\0\0\0\x13\0\3\0\0\0\0\0\1_pq_.x\0"),
            (m.ReadyForQuery(b"T"), b"Z\0\0\0\5T"),
            (m.ErrorResponse({"S": b"FATAL", "C": b"57P01"}), b"E\0\0\0\x13SFATAL\0C57P01\0\0"),
            (m.CommandComplete(b"SELECT 5"), b"C\0\0\0\x0dSELECT 5\0"),
            (m.DataRow((b"1", None)), b"D\0\0\0\x0f\0\2\0\0\0\x011\xff\xff\xff\xff"),
            (m.CopyOutResponse(False, (0, 0)), b"H\0\0\0\x0b\0\0\2\0\0\0\0"),
            (m.FunctionCallResponse(None), b"V\0\0\0\x08\xff\xff\xff\xff"),
            (m.NotificationResponse(7, b"c", b"p"), b"A\0\0\0\x0c\0\0\0\7c\0p\0"),
        ]:
            self.assertEqual(encode(answer), data)
            self.assertEqual(Decoder.backend().feed(data), [answer])

    @given(st.lists(FRONTEND, max_size=5), st.integers(1, 40))
    def test_a_clients_messages_survive_any_split(self, sent: list[Any], size: int) -> None:
        """
        And end between two messages.
        """
        data = b"".join(map(encode, sent))
        decoder = Decoder.frontend()
        self.assertEqual(fed(decoder, data, size), sent)
        self.assertTrue(decoder.between)
        user = Decoder.of_user()
        self.assertEqual(fed(user, data, size), [each for each in sent if not isinstance(each, m.CopyData)])
        self.assertEqual(user.skipped, sum(len(each.data) for each in sent if isinstance(each, m.CopyData)))

    @given(st.lists(BACKEND, max_size=5), st.integers(1, 40))
    def test_a_servers_messages_survive_any_split(self, sent: list[Any], size: int) -> None:
        """
        The walker gives those it tells of, and knows how far the next end is.
        """
        data = b"".join(map(encode, sent))
        self.assertEqual(fed(Decoder.backend(), data, size), sent)
        walker = Walker()
        self.assertEqual(fed(walker, data, size), [each for each in sent if isinstance(each, TOLD)])
        self.assertEqual(walker.ahead, 0)

    def test_facts_of_messages(self) -> None:
        """
        What is read out of them.
        """
        self.assertEqual(m.CommandComplete(b"INSERT 0 17").rows, 17)
        self.assertIsNone(m.CommandComplete(b"BEGIN").rows)
        error = m.ErrorResponse({"V": b"PANIC", "C": b"57P01", "M": b"bye"})
        self.assertEqual((error.fatal, error.sqlstate, error.message), (True, "57P01", "bye"))
        self.assertFalse(m.ErrorResponse({"S": b"ERROR"}).fatal)
        offer = m.Authentication(m.Auth.SASL, b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")
        self.assertEqual(offer.mechanisms, ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"))

    def test_bodies_that_are_wrong(self) -> None:
        """
        Short, long, of nothing.
        """
        wrong: dict[str, tuple[bytes, ...]] = {
            "Q": (b"", b"x", b"x\0y"),
            "P": (b"", b"\0", b"\0\0", b"\0\0\0\1", b"\0\0\0\0x"),
            "B": (
                *(b"", b"\0", b"\0\0", b"\0\0\0\1", b"\0\0\0\0", b"\0\0\0\0\0\1", b"\0\0\0\0\0\1\xff\xff\xff\xfe"),
                *(b"\0\0\0\0\0\1\0\0\0\1", b"\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\1", b"\0\0\0\0\0\0\0\0x"),
            ),
            "D": (b"", b"Xx\0", b"Sx", b"S\0\0"),
            "C": (b"", b"Xx\0", b"Sx", b"S\0\0"),
            "E": (b"\0", b"\0\0\0\0", b"\0\0\0\0\0\0"),
            "F": (b"", bytes(4), bytes(6), bytes(8), bytes(11), bytes(4) + b"\0\0\0\1", bytes(9)),
            **dict.fromkeys("HScX", (b"x",)),
            "f": (b"", b"x", b"\0\0"),
        }
        for kind, bodies in wrong.items():
            for body in bodies:
                self.assertRaises(RemoteProtocolError, Decoder.of_user().feed, framed(kind, body))
        for data in (b"?\0\0\0\4", b"Q\0\0\0\3", b"\0\0\0\0\0", b"Q\x40\0\0\0", b"d\x40\0\0\0", b"d\0\0\0\3"):
            self.assertRaises(RemoteProtocolError, Decoder.of_user().feed, data)
            self.assertRaises(RemoteProtocolError, Decoder.frontend().feed, data)
        for data in (b"S\0\0\x75\x31", b"p\0\1\0\0"):
            self.assertRaises(RemoteProtocolError, Decoder.of_user().feed, data)
        answers: dict[str, tuple[bytes, ...]] = {
            "R": (b"", b"\0"),
            "K": (bytes(7), bytes(4 + 257)),
            "S": (b"", b"x", b"x\0", b"a\0b", b"a\0b\0c"),
            "v": (bytes(7), bytes(7) + b"\1", bytes(9)),
            "Z": (b"", b"x", b"II"),
            "E": (b"", b"S", b"Sx", b"Sx\0"),
            "N": (b"",),
            "C": (b"", b"x", b"x\0y"),
            "D": (b"", b"\0\1", b"\0\0x"),
            **dict.fromkeys("GHW", (b"", b"\0", b"\0\0\1", b"\0\0\0x")),
            "V": (b"", b"\0\0\0\1", b"\xff\xff\xff\xffx"),
            "A": (bytes(3), bytes(4), bytes(5), bytes(7)),
            "t": (b"", b"\0\1", b"\0\0x"),
            **dict.fromkeys("I123snc", (b"x",)),
        }
        for kind, bodies in answers.items():
            for body in bodies:
                self.assertRaises(RemoteProtocolError, Decoder.backend().feed, framed(kind, body))
        for data in (b"D\0\0\0\3", b"Z\0\0\0\5x", b"E\0\x20\0\0x", b"C\0\0\0\5x"):
            self.assertRaises(RemoteProtocolError, Walker().feed, data)

    @given(st.binary(max_size=100), st.integers(1, 20))
    def test_garbage_ends_in_one_error(self, data: bytes, size: int) -> None:
        """
        For every decoder.
        """
        makers: tuple[Callable[[], Any], ...] = (Decoder.frontend, Decoder.of_user, Decoder.backend, Walker)
        for make in makers:
            with contextlib.suppress(RemoteProtocolError):
                fed(make(), data, size)

    def test_a_string_with_a_zero_is_ours(self) -> None:
        """
        It would end there.
        """
        self.assertRaises(LocalProtocolError, encode, m.Query(b"a\0b"))


class LongMessageTests(SynchronousTestCase):
    """
    What is longer than is kept of it.
    """

    def test_a_long_statement_is_cut_and_passed_over(self) -> None:
        """
        Its beginning is told once, the next message is found, and memory stays small.
        """
        size = 10 * wire.KEPT_BYTES
        data = encode(m.Query(b"x" * size)) + encode(m.Sync())
        for step in (1000, 70_000, len(data)):
            decoder, found, most = Decoder.of_user(), [], 0
            for at in range(0, len(data), step):
                found += decoder.feed(data[at : at + step])
                most = max(most, decoder.waiting)
            query, sync = found
            self.assertEqual((len(query.text), query.size, sync), (wire.KEPT_BYTES, size, m.Sync()))
            self.assertLessEqual(most, wire.KEPT_BYTES + 70_000)

    def test_statements_as_long_as_are_kept_are_whole(self) -> None:
        """
        Whether they come at once or in pieces.
        """
        for size in (wire.MAX_SMALL - 5, wire.MAX_SMALL - 4, wire.KEPT_BYTES - 1):
            message = m.Query(b"x" * size)
            data = wire.encode(message)
            for step in (len(data), 10_000):
                decoder = wire.Decoder.of_user()
                found = [each for at in range(0, len(data), step) for each in decoder.feed(data[at : at + step])]
                self.assertEqual(found, [message])

    def test_other_long_messages_keep_what_stands_first(self) -> None:
        """
        Names, formats, the first values.
        """
        long = b"x" * wire.KEPT_BYTES
        parse, bind, call = Decoder.of_user().feed(
            encode(m.Parse(b"name", long, (1, 2)))
            + encode(m.Bind(b"p", b"s", (1,), (b"first", long, b"last"), (1,)))
            + encode(m.FunctionCall(7, (), (b"first", None, long)))
        )
        self.assertEqual((parse.name, parse.types), (b"name", ()))
        self.assertEqual(parse.text, long[: len(parse.text)])
        self.assertGreater(parse.size, wire.KEPT_BYTES)
        self.assertEqual((bind.portal, bind.statement, bind.values), (b"p", b"s", (b"first",)))
        self.assertEqual((call.function, call.arguments), (7, (b"first", None)))
        counts = encode(m.Bind(b"", b"s", (0,) * 65535, (b"x",), ()))
        self.assertRaises(RemoteProtocolError, Decoder.of_user().feed, counts)
        self.assertRaises(RemoteProtocolError, Decoder.of_user().feed, encode(m.Parse(long, b"", ())))

    def test_a_cut_list_without_its_count_is_empty(self) -> None:
        """
        The body was cut before the values began.
        """
        formats = (0,) * ((wire.KEPT_BYTES - 5) // 2)
        data = encode(m.Bind(b"", b"a", formats, (b"v" * 100,), ()))
        (bind,) = Decoder.of_user().feed(data)
        self.assertEqual((len(bind.formats), bind.values), (len(formats), ()))

    def test_copy_data_is_passed_over(self) -> None:
        """
        A gigabyte is announced, and nothing of it is kept.
        """
        decoder = Decoder.of_user()
        self.assertEqual(decoder.feed(b"d\x3f\xff\xff\xfe" + b"Q\0\0\0\5\0"), [])
        self.assertEqual((decoder.waiting, decoder.between, decoder.feed(b"Q\0\0\0\5\0")), (0, False, []))

    def test_rest_is_given_once(self) -> None:
        """
        Of a message that is not whole.
        """
        decoder = Decoder.backend()
        decoder.feed(b"Z\0\0\0")
        self.assertEqual((decoder.rest(), decoder.rest()), (b"Z\0\0\0", b""))
        self.assertEqual(decoder.feed(encode(m.ReadyForQuery())), [m.ReadyForQuery()])

    def test_the_walker_knows_how_far_a_message_goes(self) -> None:
        """
        Where something of our own may be put in.
        """
        walker = Walker()
        walker.feed(b"D\0\0")
        self.assertIsNone(walker.ahead)
        walker.feed(b"\0\x0axx")
        self.assertEqual(walker.ahead, 4)
        walker.feed(b"xxxx")
        self.assertEqual(walker.ahead, 0)
        walker.feed(b"Z\0\0\0\5")
        self.assertEqual(walker.ahead, 1)
