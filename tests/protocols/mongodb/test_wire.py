"""
Framing and fields of MongoDB's messages.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from typing import Any

import bson
import cramjam
import zstandard
from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mongodb import compression, documents, wire
from teleport_tw.protocols.mongodb.compression import Compressor
from teleport_tw.protocols.mongodb.messages import HEADER, Flag, Header, Legacy, Message, OpCode, Query, Sequence

PING: dict[str, Any] = {"ping": 1, "$db": "admin"}


def framed(op_code: int, body: bytes, request_id: int = 1, response_to: int = 0) -> bytes:
    """
    @return: with its header.
    """
    return HEADER.pack(16 + len(body), request_id, response_to, op_code) + body


def packed(message: bytes, compressor: int, size: int | None = None) -> bytes:
    """
    @param size: announced in place of the true one.
    """
    _, request_id, response_to, op_code = HEADER.unpack_from(message)
    body = message[16:]
    small = {
        Compressor.NOOP: lambda: body,
        Compressor.ZLIB: lambda: zlib.compress(body),
        Compressor.ZSTD: lambda: zstandard.ZstdCompressor().compress(body),
        Compressor.SNAPPY: lambda: bytes(cramjam.snappy.compress_raw(body)),
    }.get(compressor, lambda: body)()
    fields = compression.FIELDS.pack(op_code, len(body) if size is None else size, compressor)
    return framed(OpCode.OP_COMPRESSED, fields + small, request_id, response_to)


def sequence(name: bytes, *documents: dict[str, Any]) -> bytes:
    """
    @return: a section of kind 1.
    """
    inside = name + b"\0" + b"".join(map(bson.encode, documents))
    return b"\1" + struct.pack("<i", 4 + len(inside)) + inside


def command(document: dict[str, Any], *sections: bytes, flags: int = 0) -> bytes:
    """
    @return: the body of OP_MSG.
    """
    return struct.pack("<I", flags) + b"\0" + bson.encode(document) + b"".join(sections)


class RequestTests(SynchronousTestCase):
    """
    What users send.
    """

    def read(self, op_code: int, body: bytes) -> Any:
        """
        @return: the request of one message.
        """
        (found,) = wire.Decoder().feed(framed(op_code, body))
        return found.request

    def test_a_command(self) -> None:
        """As it is made by the encoder, and by the specification's layout."""
        raw = wire.encode_message(PING, 7)
        self.assertEqual(raw, framed(OpCode.OP_MSG, command(PING), 7))
        (found,) = wire.Decoder().feed(raw)
        self.assertEqual((found.raw, found.compressor), (raw, None))
        self.assertEqual(
            found.request, Message(header=Header(len(raw), 7, 0, 2013), flags=Flag(0), body=bson.encode(PING))
        )
        self.assertTrue(found.request.expects_reply)

    def test_sections_in_any_order(self) -> None:
        """Documents beside the command, and a checksum at the end."""
        body = struct.pack("<I", 1 | 2 | 1 << 16) + sequence(b"documents", {"n": 1}, {"n": 2})
        body += b"\0" + bson.encode({"insert": "a", "$db": "b"}) + b"crc!"
        read = self.read(OpCode.OP_MSG, body)
        self.assertEqual(
            read.sequences,
            (Sequence(identifier="documents", documents=bson.encode({"n": 1}) + bson.encode({"n": 2})),),
        )
        self.assertEqual(read.flags, Flag.CHECKSUM_PRESENT | Flag.MORE_TO_COME | Flag.EXHAUST_ALLOWED)
        self.assertFalse(read.expects_reply)

    def test_what_no_message_is(self) -> None:
        """Wrong flags, sections, sizes and names."""
        good = bson.encode(PING)
        for op_code, body in (
            (OpCode.OP_MSG, b"\0"),
            (OpCode.OP_MSG, struct.pack("<I", 4) + b"\0" + good),
            (OpCode.OP_MSG, command(PING, b"\0" + good)),
            (OpCode.OP_MSG, command(PING, b"\2" + good)),
            (OpCode.OP_MSG, command(PING, sequence(b"a"), sequence(b"a"))),
            (OpCode.OP_MSG, command(PING, *(sequence(b"a%d" % number) for number in range(wire.MAX_SEQUENCES + 1)))),
            (OpCode.OP_MSG, struct.pack("<I", 0) + sequence(b"a")),
            (OpCode.OP_MSG, command(PING, b"\1" + struct.pack("<i", 8) + b"abcd")),
            (OpCode.OP_MSG, command(PING, b"\1" + struct.pack("<i", 99) + b"abcd")),
            (OpCode.OP_MSG, command(PING, flags=1) + b"123"),
            (OpCode.OP_QUERY, b"\0\0\0\0a.$cmd\0" + b"\0" * 4),
            (OpCode.OP_QUERY, b"\0\0\0\0a.$cmd\0" + b"\0" * 8),
            (OpCode.OP_QUERY, b"\0\0\0\0a.$cmd\0" + b"\0" * 8 + good * 3),
            (OpCode.OP_QUERY, b"\0\0\0\0a.$cmd\0" + b"\0" * 8 + good[:-1]),
            (OpCode.OP_QUERY, b"\0\0\0\0" + b"a" * 2000 + b"\0" * 9 + good),
            (OpCode.OP_REPLY, b"\0" * 20),
            (OpCode.OP_COMPRESSED, b"\0" * 8),
            (9999, b"x"),
        ):
            with self.assertRaises(RemoteProtocolError, msg=repr((op_code, body))):
                self.read(op_code, body)

    def test_a_query(self) -> None:
        """How drivers say hello; maybe with a selector."""
        raw = wire.encode_query("admin.$cmd", {"isMaster": 1}, 3)
        (found,) = wire.Decoder().feed(raw)
        expected = Query(
            header=Header(len(raw), 3, 0, 2004),
            flags=0,
            collection="admin.$cmd",
            skip=0,
            limit=-1,
            query=bson.encode({"isMaster": 1}),
        )
        self.assertEqual(found.request, expected)
        read = self.read(OpCode.OP_QUERY, raw[16:] + bson.encode({"a": 1}))
        self.assertEqual(read.selector, bson.encode({"a": 1}))

    def test_what_was_before(self) -> None:
        """Writes, reads and ends of cursors."""
        one, two = bson.encode({"a": 1}), bson.encode({"b": 2})
        insert = self.read(OpCode.OP_INSERT, b"\0\0\0\0a.b\0" + one + two)
        self.assertEqual((insert.collection, insert.documents, insert.expects_reply), ("a.b", (one, two), False))
        update = self.read(OpCode.OP_UPDATE, b"\0\0\0\0a.b\0\1\0\0\0" + one + two)
        self.assertEqual(update.documents, (one, two))
        more = self.read(OpCode.OP_GET_MORE, b"\0\0\0\0a.b\0" + b"\0" * 12)
        self.assertEqual((more.collection, more.expects_reply), ("a.b", True))
        self.assertEqual(self.read(OpCode.OP_KILL_CURSORS, b"\0" * 16).collection, "")
        self.assertIsInstance(insert, Legacy)

    def test_every_split_and_bounds(self) -> None:
        """Two messages, byte by byte; the first may be only so long."""
        raw = wire.encode_message(PING, 1) + wire.encode_message(PING, 2)
        decoder = wire.Decoder()
        found = [each for byte in raw for each in decoder.feed(bytes((byte,)))]
        self.assertEqual([each.request.header.request_id for each in found], [1, 2])
        long = struct.pack("<i", wire.MAX_FIRST_BYTES + 1)
        with self.assertRaises(RemoteProtocolError):
            wire.Decoder().feed(long + b"\0" * 12)
        self.assertEqual(decoder.feed(long + b"\0" * 12), [])
        for length in (16, -1):
            with self.assertRaises(RemoteProtocolError):
                wire.Decoder().feed(struct.pack("<i", length) + b"\0" * 12)

    @given(some.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """Ends in one kind of error only, as requests and as answers, packed too."""
        for op_code in OpCode:
            for show in (wire.Decoder().feed, wire.Answers().feed):
                with contextlib.suppress(RemoteProtocolError):
                    show(framed(op_code, data))
        for compressor in range(5):
            with contextlib.suppress(RemoteProtocolError):
                fields = compression.FIELDS.pack(OpCode.OP_MSG, len(data), compressor)
                wire.Decoder().feed(framed(OpCode.OP_COMPRESSED, fields + data))


class CompressionTests(SynchronousTestCase):
    """
    Messages inside messages.
    """

    def test_each_kind(self) -> None:
        """Read as what was packed; passed on as it came."""
        message = wire.encode_message({**PING, "comment": "x" * 500}, 5)
        for compressor in Compressor:
            raw = packed(message, compressor)
            (found,) = wire.Decoder().feed(raw)
            self.assertEqual((found.raw, found.compressor), (raw, compressor))
            assert isinstance(found.request, Message)
            self.assertEqual(bson.decode(found.request.body)["comment"], "x" * 500)
            self.assertEqual(found.request.header.request_id, 5)

    def test_a_checksum_stays_outside(self) -> None:
        """What is packed has none, whatever its flags say."""
        raw = packed(framed(OpCode.OP_MSG, command(PING, flags=1)), Compressor.ZLIB)
        (found,) = wire.Decoder().feed(raw)
        assert isinstance(found.request, Message)
        self.assertEqual(found.request.body, bson.encode(PING))

    def test_lies(self) -> None:
        """Sizes that are not true, bombs, unknown numbers, compressed twice."""
        message = wire.encode_message({**PING, "bomb": "\0" * 100_000}, 1)
        for compressor in Compressor:
            for size in (10, 100_000_000, -1, len(message)):
                with self.assertRaises(RemoteProtocolError):
                    wire.Decoder().feed(packed(message, compressor, size))
        for raw in (packed(message, 9), packed(packed(message, Compressor.ZLIB), Compressor.ZLIB)):
            with self.assertRaises(RemoteProtocolError):
                wire.Decoder().feed(raw)


class FloodTests(SynchronousTestCase):
    """
    Few bytes that would be much work.
    """

    def test_first_messages_are_short_when_unpacked(self) -> None:
        """A hello says who one is; what is packed into it does not get round the bound."""
        long = packed(framed(OpCode.OP_MSG, command({"hello": 1, "$db": "a", "x": "y" * wire.MAX_FIRST_BYTES})), 2)
        self.assertLess(len(long), 64 * 1024)
        with self.assertRaises(RemoteProtocolError):
            wire.Decoder().feed(long)
        decoder = wire.Decoder()
        decoder.feed(framed(OpCode.OP_MSG, command(PING)))
        self.assertEqual(len(decoder.feed(long)), 1)

    def test_fields_are_counted_before_they_are_made(self) -> None:
        """A command has a dozen, and not as many as there is room for; nor does it matter what they are called."""
        inside = b"\x0aa\0" * (documents.MAX_FIELDS + 1)
        document = struct.pack("<i", 5 + len(inside)) + inside + b"\0"
        self.patch(documents, "RawBSONDocument", None)  # is not reached
        with self.assertRaisesRegex(RemoteProtocolError, "fields"):
            documents.shallow(document)

    def test_what_is_counted_may_be_no_document(self) -> None:
        """The end of it is missing, which the count does not look at."""
        with self.assertRaisesRegex(RemoteProtocolError, "cannot be read"):
            documents.shallow(b"\5\0\0\0\1")

    def test_documents_are_counted(self) -> None:
        """Of an old message, or beside a command."""
        empty = bson.encode({})
        found = documents.split(empty * (documents.MAX_DOCUMENTS + 1))
        with self.assertRaisesRegex(RemoteProtocolError, "documents"):
            for _ in found:
                pass

    def test_long_lists_are_told_by_their_length(self) -> None:
        """Whatever their elements are: one may be as long as all."""
        body = bson.encode({"insert": "c", "documents": [{"x": "y" * 500_000}], "few": [{"a": 1}], "$db": "d"})
        words, size = documents.text(body, most=32768)
        self.assertLess(len(words), 1000)
        self.assertIn("1 long", words)
        self.assertIn('"few": [{"a": 1}]', words)
        self.assertEqual(size, len(body))


class AnswerTests(SynchronousTestCase):
    """
    A server's stream.
    """

    def test_short_answers(self) -> None:
        """Of both kinds, packed and not, byte by byte."""
        ok = {"ok": 1.0}
        message = HEADER.pack(16 + len(command(ok)), 9, 4, OpCode.OP_MSG) + command(ok)
        stream = message + packed(message, Compressor.ZLIB) + wire.encode_reply(ok, 10, 5)
        for piece in (1, len(stream)):
            answers = wire.Answers()
            found = [
                each
                for start in range(0, len(stream), piece)
                for each in answers.feed(memoryview(stream)[start : start + piece])
            ]
            self.assertEqual([bson.decode(each.document) for each in found], [ok] * 3)
            self.assertEqual([each.header.response_to for each in found], [4, 4, 5])
            self.assertEqual([each.header.op_code for each in found], [2013, 2013, 1])
            self.assertFalse(answers.inside)

    def test_long_answers(self) -> None:
        """Are not kept; whether more follows is told all the same, unless it is packed."""
        long = {"cursor": {"firstBatch": [{"text": "x" * 90_000}]}, "ok": 1.0}
        body = command(long, flags=2)
        message = HEADER.pack(16 + len(body), 9, 4, OpCode.OP_MSG) + body
        answers = wire.Answers()
        self.assertEqual(answers.feed(message[:50_000]), [])
        self.assertTrue(answers.inside)
        (found,) = answers.feed(message[50_000:])
        self.assertEqual((found.document, found.more), (b"", True))
        (found,) = wire.Answers().feed(packed(message, Compressor.ZLIB))
        self.assertEqual((found.document, found.more), (b"", False))
        (found,) = wire.Answers().feed(wire.encode_reply(long, 1, 2))
        self.assertEqual(found.document, b"")

    def test_an_answer_without_a_document(self) -> None:
        """Of a cursor that is at its end."""
        (found,) = wire.Answers().feed(framed(OpCode.OP_REPLY, b"\0" * 20))
        self.assertEqual(found.document, b"")
        (found,) = wire.Answers().feed(framed(OpCode.OP_REPLY, b"\0" * 8))
        self.assertEqual(found.document, b"")

    def test_what_no_server_says(self) -> None:
        """Sizes and numbers."""
        for raw in (
            struct.pack("<iiii", 5, 0, 0, 1),
            struct.pack("<iiii", 100_000_000, 0, 0, 1),
            framed(OpCode.OP_QUERY, b"x"),
        ):
            with self.assertRaises(RemoteProtocolError):
                wire.Answers().feed(raw)

    def test_a_failed_query(self) -> None:
        """Has the bit that old drivers look at."""
        raw = wire.encode_reply({"$err": "no"}, 1, 2, failed=True)
        self.assertEqual(raw[16], 2)
