"""
A Twisted Protocol round the yamux machine: one TLS connection, many streams.

Sending. Streams with something to send and credit to send it stand in a round; each turn sends one frame of at most
32 KiB, or of a whole write where no other stream waits, and turns are joined into writes of 256 KiB as long as the
connection takes them. When it does not, because it told us to pause, nobody is asked, so a keystroke waits for what
the kernel and the connection hold already and for one frame of every other busy stream, but never for all that a bulk
transfer has to say. Frames of the machine itself, such as credit and answers to pings, go before the streams' next
turn.

A small message that nothing stands before is sent without a round: at the end of the loop's turn, together with those
of other streams in the same turn, since a call to the kernel costs more than all else that is done for them.

Receiving. The link always reads: what arrives is bounded by the credit granted, stream by stream, so a reader that has
paused holds up nobody else. What one read brought for a stream is given to it as one piece. While Protocols take it in,
nothing is written; all their answers leave in one write at the end.

Life. The link pings (L{teleport_tw.tunnel.heartbeat}). After a go-away no streams are opened, and the side that
said it closes the connection when the last stream has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime, ITransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.loop import loop_of
from teleport_tw.protocols.mux.machine import Limits, Machine, Role
from teleport_tw.protocols.mux.messages import Buffer, Data, GoAwayCode
from teleport_tw.protocols.mux.outcomes import Credited, Finished, Opened, Outcome, Ponged, Received, Reset, WentAway
from teleport_tw.protocols.mux.states import LinkState, State
from teleport_tw.protocols.mux.wire import HEADER_BYTES, Decoder
from teleport_tw.tunnel.heartbeat import DEFAULT_PACE, Heartbeat, Pace
from teleport_tw.tunnel.interfaces import LinkOwner, Wire
from teleport_tw.tunnel.stream import Address, Stream

FRAME_BYTES = 32 * 1024 - HEADER_BYTES
"""Payload of a frame at most: with its header it fills two TLS records to the last byte."""

BATCH_BYTES = 256 * 1024
"""What is joined into one write, a last frame beyond it aside: a millisecond or two of work for a fast connection."""

LINGER_SECONDS = 60.0
"""How long a stream that was closed here may take to send the rest or to hear the peer's FIN without any progress."""

MAX_UNSENT_CONTROL = 16_384
"""Frames the peer may make us owe it (answers, resets, credit) while it reads nothing: 200 KB on the wire."""

AtTurn = Callable[[Callable[[], None]], object]

DEFAULT_LIMITS = Limits()


def _turns_of(clock: IReactorTime) -> AtTurn | None:
    try:
        return loop_of(clock).call_soon
    except TypeError:
        return None


