"""
The recording format: a run of frames, each a compressed chunk of timed terminal facts, each chained to the one before.

A frame, big-endian::

    4 bytes   "TWRC"
    uint8     version, 1
    uint8     flags: 1 = the last frame of the recording
    uint16    zero
    uint32    number of the frame, from 0
    uint32    bytes of the body
    uint32    bytes of the body when unpacked, at most 8 MiB
    uint64    milliseconds since the start, of its first record
    uint64    the same of its last record
    32 bytes  BLAKE2b-256 over the digest before (zeros for the first), the header up to here, and the body
    body      one Zstandard frame of records

A record::

    uint8     kind: 1 start, 2 output, 3 resize, 4 note, 5 end
    uint32    milliseconds since the frame's first record
    uint32    bytes that follow: JSON for start, note and end; raw output; width and height as uint16

The headers alone tell where a time is found. A reader needs no end: it gives what is whole and says whether the
recording was complete. The last frame's digest goes into the audit log, so that no frame can be changed, cut out or
taken from another recording unnoticed.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, TypeAlias

import zstandard
from attrs import define, field, frozen

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.resources.metadata import Json

MAGIC = b"TWRC"
VERSION = 1
LAST = 1
MAX_BODY_BYTES = 8 << 20
"""A recorder flushes at far less; a reader takes no more than this of memory for a frame."""
FIRST_DIGEST = bytes(32)

_HEADER = struct.Struct(">4sBBHIIIQQ")
_RECORD = struct.Struct(">BII")
_SIZE = struct.Struct(">HH")
HEADER_BYTES = _HEADER.size + 32


@frozen
class Start:
    """
    The first record: who, where, when, the terminal's size.
    """

    metadata: Json


@frozen
class Output:
    """
    What the terminal was sent.
    """

    data: bytes


@frozen
class Resized:
    """
    The terminal's size in characters.
    """

    width: int
    height: int


@frozen
class Note:
    """
    Something else that belongs to the time line, as an event's JSON: somebody joined, output was lost.
    """

    event: Json


@frozen
class End:
    """
    The last record.
    """

    summary: Json


Fact: TypeAlias = Start | Output | Resized | Note | End


@frozen
class Timed:
    """
    @ivar ms: milliseconds since the start.
    """

    ms: int
    fact: Fact


@frozen
class Header:
    """
    A frame's header.
    """

    flags: int
    number: int
    packed: int
    unpacked: int
    first_ms: int
    last_ms: int
    digest: bytes

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """
        @param data: the header's bytes, all of them.
        @raise RemoteProtocolError: it is no frame, of a version we do not know, or too large.
        """
        magic, version, flags, zero, number, packed, unpacked, first, last = _HEADER.unpack_from(data)
        if magic != MAGIC or zero:
            raise RemoteProtocolError("this is not a recording")
        if version != VERSION:
            raise RemoteProtocolError(f"the recording has version {version}, we read {VERSION}")
        if packed > MAX_BODY_BYTES or unpacked > MAX_BODY_BYTES or last < first:
            raise RemoteProtocolError(f"frame {number} of the recording has an impossible header")
        return cls(flags, number, packed, unpacked, first, last, data[_HEADER.size : HEADER_BYTES])


@define
class Encoder:
    """
    Makes frames one after the other.

    @ivar digest: of the frame made last.
    """

    digest: bytes = FIRST_DIGEST
    number: int = 0

    def frame(self, records: Sequence[Timed], *, last: bool = False) -> bytes:
        """
        @param records: in order of time, one at least.
        """
        if not records:
            raise LocalProtocolError("a frame without records")
        first_ms = records[0].ms
        parts: list[bytes] = []
        for record in records:
            kind, payload = _payload(record.fact)
            parts += (_RECORD.pack(kind, record.ms - first_ms, len(payload)), payload)
        body = b"".join(parts)
        if len(body) > MAX_BODY_BYTES:
            raise LocalProtocolError(f"a frame of {len(body)} bytes")
        packed = zstandard.ZstdCompressor(level=3, write_checksum=False).compress(body)
        header = _HEADER.pack(
            *(MAGIC, VERSION, LAST if last else 0, 0, self.number, len(packed), len(body), first_ms, records[-1].ms)
        )
        self.digest = _digest(self.digest, header, packed)
        self.number += 1
        return b"".join((header, self.digest, packed))


@define
class Reader:
    """
    Takes the bytes of a recording in any slices.

    @ivar digest: of the last whole frame.
    @ivar complete: the last frame was read.
    @ivar frames: how many were whole.
    """

    digest: bytes = FIRST_DIGEST
    complete: bool = False
    frames: int = 0
    _buffer: bytearray = field(factory=bytearray)

    def feed(self, data: bytes) -> list[Timed]:
        """
        @return: the records of the frames that are whole now.
        @raise RemoteProtocolError: a frame was changed, cut out or is none; what came before it was good.
        """
        return list(self.read(data))

    def read(self, data: bytes) -> Iterator[Timed]:
        """
        As L{feed}, a frame at a time: a few hundred bytes may unpack to megabytes, and there may be many such frames.

        @return: to be read to its end before more is fed.
        """
        self._buffer += data
        while (frame := self._next()) is not None:
            header, body = frame
            records = unpack(header, body)
            self._passed(header)
            yield from records

    def verify(self, data: bytes) -> None:
        """
        As L{feed}, but nothing is unpacked, which costs little however much is in it.

        @raise RemoteProtocolError: a frame was changed, cut out or is none.
        """
        self._buffer += data
        while (frame := self._next()) is not None:
            self._passed(frame[0])

    @property
    def torn_bytes(self) -> int:
        """
        Bytes at the end that are no whole frame: left by a crash, or still to come.
        """
        return len(self._buffer)

    def _next(self) -> tuple[Header, bytes] | None:
        if len(self._buffer) < HEADER_BYTES:
            return None
        header = Header.parse(bytes(self._buffer[:HEADER_BYTES]))
        end = HEADER_BYTES + header.packed
        if len(self._buffer) < end:
            return None
        body = bytes(self._buffer[HEADER_BYTES:end])
        wanted = _digest(self.digest, bytes(self._buffer[: _HEADER.size]), body)
        if self.complete or header.number != self.frames or not hmac.compare_digest(wanted, header.digest):
            raise RemoteProtocolError(f"the recording was changed or cut at frame {header.number}")
        del self._buffer[:end]
        return header, body

    def _passed(self, header: Header) -> None:
        self.digest, self.frames = header.digest, self.frames + 1
        self.complete = bool(header.flags & LAST)


def unpack(header: Header, body: bytes) -> list[Timed]:
    """
    @return: the records of one frame.
    @raise RemoteProtocolError: the body is not what the header says.
    """
    try:
        # What the frame says of its own size is believed by the library, and allocated, whatever bound it is given.
        if zstandard.frame_content_size(body) != header.unpacked:
            raise RemoteProtocolError(f"frame {header.number} has another length than it says")
        data = zstandard.ZstdDecompressor().decompress(body, max_output_size=header.unpacked)
    except zstandard.ZstdError as error:
        raise RemoteProtocolError(f"frame {header.number} cannot be unpacked: {error}") from error
    if len(data) != header.unpacked:
        raise RemoteProtocolError(f"frame {header.number} has the wrong length")
    found: list[Timed] = []
    offset = 0
    while offset < len(data):
        if len(data) - offset < _RECORD.size:
            raise RemoteProtocolError(f"frame {header.number} ends inside a record")
        kind, ms, length = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        payload = data[offset : offset + length]
        if len(payload) != length:
            raise RemoteProtocolError(f"frame {header.number} ends inside a record")
        offset += length
        found.append(Timed(header.first_ms + ms, _fact(kind, payload)))
    return found


def index(file: BinaryIO) -> list[tuple[int, Header]]:
    """
    Read headers only.

    @param file: a recording, seekable.
    @return: offset and header of each frame that is whole.
    """
    found: list[tuple[int, Header]] = []
    size = file.seek(0, 2)
    offset = 0
    while offset + HEADER_BYTES <= size:
        file.seek(offset)
        header = Header.parse(file.read(HEADER_BYTES))
        end = offset + HEADER_BYTES + header.packed
        if end > size:
            break
        found.append((offset, header))
        offset = end
    return found


def read_from(file: BinaryIO, frames: Sequence[tuple[int, Header]], ms: int) -> list[Timed]:
    """
    @param frames: from L{index}.
    @return: the records from C{ms} on, without unpacking what comes before.
    """
    found: list[Timed] = []
    for offset, header in frames:
        if header.last_ms >= ms:
            file.seek(offset + HEADER_BYTES)
            found += [record for record in unpack(header, file.read(header.packed)) if record.ms >= ms]
    return found


def _digest(before: bytes, header: bytes, body: bytes) -> bytes:
    digest = hashlib.blake2b(before, digest_size=32)
    digest.update(header)
    digest.update(body)
    return digest.digest()


def _payload(fact: Fact) -> tuple[int, bytes]:
    match fact:
        case Start(metadata):
            return 1, _json(metadata)
        case Output(data):
            return 2, data
        case Resized(width, height):
            return 3, _SIZE.pack(min(width, 0xFFFF), min(height, 0xFFFF))
        case Note(event):
            return 4, _json(event)
        case End(summary):
            return 5, _json(summary)


def _fact(kind: int, payload: bytes) -> Fact:
    match kind:
        case 1:
            return Start(_object(payload))
        case 2:
            return Output(payload)
        case 3 if len(payload) == _SIZE.size:
            return Resized(*_SIZE.unpack(payload))
        case 4:
            return Note(_object(payload))
        case 5:
            return End(_object(payload))
        case _:
            raise RemoteProtocolError(f"a record of kind {kind} and {len(payload)} bytes")


def _json(value: Json) -> bytes:
    return json.dumps(dict(value), separators=(",", ":")).encode()


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("a record that is not JSON") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError("a record that is not a JSON object")
    return value
