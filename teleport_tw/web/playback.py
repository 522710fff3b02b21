"""
Recordings in a page: played with as much ahead as the page asks for, searched, and sent as a file.

Time is the page's affair: it gets output with the time it was written and shows it when it is due. To seek is to begin
anew, with what a screen needs first, or behind the output whose screen the page has kept.

@see: C{docs/protocols/terminal.rst}, I{Players}
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import ClassVar

from attrs import Factory, asdict, define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.api.contract import Api
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.recordings.container import Note, Output, Reader, Resized, Timed, unpack
from teleport_tw.recordings.play import export
from teleport_tw.resources.metadata import Json
from teleport_tw.web.envelope import AUDIT, CLOSED, ERROR, FACTS, PLAY, RAW, RESIZE, SEARCH, SESSION, Envelope
from teleport_tw.web.files import disposition
from teleport_tw.web.greeting import Greeting, Threshold
from teleport_tw.web.places import Places
from teleport_tw.web.refusal import Refusal
from teleport_tw.web.routes import Answer, Call, Limit, Reply, Route, Who
from teleport_tw.web.shapes import Text
from teleport_tw.web.shell import RESTART, Closing
from teleport_tw.web.tickets import Tickets
from teleport_tw.web.viewing import Viewing, after, frames_of
from teleport_tw.web.websocket import GOING_AWAY, NORMAL, Conversation, Socket, Upgrade, check_upgrade
from teleport_tw.web.window import PIECE_BYTES

AHEAD_BYTES = 512 * 1024
"""Of output that a page has before it is due: at 10 KB/s, which is much for a terminal, most of a minute."""

TOGETHER_MS = 10
"""Output of so long a time goes in one message: nobody sees the difference."""

TELL_SECONDS = 1.0
"""Between two messages about a recording that still comes."""

MAX_PLAYERS = 100
"""At a time, in one proxy; each may hold a recording."""

MAX_OF_ONE = 10
"""Of those, of one sign-in."""

MAX_WORDS = 256

SWEEP_SECONDS = 30.0
"""Between two looks whether who watches is still signed in."""

TYPES = {"cast": b"application/x-asciicast", "text": b"text/plain; charset=utf-8", "json": b"application/x-ndjson"}
SUFFIXES = {"cast": "cast", "text": "txt", "json": "json"}


@define(eq=False, kw_only=True, repr=False)
class Playback(Service):
    """
    The routes, and the players that are open.

    @ivar still: asks about a session on the web, as L{teleport_tw.web.terminals.Terminals.still}. To watch is not to
        be active.
    """

    clock: IReactorTime
    threads: Threads
    still: Callable[[Secret[str], bool], Awaitable[object]]
    _players: set[Player] = field(factory=set, init=False)
    _places: Places = field(init=False)
    _tickets: Tickets[tuple[str, str]] = field(
        init=False, default=Factory(lambda self: Tickets(self.clock), takes_self=True)
    )
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._places = Places(of_all=MAX_PLAYERS, of_one=MAX_OF_ONE, what="recordings are being watched")

    def startService(self) -> None:
        """
        From now on sessions on the web are looked at now and then: one may end elsewhere, or be locked.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._tasks.spawn("looking after players", self._sweep())

    async def _sweep(self) -> None:
        while True:
            await deferLater(self.clock, SWEEP_SECONDS)
            for id in {player.owner for player in self._players}:
                try:
                    await self.still(id, False)
                except Refusal as error:
                    if error.status == 401:
                        self.signed_out(id)
                except TeleportError as error:
                    self._log.warn("it is not known whether a user is still signed in: {error}", error=error.message)

    def routes(self) -> Sequence[Route]:
        """
        @return: its part of the table.
        """
        form = {"format": Text(choices=tuple(TYPES), about="cast is asciicast v2 [cast]")}
        return (
            Route(
                method="GET",
                path="/sites/<site>/ttyplayback/<session>",
                handler=self.play,
                about="A recording as a WebSocket; see docs/protocols/terminal.rst.",
                who=Who.SOCKET,
            ),
            Route(
                method="GET",
                path="/sites/<site>/sessionlength/<session>",
                handler=self.length,
                about="How long a recording is.",
            ),
            Route(
                method="GET",
                path="/sites/<site>/recordings/<session>/export",
                handler=self.export,
                about="A recording as a file.",
                query=form,
                media="application/octet-stream",
            ),
            Route(
                method="POST",
                path="/sites/<site>/recordings/<session>/export/ticket",
                handler=self.ticket,
                about="An address from which the browser itself fetches that file, once, within a minute.",
                query=form,
            ),
            Route(
                method="GET",
                path="/recordings/<ticket>",
                handler=self.fetch,
                about="What a ticket is for; for the browser that asked for it.",
                who=Who.BROWSER,
                limit=Limit.CHEAP,
                media="application/octet-stream",
            ),
        )

    def stopService(self) -> None:
        """
        Every page is told.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._tasks.cancel()
        self.farewell()
        self._tickets.clear()

    def farewell(self) -> None:
        """
        The proxy goes.
        """
        for player in tuple(self._players):
            player.close(RESTART)

    def signed_out(self, id: Secret[str]) -> None:
        """
        A session on the web is over, and so are its players.
        """
        self._tickets.signed_out(id)
        for player in tuple(self._players):
            if player.owner == id:
                player.close(Closing("ended", "you signed out"))

    async def play(self, call: Call) -> Reply:
        """
        C{GET …/ttyplayback/:sid}.
        """
        check_upgrade(call.request)
        owner, api, session = call.user, call.api, call.path["session"]

        def welcome(socket: Socket, greeting: Greeting) -> Conversation:
            self._places.take(owner.id)
            player = Player(owner.id, api, session, self.clock, self.threads, self._ended)
            self._players.add(player)
            return player

        return Upgrade(Threshold(owner.bearer, welcome, self.clock), self.clock)

    def _ended(self, player: Player) -> None:
        if player in self._players:
            self._players.remove(player)
            self._places.give(player.owner)

    async def length(self, call: Call) -> Reply:
        """
        C{GET …/sessionlength/:sid}.
        """
        reader, rest, last = Reader(), bytearray(), 0
        try:
            async for chunk in call.api.get_recording(call.path["session"]):
                rest += chunk
                for header, _, frame in frames_of(rest):
                    reader.verify(frame)
                    last = header.last_ms
        except RemoteProtocolError as error:
            raise TeleportError(Kind.BAD_PARAMETER, f"the recording cannot be read: {error}") from error
        return {"durationMs": last, "complete": reader.complete}

    async def export(self, call: Call) -> Reply:
        """
        C{GET …/recordings/:sid/export?format=}.
        """
        return self._file(call.api, call.path["session"], call.query.get("format", "cast"))

    async def ticket(self, call: Call) -> Reply:
        """
        C{POST …/recordings/:sid/export/ticket?format=}.
        """
        chunks = call.api.get_recording(call.path["session"])
        await anext(chunks, b"")  # whether it may be had is said here, where the page can show it
        await chunks.aclose()  # type: ignore[attr-defined]
        word = self._tickets.issue(call.user.id, (call.path["session"], call.query.get("format", "cast")))
        return {"url": f"/webapi/recordings/{word}"}

    async def fetch(self, call: Call) -> Reply:
        """
        C{GET /webapi/recordings/:ticket}.
        """
        session, form = self._tickets.take(call.user.id, call.path["ticket"])
        return self._file(call.api, session, form)

    def _file(self, api: Api, session: str, form: str) -> Answer:
        name = disposition(f"{session}.{SUFFIXES[form]}")
        return Answer(
            body=self._exported(api, session, form),
            content_type=TYPES[form],
            headers={b"Content-Disposition": name, b"Content-Security-Policy": b"sandbox"},
        )

    async def _exported(self, api: Api, session: str, form: str) -> AsyncIterator[bytes]:
        viewing = Viewing(self.threads, lambda: None)
        await viewing.fetch(api.get_recording(session))
        if viewing.failure is not None:
            raise viewing.failure
        # A frame is unpacked when its turn comes: a few kilobytes may be gigabytes of output.
        records = (record for header, body in viewing.frames for record in unpack(header, body))
        pieces = export(records, form)
        while piece := await self.threads.run(_next_piece, pieces):
            yield piece.encode("utf-8", "replace")


def _next_piece(pieces: Iterator[str]) -> str:
    found: list[str] = []
    size = 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            break
    return "".join(found)


@define(eq=False, repr=False)
class Player:
    """
    One page that watches one recording: a L{Conversation}.

    @ivar owner: id of the session on the web.
    @ivar ended: called once when it is over.
    """

    owner: Secret[str]
    api: Api
    session: str
    clock: IReactorTime
    threads: Threads
    ended: Callable[[Player], object]
    viewing: Viewing = field(init=False)
    _socket: Socket | None = field(default=None, init=False)
    _generation: int = field(default=0, init=False)
    _sent: int = field(default=0, init=False)
    _shown: int = field(default=0, init=False)
    _room: Deferred[None] | None = field(default=None, init=False)
    _playing: Deferred[None] | None = field(default=None, init=False)
    _telling: IDelayedCall | None = field(default=None, init=False)
    _begun: bool = field(default=False, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self.viewing = Viewing(self.threads, self._changed)

    # --- what the page says -----------------------------------------------------------------------------------------

    def opened(self, socket: Socket) -> None:
        """See L{Conversation.opened}."""
        self._socket = socket
        chunks = self.api.get_recording(self.session, follow=True)
        self._tasks.spawn("fetching a recording", self.viewing.fetch(chunks))

    def text(self, text: str) -> None:
        """See L{Conversation.text}."""
        raise RemoteProtocolError("envelopes are binary messages")

    def binary(self, data: bytes) -> None:
        """See L{Conversation.binary}."""
        message = Envelope.decode(data)
        match message.type:
            case "r":
                if message.offset == self._generation:
                    self._shown = min(max(self._shown, message.received), self._sent)
                    self.flow()
            case "p":
                self._play(message.json())
            case "q":
                self._tasks.spawn("searching a recording", self._search(message.json()))
            case "l":
                self._send(message)
            case "c":
                self.close(Closing("closed"))
            case _:
                raise RemoteProtocolError(f"nobody sends {message.type!r} to a player")

    def flow(self) -> None:
        """See L{Conversation.flow}."""
        if self._room is not None and self._has_room():
            room, self._room = self._room, None
            room.callback(None)

    def lost(self, code: int) -> None:
        """See L{Conversation.lost}."""
        self._socket = None
        self._finish()

    # --- what it is told --------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        viewing = self.viewing
        if viewing.failure is not None and not viewing.frames:
            self.close(Closing("refused", viewing.failure.message))
            return
        if not self._begun and viewing.facts.start is not None:
            self._begun = True
            start = viewing.facts.start
            value = {"session": dict(start), "size": str(start.get("size", "")), "window": AHEAD_BYTES}
            self._send(Envelope.of(SESSION, value))
        if viewing.whole:
            if viewing.failure is not None:
                self._send(Envelope.of(ERROR, {"message": viewing.failure.message}))
            self._tell()
        elif self._telling is None:
            self._telling = self.clock.callLater(TELL_SECONDS, self._tell)

    def _tell(self) -> None:
        telling, self._telling = self._telling, None
        if telling is not None and telling.active():
            telling.cancel()
        self._send(Envelope.of(FACTS, self.viewing.facts.told(self.viewing.complete)))

    async def _search(self, told: Json) -> None:
        id, text = told.get("id"), told.get("text")
        if type(id) is not int or not isinstance(text, str) or not 0 < len(text) <= MAX_WORDS:
            self._send(Envelope.of(ERROR, {"message": f"search for 1 to {MAX_WORDS} characters"}))
            return
        hits, more = await self.viewing.search(text)
        found = [{"ms": ms, "line": line} for ms, line in hits]
        self._send(Envelope.of(SEARCH, {"id": id, "hits": found, "more": more}))

    def _play(self, told: Json) -> None:
        at, generation = told.get("at"), told.get("generation")
        if told.get("play") is False:
            self._stop_playing()
            return
        if not isinstance(at, (int, float)) or isinstance(at, bool) or type(generation) is not int or at < 0:
            raise RemoteProtocolError("at is a time in milliseconds and generation a number")
        have = told.get("from", 0)
        if type(have) is not int or have < 0:
            raise RemoteProtocolError("from is a number of bytes")
        self._stop_playing()
        self._generation, self._sent, self._shown = generation, 0, 0
        self._send(Envelope.of(PLAY, {"at": int(at), "generation": generation}))
        self._playing = self._tasks.spawn("playing a recording", self._run(int(at), generation, have))

    def _stop_playing(self) -> None:
        playing, self._playing, self._room = self._playing, None, None
        if playing is not None:
            playing.cancel()

    async def _run(self, at: int, generation: int, have: int) -> None:
        number, before = self.viewing.place(have)
        skip = have - before
        while (records := await self.viewing.frame(number)) is not None:
            number += 1
            if skip:
                records, skip = after(records, skip)
            await self._show(records, at)
        end = {"end": True, "generation": generation, "length": self.viewing.facts.length_ms}
        self._send(Envelope.of(PLAY, end))

    async def _show(self, records: list[Timed], at: int) -> None:
        together: list[bytes] = []
        since = size = 0
        for record in records:
            match record.fact:
                case Output(data):
                    near = record.ms <= at or record.ms - since <= TOGETHER_MS
                    if together and (size >= PIECE_BYTES or not near):
                        await self._output(b"".join(together), since)
                        together, size = [], 0
                    if not together:
                        since = record.ms
                    together.append(data)
                    size += len(data)
                case Resized() | Note():
                    if together:
                        await self._output(b"".join(together), since)
                        together, size = [], 0
                    self._aside(record)
                case _:
                    pass
        if together:
            await self._output(b"".join(together), since)

    def _aside(self, record: Timed) -> None:
        match record.fact:
            case Resized(width, height):
                self._send(Envelope(RESIZE, f"{width}:{height}".encode(), ms=record.ms))
            case Note(event):
                self._send(Envelope.of(AUDIT, event, ms=record.ms))

    async def _output(self, data: bytes, ms: int) -> None:
        for start in range(0, len(data), PIECE_BYTES):
            while not self._has_room():
                self._room = Deferred()
                await self._room
            piece = data[start : start + PIECE_BYTES]
            self._send(Envelope(RAW, piece, offset=self._sent, ms=ms))
            self._sent += len(piece)

    def _has_room(self) -> bool:
        socket = self._socket
        return socket is not None and not socket.congested and self._sent - self._shown < AHEAD_BYTES

    def _send(self, message: Envelope) -> None:
        if self._socket is not None:
            self._socket.send(message.encode())

    def close(self, closing: Closing) -> None:
        """
        It is over; the page is told.
        """
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.send(Envelope.of(CLOSED, asdict(closing)).encode())
            socket.close(GOING_AWAY if closing.code == "restart" else NORMAL)
        self._finish()

    def _finish(self) -> None:
        self._socket = None
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._telling = None
        self._tasks.cancel()
        self.ended(self)