@implementer(IPushProducer)
class Link(Protocol):
    """
    One authenticated connection and its streams.

    @ivar host: our end's address.
    @ivar peer: the other end's.
    """

    _log: ClassVar[Logger] = Logger()
    transport: ITransport | None

    def __init__(
        self,
        role: Role,
        clock: IReactorTime,
        owner: LinkOwner,
        *,
        limits: Limits = DEFAULT_LIMITS,
        pace: Pace = DEFAULT_PACE,
        at_turn: AtTurn | None = None,
    ) -> None:
        """
        @param role: CLIENT on the side that dialled.
        @param at_turn: calls what it is given at the end of the loop's turn; that of the clock's loop if not given,
            and where it has none, as in tests, nothing waits for others.
        """
        self._at_turn = at_turn or _turns_of(clock)
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._machine = Machine(role, limits)
        self._decoder = Decoder()
        self._clock = clock
        self._owner = owner
        self._close_within = pace.ping_timeout.total_seconds()
        self._heartbeat = Heartbeat(clock, pace, self._ping, self._unheard)
        self._streams: dict[int, Stream] = {}
        self._ready: deque[Stream] = deque()
        self._lingering: dict[int, float] = {}
        self._waiting: list[Deferred[None]] = []
        self._closing: IDelayedCall | None = None
        self._paused = self._pumping = self._corked = False
        self.host: Address = IPv4Address("TCP", "0.0.0.0", 0)  # noqa: S104 - nowhere, until connected
        self.peer: Address = self.host

    # --- for whoever holds the link --------------------------------------------------------------------------------

    def __len__(self) -> int:
        """
        How many streams are in use.
        """
        return len(self._streams)

    def __bool__(self) -> bool:
        return True

    @property
    def is_open(self) -> bool:
        """
        Whether the connection stands, draining or not.
        """
        return bool(self.connected) and self._machine.state is not LinkState.ENDED

    @property
    def rtt(self) -> float:
        """
        Seconds the last answered ping took; zero before the first.
        """
        return self._heartbeat.rtt

    def may_open(self) -> bool:
        """
        Whether L{open} would succeed now.
        """
        return bool(self.connected) and self._machine.may_open()

    def open(self) -> Stream:
        """
        Open a stream; it may be written to at once.

        @raise TeleportError: CONNECTION_PROBLEM, the link is draining or gone; LIMIT_EXCEEDED, it has all it can have.
        """
        if not self.may_open():
            if self.is_open and self._machine.state in (LinkState.OPEN, LinkState.LOCAL_AWAY):
                raise TeleportError(Kind.LIMIT_EXCEEDED, "too many connections to this agent at once, try again")
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection to the agent is closing")
        stream_id = self._machine.open()
        stream = self._streams[stream_id] = Stream(self, stream_id)
        self._pump()
        return stream

    def accept(self, stream: Stream) -> None:
        """
        Tell the peer that its stream was accepted, so that it no longer counts as waiting.
        """
        self._machine.accept(stream.stream_id)
        self._pump()

    def drain(self) -> Deferred[None]:
        """
        Take no more streams, and close the connection when the last one has ended.

        @return: fires when the connection is gone. Cancel it to end the connection at once.
        """

        def give_up(gone: Deferred[None]) -> None:
            self.abort()
            gone.callback(None)

        gone: Deferred[None] = Deferred(give_up)
        if not self.connected:
            gone.callback(None)
            return gone
        self._waiting.append(gone)
        self._machine.go_away()
        self._pump()
        self._close_if_drained()
        return gone

    def abort(self) -> None:
        """
        End the connection now, and every stream.
        """
        if self.connected:
            self._transport().abortConnection()

    # --- what Twisted calls ----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        """
        The connection stands.
        """
        transport = self._transport()
        self.host, self.peer = transport.getHost(), transport.getPeer()
        transport.registerProducer(self, True)
        self._heartbeat.start()
        self._owner.link_up(self)

    def dataReceived(self, data: bytes) -> None:
        """
        Bytes of the peer: give every stream its own, then write all that came of it.
        """
        if not self.is_open:
            return
        self._heartbeat.heard = self._corked = True
        machine = self._machine
        arrived: dict[int, list[Buffer]] = {}
        try:
            messages = self._decoder.feed(memoryview(data))
            for message in messages:
                if (
                    type(message) is Data
                    and not message.flags
                    and message.payload
                    and machine.took(message.stream_id, len(message.payload))
                ):
                    if len(messages) == 1:
                        self._received(message.stream_id, bytes(message.payload))
                    else:
                        arrived.setdefault(message.stream_id, []).append(message.payload)
                    continue
                for outcome in machine.receive(message):
                    if type(outcome) is Received:
                        arrived.setdefault(outcome.stream_id, []).append(outcome.payload)
                    else:
                        self._deliver(arrived)
                        self._outcome(outcome)
            if arrived:
                self._deliver(arrived)
            if self._paused and machine.unsent() > MAX_UNSENT_CONTROL:
                raise RemoteProtocolError("the peer asks much and reads nothing", code=GoAwayCode.PROTOCOL_ERROR)
        except RemoteProtocolError as error:
            self._log.warn("link with {peer} ended: {error}", peer=self.peer, error=str(error))
            self._deliver(arrived)
            self._end(GoAwayCode.PROTOCOL_ERROR)
            return
        finally:
            self._corked = False
        if self._ready or machine.unsent():
            self._pump()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The connection is gone: so is every stream.
        """
        self.connected = 0
        self._heartbeat.stop()
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self._machine.end()
        self._ready.clear()
        self._lingering.clear()
        lost = ConnectionLost("the tunnel link ended")
        for stream in tuple(self._streams.values()):
            stream.lost(lost)
        self._owner.link_down(self)
        waiting, self._waiting = self._waiting, []
        for gone in waiting:
            if not gone.called:
                gone.callback(None)

    # --- what the connection calls: IPushProducer ------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """
        The connection has enough to send.
        """
        self._paused = True

    def resumeProducing(self) -> None:
        """
        The connection can take more.
        """
        self._paused = False
        self._pump()

    def stopProducing(self) -> None:
        """
        The connection is going; C{connectionLost} tells the rest.
        """
        self._paused = True

    # --- what streams call -----------------------------------------------------------------------------------------

    def ready(self, stream: Stream) -> None:
        """
        The stream has something to send.
        """
        if not stream.queued:
            stream.queued = True
            self._ready.append(stream)
            self._pump()

    def write(self, stream: Stream, data: Buffer) -> bool:
        """
        Send what a stream was just given, if nothing else waits here and it fits into one frame.

        @return: whether it was sent; if not, the stream waits for its turn.
        """
        if self._ready or self._corked or self._pumping or self._paused or not self.connected:
            return False
        frame = self._machine.frame(stream.stream_id, data) if len(data) <= FRAME_BYTES else None
        if frame is None:
            return False
        if self._at_turn is None:
            self._transport().write(frame)
            return True
        if not self._gathered:
            self._at_turn(self._flush)
        self._gathered.append(frame)
        self._gathered_bytes += len(frame)
        if self._gathered_bytes >= BATCH_BYTES:
            self._flush()
        return True

    def consumed(self, stream: Stream, size: int) -> None:
        """
        The stream's reader took bytes.
        """
        self._machine.consumed(stream.stream_id, size)
        if self._machine.unsent():
            self._pump()

    def finish(self, stream: Stream) -> None:
        """
        The stream has sent all it had to.
        """
        if self._machine.state_of(stream.stream_id) not in (State.CLOSED, State.LOCAL_CLOSED):
            self._machine.finish(stream.stream_id)
            self._pump()

    def reset(self, stream: Stream) -> None:
        """
        The stream ends without more ado.
        """
        self._machine.reset(stream.stream_id)
        self._pump()

    def linger(self, stream: Stream) -> None:
        """
        The stream was closed; from now on it must get ahead within L{LINGER_SECONDS}.
        """
        self._lingering[stream.stream_id] = self._clock.seconds() + LINGER_SECONDS

    def forget(self, stream: Stream) -> None:
        """
        Nobody is behind the stream any more.
        """
        self._streams.pop(stream.stream_id, None)
        if self._machine.state_of(stream.stream_id) is State.CLOSED:
            self._lingering.pop(stream.stream_id, None)
        else:
            self.linger(stream)
        self._close_if_drained()

    def soon(self, call: Callable[..., object], *arguments: object) -> None:
        """
        Call from the loop.
        """
        self._clock.callLater(0, call, *arguments)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _transport(self) -> Wire:
        return cast(Wire, self.transport)  # Twisted declares less than its connections have

    def _deliver(self, arrived: dict[int, list[Buffer]]) -> None:
        """
        @param arrived: what came for each stream since the last time; empty afterwards.
        """
        for stream_id, pieces in arrived.items():
            self._received(stream_id, b"".join(pieces))
        arrived.clear()

    def _received(self, stream_id: int, payload: bytes) -> None:
        stream = self._streams.get(stream_id)
        if stream is not None and not stream.disconnecting:
            stream.received(payload)
        elif stream is None:  # closed here while the peer still talks: as TCP, tell it that nobody listens
            self._lingering.pop(stream_id, None)
            self._machine.reset(stream_id)
        else:
            self._machine.consumed(stream_id, len(payload))

    def _outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Opened(stream_id):
                stream = self._streams[stream_id] = Stream(self, stream_id)
                self._owner.stream_opened(self, stream)
            case Credited(stream_id):
                waiting = self._streams.get(stream_id)
                if waiting is not None and waiting.has_pending:
                    self.ready(waiting)
            case Finished(stream_id):
                self._over(stream_id, None)
            case Reset(stream_id):
                self._over(stream_id, ConnectionLost("the stream was reset by its other end"))
            case Ponged():
                self._heartbeat.answered()
            case WentAway(GoAwayCode.NORMAL):
                self._owner.link_away(self)
            case WentAway(code):
                self._log.warn("{peer} ended the link with code {code}", peer=self.peer, code=code)
                self._close()

    def _over(self, stream_id: int, reason: Exception | None) -> None:
        """
        @param reason: None where the peer has only finished sending.
        """
        stream = self._streams.get(stream_id)
        if stream is not None:
            if reason is None:
                stream.finished()
            else:
                stream.lost(reason)
        if self._machine.state_of(stream_id) is State.CLOSED:
            self._lingering.pop(stream_id, None)
            self._close_if_drained()

    def _flush(self) -> None:
        """
        Write what was gathered in this turn.
        """
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if gathered and self.connected:
            self._transport().write(b"".join(gathered))

    def _pump(self) -> None:
        """
        Write what there is to write for as long as the connection takes it.
        """
        if self._corked or self._pumping or self._paused or not self.connected:
            return
        self._pumping = True
        try:
            while not self._paused:
                served = self._round()
                out = self._machine.take()
                if not out:
                    break
                if self._gathered:
                    self._flush()
                self._transport().write(b"".join(out))
                for stream in served:
                    stream.drained()
                if not self._ready and not self._machine.unsent():
                    break
        finally:
            self._pumping = False

    def _round(self) -> list[Stream]:
        """
        One turn for each stream in the round until a batch is full; who has more to send stands at the end again.
        """
        machine, ready, served, size = self._machine, self._ready, [], 0
        while ready and size < BATCH_BYTES:
            stream = ready.popleft()
            stream.queued = False
            turn = FRAME_BYTES if ready else max(FRAME_BYTES, BATCH_BYTES - size - HEADER_BYTES)
            limit = min(machine.allowance(stream.stream_id), turn)
            if not limit or not stream.has_pending:
                continue
            parts, taken = stream.take(limit)
            machine.send(stream.stream_id, parts, taken)
            size += taken + HEADER_BYTES
            served.append(stream)
            if stream.stream_id in self._lingering:
                self.linger(stream)
            if stream.has_pending and limit:
                stream.queued = True
                ready.append(stream)
        return served

    def _ping(self) -> bool:
        """
        End what lingers too long, then ping.

        @return: whether the connection stands.
        """
        self._sweep()
        if not self.is_open:
            return False
        if self._machine.unanswered_pings() < self._machine.limits.max_pings:
            self._machine.ping()
            self._heartbeat.pinged()
            self._pump()
        return True

    def _unheard(self) -> None:
        self._log.warn("link with {peer} ended: it did not answer a ping", peer=self.peer)
        self.abort()

    def _sweep(self) -> None:
        now = self._clock.seconds()
        for stream_id in [number for number, until in self._lingering.items() if until <= now]:
            self._lingering.pop(stream_id, None)
            stream = self._streams.get(stream_id)
            if stream is not None:
                stream.abortConnection()
            else:
                self._machine.reset(stream_id)
        self._pump()
        self._close_if_drained()

    def _close_if_drained(self) -> None:
        drained = self._machine.state in (LinkState.LOCAL_AWAY, LinkState.BOTH_AWAY) and not len(self._machine)
        if drained and self.connected and not self._streams:
            self._pump()
            self._machine.end()
            self._close()

    def _end(self, code: GoAwayCode) -> None:
        """
        Tell the peer what it did wrong, if it still listens, and end the connection.
        """
        self._machine.go_away(code)
        self._flush()
        if not self._paused:
            self._transport().write(b"".join(self._machine.take()))
        self._close()

    def _close(self) -> None:
        """
        Close the connection once the peer has read what was written, or has had its time to.
        """
        self._heartbeat.stop()
        if self._closing is not None:
            self._closing.cancel()
        self._closing = self._clock.callLater(self._close_within, self._give_up)
        self._flush()
        self._transport().unregisterProducer()
        self._transport().loseConnection()

    def _give_up(self) -> None:
        self._closing = None
        self.abort()
