"""
The stream of packets: where one ends and the next begins, and their numbers.

L{PacketReader} holds the bytes that do not make a whole packet yet, L{PacketWriter} counts what goes out. Both change
keys between two packets, at the moment NEWKEYS passes; under strict key exchange they count from zero again then, so
nothing that was slipped in before keys were agreed on can shift what follows.

@see: RFC 4253 sections 6.4 and 7.3; OpenSSH's C{PROTOCOL} section 1.10 (strict key exchange).
"""

from __future__ import annotations

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR, Octets, Opener, PlainOpener, PlainSealer, Sealer

_NUMBERS = 0xFFFF_FFFF


class PacketReader:
    """
    Bytes in, packets out; pulled one at a time, since a packet may change the keys of the next.

    @ivar sequence: the number of the next packet.
    @ivar received_bytes: taken in under the present keys.
    @ivar received_packets: taken in under the present keys.
    """

    __slots__ = (
        "_buffer",
        "_head",
        "_opener",
        "_parts",
        "_parts_bytes",
        "_start",
        "_view",
        "_wanted",
        "received_bytes",
        "received_packets",
        "sequence",
    )

    def __init__(self) -> None:
        self._opener: Opener = PlainOpener()
        self._head = self._opener.head_bytes
        self._buffer: bytes = b""
        self._view = memoryview(b"")
        self._start = 0
        self._parts: list[bytes] = []
        self._parts_bytes = 0
        self._wanted = 0
        self.sequence = 0
        self.received_bytes = 0
        self.received_packets = 0

    @property
    def buffered(self) -> int:
        """
        How many bytes wait.
        """
        return len(self._buffer) - self._start + self._parts_bytes

    def feed(self, data: bytes) -> None:
        """
        Take in bytes from the peer; L{next} gives the packets they complete.
        """
        self._parts.append(data)
        self._parts_bytes += len(data)

    def next(self) -> bytes | None:
        """
        @return: a packet as L{Opener.open} gives it, its padding length checked; C{None} while more bytes are needed.
        @raise RemoteProtocolError: too long, malformed or forged; the stream cannot be read any further.
        """
        start = self._start
        present = len(self._buffer) - start
        wanted = self._wanted
        if not wanted:
            head = self._head
            if present < head:
                if present + self._parts_bytes < head:
                    return None
                self._gather()
                start, present = 0, len(self._buffer)
            wanted = self._wanted = self._opener.length(self.sequence, self._view[start : start + head])
        if present < wanted:
            if present + self._parts_bytes < wanted:
                return None
            whole = self._across(wanted)
        else:
            self._start = start + wanted
            whole = self._view[start : start + wanted]
        packet = self._opener.open(self.sequence, whole)
        self._wanted = 0
        self.sequence = (self.sequence + 1) & _NUMBERS
        self.received_bytes += wanted
        self.received_packets += 1
        padding = packet[0]
        if padding < 4 or padding + 2 > len(packet):
            raise RemoteProtocolError(f"padding of {padding} bytes is wrong", code=DISCONNECT_PROTOCOL_ERROR)
        return packet

    def _across(self, wanted: int) -> memoryview:
        """
        Take a packet that began in the buffer and ends in what came since, of which no more than that is copied.
        """
        pieces = [self._view[self._start :]]
        missing = wanted - len(pieces[0])
        parts = self._parts
        used = 0
        while len(parts[used]) < missing:
            pieces.append(memoryview(parts[used]))
            missing -= len(parts[used])
            used += 1
        last = parts[used]
        self._parts_bytes -= sum(len(part) for part in parts[: used + 1])
        del parts[: used + 1]
        self._buffer, self._view, self._start = last, memoryview(last), missing
        pieces.append(self._view[:missing])
        return memoryview(b"".join(pieces))

    def _gather(self) -> None:
        """
        Make one buffer of what is left of the last and what came since.
        """
        parts = self._parts
        if self._start < len(self._buffer):
            parts.insert(0, self._buffer[self._start :] if self._start else self._buffer)
        self._buffer = parts[0] if len(parts) == 1 else b"".join(parts)
        self._view = memoryview(self._buffer)
        self._start = 0
        self._parts = []
        self._parts_bytes = 0

    def rekey(self, opener: Opener, *, restart: bool) -> None:
        """
        What follows is under new keys.

        @param restart: whether to number from zero again.
        """
        self._opener = opener
        self._head = opener.head_bytes
        self.received_bytes = self.received_packets = 0
        if restart:
            self.sequence = 0


class PacketWriter:
    """
    Payloads in, packets out.

    @ivar sequence: the number of the next packet.
    @ivar sent_bytes: under the present keys.
    @ivar sent_packets: under the present keys.
    """

    __slots__ = ("_seal", "sent_bytes", "sent_packets", "sequence")

    def __init__(self) -> None:
        self._seal = PlainSealer().seal
        self.sequence = 0
        self.sent_bytes = 0
        self.sent_packets = 0

    def packet(self, head: bytes, body: Octets = b"") -> bytes | bytearray:
        """
        @return: the next packet, holding C{head} and C{body} one after the other.
        """
        sequence = self.sequence
        sealed = self._seal(sequence, head, body)
        self.sequence = (sequence + 1) & _NUMBERS
        self.sent_bytes += len(sealed)
        self.sent_packets += 1
        return sealed

    def rekey(self, sealer: Sealer, *, restart: bool) -> None:
        """
        What follows is under new keys.

        @param restart: whether to number from zero again.
        """
        self._seal = sealer.seal  # type: ignore[assignment]
        self.sent_bytes = self.sent_packets = 0
        if restart:
            self.sequence = 0
