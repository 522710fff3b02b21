"""
Framing and fields of messages.

Two readers, for the two directions: L{Decoder} takes a user's messages whole, since each is judged before it goes on;
L{Answers} walks a server's stream by its headers, keeps the beginning of each answer, and lets the rest pass.

@see: L{teleport_tw.protocols.mongodb.messages}
"""

from __future__ import annotations

from struct import Struct

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mongodb import compression, documents
from teleport_tw.protocols.mongodb.messages import (
    HEADER,
    HEADER_BYTES,
    MAX_MESSAGE_BYTES,
    REQUIRED_FLAGS,
    Flag,
    Header,
    Legacy,
    Message,
    OpCode,
    Query,
    Request,
    Sequence,
)

MAX_FIRST_BYTES = 1024 * 1024
"""A user's first message; nothing that says hello is longer."""

KEPT_BYTES = 16 * 1024
"""Of an answer: room for its verdict, errors of many writes included."""

MAX_NAME_BYTES = 1024
"""Of a collection with its database; servers take 255."""

MAX_SEQUENCES = 64

_UINT32 = Struct("<I")
_INT32 = Struct("<i")
_REPLY = Struct("<iqii")
_KNOWN = Flag.CHECKSUM_PRESENT | Flag.MORE_TO_COME
_CHECKSUM_BYTES = 4


@frozen
class Incoming:
    """
    A user's message.

    @ivar request: what it says.
    @ivar raw: its bytes as they came, to be passed on.
    @ivar compressor: that it was packed by; C{None} if it was not.
    """

    request: Request
    raw: bytes
    compressor: int | None = None


class Decoder:
    """
    A user's messages.

    @ivar max_bytes: of the next message.
    """

    def __init__(self) -> None:
        self.max_bytes = MAX_FIRST_BYTES
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Incoming]:
        """
        @param data: any slice of the stream.
        @return: whole messages, oldest first.
        @raise RemoteProtocolError: what came is no message of a user's.
        """
        buffer = self._buffer
        buffer += data
        found: list[Incoming] = []
        start = 0
        while len(buffer) - start >= HEADER_BYTES:
            (length,) = _INT32.unpack_from(buffer, start)
            if not HEADER_BYTES < length <= self.max_bytes:
                raise RemoteProtocolError(f"a message of {length} bytes")
            if len(buffer) - start < length:
                break
            found.append(incoming(bytes(buffer[start : start + length]), self.max_bytes))
            start += length
            self.max_bytes = MAX_MESSAGE_BYTES
        del buffer[:start]
        return found


def incoming(raw: bytes, most: int = MAX_MESSAGE_BYTES) -> Incoming:
    """
    @param raw: one message with its header.
    @param most: bytes that it may have when it is unpacked.
    @raise RemoteProtocolError: it is none of a user's.
    """
    header = Header(*HEADER.unpack_from(raw))
    if header.op_code != OpCode.OP_COMPRESSED:
        return Incoming(request(header, raw[HEADER_BYTES:], raw), raw)
    told, body = compression.unpack(raw, most)
    inner = Header(header.length, header.request_id, header.response_to, told.op_code)
    return Incoming(request(inner, body), raw, told.compressor)


def request(header: Header, body: bytes, raw: bytes = b"") -> Request:
    """
    @param body: behind the header.
    @param raw: header and body, for the checksum; empty where it was packed, which leaves it out.
    """
    match header.op_code:
        case OpCode.OP_MSG:
            return message(header, body, raw)
        case OpCode.OP_QUERY:
            return _query(header, body)
        case OpCode.OP_INSERT | OpCode.OP_UPDATE | OpCode.OP_DELETE | OpCode.OP_GET_MORE | OpCode.OP_KILL_CURSORS:
            return _legacy(header, body)
    raise RemoteProtocolError(f"no message of a client's has the number {header.op_code}")


