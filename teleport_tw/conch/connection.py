"""
The connection protocol: channels and global requests over one transport.

What the peer asks for is answered by a L{Responder}; what we ask for is awaited. Data takes the short way
(L{Connection.data_received}, L{Connection.send_data}); everything else goes through a table of messages.

A server's responder::

    @define
    class Session:
        async def open_channel(self, request: ChannelOpen) -> Channel:
            if request.kind != "session":
                raise TeleportError(Kind.NOT_IMPLEMENTED, "unknown channel type")
            return ExecChannel()

        async def global_request(self, name: str, payload: bytes) -> bytes | None:
            return None

        def connected(self, connection: Connection) -> None: ...

        def connection_lost(self) -> None: ...


    class ExecChannel(Channel):
        def request_exec(self, payload: bytes) -> bool:
            self.write(Reader(payload).string())
            self.exit_status(0)
            self.loseConnection()
            return True

@see: RFC 4254
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from struct import Struct
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.conch.ssh.connection import SSHConnection
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.conch.channel import MAX_PACKET_BYTES, Channel
from teleport_tw.conch.global_requests import GlobalRequests
from teleport_tw.conch.numbers import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_SUCCESS,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_GLOBAL_REQUEST,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
)
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR, Octets
from teleport_tw.protocols.ssh.wire import Reader, put_boolean, put_string, put_text

if TYPE_CHECKING:
    from teleport_tw.conch.carrier import Carrier

MAX_CHANNELS = 1024
"""Open or opening at one time; a browser through one forwarded port needs a few dozen."""

_OPEN_FAILURES: Mapping[Kind, int] = {
    Kind.ACCESS_DENIED: 1,
    Kind.CONNECTION_PROBLEM: 2,
    Kind.NOT_IMPLEMENTED: 3,
    Kind.LIMIT_EXCEEDED: 4,
}
"""Kind to reason code of RFC 4254 section 5.1; any other kind is "connect failed"."""

_OPEN_KINDS: Mapping[int, Kind] = {code: kind for kind, code in _OPEN_FAILURES.items()}

_DATA_IN = Struct(">LL")
_DATA_OUT = Struct(">BLL")
_EXTENDED_OUT = Struct(">BLLL")
_NUMBER = Struct(">L")


@frozen
class ChannelOpen:
    """
    The peer wants a channel.

    @ivar kind: C{session}, C{direct-tcpip} and so on.
    @ivar payload: the type's own fields.
    @ivar connection: on which.
    """

    kind: str
    payload: bytes
    connection: Connection


class Responder(Protocol):
    """
    Answers what the peer asks of a connection.
    """

    def connected(self, connection: Connection) -> None:
        """
        The connection is up.
        """

    def open_channel(self, request: ChannelOpen) -> Awaitable[Channel]:
        """
        @return: a channel that belongs to no connection yet.
        @raise TeleportError: no; kind and message are told to the peer.
        """

    def global_request(self, name: str, payload: bytes) -> Awaitable[bytes | None]:
        """
        @return: the answer's own fields, often none; C{None} to refuse, as TeleportError does.
        """

    def connection_lost(self) -> None:
        """
        The connection is over; called once.
        """


class Connection(SSHConnection):
    """
    See the module.

    @ivar channels: our number to channel, open ones.
    """

    _log = Logger()
    transport: Carrier

    def __init__(self, responder: Responder | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.responder = responder
        self.channels: dict[int, Channel] = {}
        self._opening: dict[int, tuple[Channel, Deferred[Channel]]] = {}
        self._arriving = 0
        self._requests = GlobalRequests(None if responder is None else responder.global_request)
        self._replies: dict[int, deque[Deferred[bool]]] = {}
        self._receiving: Channel | None = None
        self._received: list[bytes] = []
        self.stopped = False
        self._handlers: Mapping[int, Callable[[Reader], None]] = {
            MSG_GLOBAL_REQUEST: self._requests.asked,
            MSG_REQUEST_SUCCESS: self._requests.granted,
            MSG_REQUEST_FAILURE: self._requests.refused,
            MSG_CHANNEL_OPEN: self._open_requested,
            MSG_CHANNEL_OPEN_CONFIRMATION: self._open_confirmed,
            MSG_CHANNEL_OPEN_FAILURE: self._open_refused,
            MSG_CHANNEL_WINDOW_ADJUST: lambda reader: self._channel(reader).addWindowBytes(reader.uint32()),
            MSG_CHANNEL_EXTENDED_DATA: lambda reader: self._channel(reader).took_extended(
                reader.uint32(), reader.string()
            ),
            MSG_CHANNEL_EOF: lambda reader: self._channel(reader).took_eof(),
            MSG_CHANNEL_CLOSE: lambda reader: self._channel(reader).took_close(),
            MSG_CHANNEL_REQUEST: self._channel_request,
            MSG_CHANNEL_SUCCESS: lambda reader: self._channel_reply(reader, True),
            MSG_CHANNEL_FAILURE: lambda reader: self._channel_reply(reader, False),
        }

    def serviceStarted(self) -> None:
        """
        Both sides are known to each other.
        """
        self.transport.data_sink, self.transport.data_rest = self.data_received, self.deliver
        self.transport.on_congestion = self._congestion_changed
        self._requests.start(self.transport)
        if self.responder is not None:
            self.responder.connected(self)

    def serviceStopped(self) -> None:
        """
        The transport is gone: everything that waits is told.
        """
        self.stopped = True
        self.transport.data_sink = self.transport.data_rest = self.transport.on_congestion = None
        asked = self._requests.stop()
        error = TeleportError(Kind.CONNECTION_PROBLEM, "the SSH connection was lost")
        replies = [each for waiting in self._replies.values() for each in waiting]
        self._replies.clear()
        opening, self._opening = self._opening, {}
        for channel in list(self.channels.values()):
            self.channelClosed(channel)
        for channel, opened in opening.values():
            channel.openFailed(error)
            opened.errback(error)
        for reply in replies:
            reply.errback(error)
        for answer in asked:
            answer.errback(error)
        if self.responder is not None:
            self.responder.connection_lost()

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """
        Everything but data.
        """
        handler = self._handlers.get(messageNum)
        if handler is None:
            self.transport.sendUnimplemented()
        else:
            handler(Reader(packet))

    # Data.

    def data_received(self, packet: bytes) -> None:
        """
        The short way in: what comes for one channel without a break is given to it as one piece, by L{deliver}.

        @param packet: padding length, type, C{uint32} recipient, C{string} data, padding.
        """
        try:
            recipient, size = _DATA_IN.unpack_from(packet, 2)
            channel = self.channels[recipient]
        except Exception as error:
            raise RemoteProtocolError("data for no channel", code=DISCONNECT_PROTOCOL_ERROR) from error
        end = 10 + size
        if end + packet[0] != len(packet):
            raise RemoteProtocolError("data is cut short", code=DISCONNECT_PROTOCOL_ERROR)
        channel.admit(size)
        if channel is not self._receiving:
            self.deliver()
            self._receiving = channel
        self._received.append(packet[10:end])

    def deliver(self) -> None:
        """
        Give a channel what came for it.
        """
        channel, received = self._receiving, self._received
        if channel is not None:
            self._receiving, self._received = None, []
            channel.took(received[0] if len(received) == 1 else b"".join(received))

    def send_data(self, channel: Channel, kind: int, data: Octets) -> None:
        """
        Send data that the window has room for, in as many packets as the peer wants it cut into.

        @param kind: zero for data, or a kind of extended data.
        """
        most, size, transport, peer = channel.remoteMaxPacket, len(data), self.transport, channel.remote_id
        if size <= most:
            transport.send_data(self._head(peer, kind, size), data)
        else:
            view = memoryview(data)
            for start in range(0, size, most):
                piece = view[start : start + most]
                transport.send_data(self._head(peer, kind, len(piece)), piece)
        transport.flush()

    @staticmethod
    def _head(peer: int, kind: int, size: int) -> bytes:
        if kind:
            return _EXTENDED_OUT.pack(MSG_CHANNEL_EXTENDED_DATA, peer, kind, size)
        return _DATA_OUT.pack(MSG_CHANNEL_DATA, peer, size)

    def adjust_window(self, channel: Channel, room: int) -> None:
        """
        Tell the peer that it may send C{room} bytes more.
        """
        self.transport.sendPacket(MSG_CHANNEL_WINDOW_ADJUST, _DATA_IN.pack(channel.remote_id, room))

    def _congestion_changed(self) -> None:
        for channel in tuple(self.channels.values()):
            channel.congestion_changed()

    def _channel(self, reader: Reader) -> Channel:
        number = reader.uint32()
        channel = self.channels.get(number)
        if channel is None:
            raise RemoteProtocolError(f"there is no channel {number}", code=DISCONNECT_PROTOCOL_ERROR)
        return channel

    # Channels the peer opens.

    def _open_requested(self, reader: Reader) -> None:
        """
        C{string} type; C{uint32} number, window and largest packet; then the type's own fields.
        """
        kind = reader.text()
        peer, window, most = reader.uint32(), reader.uint32(), reader.uint32()
        self._arriving += 1
        self.transport.tasks.spawn("SSH channel", self._open(kind, reader.rest(), peer, window, most))

    async def _open(self, kind: str, payload: bytes, peer: int, window: int, most: int) -> None:
        try:
            channel = await self._chosen(kind, payload, most)
        except TeleportError as error:
            self._refuse(peer, error)
            return
        except RemoteProtocolError as error:
            self._refuse(peer, TeleportError(Kind.BAD_PARAMETER, str(error)))
            return
        except CancelledError:
            raise
        except Exception:
            self._log.failure("channel could not be opened")
            self._refuse(peer, TeleportError(Kind.INTERNAL, "internal error"))
            return
        finally:
            self._arriving -= 1
        channel.conn = self
        channel.remote_id, channel.remoteWindowLeft, channel.remoteMaxPacket = peer, window, min(most, MAX_PACKET_BYTES)
        if self.stopped:
            channel.gone()
            return
        channel.id = self._number()
        self.channels[channel.id] = channel
        fields = _EXTENDED_OUT.pack(0, peer, channel.id, channel.localWindowSize)[1:] + _NUMBER.pack(
            channel.localMaxPacket
        )
        self.transport.sendPacket(MSG_CHANNEL_OPEN_CONFIRMATION, fields + channel.specificData)
        channel.channelOpen(payload)

    async def _chosen(self, kind: str, payload: bytes, most: int) -> Channel:
        if len(self.channels) + self._arriving + len(self._opening) > MAX_CHANNELS:
            raise TeleportError(Kind.LIMIT_EXCEEDED, "too many channels")
        if self.responder is None:
            raise TeleportError(Kind.ACCESS_DENIED, "no channels are taken here")
        if kind == "session" and self._requests.sessions_closed:
            raise TeleportError(Kind.ACCESS_DENIED, "no more sessions were wanted")
        if not most:
            raise TeleportError(Kind.BAD_PARAMETER, "packet size of zero")
        return await self.responder.open_channel(ChannelOpen(kind, payload, self))

    def _refuse(self, peer: int, error: TeleportError) -> None:
        if not self.stopped:
            fields = _DATA_IN.pack(peer, _OPEN_FAILURES.get(error.kind, 2)) + put_text(error.message)
            self.transport.sendPacket(MSG_CHANNEL_OPEN_FAILURE, fields + put_string(b""))

    def _number(self) -> int:
        number = self.localChannelID
        self.localChannelID = (number + 1) & 0xFFFF_FFFF
        return int(number)

    # Channels we open.

    async def open(self, channel: Channel, payload: bytes = b"") -> Channel:
        """
        Open C{channel}, whose C{name} is its type.

        @param payload: the type's own fields.
        @return: the same channel, open.
        @raise TeleportError: the peer refuses, or the connection is lost.
        """
        if self.stopped or self.transport.ended:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the SSH connection was lost")
        channel.conn = self
        number = channel.id = self._number()
        opened: Deferred[Channel] = Deferred()
        self._opening[number] = (channel, opened)
        fields = _EXTENDED_OUT.pack(0, number, channel.localWindowSize, channel.localMaxPacket)[1:]
        self.transport.sendPacket(MSG_CHANNEL_OPEN, put_string(channel.name) + fields + payload)
        return await opened

    def _open_confirmed(self, reader: Reader) -> None:
        """
        C{uint32} our number, the peer's, window, largest packet; then the type's own fields.
        """
        channel, opened = self._opened(reader)
        channel.remote_id, channel.remoteWindowLeft, most = reader.uint32(), reader.uint32(), reader.uint32()
        channel.remoteMaxPacket = min(most, MAX_PACKET_BYTES)
        if not most:
            raise RemoteProtocolError("packet size of zero", code=DISCONNECT_PROTOCOL_ERROR)
        assert channel.id is not None, "given when it was asked for"
        self.channels[channel.id] = channel
        channel.channelOpen(reader.rest())
        opened.callback(channel)

    def _open_refused(self, reader: Reader) -> None:
        """
        C{uint32} our number, reason; C{string} description; C{string} language.
        """
        channel, opened = self._opened(reader)
        kind = _OPEN_KINDS.get(reader.uint32(), Kind.CONNECTION_PROBLEM)
        text = reader.string()[:256].decode("utf-8", "replace")
        error = TeleportError(kind, f"the SSH server opened no channel: {text}")
        channel.openFailed(error)
        opened.errback(error)

    def _opened(self, reader: Reader) -> tuple[Channel, Deferred[Channel]]:
        try:
            return self._opening.pop(reader.uint32())
        except KeyError as error:
            raise RemoteProtocolError("no such channel was asked for", code=DISCONNECT_PROTOCOL_ERROR) from error

    # Requests of channels.

    def _channel_request(self, reader: Reader) -> None:
        """
        C{uint32} recipient; C{string} name; C{boolean} want reply; then the request's own fields.
        """
        channel = self._channel(reader)
        name, want_reply = reader.text(), reader.boolean()
        channel.took_request(name, reader.rest(), want_reply)

    def reply_to_request(self, channel: Channel, accepted: bool) -> None:
        """
        Answer the oldest request of a channel that has no answer yet.
        """
        number = MSG_CHANNEL_SUCCESS if accepted else MSG_CHANNEL_FAILURE
        self.transport.sendPacket(number, _NUMBER.pack(channel.remote_id))

    async def request(self, channel: Channel, name: str, payload: bytes = b"") -> bool:
        """
        Ask something of a channel's other end.

        @return: whether it was granted.
        @raise TeleportError: the connection is lost.
        """
        if channel.localClosed:
            return False
        reply: Deferred[bool] = Deferred()
        assert channel.id is not None, "open"
        self._replies.setdefault(channel.id, deque()).append(reply)
        self.send_raw_request(channel, put_text(name) + put_boolean(True) + payload)
        return await reply

    def notify(self, channel: Channel, name: str, payload: bytes = b"") -> None:
        """
        Tell a channel's other end something.
        """
        if not channel.localClosed:
            self.send_raw_request(channel, put_text(name) + put_boolean(False) + payload)

    def send_raw_request(self, channel: Channel, fields: bytes) -> None:
        """
        @param fields: name, whether a reply is wanted, and the rest.
        """
        self.transport.sendPacket(MSG_CHANNEL_REQUEST, _NUMBER.pack(channel.remote_id) + fields)

    def _channel_reply(self, reader: Reader, granted: bool) -> None:
        waiting = self._replies.get(self._channel(reader).id or 0)
        if not waiting:
            raise RemoteProtocolError("reply to no request", code=DISCONNECT_PROTOCOL_ERROR)
        waiting.popleft().callback(granted)

    # The end of channels.

    def send_eof(self, channel: Channel) -> None:
        """
        No more data from us.
        """
        self.transport.sendPacket(MSG_CHANNEL_EOF, _NUMBER.pack(channel.remote_id))

    def sendClose(self, channel: Channel) -> None:
        """
        Close our end; the channel is gone once the peer's is closed as well.
        """
        if channel.localClosed:
            return
        channel.localClosed = True
        self.transport.sendPacket(MSG_CHANNEL_CLOSE, _NUMBER.pack(channel.remote_id))
        if channel.remoteClosed:
            self.channelClosed(channel)

    def channelClosed(self, channel: Channel) -> None:
        """
        Forget a channel.
        """
        if self.channels.pop(channel.id or 0, None) is not channel:
            return
        for reply in self._replies.pop(channel.id or 0, ()):
            reply.callback(False)
        channel.gone()

    # Global requests.

    async def ask(self, name: str, payload: bytes = b"") -> bytes:
        """
        Make a global request.

        @return: the answer's own fields.
        @raise TeleportError: NOT_IMPLEMENTED, the peer refuses; CONNECTION_PROBLEM, the connection is lost.
        """
        return await self._requests.ask(name, payload)
