"""
SSH's transport on Conch's classes: versions, packets, key exchange, services.

Conch calls what has its names here; packets, keys and the exchange are plain objects of their own
(L{teleport_tw.conch.packets}, L{teleport_tw.conch.sealing}, L{teleport_tw.conch.exchange}). Messages of the
connection protocol that carry data take a shorter way than the rest: L{Carrier.data_sink} is called with the opened
packet, and L{Carrier.send_data} seals straight from the caller's bytes.

@see: RFC 4253; RFC 8308
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from struct import error as StructError
from typing import Any

from attrs import frozen
from twisted.conch.ssh import transport as conch
from twisted.conch.ssh.service import SSHService
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.conch.algorithms import HOST_KEYS, Algorithms
from teleport_tw.conch.exchange import Exchange, HostProof
from teleport_tw.conch.kex import encode_string
from teleport_tw.conch.numbers import MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST
from teleport_tw.conch.packets import PacketReader, PacketWriter
from teleport_tw.conch.sealing import DISCONNECT_PROTOCOL_ERROR, Octets, Opener, Sealer
from teleport_tw.conch.signatures import HostKeys
from teleport_tw.conch.version import VersionReader
from teleport_tw.protocols.ssh.wire import Reader, put_uint32

DEFAULT_VERSION = b"SSH-2.0-Teleport"

MAX_EXTENSIONS = 64
"""How many extensions one EXT_INFO may hold; four are known."""

MAX_HELD_BYTES = 512 * 1024
"""Taken in while a decision is pending, before reading stops: two packets of the largest size."""

LINGER_SECONDS = 10.0
"""How long a peer may take to read our last words."""

MAX_BLOCKED_BYTES = 64 * 1024 * 1024
"""Kept back during a key exchange; channels stop at their windows long before."""


@frozen(kw_only=True)
class Limits:
    """
    How long and how much.

    @ivar login_grace: from connecting to being authenticated.
    @ivar rekey_bytes: either way, under one set of keys.
    @ivar rekey_interval: under one set of keys.
    @ivar keepalive_interval: of silence, before the peer is asked whether it is there; zero for never.
    @ivar keepalive_count_max: unanswered questions before the connection is given up.
    """

    login_grace: Duration = timedelta(seconds=120)
    rekey_bytes: int = 4 * 1024**3
    rekey_interval: Duration = timedelta(hours=1)
    keepalive_interval: Duration = timedelta(minutes=5)
    keepalive_count_max: int = 3


_REKEY_PACKETS = 2**31
"""RFC 4344 section 3.1: no more packets under one set of keys."""


@implementer(IPushProducer)
class Carrier(conch.SSHTransportBase):
    """
    What both roles share.

    @ivar data_sink: takes an opened packet of type CHANNEL_DATA: padding length, type, recipient, string, padding.
    @ivar data_rest: called after packets that L{data_sink} took, before anything else happens.
    @ivar congested: the peer does not take in as fast as we send; producers above should pause.
    @ivar on_congestion: called when L{congested} changes.
    @ivar last_heard: clock's seconds when something last came.
    """

    _log = Logger()

    transport: Any  # Twisted says ITransport; what we run on consumes, produces and aborts as well

    def __init__(
        self, *, clock: IReactorTime, limits: Limits, algorithms: Algorithms, version: bytes, host_keys: HostKeys | None
    ) -> None:
        self.clock = clock
        self.limits = limits
        self.ourVersionString = version
        self.otherVersionString = b""
        self.exchange = Exchange(
            client=self.isClient,
            wire=self,
            algorithms=algorithms,
            offered_host_keys=host_keys.algorithms if host_keys is not None else HOST_KEYS,
            host_keys=host_keys,
            our_version=version,
        )
        self.data_sink: Callable[[bytes], None] | None = None
        self.data_rest: Callable[[], None] | None = None
        self.congested = False
        self.on_congestion: Callable[[], None] | None = None
        self.last_heard = clock.seconds()
        self.peerExtensions = {}
        self.tasks = Tasks()
        self.ended = False
        self._version = VersionReader(client=self.isClient)
        self._reader = PacketReader()
        self._writer = PacketWriter()
        self._blocked: list[tuple[bytes, Octets]] = []
        self._blocked_bytes = 0
        self._outbox: list[bytes | bytearray] = []
        self._corked = False
        self._held = 0
        self._reading = True
        self._grace: IDelayedCall | None = None
        self._rekey_timer: IDelayedCall | None = None
        self._linger: IDelayedCall | None = None

    # What Twisted calls.

    def connectionMade(self) -> None:
        """
        Send our version and our lists at once; the peer does the same.
        """
        self.last_heard = self.clock.seconds()
        self.transport.registerProducer(self, True)
        self._grace = self.clock.callLater(self.limits.login_grace.total_seconds(), self._grace_over)
        self._corked = True
        self._outbox.append(self.ourVersionString + b"\r\n")
        self.exchange.begin()
        self._uncork()

    def dataReceived(self, data: bytes) -> None:
        """
        Take in bytes; handle every packet they complete, then write all answers at once.
        """
        if self.ended:
            return
        if not self.gotVersion:
            self._greet(data)
            return
        self._reader.feed(data)
        if self._held:
            if self._reading and self._reader.buffered > MAX_HELD_BYTES:
                self._reading = False
                self.transport.pauseProducing()
            return
        self._pump()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """
        Stop everything.
        """
        self.ended = True
        for timer in (self._grace, self._rekey_timer, self._linger):
            if timer is not None and timer.active():
                timer.cancel()
        self._blocked.clear()
        self._outbox.clear()
        self.tasks.cancel()
        if self.service is not None:
            service, self.service = self.service, None
            service.serviceStopped()
        self.closed(reason or Failure(ConnectionDone()))

    def closed(self, reason: Failure) -> None:
        """
        For the roles: the connection is over.
        """

    def pauseProducing(self) -> None:
        """
        The peer is slow.
        """
        self._congestion(True)

    def resumeProducing(self) -> None:
        """
        The peer has caught up.
        """
        self._congestion(False)

    def stopProducing(self) -> None:
        """
        The connection is going away; connectionLost follows.
        """

    def _congestion(self, congested: bool) -> None:
        self.congested = congested
        if self.on_congestion is not None:
            self.on_congestion()

    # Packets in.

    def _pump(self) -> None:
        self._corked = True
        try:
            self.last_heard = self.clock.seconds()
            take, reader = self._reader.next, self._reader
            while not self._held and not self.ended and (packet := take()) is not None:
                number = packet[1]
                if number == MSG_CHANNEL_DATA and self.data_sink is not None and self.exchange.may_receive:
                    self.data_sink(packet)
                else:
                    if number != MSG_CHANNEL_WINDOW_ADJUST:  # which acks what we sent, whatever we received meanwhile
                        self._end_of_data()
                    self._receive(number, packet, (reader.sequence - 1) & 0xFFFF_FFFF)
            self._end_of_data()
            self._consider_rekey()
        except RemoteProtocolError as error:
            self._end_of_data()
            self._fault(error)
        finally:
            self._uncork()

    def _end_of_data(self) -> None:
        if self.data_rest is not None:
            self.data_rest()

    def _greet(self, data: bytes) -> None:
        try:
            found = self._version.feed(data)
        except RemoteProtocolError as error:
            self._fault(error)
            return
        if found is not None:
            self.gotVersion = True
            self.otherVersionString = self.exchange.peer_version = found[0]
            self._reader.feed(found[1])
            self._pump()

    def _receive(self, number: int, packet: bytes, sequence: int) -> None:
        payload = packet[1 : len(packet) - packet[0]]
        if not self.exchange.admits(number):
            raise RemoteProtocolError(f"message {number} during key exchange", code=DISCONNECT_PROTOCOL_ERROR)
        if 20 <= number < 50:
            self.exchange.receive(payload, sequence)
            return
        try:
            self.dispatchMessage(number, payload[1:])  # type: ignore[no-untyped-call]
        except (StructError, IndexError) as error:
            raise RemoteProtocolError(f"message {number} is cut short", code=DISCONNECT_PROTOCOL_ERROR) from error

    def hold(self) -> None:
        """
        Take no packet in until L{release}: a decision is pending.
        """
        self._held += 1

    def release(self) -> None:
        """
        Go on with what came meanwhile.
        """
        self._held -= 1
        if self._held or self.ended:
            return
        if not self._reading:
            self._reading = True
            self.transport.resumeProducing()
        if not self._corked:
            self._pump()

    def _fault(self, error: RemoteProtocolError) -> None:
        code = error.code if isinstance(error.code, int) else DISCONNECT_PROTOCOL_ERROR
        self.sendDisconnect(code, str(error).encode("utf-8", "replace"))

    def sendUnimplemented(self) -> None:
        """
        Say that the packet handled just now is not known here.
        """
        self.sendPacket(conch.MSG_UNIMPLEMENTED, put_uint32((self._reader.sequence - 1) & 0xFFFF_FFFF))

    # Packets out.

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """
        Send a message, or keep it until the key exchange under way is through.
        """
        if self.exchange.may_send or messageType < 5:
            self._send(bytes((messageType,)), payload)
        else:
            self._block(bytes((messageType,)), payload)

    def send_data(self, head: bytes, body: Octets) -> None:
        """
        Send a message given in two pieces; call L{flush} after the last of several.

        @param head: type and first fields.
        @param body: the rest; must not change afterwards.
        """
        if self.exchange.may_send:
            self._outbox.append(self._writer.packet(head, body))
        else:
            self._block(head, body)

    def flush(self) -> None:
        """
        Write what L{send_data} left, unless more is about to come.
        """
        if not self._corked:
            self._uncork()
            self._consider_rekey()

    def send_now(self, payload: bytes) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.send_now}.
        """
        self._send(payload, b"")

    def _send(self, head: bytes, body: Octets) -> None:
        if self.ended:
            return
        self._outbox.append(self._writer.packet(head, body))
        if not self._corked:
            self._uncork()

    def _block(self, head: bytes, body: Octets) -> None:
        self._blocked.append((head, body))
        self._blocked_bytes += len(body)
        if self._blocked_bytes > MAX_BLOCKED_BYTES:
            self._fault(RemoteProtocolError("key exchange takes too long"))

    def _uncork(self) -> None:
        self._corked = False
        outbox = self._outbox
        if outbox:
            self._outbox = []
            if len(outbox) == 1:
                self.transport.write(outbox[0])
            else:
                self.transport.writeSequence(outbox)

    # Key exchange.

    def use_sealer(self, sealer: Sealer, *, restart: bool) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.use_sealer}.
        """
        self._writer.rekey(sealer, restart=restart)
        if self.exchange.first:
            self.first_keys_sent()
        blocked, self._blocked, self._blocked_bytes = self._blocked, [], 0
        for head, body in blocked:
            self._outbox.append(self._writer.packet(head, body))

    def use_opener(self, opener: Opener, *, restart: bool) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.use_opener}.
        """
        first = self.sessionID is None
        self.sessionID = self.exchange.session_id
        self._reader.rekey(opener, restart=restart)
        if self._rekey_timer is not None and self._rekey_timer.active():
            self._rekey_timer.cancel()
        self._rekey_timer = self.clock.callLater(self.limits.rekey_interval.total_seconds(), self.rekey)
        if first:
            self.secured()

    def judge(self, proof: HostProof) -> None:
        """
        See L{teleport_tw.conch.exchange.Wire.judge}.
        """
        raise RemoteProtocolError("a server judges no host key")

    def first_keys_sent(self) -> None:
        """
        For the roles: what comes next is the first protected packet we send.
        """

    def secured(self) -> None:
        """
        For the roles: both directions are protected for the first time.
        """

    def rekey(self) -> None:
        """
        Agree on new keys, unless that is under way.
        """
        if not self.ended and self.sessionID is not None:
            self.exchange.begin()

    def _consider_rekey(self) -> None:
        reader, writer, limit = self._reader, self._writer, self.limits.rekey_bytes
        if (
            writer.sent_bytes > limit
            or reader.received_bytes > limit
            or writer.sent_packets > _REKEY_PACKETS
            or reader.received_packets > _REKEY_PACKETS
        ):
            self.rekey()

    # Services and the messages Conch handles.

    def authenticated(self) -> None:
        """
        The peer is known: the login grace is over.
        """
        if self._grace is not None and self._grace.active():
            self._grace.cancel()

    def _grace_over(self) -> None:
        self._log.debug("login grace is over")
        self.sendDisconnect(conch.DISCONNECT_BY_APPLICATION, b"login took too long")

    def setService(self, service: SSHService) -> None:
        """
        Run another service from now on.
        """
        if self.service is not None:
            self.service.serviceStopped()
        self.service = service
        service.transport = self
        service.serviceStarted()

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """
        C{uint32} reason; C{string} description; C{string} language.
        """
        reader = Reader(packet)
        self.receiveError(reader.uint32(), reader.string())
        self.end()

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        """
        The peer says why it goes.
        """
        self._log.debug("peer disconnects: {code} {description}", code=reasonCode, description=description[:256])

    def ssh_DEBUG(self, packet: bytes) -> None:
        """
        Nothing is shown.
        """

    def ssh_UNIMPLEMENTED(self, packet: bytes) -> None:
        """
        C{uint32} number of the packet the peer does not know.
        """
        self._log.debug("peer did not understand packet {number}", number=Reader(packet).uint32())

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """
        C{uint32} count, then C{string} name and C{string} value for each.
        """
        reader = Reader(packet)
        count = reader.uint32()
        if count > MAX_EXTENSIONS:
            raise RemoteProtocolError("too many extensions", code=DISCONNECT_PROTOCOL_ERROR)
        for _ in range(count):
            name = reader.string()
            self.peerExtensions[name] = reader.string()

    def sendDisconnect(self, reason: int, desc: bytes) -> None:
        """
        Say why, and go.
        """
        if self.ended:
            return
        self._log.debug("disconnecting: {code} {description}", code=reason, description=desc)
        self.sendPacket(conch.MSG_DISCONNECT, put_uint32(reason) + encode_string(desc) + encode_string(b""))
        self.end()

    def loseConnection(self) -> None:
        """
        Go, in good order.
        """
        self.sendDisconnect(conch.DISCONNECT_BY_APPLICATION, b"connection closed")

    def end(self) -> None:
        """
        Take nothing in any more; close once what was written has left.
        """
        if self.ended:
            return
        self.ended = True
        self._uncork()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._linger = self.clock.callLater(LINGER_SECONDS, self.transport.abortConnection)

    def abortConnection(self) -> None:
        """
        Go at once.
        """
        self.ended = True
        self.transport.abortConnection()
