"""
A channel: one flow of bytes each way inside an SSH connection, which behaves like a Twisted transport.

Subclasses say what happens: C{channelOpen}, C{dataReceived}, C{extReceived}, C{eofReceived}, C{closed} and
C{request_<name>} are called as in Conch. What is written goes out in order: data, then what L{Channel.exit_status}
and its kin left to say, then the end.

Windows are the back-pressure. Inbound, room is given back to the peer only for bytes that C{dataReceived} has had, in
batches; L{Channel.pauseProducing} stops both. Outbound, a registered producer is paused when more is waiting than
L{HIGH_WATER_BYTES} or the connection itself is congested.

@see: RFC 4254 section 5
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh.channel import SSHChannel
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.logger import Logger
from zope.interface import implementer

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError, TeleportError
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR, Octets
from teleport_tw.protocols.ssh.wire import put_boolean, put_string, put_text, put_uint32

if TYPE_CHECKING:
    from teleport_tw.conch.connection import Connection

WINDOW_BYTES = 2 * 1024 * 1024
"""What a peer may send unacknowledged; OpenSSH's own figure."""

MAX_PACKET_BYTES = 64 * 1024
"""Largest piece of data taken in one packet, and sent if the peer takes as much; OpenSSH takes 32 KiB."""

HIGH_WATER_BYTES = 256 * 1024
"""Waiting for the peer's window; a producer pauses above it."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Waiting for the peer's window; a channel whose writer heeds no pause is closed above it."""

MAX_REQUESTS_WAITING = 64

STDERR = 1
"""The one kind of extended data: RFC 4254 section 5.2."""

_EOF = object()
_CLOSE = object()

Answer = bool | None
"""What a request comes to: false for a refusal; no answer counts as accepted."""


