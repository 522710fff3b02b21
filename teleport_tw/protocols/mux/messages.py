"""
The frames of yamux as frozen classes, one per type, and the numbers they carry.

@see: HashiCorp, I{yamux Specification}, C{spec.md} of github.com/hashicorp/yamux, protocol version 0.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from attrs import frozen

VERSION = 0

SESSION = 0
"""The stream id of frames that concern the whole link: ping and go-away."""

MAX_STREAM_ID = 2**32 - 1

INITIAL_WINDOW_BYTES = 256 * 1024
"""What either side may send on a new stream before it hears of more."""

MAX_WINDOW_BYTES = 2**32 - 1
"""A window larger than the field of a window update is one that an honest peer never has."""


Buffer = bytes | bytearray | memoryview
"""Bytes that are passed on and not copied."""


class Type(IntEnum):
    """
    What a frame is; the second byte of its header.
    """

    DATA = 0
    WINDOW_UPDATE = 1
    PING = 2
    GO_AWAY = 3


class Flag(IntFlag):
    """
    The bits of a header's flags field. Other bits are left alone, as the reference implementation does.
    """

    SYN = 1
    """Opens the stream, or asks for an answer to a ping."""
    ACK = 2
    """The stream was accepted, or this answers a ping."""
    FIN = 4
    """The sender of this frame sends no more data on the stream."""
    RST = 8
    """The stream ends at once, both ways."""


class GoAwayCode(IntEnum):
    """
    Why a side wants no more streams.
    """

    NORMAL = 0
    """Streams that are open go on to their end."""
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2


@frozen
class Data:
    """
    Bytes of a stream.

    A decoder hands a long frame out in several pieces: the first carries SYN and ACK, the last FIN and RST.

    @ivar flags: bits of L{Flag}; a plain number, because this is the hot path.
    """

    stream_id: int
    payload: Buffer = b""
    flags: int = 0


@frozen
class WindowUpdate:
    """
    The receiver of a stream lets the sender send more.

    @ivar credit: bytes, added to what the sender may still send; zero where only the flags matter.
    """

    stream_id: int
    credit: int = 0
    flags: int = 0


@frozen
class Ping:
    """
    Is the peer there, and how far away?

    @ivar value: 32 bits that the answer repeats.
    @ivar is_answer: whether this answers a ping.
    """

    value: int
    is_answer: bool = False


@frozen
class GoAway:
    """
    No more streams, please.

    @ivar code: a L{GoAwayCode}, or another number from a newer peer, to be taken for an error.
    """

    code: int


Message = Data | WindowUpdate | Ping | GoAway
