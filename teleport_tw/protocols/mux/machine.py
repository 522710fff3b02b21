"""
The streams of one yamux link: what may be sent, what may come, and who owes whom credit.

Theory of operation. Each stream walks the states of L{TRANSITIONS}, driven by the flags that go out and come in; the
link itself walks those of L{LINK_TRANSITIONS}, driven by go-away frames. What a table does not hold is a mistake: the
peer's, and the link ends in L{RemoteProtocolError}, or our own, a L{LocalProtocolError}. Three things a peer may do
although they lead nowhere, because frames cross on the wire: it may speak of streams we do not know (any more), and
these frames are dropped; it may open a stream after we said go-away, and gets a reset; it may open more than we care
to accept, and gets a reset as well.

Credit runs one way each. The sender may send C{send_window} bytes; the receiver grants more when its reader has
consumed half a window, not when bytes arrive, so a reader that is slow costs at most one window of memory. A reader
that has taken everything by then is given twice the window, up to a bound: it is the way that is long, or the machine
that is busy, and not the reader. A peer that sends more than it was granted breaks the protocol.

The machine collects what is to be written in a list of buffers; the caller takes it with L{Machine.take} and writes
all of it in one go. It names no transport and no clock.

@see: HashiCorp, I{yamux Specification}.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from attrs import define, frozen

from teleport_tw.base.errors import LocalProtocolError, RemoteProtocolError
from teleport_tw.protocols.mux.messages import (
    INITIAL_WINDOW_BYTES,
    MAX_STREAM_ID,
    MAX_WINDOW_BYTES,
    Buffer,
    Data,
    Flag,
    GoAway,
    GoAwayCode,
    Message,
    Ping,
    Type,
    WindowUpdate,
)
from teleport_tw.protocols.mux.outcomes import (
    Accepted,
    Credited,
    Finished,
    Opened,
    Outcome,
    Ponged,
    Received,
    Reset,
    WentAway,
)
from teleport_tw.protocols.mux.states import (
    LINK_TRANSITIONS,
    SENDING,
    TRANSITIONS,
    Input,
    LinkInput,
    LinkState,
    State,
)
from teleport_tw.protocols.mux.wire import encode, header

_SYN, _ACK, _FIN, _RST = (int(flag) for flag in Flag)
_DATA = int(Type.DATA)


class Role(Enum):
    """
    Which stream ids a side gives out. The one that dialled the link is the client.

    The value is the first id.
    """

    CLIENT = 1
    SERVER = 2


@frozen(kw_only=True)
class Limits:
    """
    What one link may cost.

    @ivar max_streams: open at once, both directions together.
    @ivar max_backlog: streams opened that the other side has not accepted yet, each direction by itself. The Go
        implementation resets what goes beyond 256, so we never have more under way.
    @ivar max_pings: our pings that wait for an answer.
    @ivar window_bytes: what a peer may send on a stream ahead of its reader; not below 256 KiB, which it may anyway.
    @ivar max_window_bytes: what that grows to for a reader that keeps up, so that a long way costs no speed.
    """

    max_streams: int = 16_384
    max_backlog: int = 256
    max_pings: int = 4
    window_bytes: int = INITIAL_WINDOW_BYTES
    max_window_bytes: int = 4 * INITIAL_WINDOW_BYTES


@define(eq=False)
class _Stream:
    """
    @ivar send_window: bytes we may still send.
    @ivar receive_window: bytes the peer may still send.
    @ivar unread: bytes that came and that the reader has not taken.
    @ivar window: the most that the two may be together.
    """

    state: State
    window: int
    send_window: int = INITIAL_WINDOW_BYTES
    receive_window: int = INITIAL_WINDOW_BYTES
    unread: int = 0


class Machine:
    """
    One side of a link.

    @ivar state: see L{LinkState}.
    """

    __slots__ = ("_backlog_in", "_backlog_out", "_next_id", "_next_ping", "_out", "_parity", "_pings", "_streams",
                 "limits", "state")  # fmt: skip

    def __init__(self, role: Role, limits: Limits = Limits()) -> None:
        self.limits = limits
        self.state = LinkState.OPEN
        self._next_id = role.value
        self._parity = role.value % 2
        self._streams: dict[int, _Stream] = {}
        self._backlog_in = 0
        self._backlog_out = 0
        self._next_ping = 0
        self._pings: tuple[int, ...] = ()
        self._out: list[Buffer] = []

    # --- asked ---------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """
        How many streams are open.
        """
        return len(self._streams)

    def state_of(self, stream_id: int) -> State:
        """
        @return: CLOSED also for ids that were never used.
        """
        stream = self._streams.get(stream_id)
        return State.CLOSED if stream is None else stream.state

    def allowance(self, stream_id: int) -> int:
        """
        @return: how many bytes may be sent on the stream now.
        """
        stream = self._streams.get(stream_id)
        return 0 if stream is None else stream.send_window

    def unsent(self) -> int:
        """
        @return: how many buffers L{take} would give now.
        """
        return len(self._out)

    def unanswered_pings(self) -> int:
        """
        @return: how many pings wait for their answer.
        """
        return len(self._pings)

    def may_open(self) -> bool:
        """
        @return: whether L{open} would succeed now.
        """
        return (
            self.state in (LinkState.OPEN, LinkState.LOCAL_AWAY)
            and len(self._streams) < self.limits.max_streams
            and self._backlog_out < self.limits.max_backlog
            and self._next_id <= MAX_STREAM_ID
        )

    def take(self) -> list[Buffer]:
        """
        @return: what is to be written, in order; the machine starts a new list.
        """
        out, self._out = self._out, []
        return out

    # --- sending -------------------------------------------------------------------------------------------------

    def open(self) -> int:
        """
        Open a stream. Data may be sent on it at once.

        @return: its id.
        @raise LocalProtocolError: L{may_open} is false.
        """
        if not self.may_open():
            raise LocalProtocolError(f"no further stream on this link: {self.state.value}, {len(self)} open")
        stream_id, self._next_id = self._next_id, self._next_id + 2
        stream = self._streams[stream_id] = _Stream(State.SYN_SENT, self._window())
        self._grant(stream_id, stream, stream.window - stream.receive_window, _SYN)
        self._backlog_out += 1
        return stream_id

    def accept(self, stream_id: int) -> None:
        """
        Say yes to a stream of L{Opened}. If it is gone by now, that is no mistake.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        self._step(stream_id, stream, Input.SEND_ACK)
        self._grant(stream_id, stream, stream.window - stream.receive_window - stream.unread, _ACK)

    def send(self, stream_id: int, parts: Sequence[Buffer], size: int) -> None:
        """
        Send bytes as one frame.

        @param parts: the payload, in one buffer or several; not copied.
        @param size: bytes in C{parts} together, at least one.
        @raise LocalProtocolError: the stream takes no data, or C{size} exceeds L{allowance}.
        """
        stream = self._streams.get(stream_id)
        if stream is None or size > stream.send_window:
            raise LocalProtocolError(f"{size} bytes are more than stream {stream_id} may send")
        if stream.state is not State.ESTABLISHED:
            self._step(stream_id, stream, Input.SEND_DATA)
        stream.send_window -= size
        self._out.append(header(_DATA, 0, stream_id, size))
        self._out.extend(parts)

    def frame(self, stream_id: int, data: Buffer) -> bytes | None:
        """
        As L{send} and L{take} at once, for the plain case that most of a small message's life consists of.

        @param data: at least one byte.
        @return: what is to be written; C{None} where something else is to be written first, the stream is not
            established, or its credit does not suffice.
        """
        stream = self._streams.get(stream_id)
        size = len(data)
        if self._out or stream is None or size > stream.send_window or stream.state is not State.ESTABLISHED:
            return None
        stream.send_window -= size
        return b"".join((header(_DATA, 0, stream_id, size), data))

    def consumed(self, stream_id: int, size: int) -> None:
        """
        The reader of a stream took bytes; grants credit once they make up half a window.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.unread -= size
        owed = stream.window - stream.receive_window - stream.unread
        if owed * 2 >= stream.window and stream.state is not State.REMOTE_CLOSED:
            if not stream.unread and stream.window < self.limits.max_window_bytes:
                wider = min(stream.window * 2, self.limits.max_window_bytes)
                owed += wider - stream.window
                stream.window = wider
            self._grant(stream_id, stream, owed, 0)

    def finish(self, stream_id: int) -> None:
        """
        Say FIN: we send no more data on the stream.

        @raise LocalProtocolError: that was said before, or the stream is gone.
        """
        stream = self._streams.get(stream_id)
        if stream is None:
            raise LocalProtocolError(f"stream {stream_id} is closed")
        self._step(stream_id, stream, Input.SEND_FIN)
        self._out.append(encode(WindowUpdate(stream_id, 0, _FIN)))

    def reset(self, stream_id: int) -> None:
        """
        End a stream at once. If it is gone by now, that is no mistake.
        """
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._step(stream_id, stream, Input.SEND_RST)
            self._out.append(encode(WindowUpdate(stream_id, 0, _RST)))

    def ping(self) -> int:
        """
        @return: the value that L{Ponged} will repeat.
        @raise LocalProtocolError: too many pings are unanswered.
        """
        if len(self._pings) >= self.limits.max_pings:
            raise LocalProtocolError(f"{len(self._pings)} pings are unanswered")
        value = self._next_ping
        self._next_ping = (value + 1) % 2**32
        self._pings += (value,)
        self._out.append(encode(Ping(value)))
        return value

    def go_away(self, code: GoAwayCode = GoAwayCode.NORMAL) -> None:
        """
        Say that we take no more streams; with an error, that the link is over.
        """
        if self.state is LinkState.ENDED:
            return
        self._out.append(encode(GoAway(code)))
        if code is GoAwayCode.NORMAL:
            self.state = LINK_TRANSITIONS[self.state, LinkInput.SEND_GO_AWAY]
        else:
            self.end()

    def end(self) -> tuple[int, ...]:
        """
        The transport is gone, or the link is over for another reason.

        @return: the streams that were open; they are forgotten.
        """
        self.state = LINK_TRANSITIONS[self.state, LinkInput.END]
        lost = tuple(self._streams)
        self._streams.clear()
        self._backlog_in = self._backlog_out = 0
        return lost

    # --- receiving -----------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> list[Outcome]:
        """
        Take in one frame.

        @return: what it means, in order.
        @raise RemoteProtocolError: the peer broke the protocol. The C{code} is what to tell it by L{go_away}.
        """
        if self.state is LinkState.ENDED:
            return []
        match message:
            case Data(stream_id, payload, flags):
                stream = self._streams.get(stream_id)
                if not flags and stream is not None:
                    return self._payload(stream_id, stream, payload)
                return self._flagged(stream_id, flags, payload, 0)
            case WindowUpdate(stream_id, credit, flags):
                return self._flagged(stream_id, flags, b"", credit)
            case Ping(value, is_answer):
                return self._ping(value, is_answer)
            case _:
                return self._go_away(message.code)

    def took(self, stream_id: int, size: int) -> bool:
        """
        As L{receive} of a frame of data without flags, in the plain case.

        @return: whether these bytes are now for the stream's reader; if not, nothing has happened.
        """
        stream = self._streams.get(stream_id)
        if stream is None or size > stream.receive_window or stream.state is not State.ESTABLISHED:
            return False
        stream.receive_window -= size
        stream.unread += size
        return True

    def _flagged(self, stream_id: int, flags: int, payload: Buffer, credit: int) -> list[Outcome]:
        """
        A frame with flags: what opens comes first, then data and credit, then what ends.
        """
        outcomes: list[Outcome] = []
        if flags & _SYN:
            if not self._opened(stream_id):
                return outcomes
            outcomes.append(Opened(stream_id))
        stream = self._streams.get(stream_id)
        if stream is None:
            return outcomes
        if flags & _ACK:
            if stream.state is State.SYN_SENT:
                outcomes.append(Accepted(stream_id))
            self._step(stream_id, stream, Input.RECEIVE_ACK)
        if flags & _RST:
            self._step(stream_id, stream, Input.RECEIVE_RST)
            outcomes.append(Reset(stream_id))
            return outcomes
        if payload:
            outcomes += self._payload(stream_id, stream, payload)
        if credit:
            outcomes += self._credit(stream_id, stream, credit)
        if flags & _FIN:
            self._step(stream_id, stream, Input.RECEIVE_FIN)
            outcomes.append(Finished(stream_id))
        return outcomes

    def _opened(self, stream_id: int) -> bool:
        """
        @return: whether we look at the stream at all; if not, the peer was sent a reset.
        """
        if stream_id % 2 == self._parity:
            raise _refused(f"opened stream {stream_id}, an id of ours")
        if stream_id in self._streams:
            raise _refused(f"opened stream {stream_id} twice")
        if (
            self.state in (LinkState.LOCAL_AWAY, LinkState.BOTH_AWAY)
            or len(self._streams) >= self.limits.max_streams
            or self._backlog_in >= self.limits.max_backlog
        ):
            self._out.append(encode(WindowUpdate(stream_id, 0, _RST)))
            return False
        self._streams[stream_id] = _Stream(State.SYN_RECEIVED, self._window())
        self._backlog_in += 1
        return True

    def _payload(self, stream_id: int, stream: _Stream, payload: Buffer) -> list[Outcome]:
        size = len(payload)
        if size > stream.receive_window:
            raise _refused(f"sent {size - stream.receive_window} bytes more than stream {stream_id} was granted")
        if stream.state is not State.ESTABLISHED:
            self._step(stream_id, stream, Input.RECEIVE_DATA)
        stream.receive_window -= size
        stream.unread += size
        return [Received(stream_id, payload)] if size else []

    def _credit(self, stream_id: int, stream: _Stream, credit: int) -> list[Outcome]:
        had = stream.send_window
        stream.send_window += credit
        if stream.send_window > MAX_WINDOW_BYTES:
            raise _refused(f"granted stream {stream_id} more than a window can hold")
        return [] if had else [Credited(stream_id)]

    def _ping(self, value: int, is_answer: bool) -> list[Outcome]:
        if not is_answer:
            self._out.append(encode(Ping(value, is_answer=True)))
        elif value in self._pings:
            self._pings = tuple(waiting for waiting in self._pings if waiting != value)
            return [Ponged(value)]
        return []

    def _go_away(self, code: int) -> list[Outcome]:
        normal = code == GoAwayCode.NORMAL
        self.state = LINK_TRANSITIONS[self.state, LinkInput.RECEIVE_GO_AWAY if normal else LinkInput.END]
        return [WentAway(code)]

    # --- both ----------------------------------------------------------------------------------------------------

    def _window(self) -> int:
        return max(INITIAL_WINDOW_BYTES, self.limits.window_bytes)

    def _grant(self, stream_id: int, stream: _Stream, credit: int, flags: int) -> None:
        stream.receive_window += credit
        self._out.append(encode(WindowUpdate(stream_id, credit, flags)))

    def _step(self, stream_id: int, stream: _Stream, what: Input) -> None:
        """
        @raise LocalProtocolError: we may not send that now.
        @raise RemoteProtocolError: the peer may not.
        """
        before = stream.state
        after = TRANSITIONS.get((before, what))
        if after is None:
            wrong = f"{what.value} on stream {stream_id}, where {before.value}"
            raise (LocalProtocolError(wrong) if what in SENDING else _refused(wrong))
        if after is before:
            return
        stream.state = after
        if before is State.SYN_SENT:
            self._backlog_out -= 1
        elif before is State.SYN_RECEIVED:
            self._backlog_in -= 1
        if after is State.CLOSED:
            del self._streams[stream_id]


def _refused(what: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"the peer {what}", code=GoAwayCode.PROTOCOL_ERROR)
