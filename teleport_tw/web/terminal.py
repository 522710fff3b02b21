"""
One terminal in a page: a shell on a server, and the WebSocket through which the page has it.

The session is the lasting thing. Its WebSocket may be lost and another take its place for two minutes; meanwhile at
most a window of output is kept and the server's program waits. Whatever a page typed is taken once, in order,
whichever WebSocket brought it. Bytes from the server are taken in only as the page shows them.

@see: C{docs/protocols/terminal.rst}
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar

from attrs import asdict, define, field
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from teleport_tw.api.contract import Api
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import format_time, from_timestamp, steady
from teleport_tw.conch.connection import Connection
from teleport_tw.conch.global_requests import KEEPALIVE
from teleport_tw.dial import joining
from teleport_tw.dial.session import Terminal as Size
from teleport_tw.protocols.ssh.wire import put_boolean, put_text
from teleport_tw.resources.metadata import Json
from teleport_tw.web.envelope import (
    AUDIT,
    CLOSED,
    ERROR,
    LATENCY,
    RAW,
    RESIZE,
    SESSION,
    Envelope,
    parse_object,
    size,
)
from teleport_tw.web.greeting import Greeting
from teleport_tw.web.question import Question
from teleport_tw.web.reach import Reach
from teleport_tw.web.sessions import Session
from teleport_tw.web.shell import TERM, Closing, Place, Shell, Wanted, find
from teleport_tw.web.standing import Standing
from teleport_tw.web.websocket import GOING_AWAY, NORMAL, TAKEN_OVER, Conversation, Socket
from teleport_tw.web.window import Incoming, Outgoing

KEPT_SECONDS = 120.0
"""How long a session waits for its page to come back."""

MEASURE_SECONDS = 15.0
"""Between reports of how long the ways are."""

ACKNOWLEDGE_SECONDS = 0.05
"""After which the page is told that its input was taken, where no output tells it sooner."""

MAX_REQUEST_ID = 64


@define(eq=False, kw_only=True, repr=False)
class Terminal:
    """
    One session.

    @ivar id: by which its page resumes it; a secret between the two.
    @ivar session: of the user on the web; nobody else resumes.
    @ivar api: auth, as the user.
    @ivar address: of the browser.
    @ivar ended: called once when nothing is left of it.
    """

    id: str
    session: Session
    api: Api
    reach: Reach
    wanted: Wanted
    address: str
    clock: IReactorTime
    ended: Callable[[Terminal], object]
    attachment: Conversation | None = field(default=None, init=False)
    output: Outgoing = field(factory=Outgoing, init=False)
    input: Incoming = field(factory=Incoming, init=False)
    _socket: Socket | None = field(default=None, init=False)
    _connection: Connection | None = field(default=None, init=False)
    _shell: Shell | None = field(default=None, init=False)
    _standing: Standing | None = field(default=None, init=False)
    _stands: bool = field(default=False, init=False)
    _size: Size = field(init=False)
    _typed: deque[bytes] = field(factory=deque, init=False)
    _input_paused: bool = field(default=False, init=False)
    _acknowledged: int = field(default=0, init=False)
    _question: Question = field(init=False)
    _timers: dict[str, IDelayedCall] = field(factory=dict, init=False)
    _closing: Closing | None = field(default=None, init=False)
    _used: bool = field(default=True, init=False)
    _over: bool = field(default=False, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._size = self.wanted.size
        self._question = Question(self.clock, self._send)

    # --- the session ------------------------------------------------------------------------------------------------

    def _ran(self, closing: Closing | None) -> None:
        if closing is not None:
            self.close(closing)

    async def _run(self) -> Closing:
        try:
            shell = await self._open()
            status = await shell.ended
        except CancelledError:
            raise
        except TeleportError as error:
            again = error.kind is Kind.CONNECTION_PROBLEM
            return Closing("unreachable" if again else "refused", error.message, again=again)
        except Exception:
            self._log.failure("a terminal broke")
            return Closing("lost", "something went wrong on our side", again=True)
        if not shell.lost:
            return Closing("exited", status=None if shell.signal else status, signal=shell.signal)
        said = getattr(shell.conn.transport, "said", "")
        return Closing("ended", said) if said else Closing("lost", "the connection to the server was lost", again=True)

    async def _open(self) -> Shell:
        place = await find(self.wanted, self.api)
        self._standing = self._standing_at(place)
        self._connection = connection = await self.reach.connect(
            self.session,
            self.api,
            target=place.target,
            login=place.login,
            names=(place.hostname,),
            address=self.address,
            ask=self._question.ask,
            responder=self,
        )
        self._shell = shell = Shell(self._shown, self._said)
        await connection.open(shell)
        await shell.begin(terminal=self._size, variables=place.variables)
        self._stands = True
        self._tell_standing(resumed=False)
        shell.registerProducer(self, True)
        self._flow_in()
        self._measure()
        return shell

    def _standing_at(self, place: Place) -> Standing:
        return Standing(
            {
                "kind": "ssh",
                "cluster_name": self.session.certificates.cluster,
                "created": format_time(from_timestamp(self.clock.seconds())),
                "participants": [{"user": self.session.username, "mode": "peer"}],
                **place.shown,
            }
        )

    def _tell_standing(self, *, resumed: bool) -> None:
        if self._standing is None or not self._stands:
            return
        shown = {"id": "", **self._standing.shown}
        value = {"session": shown, "resume": self.id, "window": self.input.window, "resumed": resumed}
        self._send(Envelope.of(SESSION, value))
        if self._standing.asked is not None:
            self._send(Envelope.of(AUDIT, self._standing.asked))
        if resumed:
            self._acknowledge()

    # --- the server -------------------------------------------------------------------------------------------------

    def connected(self, connection: Connection) -> None:
        """See L{teleport_tw.conch.connection.Responder}."""

    def connection_lost(self) -> None:
        """See L{teleport_tw.conch.connection.Responder}."""

    async def open_channel(self, request: Any) -> Any:
        """See L{teleport_tw.conch.connection.Responder}."""
        raise TeleportError(Kind.ACCESS_DENIED, "a page takes no channels")

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """
        Events of the session, where the server tells them beside it.
        """
        if name.startswith("x-teleport-event"):
            self._said(AUDIT, payload.decode("utf-8", "replace"))
            return b""
        return None

    def _said(self, what: str, text: str) -> None:
        standing = self._standing
        if standing is None:
            return
        if what == SESSION:
            standing.shown = {**standing.shown, "id": text}
            return
        try:
            event = parse_object(text)
        except RemoteProtocolError:
            return
        standing.heard(event)
        if not self._stands:  # the page reads of it in what it is told first
            return
        self._send(Envelope.of(AUDIT, event))
        terminal_size = event.get("size")
        if event.get("event") == "resize" and isinstance(terminal_size, str):
            self._send(Envelope(RESIZE, terminal_size.encode()))

    def _shown(self, data: bytes) -> None:
        self.output.push(data)
        self.flow()
        if self.output.full and self._shell is not None:
            self._shell.pauseProducing()

    # Being the producer of what the server is sent.

    def pauseProducing(self) -> None:
        """
        The server takes no more for now.
        """
        self._input_paused = True

    def resumeProducing(self) -> None:
        """
        It does.
        """
        self._input_paused = False
        self._flow_in()

    def stopProducing(self) -> None:
        """
        It never will.
        """
        self._input_paused = True

    def _flow_in(self) -> None:
        shell = self._shell
        if shell is None or not self._stands:
            return
        while self._typed and not self._input_paused:
            piece = self._typed.popleft()
            shell.write(piece)
            self.input.passed += len(piece)
        if self.input.passed > self._acknowledged:
            self._later("acknowledge", ACKNOWLEDGE_SECONDS, self._acknowledge)

    def _acknowledge(self) -> None:
        self._stop("acknowledge")
        self._acknowledged = self.input.passed
        self._send(Envelope(RAW, offset=self.output.sent, received=self._acknowledged))

    # --- the page ---------------------------------------------------------------------------------------------------

    def attached(self, attachment: Conversation, socket: Socket, greeting: Greeting) -> None:
        """
        Another WebSocket; the one before is not needed any more.
        """
        before = self._socket
        self.attachment, self._socket = attachment, socket
        self._stop("wait")
        if before is not None:
            before.close(TAKEN_OVER, "the session goes on elsewhere")
        if self._closing is not None:
            self._farewell()
            return
        if greeting.resume:
            if greeting.received is not None:
                self.output.acknowledged(greeting.received)
            self.output.again()
            self._tell_standing(resumed=True)
            self._question.again()
            self.flow()
        else:
            self._tasks.spawn("a terminal in a page", self._run()).addCallback(self._ran)

    def detached(self, code: int) -> None:
        """
        The WebSocket is gone.
        """
        self.attachment = self._socket = None
        self._stop("acknowledge")
        if self._over:
            return
        if self._closing is not None or code == NORMAL or not self._stands:
            self.finish()
        else:
            self._later("wait", KEPT_SECONDS, self.finish)

    def heard(self, message: Envelope) -> None:
        """
        @raise RemoteProtocolError: it may not say so.
        """
        match message.type:
            case "r":
                self._raw(message)
            case "w":
                self._resized(*size(message.text()))
            case "n":
                self._question.answered(message.json())
            case "t":
                self._decided(message.json())
            case "l":
                self._send(message)
            case "c":
                self._asked_to_close(message.json())
            case _:
                raise RemoteProtocolError(f"nobody sends {message.type!r} to a proxy")

    def _raw(self, message: Envelope) -> None:
        self.output.acknowledged(message.received)
        fresh = self.input.take(message.offset, message.payload)
        if fresh:
            self._used = True
            self._typed.append(fresh)
            self._flow_in()
        self.flow()

    def was_used(self) -> bool:
        """
        @return: whether something was typed since this was asked last.
        """
        used, self._used = self._used, False
        return used

    def _resized(self, columns: int, rows: int) -> None:
        self._size = Size(kind=TERM, columns=columns, rows=rows)
        if self._shell is not None and self._stands and not self._shell.localClosed:
            self._shell.resized(self._size)

    def _asked_to_close(self, told: Json) -> None:
        if told.get("terminate") and self._shell is not None:
            self._shell.conn.notify(self._shell, joining.FORCE_TERMINATE)
            return
        self.close(Closing("closed"))

    def _decided(self, told: Json) -> None:
        request, approved = told.get("requestId"), told.get("approved")
        if not isinstance(request, str) or not isinstance(approved, bool):
            raise RemoteProtocolError("a decision has requestId, a text, and approved, true or false")
        if len(request) > MAX_REQUEST_ID or not request.isascii():
            raise RemoteProtocolError("that is no request's id")
        if self._shell is not None:
            self._shell.conn.notify(self._shell, joining.FILE_DECISION, put_text(request) + put_boolean(approved))

    def flow(self) -> None:
        """
        Send what may be sent, and let the server go on where there is room.
        """
        socket, output = self._socket, self.output
        while socket is not None and not socket.congested and (piece := output.take()) is not None:
            self._acknowledged = self.input.passed
            self._send(Envelope(RAW, piece[1], offset=piece[0], received=self._acknowledged))
        if self._shell is not None and not output.full:
            self._shell.resumeProducing()
        if self._closing is not None and output.empty:
            self._farewell()

    def _send(self, message: Envelope) -> None:
        if self._socket is not None:
            self._socket.send(message.encode())

    def warn(self, text: str) -> None:
        """
        Tell the person in front of the page.
        """
        self._send(Envelope.of(ERROR, {"message": text}))

    # --- how long the ways are --------------------------------------------------------------------------------------

    def _measure(self) -> None:
        self._later("measure", MEASURE_SECONDS, self._measure)
        if self._socket is not None and self._connection is not None:
            self._tasks.spawn("measuring a terminal's latency", self._measured(self._connection))

    async def _measured(self, connection: Connection) -> None:
        begun = steady(self.clock)
        with suppress(TeleportError):  # a refusal comes as fast
            await connection.ask(KEEPALIVE, b"")
        if connection.stopped or self._socket is None:
            return
        page = self._socket.latency
        value = {
            "ws": None if page is None else round(page * 1000, 1),
            "ssh": round((steady(self.clock) - begun) * 1000, 1),
        }
        self._send(Envelope.of(LATENCY, value))

    # --- the end ----------------------------------------------------------------------------------------------------

    def close(self, closing: Closing) -> None:
        """
        It is over; the page is told once it has all output.
        """
        if self._closing is not None or self._over:
            return
        self._closing = closing
        self._hang_up()
        if self._socket is None:
            self._later("wait", KEPT_SECONDS, self.finish)
        elif self.output.empty or closing.at_once:
            self._farewell()

    def _hang_up(self) -> None:
        if self._connection is not None and not self._connection.stopped:
            self._connection.transport.loseConnection()

    def _farewell(self) -> None:
        socket, closing = self._socket, self._closing
        if socket is None or closing is None:
            return
        self._send(Envelope.of(CLOSED, asdict(closing)))
        socket.close(GOING_AWAY if closing.code == "restart" else NORMAL)
        self.finish()

    def finish(self) -> None:
        """
        Nothing is left.
        """
        if self._over:
            return
        self._over = True
        for name in tuple(self._timers):
            self._stop(name)
        self.attachment = self._socket = None
        self._question.cancel()
        self._hang_up()
        self._tasks.cancel()
        self.ended(self)

    def _later(self, name: str, seconds: float, call: Callable[[], object]) -> None:
        timer = self._timers.get(name)
        if timer is not None and timer.active():
            if name == "acknowledge":
                return
            timer.cancel()
        self._timers[name] = self.clock.callLater(seconds, call)

    def _stop(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None and timer.active():
            timer.cancel()
