"""
What is kept of one session, whoever carries it: the agent it ends at, or a proxy that records on its behalf.

L{SessionCapture} says when the session began, changed and ended, and puts what its terminal was sent into a recording
where the cluster wants one. The relay calls it and never waits, except for L{SessionCapture.begin} of a session that
must not go unrecorded.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import format_time, from_timestamp
from teleport_tw.events.kinds import (
    Actor,
    Connection,
    Event,
    Recorded,
    Resize,
    Server,
    Session,
    SessionData,
    SessionEnd,
    SessionStart,
)
from teleport_tw.events.sink import EventSink
from teleport_tw.recordings.recorder import Recorder

MAX_EARLY_BYTES = 1 << 20
"""Kept while the recording is being opened."""


@frozen(kw_only=True)
class Facts:
    """
    What every event of a session tells: who, over what, where, in which session.
    """

    actor: Actor
    connection: Connection
    server: Server
    session: Session

    @property
    def common(self) -> dict[str, Any]:
        """
        As the event classes take them.
        """
        return {
            "actor": self.actor,
            "connection": self.connection,
            "server": self.server,
            "session": self.session,
        }


class Storage(Protocol):
    """
    The part of L{teleport_tw.api.contract.Audit} that takes recordings.
    """

    async def put_recording(self, session: str, part: int, data: bytes) -> None:
        """
        One part.
        """
        ...

    async def complete_recording(self, session: str, parts: int) -> None:
        """
        All parts are there.
        """
        ...


SETTLE_SECONDS = 5.0
"""How long a service that stops waits for recordings to be closed."""


@define(eq=False)
class Recordings:
    """
    How a service records.

    @ivar directory: the spool that L{teleport_tw.recordings.upload.Uploader} empties.
    @ivar storage: auth, for the modes that send at once.
    @ivar on_closed: a recording was finished in the spool: C{Uploader.wake}.
    """

    directory: Path
    storage: Storage
    clock: IReactorTime
    threads: Threads
    on_closed: Callable[[], object] = lambda: None

    _ending: set[Deferred[Any]] = field(factory=set, init=False)

    def ends(self, done: Deferred[Any]) -> None:
        """
        @param done: fires when a session's end has been told.
        """
        self._ending.add(done)

        def over(result: Any) -> Any:
            self._ending.discard(done)
            return result

        done.addBoth(over)

    async def settled(self) -> None:
        """
        Wait for the sessions that are ending, some seconds at the most, so that what is stopped next hears of them.
        """
        stop = self.clock.seconds() + SETTLE_SECONDS
        while self._ending and self.clock.seconds() < stop:
            await deferLater(self.clock, 0.02, lambda: None)

    def open(
        self, session: str, metadata: dict[str, Any], mode: str, on_failure: Callable[[str], None]
    ) -> Awaitable[Recorder]:
        """
        @param mode: C{node}, C{proxy}, or one of these with C{-sync}.
        @return: a recorder that has written its beginning.
        """
        if mode.endswith("-sync"):
            return Recorder.stream(
                session,
                metadata,
                put_part=self.storage.put_recording,
                complete=self.storage.complete_recording,
                clock=self.clock,
                threads=self.threads,
                mode=mode,
                on_failure=on_failure,
            )
        return Recorder.open(
            session,
            metadata,
            self.directory,
            clock=self.clock,
            threads=self.threads,
            mode=mode,
            on_failure=on_failure,
        )


@define(eq=False)
class SessionCapture:
    """
    One session's.

    @ivar mode: where the cluster records: C{node}, C{node-sync}, C{proxy}, C{proxy-sync}, C{off}.
    @ivar recorded: whether this session is recorded here; one without a terminal is not, its events are enough.
    @ivar told: whether this side tells the audit log of the session; where the proxy records, it does.
    @ivar strict: a session that cannot be recorded does not go on.
    @ivar on_failure: told why, once, when a strict session must end.
    @ivar reason: why the session is held, by its owner.
    @ivar invited: whom the owner asks to join.
    """

    facts: Facts
    sink: EventSink
    recordings: Recordings
    mode: str
    recorded: bool
    told: bool = True
    strict: bool = False
    on_failure: Callable[[str], object] = field(default=lambda reason: None)
    initial_command: tuple[str, ...] = ()
    interactive: bool = True
    reason: str = ""
    invited: tuple[str, ...] = ()
    sent_bytes: int = field(default=0, init=False)
    received_bytes: int = field(default=0, init=False)
    _recorder: Recorder | None = field(default=None, init=False)
    _opening: bool = field(default=False, init=False)
    _early: list[bytes | tuple[int, int]] = field(factory=list, init=False)
    _early_bytes: int = field(default=0, init=False)
    _started_at: float = field(default=0.0, init=False)
    _ended: bool = field(default=False, init=False)
    _begun: bool = field(default=False, init=False)
    _participants: list[str] = field(factory=list, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    async def begin(self, size: tuple[int, int] | None = None, term: str = "") -> None:
        """
        The session starts.

        @param size: of the terminal, in characters.
        @raise TeleportError: it must be recorded and cannot be.
        """
        clock = self.recordings.clock
        self._started_at = clock.seconds()
        self._begun = True
        self._participants.append(self.facts.actor.user)
        shown = f"{size[0]}:{size[1]}" if size else ""
        if self.recorded:
            self._opening = True
            opening = self._open(self._metadata(shown, term))
            if self.strict:
                await opening
            else:
                self._tasks.spawn("opening a recording", opening)
        self._tell(
            SessionStart(
                **self.facts.common,
                size=shown,
                session_recording=self.mode,
                initial_command=self.initial_command,
                reason=self.reason,
                invited=self.invited,
            )
        )

    def _metadata(self, size: str, term: str) -> dict[str, Any]:
        actor, server = self.facts.actor, self.facts.server
        metadata = {
            "sid": self.facts.session.id,
            "user": actor.user,
            "login": actor.login,
            "server_id": server.id,
            "server_hostname": server.hostname,
            "addr.remote": self.facts.connection.remote,
            "proto": self.facts.connection.protocol,
            "time": format_time(from_timestamp(self._started_at)),
            "size": size,
            "term": term,
            "initial_command": list(self.initial_command),
        }
        return {key: value for key, value in metadata.items() if value}

    async def _open(self, metadata: dict[str, Any]) -> None:
        try:
            recorder = await self.recordings.open(self.facts.session.id, metadata, self.mode, self._failed)
        except (OSError, TeleportError) as error:
            self._log.error("a session cannot be recorded: {error}", error=str(error), sid=self.facts.session.id)
            if self.strict:
                raise TeleportError(
                    Kind.INTERNAL, "this session must be recorded and cannot be", details=str(error)
                ) from error
            return
        finally:
            self._opening = False
        for item in self._early:
            if isinstance(item, bytes):
                recorder.print(item)
            else:
                recorder.resize(*item)
        self._early.clear()
        self._recorder = recorder

    def output(self, data: bytes) -> None:
        """
        The user was sent C{data}.
        """
        self.sent_bytes += len(data)
        if self._recorder is not None:
            self._recorder.print(data)
        elif self._opening:
            self._early_bytes += len(data)
            if self._early_bytes <= MAX_EARLY_BYTES:
                self._early.append(data)

    def input(self, size: int) -> None:
        """
        The user sent C{size} bytes; what they were is not kept.
        """
        self.received_bytes += size

    def resize(self, width: int, height: int) -> None:
        """
        The terminal has a new size, in characters.
        """
        if not self._begun or self._ended:
            return
        if self._recorder is not None:
            self._recorder.resize(width, height)
        elif self._opening:
            self._early.append((width, height))
        self._tell(Resize(**self.facts.common, size=f"{width}:{height}"))

    def joined(self, user: str) -> None:
        """
        Somebody else takes part.
        """
        if user not in self._participants:
            self._participants.append(user)

    def end(self) -> None:
        """
        The session is over; says so once its recording is closed.
        """
        if self._begun and not self._ended:
            self._ended = True
            self.recordings.ends(self._tasks.spawn("ending a session's capture", self._end()))

    async def _end(self) -> None:
        stopped_at = self.recordings.clock.seconds()
        recorded = Recorded(mode=self.mode)
        if self._recorder is not None:
            recorded = await self._recorder.close()
            self.recordings.on_closed()
        common = self.facts.common
        self._tell(SessionData(**common, tx=self.sent_bytes, rx=self.received_bytes))
        self._tell(
            SessionEnd(
                **common,
                started=from_timestamp(self._started_at),
                stopped=from_timestamp(stopped_at),
                participants=tuple(self._participants),
                interactive=self.interactive,
                recorded=recorded,
                initial_command=self.initial_command,
            )
        )

    def _tell(self, event: Event) -> None:
        if self.told:
            self.sink.emit(event)

    def _failed(self, reason: str) -> None:
        if self.strict:
            self.on_failure(reason)