def message(header: Header, body: bytes, raw: bytes = b"") -> Message:
    """
    OP_MSG::

        uint32 flags
        sections            each behind a byte: 0 the command's document; 1 int32 size, itself included,
                            cstring identifier, documents
        uint32 checksum     CRC-32C, if a flag says so

    @raise RemoteProtocolError: no or two commands, or what the flags do not allow.
    """
    if len(body) < _UINT32.size:
        raise RemoteProtocolError("a message without flags")
    (bits,) = _UINT32.unpack_from(body)
    flags = Flag(bits & (REQUIRED_FLAGS | Flag.EXHAUST_ALLOWED))
    if flags & REQUIRED_FLAGS & ~_KNOWN:
        raise RemoteProtocolError(f"a message with flags {bits:#x} that nobody knows")
    end = len(body)
    if flags & Flag.CHECKSUM_PRESENT and raw:
        end -= _CHECKSUM_BYTES
    sequences: list[Sequence] = []
    command, position = b"", _UINT32.size
    while position < end:
        kind, position = body[position], position + 1
        size = int.from_bytes(body[position : position + 4], "little", signed=True)
        if size < documents.MIN_BYTES or size > end - position:
            raise RemoteProtocolError(f"a section of {size} bytes in {end - position}")
        section, position = body[position : position + size], position + size
        if kind == 0 and not command:
            command = section
        elif kind == 1 and len(sequences) < MAX_SEQUENCES:
            sequences.append(_sequence(section))
        else:
            raise RemoteProtocolError("a message with two commands, or a section nobody knows")
    if not command or position != end:
        raise RemoteProtocolError("a message without a command")
    names = [each.identifier for each in sequences]
    if len(set(names)) != len(names):
        raise RemoteProtocolError("a message with two sequences of one name")
    return Message(header=header, flags=flags, body=command, sequences=tuple(sequences))


def _sequence(section: bytes) -> Sequence:
    name, end = _cstring(section, 4)
    return Sequence(identifier=name, documents=section[end:])


def _query(header: Header, body: bytes) -> Query:
    """
    C{int32} flags; C{cstring} collection; C{int32} skip, limit; the query; maybe a selector of fields.
    """
    name, position = _cstring(body, 4)
    if len(body) < position + 8:
        raise RemoteProtocolError("a query that is cut short")
    skip, limit = (_INT32.unpack_from(body, position + each)[0] for each in (0, 4))
    found = list(documents.split(body[position + 8 :]))
    if not 1 <= len(found) <= 2:
        raise RemoteProtocolError("a query without a document, or with too many")
    (flags,) = _INT32.unpack_from(body)
    selector = found[1] if len(found) == 2 else b""
    return Query(header=header, flags=flags, collection=name, skip=skip, limit=limit, query=found[0], selector=selector)


def _legacy(header: Header, body: bytes) -> Legacy:
    """
    OP_INSERT has flags in front, the others a zero; the collection follows. OP_KILL_CURSORS names none.
    """
    if header.op_code == OpCode.OP_KILL_CURSORS:
        return Legacy(header=header)
    name, position = _cstring(body, 4)
    if header.op_code == OpCode.OP_GET_MORE:
        return Legacy(header=header, collection=name)
    if header.op_code != OpCode.OP_INSERT:
        position += 4
    return Legacy(header=header, collection=name, documents=tuple(documents.split(body[position:])))


def _cstring(data: bytes, start: int) -> tuple[str, int]:
    end = data.find(b"\0", start, start + MAX_NAME_BYTES + 1)
    if end < 0:
        raise RemoteProtocolError("a name without an end")
    return data[start:end].decode("utf-8", "backslashreplace"), end + 1


def encode_message(command: documents.Document, request_id: int, response_to: int = 0, flags: int = 0) -> bytes:
    """
    @return: OP_MSG with one document.
    """
    body = _UINT32.pack(flags) + b"\0" + documents.encode(command)
    return HEADER.pack(HEADER_BYTES + len(body), request_id, response_to, OpCode.OP_MSG) + body


