"""
OP_COMPRESSED: another message, compressed.

::

    header                  of the whole, with opCode 2012
    int32 originalOpcode
    int32 uncompressedSize  of the body, without any header
    uint8 compressorId
    bytes                   the body

What is announced bounds what is unpacked; nothing longer is ever made.

@see: specifications, C{compression/OP_COMPRESSED.md}
"""

from __future__ import annotations

import zlib
from enum import IntEnum
from struct import Struct

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.protocols.mongodb.messages import HEADER_BYTES, MAX_MESSAGE_BYTES

FIELDS = Struct("<iiB")


class Compressor(IntEnum):
    """
    How a body is compressed.
    """

    NOOP = 0
    SNAPPY = 1
    ZLIB = 2
    ZSTD = 3


@frozen
class Compressed:
    """
    What stands before the compressed body.
    """

    op_code: int
    size: int
    compressor: int


def read(message: bytes | memoryview) -> Compressed:
    """
    @param message: with its header; the body may be missing.
    @raise RemoteProtocolError: cut short, or no size that a message has.
    """
    if len(message) < HEADER_BYTES + FIELDS.size:
        raise RemoteProtocolError("a compressed message without a body")
    op_code, size, compressor = FIELDS.unpack_from(message, HEADER_BYTES)
    if not 0 <= size <= MAX_MESSAGE_BYTES:
        raise RemoteProtocolError(f"a message of {size} bytes when unpacked")
    return Compressed(op_code, size, compressor)


def unpack(message: bytes | memoryview, most: int = MAX_MESSAGE_BYTES) -> tuple[Compressed, bytes]:
    """
    @param message: whole, with its header.
    @param most: bytes that it may have when unpacked.
    @return: what it said, and the body, without any header.
    @raise RemoteProtocolError: it cannot be unpacked, or to another size than announced.
    """
    told = read(message)
    if told.size > most:
        raise RemoteProtocolError(f"a message of {told.size} bytes when unpacked")
    packed = bytes(message[HEADER_BYTES + FIELDS.size :])
    try:
        body = _unpacked(told, packed)
    except RemoteProtocolError:
        raise
    except Exception as error:  # each library has an error of its own, and none of them promises which
        raise RemoteProtocolError(f"a message that cannot be unpacked: {error}") from error
    if len(body) != told.size:
        raise RemoteProtocolError(f"a message of {len(body)} bytes that said {told.size}")
    return told, body


def _unpacked(told: Compressed, packed: bytes) -> bytes:
    match told.compressor:
        case Compressor.NOOP:
            return packed
        case Compressor.ZLIB:
            unpacking = zlib.decompressobj()
            return unpacking.decompress(packed, told.size + 1)
        case Compressor.ZSTD:
            return _zstd(packed, told.size)
        case Compressor.SNAPPY:
            return _snappy(packed, told.size)
    raise RemoteProtocolError(f"no compressor has the number {told.compressor}")


def _zstd(packed: bytes, size: int) -> bytes:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(packed)
    return reader.read(size + 1)


def _snappy(packed: bytes, size: int) -> bytes:
    """
    The length stands in front, seven bits a byte, the lowest first.

    @see: snappy, C{format_description.txt}, section 1
    """
    import cramjam

    announced = 0
    for index, byte in enumerate(packed[:5]):
        announced |= (byte & 0x7F) << 7 * index
        if not byte & 0x80:
            break
    if announced != size:
        raise RemoteProtocolError(f"a message of {announced} bytes that said {size}")
    return bytes(cramjam.snappy.decompress_raw(packed))