@implementer(IConsumer, IPushProducer)
class Channel(SSHChannel):
    """
    See the module.

    @cvar name: the type named when we open it: C{session}, C{direct-tcpip}.
    @ivar conn: the connection, once the channel belongs to one.
    @ivar id: our number.
    @ivar remote_id: the peer's number.
    """

    _log = Logger()
    conn: Connection
    id: int  # type: ignore[assignment]  # Conch has None before it is known
    disconnecting = False

    def __init__(self, *, window_bytes: int = WINDOW_BYTES, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        super().__init__(localWindow=window_bytes, localMaxPacket=max_packet_bytes)
        self.remote_id = 0
        self._batch = window_bytes // 4
        self._consumed = 0
        self._paused = False
        self._delivering = False
        self._inbox: deque[bytes | tuple[int, bytes] | object] = deque()
        self._requests: deque[tuple[str, bytes, bool]] = deque()
        self._answering = False
        self._answers: Deferred[None] | None = None
        self._outbox: deque[tuple[int, Octets]] = deque()
        self._waiting_bytes = 0
        self._last_words: list[bytes] = []
        self._eof_wanted = self._eof_sent = False
        self._close_wanted = False
        self._producer: Any = None  # a push or a pull producer: two interfaces without a common part
        self._streaming = False
        self._producer_paused = False

    # Bytes in.

    def admit(self, size: int) -> None:
        """
        Called by the connection for each packet of data.

        @raise RemoteProtocolError: the peer overstepped its window or packet size.
        """
        left = self.localWindowLeft - size
        if left < 0 or size > self.localMaxPacket:
            raise RemoteProtocolError("more data than the window allows", code=DISCONNECT_PROTOCOL_ERROR)
        self.localWindowLeft = left

    def took(self, data: bytes) -> None:
        """
        Called by the connection with what one CHANNEL_DATA held, or several on end, once they are admitted.
        """
        if self._paused or self._inbox or self._answering:
            self._inbox.append(data)
        elif not self.localClosed:
            self.dataReceived(data)
            self._consumed += len(data)
            if self._consumed >= self._batch and not self._paused:
                self._give_room()

    def took_extended(self, kind: int, data: bytes) -> None:
        """
        Called by the connection with what a CHANNEL_EXTENDED_DATA held.
        """
        self.admit(len(data))
        self._inbox.append((kind, data))
        self._deliver()

    def took_eof(self) -> None:
        """
        Called by the connection: the peer sends no more.
        """
        self._inbox.append(_EOF)
        self._deliver()

    def took_close(self) -> None:
        """
        Called by the connection: the peer has closed the channel.
        """
        self.remoteClosed = True
        self._drop_outbox()
        self._paused = False
        self._requests.clear()
        if self._answering and self._answers is not None:
            self._answers.cancel()
        self._inbox.append(_CLOSE)
        self._deliver()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            inbox = self._inbox
            while inbox and not self._paused and not self._answering:
                item = inbox.popleft()
                if item is _CLOSE:
                    self.closeReceived()
                elif item is _EOF:
                    if not self.localClosed:
                        self.eofReceived()
                elif isinstance(item, tuple):
                    kind, data = item
                    self._consumed += len(data)
                    if not self.localClosed:
                        self.extReceived(kind, data)
                elif isinstance(item, bytes):
                    self._consumed += len(item)
                    if not self.localClosed:
                        self.dataReceived(item)
        finally:
            self._delivering = False
        if self._consumed >= self._batch and not self._paused:
            self._give_room()

    def _give_room(self) -> None:
        if not self.localClosed and not self.remoteClosed:
            room, self._consumed = self._consumed, 0
            self.localWindowLeft += room
            self.conn.adjust_window(self, room)

    def pauseProducing(self) -> None:
        """
        Deliver nothing until L{resumeProducing}; the peer's window runs down.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        Go on, with what came meanwhile first.
        """
        if self._paused:
            self._paused = False
            self._deliver()

    def stopProducing(self) -> None:
        """
        The consumer wants no more.
        """
        self.loseConnection()

    # Requests in.

    def took_request(self, name: str, payload: bytes, want_reply: bool) -> None:
        """
        Called by the connection. Requests are answered one after the other, and data waits for them.
        """
        if len(self._requests) >= MAX_REQUESTS_WAITING:
            raise RemoteProtocolError("too many channel requests", code=DISCONNECT_PROTOCOL_ERROR)
        self._requests.append((name, payload, want_reply))
        if not self._answering:
            self._answering = True
            self._answers = self.conn.transport.tasks.spawn("SSH channel request", self._answer_requests())

    async def _answer_requests(self) -> None:
        try:
            while self._requests:
                name, payload, want_reply = self._requests.popleft()
                accepted = await self._answer(name, payload)
                if want_reply and not self.localClosed:
                    self.conn.reply_to_request(self, accepted)
        finally:
            self._answering = False
        self._deliver()

    async def _answer(self, name: str, payload: bytes) -> bool:
        try:
            answer = self.requestReceived(name, payload)
            if isinstance(answer, Awaitable):
                answer = await answer
        except (TeleportError, RemoteProtocolError) as error:
            self._log.debug("channel request {name} refused: {error}", name=name, error=error)
            return False
        return answer is None or bool(answer)

    def requestReceived(self, name: str, payload: bytes) -> Awaitable[Answer] | Answer:
        """
        Call C{request_<name>}, where there is one.

        @param name: dashes become underscores, and what follows an at sign is left away: C{request_auth_agent_req}.
        @return: what that method returned or promised; refused if there is none, or by raising TeleportError.
        """
        method = getattr(self, "request_" + name.partition("@")[0].replace("-", "_"), None)
        if method is None:
            return False
        answer: Awaitable[Answer] | Answer = method(payload)
        return answer

    # Bytes out.

    def write(self, data: Octets) -> None:
        """
        Send data, now or when the peer has room.

        @param data: must not change afterwards.
        """
        self._write(0, data)

    def writeExtended(self, dataType: int, data: Octets) -> None:
        """
        Send data of another kind, in order with the rest.

        @param dataType: L{STDERR}.
        """
        self._write(dataType, data)

    def writeSequence(self, data: list[bytes]) -> None:
        """
        Send pieces one after the other.
        """
        self._write(0, b"".join(data))

    def _write(self, kind: int, data: Octets) -> None:
        if self._eof_wanted or self._close_wanted or self.localClosed or self.remoteClosed or not data:
            return
        size = len(data)
        if self._outbox or not self.remoteWindowLeft:
            self._wait(kind, data)
        elif size <= self.remoteWindowLeft:
            self.remoteWindowLeft -= size
            self.conn.send_data(self, kind, data)
        else:
            self._send_part(kind, data)
        if self._producer is not None:
            self._steer()

    def _send_part(self, kind: int, data: Octets) -> None:
        room, self.remoteWindowLeft = self.remoteWindowLeft, 0
        view = memoryview(data)
        self.conn.send_data(self, kind, view[:room])
        self._outbox.appendleft((kind, view[room:]))
        self._waiting_bytes += len(data) - room

    def _wait(self, kind: int, data: Octets) -> None:
        self._outbox.append((kind, data))
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MAX_WAITING_BYTES:
            self._log.warn("channel {id} closed: its writer does not wait for the peer", id=self.id)
            self.abortConnection()

    def addWindowBytes(self, data: int) -> None:
        """
        Called by the connection: the peer has more room.
        """
        self.remoteWindowLeft += data
        if self.remoteWindowLeft > 0xFFFF_FFFF:
            raise RemoteProtocolError("window overflows", code=DISCONNECT_PROTOCOL_ERROR)
        outbox = self._outbox
        while outbox and self.remoteWindowLeft:
            kind, waiting = outbox.popleft()
            size = len(waiting)
            self._waiting_bytes -= size
            if size <= self.remoteWindowLeft:
                self.remoteWindowLeft -= size
                self.conn.send_data(self, kind, waiting)
            else:
                self._send_part(kind, waiting)
        if not outbox:
            self._drained()
        if self._producer is not None:
            self._steer()

    def _drained(self) -> None:
        if self.localClosed or not (self._eof_wanted or self._close_wanted):
            return
        if not self._eof_sent:
            self._eof_sent = True
            self.conn.send_eof(self)
        last_words, self._last_words = self._last_words, []
        for each in last_words:
            self.conn.send_raw_request(self, each)
        if self._close_wanted:
            self.conn.sendClose(self)

    def _drop_outbox(self) -> None:
        self._outbox.clear()
        self._waiting_bytes = 0

    # The end.

    def exit_status(self, code: int) -> None:
        """
        Say, after all data, how the command ended; L{loseConnection} is up to the caller.

        @param code: 0 to 255.
        """
        self._last_words.append(put_string(b"exit-status") + put_boolean(False) + put_uint32(code))

    def exit_signal(self, name: str, *, core_dumped: bool = False, message: str = "") -> None:
        """
        Say, after all data, which signal ended the command.

        @param name: without C{SIG}.
        """
        fields = put_text(name) + put_boolean(core_dumped) + put_text(message) + put_string(b"")
        self._last_words.append(put_string(b"exit-signal") + put_boolean(False) + fields)

    def loseWriteConnection(self) -> None:
        """
        Send no more, once everything written has left; the peer may go on.
        """
        self._eof_wanted = True
        if not self._outbox:
            self._drained()

    def loseConnection(self) -> None:
        """
        Close, once everything written has left.
        """
        self._close_wanted = self.disconnecting = True
        if not self._outbox and self.conn is not None:
            self._drained()

    def abortConnection(self) -> None:
        """
        Close now; what waits is thrown away.
        """
        self._drop_outbox()
        self.loseConnection()

    def closeReceived(self) -> None:
        """
        The peer has closed, and everything it sent was delivered: close as well.
        """
        self._close_wanted = True
        if not self.localClosed:
            last_words, self._last_words = self._last_words, []
            for each in last_words:
                self.conn.send_raw_request(self, each)
            self.conn.sendClose(self)
        else:
            self.conn.channelClosed(self)

    def gone(self) -> None:
        """
        Called by the connection, once: the channel is closed both ways, or the connection is.
        """
        self.localClosed = self.remoteClosed = True
        self._drop_outbox()
        self._inbox.clear()
        self._requests.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.closed()

    # Hooks, quiet unless overridden.

    def channelOpen(self, specificData: bytes) -> None:
        """
        The channel is open.

        @param specificData: what the peer said when it opened or confirmed it.
        """

    def openFailed(self, reason: TeleportError) -> None:
        """
        The peer refused.
        """

    def dataReceived(self, data: bytes) -> None:
        """
        Data came.
        """

    def extReceived(self, dataType: int, data: bytes) -> None:
        """
        Data of another kind came.
        """

    def eofReceived(self) -> None:
        """
        The peer sends no more.
        """

    def closed(self) -> None:
        """
        The channel is over; called once.
        """

    # Being a consumer.

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """
        Pause and resume C{producer} as the peer's window asks.

        @param producer: C{IPushProducer} if C{streaming}, else C{IPullProducer}.
        """
        if self._producer is not None:
            raise LocalProtocolError("the channel has a producer already")
        if self.localClosed:
            producer.stopProducing()
            return
        self._producer, self._streaming, self._producer_paused = producer, streaming, False
        if streaming:
            self._steer()
        else:
            producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """
        No more to come from the producer.
        """
        self._producer = None

    def congestion_changed(self) -> None:
        """
        Called by the connection.
        """
        if self._producer is not None:
            self._steer()

    def _steer(self) -> None:
        producer = self._producer
        congested = self.conn.transport.congested
        if not self._streaming:
            if not congested and not self._outbox:
                producer.resumeProducing()
        elif self._producer_paused:
            if not congested and not self._outbox:
                self._producer_paused = False
                producer.resumeProducing()
        elif congested or self._waiting_bytes > HIGH_WATER_BYTES:
            self._producer_paused = True
            producer.pauseProducing()