def encode_query(collection: str, query: documents.Document, request_id: int) -> bytes:
    """
    @return: OP_QUERY for one document.
    """
    body = _INT32.pack(0) + collection.encode() + b"\0" + _INT32.pack(0) + _INT32.pack(-1) + documents.encode(query)
    return HEADER.pack(HEADER_BYTES + len(body), request_id, 0, OpCode.OP_QUERY) + body


def encode_reply(document: documents.Document, request_id: int, response_to: int, *, failed: bool = False) -> bytes:
    """
    @param failed: the bit that tells old drivers that a query failed; commands leave it out.
    @return: OP_REPLY with one document.
    """
    body = _REPLY.pack(2 if failed else 8, 0, 0, 1) + documents.encode(document)
    return HEADER.pack(HEADER_BYTES + len(body), request_id, response_to, OpCode.OP_REPLY) + body


@frozen(kw_only=True)
class Answer:
    """
    A server's answer, or how it begins.

    @ivar header: of the whole; its C{op_code} is that of what was packed.
    @ivar document: in BSON; empty where the answer was too long to be kept.
    @ivar more: another answer to the same request follows.
    """

    header: Header
    document: bytes
    more: bool = False


class Answers:
    """
    A server's stream.
    """

    def __init__(self) -> None:
        self._kept = bytearray()
        self._header: Header | None = None
        self._left = 0

    @property
    def inside(self) -> bool:
        """
        Whether part of an answer has come.
        """
        return self._header is not None or bool(self._kept)

    def feed(self, data: bytes | memoryview) -> list[Answer]:
        """
        @param data: any slice of the stream, which is passed on by the caller.
        @return: the answers that end in it.
        @raise RemoteProtocolError: the server speaks no such protocol.
        """
        view = memoryview(data)
        found: list[Answer] = []
        while view:
            if self._header is None:
                view = self._begin(view)
                continue
            room = min(KEPT_BYTES - len(self._kept), self._left, len(view))
            if room > 0:
                self._kept += view[:room]
            passed = min(self._left, len(view))
            self._left -= passed
            view = view[passed:]
            if not self._left:
                found.append(self._end(self._header))
        return found

    def _begin(self, view: memoryview) -> memoryview:
        missing = HEADER_BYTES - len(self._kept)
        self._kept += view[:missing]
        if len(self._kept) == HEADER_BYTES:
            header = Header(*HEADER.unpack_from(self._kept))
            if not HEADER_BYTES < header.length <= MAX_MESSAGE_BYTES:
                raise RemoteProtocolError(f"an answer of {header.length} bytes")
            self._header, self._left = header, header.length - HEADER_BYTES
        return view[missing:]

    def _end(self, header: Header) -> Answer:
        kept, self._kept, self._header = bytes(self._kept), bytearray(), None
        return answer(header, kept)


def answer(header: Header, kept: bytes) -> Answer:
    """
    @param kept: the message with its header, or its beginning.
    @raise RemoteProtocolError: no server says such a thing.
    """
    whole = len(kept) == header.length
    body = kept[HEADER_BYTES:]
    if header.op_code == OpCode.OP_COMPRESSED:
        told = compression.read(kept)
        header = Header(header.length, header.request_id, header.response_to, told.op_code)
        if not whole or told.size > 4 * KEPT_BYTES:
            # The flags are packed as well; only answers with little in them are followed by another unasked.
            return Answer(header=header, document=b"")
        _, body = compression.unpack(kept)
    match header.op_code:
        case OpCode.OP_MSG:
            more = bool(body[:1] and body[0] & Flag.MORE_TO_COME)
            if not whole:
                return Answer(header=header, document=b"", more=more)
            return Answer(header=header, document=message(header, body, kept).body, more=more)
        case OpCode.OP_REPLY:
            if not whole or len(body) < _REPLY.size:
                return Answer(header=header, document=b"")
            (document, *_) = [*documents.split(body[_REPLY.size :]), b""]
            return Answer(header=header, document=document)
    raise RemoteProtocolError(f"no message of a server's has the number {header.op_code}")
