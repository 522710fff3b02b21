"""
The messages of MongoDB's wire protocol that a user's side sends and a server's side answers with.

Every message begins with a header::

    int32 messageLength     bytes, the header's sixteen included
    int32 requestID
    int32 responseTo        zero in requests
    int32 opCode

All numbers are little-endian.

@see: MongoDB manual, I{MongoDB Wire Protocol}; specifications, C{message/OP_MSG.md}
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from struct import Struct

from attrs import frozen

HEADER = Struct("<iiii")
HEADER_BYTES = HEADER.size

MAX_MESSAGE_BYTES = 48_000_000 + 16 * 1024
"""What servers take: C{maxMessageSizeBytes} and room for the header and the command beside the documents."""


class OpCode(IntEnum):
    """
    Kinds of message.
    """

    OP_REPLY = 1
    OP_UPDATE = 2001
    OP_INSERT = 2002
    OP_QUERY = 2004
    OP_GET_MORE = 2005
    OP_DELETE = 2006
    OP_KILL_CURSORS = 2007
    OP_COMPRESSED = 2012
    OP_MSG = 2013


class Flag(IntFlag):
    """
    Of OP_MSG. Of the lower sixteen, unknown ones are an error.
    """

    CHECKSUM_PRESENT = 1
    MORE_TO_COME = 2
    EXHAUST_ALLOWED = 1 << 16


REQUIRED_FLAGS = 0xFFFF
"""Bits that a reader must know, or refuse the message."""


@frozen
class Header:
    """
    The first sixteen bytes.
    """

    length: int
    request_id: int
    response_to: int
    op_code: int


@frozen(kw_only=True)
class Sequence:
    """
    Documents beside a command, such as the ones to insert.

    @ivar identifier: the command's field that they stand for.
    @ivar documents: one behind the other, in BSON.
    """

    identifier: str
    documents: bytes


@frozen(kw_only=True)
class Message:
    """
    OP_MSG: a command or its answer.

    @ivar body: the document with the command, in BSON.
    """

    header: Header
    flags: Flag
    body: bytes
    sequences: tuple[Sequence, ...] = ()

    @property
    def expects_reply(self) -> bool:
        """
        Whether the sender waits for an answer.
        """
        return not self.flags & Flag.MORE_TO_COME


@frozen(kw_only=True)
class Query:
    """
    OP_QUERY: how drivers say hello to servers they do not know yet; once it read collections.

    @ivar collection: C{database.collection}; C{database.$cmd} for commands.
    @ivar query: in BSON.
    """

    header: Header
    flags: int
    collection: str
    skip: int
    limit: int
    query: bytes
    selector: bytes = b""

    expects_reply = True


@frozen(kw_only=True)
class Legacy:
    """
    What drivers sent before OP_MSG: reads, writes and ends of cursors.

    @ivar collection: C{database.collection}; empty for OP_KILL_CURSORS, which names none.
    """

    header: Header
    collection: str = ""
    documents: tuple[bytes, ...] = ()

    @property
    def expects_reply(self) -> bool:
        """
        Only C{OP_GET_MORE} is answered.
        """
        return self.header.op_code == OpCode.OP_GET_MORE


Request = Message | Query | Legacy
