"""
Envelopes of a page's WebSocket, in the proxy's words. Pure.

@see: C{docs/protocols/terminal.rst} for the layout and what each type means
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from google.protobuf.message import DecodeError

from teleport_tw.api.proto import web_pb2 as pb
from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.resources.metadata import Json

VERSION = "1"

MAX_MESSAGE_BYTES = 128 * 1024
"""Of one message of a page: four times what ours puts into one."""

RAW = "r"
RESIZE = "w"
AUDIT = "a"
CLOSED = "c"
ERROR = "e"
SESSION = "s"
FACTOR = "n"
LATENCY = "l"
FACTS = "m"
PLAY = "p"
SEARCH = "q"


@frozen
class Envelope:
    """
    One message.

    @ivar type: one letter.
    @ivar offset: of L{RAW}: raw bytes before the payload in its direction.
    @ivar received: of L{RAW}: raw bytes of the other direction that the sender has.
    @ivar ms: in a player: since the session began.
    """

    type: str
    payload: bytes = b""
    offset: int = 0
    received: int = 0
    ms: int = 0

    @classmethod
    def of(cls, type: str, value: Json, *, ms: int = 0) -> Envelope:
        """
        @param value: becomes JSON.
        """
        return cls(type, json.dumps(value, separators=(",", ":")).encode(), ms=ms)

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """
        @param data: one binary message.
        @raise RemoteProtocolError: it is no envelope of the version we know.
        """
        message = pb.Envelope()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise RemoteProtocolError("that is no envelope") from error
        if message.version != VERSION or len(message.type) != 1:
            raise RemoteProtocolError("that is no envelope of version 1")
        return cls(message.type, message.payload, message.offset, message.received, message.ms)

    def encode(self) -> bytes:
        """
        @return: one binary message.
        """
        return pb.Envelope(
            version=VERSION,
            type=self.type,
            payload=self.payload,
            offset=self.offset,
            received=self.received,
            ms=self.ms,
        ).SerializeToString()

    def text(self) -> str:
        """
        @raise RemoteProtocolError: the payload is no text.
        """
        try:
            return self.payload.decode()
        except UnicodeDecodeError as error:
            raise RemoteProtocolError("the payload is no UTF-8") from error

    def json(self) -> dict[str, Any]:
        """
        @return: the payload as an object; an empty payload is an empty object.
        @raise RemoteProtocolError: it is something else.
        """
        return parse_object(self.text() or "{}")


def parse_object(text: str) -> dict[str, Any]:
    """
    @return: what a JSON object holds.
    @raise RemoteProtocolError: C{text} is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RemoteProtocolError("that is no JSON") from error
    if not isinstance(value, dict):
        raise RemoteProtocolError("that is no JSON object")
    return value


def size(text: str) -> tuple[int, int]:
    """
    @param text: C{columns:rows}.
    @raise RemoteProtocolError: it is not, or they are none that a terminal has.
    """
    columns, _, rows = text.partition(":")
    if not (columns.isascii() and columns.isdigit() and rows.isascii() and rows.isdigit() and len(text) <= 11):
        raise RemoteProtocolError("a size is columns:rows")
    return bounded(int(columns)), bounded(int(rows))


def bounded(cells: int) -> int:
    """
    @return: C{cells}, but at least 1 and at most what a recording can hold of it.
    """
    return max(1, min(cells, 1000))
