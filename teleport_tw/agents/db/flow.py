"""
The order that every database session keeps, whatever its protocol.

Identify (before the protocol is made), authorize and open the recording (L{Session.begin}), dial (L{Session.dial}),
say that it stands (L{Session.started}), relay and tell of statements (L{Session.query}, L{Session.result}), end
(L{Session.end}). A protocol only words the messages: whatever is raised here is a L{TeleportError} that it shows to
its client as an error of its own kind. It sets L{Session.ending}, which says goodbye in its own words when a lock,
idleness or the certificate's end closes the session.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from attrs import define, evolve, field
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.logger import Logger

from teleport_tw.access.options import MergedOptions
from teleport_tw.agents.db.admit import AuthorizedDatabase, Caller, DatabaseAdmission, Permit
from teleport_tw.agents.db.policy import MAX_QUERY, Policy
from teleport_tw.agents.db.target import Targets
from teleport_tw.agents.db.transcript import Transcript
from teleport_tw.agents.db.users import Provisioned, Users
from teleport_tw.agents.tracking import Trackers
from teleport_tw.api.streams import StreamHeader
from teleport_tw.audit.actor import actor_of
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.held import Held
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import Duration, format_time, from_timestamp
from teleport_tw.dial.lifetime import Ending, Lease, Life, Lifetimes
from teleport_tw.dial.view import View
from teleport_tw.events.kinds import (
    Actor,
    Connection,
    DatabaseQuery,
    DatabaseQueryFailed,
    DatabaseResult,
    DatabaseSessionEnd,
    DatabaseSessionStart,
    DatabaseTarget,
    Event,
    Fact,
    Recorded,
)
from teleport_tw.events.kinds import Session as SessionFacts
from teleport_tw.events.sink import EventSink
from teleport_tw.events.worded import worded, words_of
from teleport_tw.pki.identity import Identity, RouteToDatabase
from teleport_tw.recordings.capture import Recordings
from teleport_tw.recordings.recorder import Recorder
from teleport_tw.resources.databases import Database
from teleport_tw.resources.roles_options import Strictness
from teleport_tw.resources.sessions import Participant
from teleport_tw.resources.sessions import Session as Tracked

LISTED_SECONDS = 2.0
"""A session that lasts so long is listed with those that go on; programs open many that are over before."""
GRACE_SECONDS = 1.0
"""From the protocol's goodbye to the connection's end; a lock promises two seconds, and is noticed within one."""
LONG_SECONDS = 1.0
"""A statement that runs longer is told of before its end."""
LEASE_TTL = Duration(minutes=5)


class Engine(Protocol):
    """
    One database protocol; L{teleport_tw.agents.db.service} has them by name.
    """

    def serve(self, session: Session) -> IProtocol:
        """
        @return: what speaks to the user, over the stream.
        """
        ...


@define(eq=False)
class Commons:
    """
    What all sessions of an agent share.

    @ivar host_id: the agent's.
    """

    host_id: str
    reactor: IReactorTime
    threads: Threads
    view: View
    admission: DatabaseAdmission
    lifetimes: Lifetimes
    recordings: Recordings
    sink: EventSink
    targets: Targets
    users: Users
    trackers: Trackers
    policy: Policy = field(factory=Policy)
    tasks: Tasks = field(factory=Tasks)
    sessions: set[Session] = field(factory=set, init=False)
    on_idle: Callable[[], object] = field(default=lambda: None, init=False)

    def look(self) -> None:
        """
        Once a second: statements that take long are told of.
        """
        before = self.reactor.seconds() - LONG_SECONDS
        for session in tuple(self.sessions):
            session.look(before)


@define(eq=False)
class Running:
    """
    A statement that was sent to the database.

    @ivar length: of the whole text, where it was cut.
    @ivar at: seconds of the clock.
    @ivar told: an event was sent already.
    @ivar event: what to tell at the end in place of L{DatabaseQuery}: takes outcome facts as keywords.
    """

    text: str
    parameters: tuple[str | None, ...]
    length: int | None
    at: float
    event: Callable[..., Event] | None = None
    told: bool = False


@define(eq=False)
class Session:
    """
    One user's; made by the acceptor, which has verified the certificate.

    @ivar id: in events and recordings.
    @ivar ending: called once when we end the session: say goodbye as the protocol does, and close.
    @ivar name: the logical database now; a protocol with a command that changes it sets it.
    @ivar sent: bytes to the user; the protocol counts.
    @ivar received: bytes from the user.
    @ivar startup: settings that the client asked for when it connected.
    """

    commons: Commons
    caller: Caller
    header: StreamHeader
    id: str = field(factory=lambda: str(uuid.uuid4()))
    ending: Callable[[Ending], object] = field(default=lambda ending: None)
    sent: int = field(default=0, init=False)
    received: int = field(default=0, init=False)
    queries: int = field(default=0, init=False)
    permit: Permit | None = field(default=None, init=False)
    protocol: IProtocol | None = field(default=None, init=False)
    touch: Callable[[], object] = field(default=lambda: None, init=False)
    transcript: Transcript = field(init=False)
    tasks: Tasks = field(factory=Tasks, init=False)
    startup: Mapping[str, str] = field(factory=dict, init=False)
    _agent: str = field(default="", init=False)
    _facts: dict[str, Any] = field(init=False)
    _words: str = field(default="", init=False)
    _worded_of: object = field(default=None, init=False)
    _running: list[Running] = field(factory=list, init=False)
    _life: Life | None = field(default=None, init=False)
    _lease: Lease | None = field(default=None, init=False)
    _recorder: Recorder | None = field(default=None, init=False)
    _provisioned: Provisioned | None = field(default=None, init=False)
    _killer: IDelayedCall | None = field(default=None, init=False)
    _reason: str = field(default="", init=False)
    _mode: str = field(default="off", init=False)
    _started_at: float = field(default=0.0, init=False)
    _began: bool = field(default=False, init=False)
    _stands: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self.transcript = Transcript(self.commons.reactor)
        database = self.caller.database
        self._facts = {
            "actor": actor_of(self.caller.identity),
            "session": SessionFacts(id=self.id, with_mfa=self.caller.identity.mfa_device),
            "database": DatabaseTarget(
                service=database.name,
                protocol=database.protocol,
                uri=database.uri,
                name=self.caller.route.database,
                user=self.caller.route.username,
                labels=database.all_labels,
                type="rds" if database.aws.iam else "gcp" if database.gcp.instance_id else "self-hosted",
            ),
        }

    # --- who and where -------------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """
        Who.
        """
        return self.caller.identity

    @property
    def database(self) -> Database:
        """
        Where.
        """
        return self.caller.database

    @property
    def route(self) -> RouteToDatabase:
        """
        What the certificate was made for.
        """
        return self.caller.route

    @property
    def options(self) -> MergedOptions:
        """
        What the user's roles say together.
        """
        return self.caller.checker.options

    @property
    def clock(self) -> IReactorTime:
        """
        The agent's.
        """
        return self.commons.reactor

    @property
    def facts(self) -> dict[str, Any]:
        """
        C{actor}, C{session} and C{database}, as every event of the session takes them.
        """
        return self._facts

    @property
    def name(self) -> str:
        """
        The logical database that the user is in.
        """
        target: DatabaseTarget = self._facts["database"]
        return target.name

    @name.setter
    def name(self, name: str) -> None:
        self._facts = {**self._facts, "database": evolve(self._facts["database"], name=name)}

    # --- in this order -------------------------------------------------------------------------------------------

    async def begin(self, *, user: str, name: str = "", agent: str = "") -> Permit:
        """
        Authorize, count the connection, open the recording.

        @param user: of the database, as the client says.
        @param name: of the logical database, as the client says or the server would fill it in.
        @param agent: what the client program calls itself.
        @return: needed by all that follows.
        @raise TeleportError: no; the refusal is in the audit log already, show it to the client and close.
        """
        self._agent = agent
        target: DatabaseTarget = self._facts["database"]
        self._facts = {**self._facts, "database": evolve(target, user=user, name=name)}
        try:
            permit = self.commons.admission.admit(self.caller, user, name)
            if permit.grants is not None:
                target = self._facts["database"]
                self._facts = {**self._facts, "database": evolve(target, roles=permit.grants.roles)}
            limit = self.options.max_connections
            if limit:
                self._lease = await self.commons.lifetimes.lease(self.identity.username, limit, LEASE_TTL)
                self._lease.on_lost = self.finish
            self._life = self.commons.lifetimes.begin(self.caller.terms, self.finish)
            self.touch = self._life.touch
            self.permit = permit
            self._began = True
            self._started_at = self.clock.seconds()
            self.commons.sessions.add(self)
            await self._record()
        except TeleportError as error:
            self._refused(error)
            raise
        return permit

    async def dial(self, permit: Permit) -> Held:
        """
        Reach the target by TCP and TLS, as the permit's user; an automatic user is made before.

        @return: holds the transport; what is read from it waits.
        @raise TeleportError: CONNECTION_PROBLEM and others; call L{end} with it.
        """
        await self.prepare(permit)
        return await self.commons.targets.connect(permit.database, permit.user)

    async def dial_plain(self, permit: Permit) -> Held:
        """
        As L{dial}, for protocols that begin TLS later: go on with L{secure}.
        """
        await self.prepare(permit)
        return await self.commons.targets.connect_plain(permit.database)

    async def secure(self, permit: Permit, plain: Any, pending: bytes = b"") -> Held:
        """
        @param plain: the transport of L{dial_plain}; spent by this.
        @param pending: what the server sent behind its agreement, which must be nothing.
        @raise TeleportError: CONNECTION_PROBLEM.
        """
        return await self.commons.targets.secure(permit.database, permit.user, plain, pending)

    async def password(self, permit: Permit) -> Secret[bytes] | None:
        """
        @return: see L{Targets.password}; C{None} for an automatic user, whose name may be that of another's password.
        @raise TeleportError: there is one that cannot be used.
        """
        if permit.grants is not None:
            return None
        return await self.commons.targets.password(permit.database, permit.user)

    async def prepare(self, permit: Permit) -> None:
        """
        Make the automatic user, where the session has one.

        @raise TeleportError: it cannot be made.
        """
        if permit.grants is not None and self._provisioned is None:
            self._provisioned = await self.commons.users.activate(self, permit)

    def started(self, **facts: Any) -> None:
        """
        The target took us, and the client hears that it is connected.

        @param facts: further fields of L{DatabaseSessionStart}, such as C{postgres_pid}.
        """
        self._stands = True
        self.emit(self._start(**facts))
        self._track()
        self.transcript.note(
            f"{self.identity.username} is connected to {self.database.name}"
            f"{f', database {self.name}' if self.name else ''} as {self._facts['database'].user}"
        )

    def _track(self) -> None:
        user, account = self.identity.username, self._facts["database"].user
        self.commons.trackers.begin(
            Tracked(
                name=self.id,
                session_kind="db",
                hostname=self.database.name,
                address=self.commons.host_id,
                cluster=self.commons.view.cluster,
                login=account,
                host_user=user,
                participants=(Participant(id=self.id, user=user),),
                created=from_timestamp(self._started_at),
            ),
            LISTED_SECONDS,
        )

    def end(self, error: TeleportError | str = "") -> None:
        """
        The session is over; may be called any number of times, and before it began.

        @param error: why it failed, for a session that never stood.
        """
        if self._over or not self._began:
            return
        self._over = True
        self.commons.sessions.discard(self)
        self.commons.recordings.ends(self.commons.tasks.spawn("ending a database session", self._end(error)))

    def refuse_opening(self, error: Exception) -> None:
        """
        The client's very first words cannot be served: it is refused before L{begin}, and the audit log knows.
        """
        if not self._began:
            self.emit(self._start(success=False, error=str(error), message=str(error)))
        else:
            self.end(str(error))

    def finish(self, ending: Ending) -> None:
        """
        End it from our side.
        """
        if self._over or self._reason:
            return
        self._reason = ending.reason
        self._killer = self.clock.callLater(GRACE_SECONDS, self._kill)
        try:
            self.ending(ending)
        except Exception:
            self._log.failure("a database session could not say goodbye")
            self._kill()

    # --- what is told --------------------------------------------------------------------------------------------

    def emit(self, event: Event) -> None:
        """
        Tell the audit log.
        """
        self.commons.sink.emit(event)

    def tell(self, kind: type[Fact], **own: Any) -> None:
        """
        Tell the audit log of something that happens often: faster than L{emit}, and just the same.

        @param kind: of event, one that has the session's facts.
        @param own: further fields of it, of plain JSON types.
        """
        self.commons.sink.emit(self.worded(kind, own))

    def worded(self, kind: type[Fact], own: Mapping[str, Any]) -> Event:
        """
        @return: the event that L{tell} tells.
        """
        if self._worded_of is not self._facts:
            self._worded_of = self._facts
            self._words = words_of(self._facts.values())
        return worded(kind)(self._words, self.id, own)

    def query(
        self,
        text: str,
        parameters: tuple[str | None, ...] = (),
        *,
        event: Callable[..., Event] | None = None,
        length: int | None = None,
    ) -> Running:
        """
        A statement goes to the database. Have L{result} follow; statements may overlap.

        @param text: cut here where it is too long to keep.
        @param parameters: as text, binary ones as base64, C{None} for NULL; the policy decides what is kept of them.
        @param event: what to tell in place of L{DatabaseQuery}: is called with C{error}, C{success}, C{duration_ms},
            C{affected}.
        @param length: of the whole text, where the caller has cut it already.
        """
        self.queries += 1
        text, length = self.cut(text, length)
        if parameters:
            parameters = self.kept(parameters)
        running = Running(text, parameters, length, self.commons.reactor.seconds(), event)
        self._running.append(running)
        if self._recorder is not None:
            self.transcript.statement(self.name, text)
            if parameters:
                self.transcript.note(
                    "parameters: " + ", ".join("NULL" if each is None else each for each in parameters)
                )
        return running

    def cut(self, text: str, length: int | None = None) -> tuple[str, int | None]:
        """
        @param length: of the whole text, where the caller has cut it already.
        @return: what is kept of a statement, with a mark where it was cut, and then its whole length.
        """
        if length is None and len(text) <= MAX_QUERY:
            return text, None
        return f"{text[:MAX_QUERY]}… [truncated]", length or len(text)

    def kept(self, parameters: tuple[str | None, ...]) -> tuple[str | None, ...]:
        """
        @return: what the policy keeps of parameters.
        """
        return self.commons.policy.kept(parameters)

    def result(
        self, running: Running, *, affected: int | None = None, error: str = "", message: str = "", ended: bool = True
    ) -> None:
        """
        A statement has ended.

        @param affected: rows, as far as they can be known.
        @param error: the database's, with its code.
        @param message: what the database says of success, for the transcript.
        @param ended: false where its end cannot be known.
        """
        took = round((self.commons.reactor.seconds() - running.at) * 1000, 3) if ended else None
        try:
            self._running.remove(running)
        except ValueError:
            return
        if running.told:
            self.emit(
                DatabaseResult(
                    **self._facts,
                    success=not error,
                    error=error,
                    affected=affected,
                    user_message=message,
                    duration_ms=took,
                    query=running.text[:256],
                )
            )
        else:
            self._tell(running, affected, error, took)
        if self._recorder is not None:
            self.transcript.outcome(message or "done", error, took)

    def refused(self, text: str, error: TeleportError, parameters: tuple[str | None, ...] = ()) -> None:
        """
        A statement that we did not let through.
        """
        running = self.query(text, parameters)
        self.result(running, error=error.details or error.message, ended=False)

    def look(self, before: float) -> None:
        """
        Tell of statements that run since before C{before}.
        """
        for running in self._running:
            if not running.told and running.at <= before:
                running.told = True
                self._tell(running, None, "", None)

    # --- inside --------------------------------------------------------------------------------------------------

    def _tell(self, running: Running, affected: int | None, error: str, took: float | None) -> None:
        if running.event is not None:
            self.emit(running.event(success=not error, error=error, duration_ms=took, affected=affected))
            return
        self.tell(
            DatabaseQueryFailed if error else DatabaseQuery,
            success=not error,
            query=running.text,
            parameters=running.parameters,
            length=running.length,
            error=error,
            duration_ms=took,
            affected=affected,
        )

    def _start(self, **facts: Any) -> DatabaseSessionStart:
        return DatabaseSessionStart(
            **self._facts,
            connection=self._connection(),
            server=self.commons.host_id,
            agent=self._agent,
            session_recording=self._mode,
            **facts,
        )

    def _connection(self) -> Connection:
        return Connection(remote=self.header.client_address, protocol="db")

    def _refused(self, error: TeleportError) -> None:
        self._log.info(
            "{user} was refused database {database}: {reason}",
            user=self.identity.username,
            database=self.database.name,
            reason=error.details or error.message,
        )
        if self._began:
            self.end(error)
        else:
            self._let_go()
            self.emit(self._failure(error))

    def _failure(self, error: TeleportError | str) -> DatabaseSessionStart:
        if isinstance(error, str):
            return self._start(success=False, error=error or self._reason or "the client left", message=error)
        return self._start(success=False, error=error.details or error.message, message=error.message)

    async def _record(self) -> None:
        mode = self.commons.view.recording().mode
        if mode == "off":
            return
        self._mode = mode
        actor: Actor = self._facts["actor"]
        target: DatabaseTarget = self._facts["database"]
        metadata = {
            "sid": self.id,
            "user": actor.user,
            "proto": "db",
            "server_id": self.commons.host_id,
            "db_service": target.service,
            "db_protocol": target.protocol,
            "db_name": target.name,
            "db_user": target.user,
            "addr.remote": self.header.client_address,
            "time": format_time(from_timestamp(self._started_at)),
            "size": "120:40",
        }
        strict = self.options.record_default is Strictness.STRICT
        failed = self._unrecorded if strict else lambda reason: None
        opening = self.commons.recordings.open(self.id, {k: v for k, v in metadata.items() if v}, mode, failed)
        try:
            self._recorder = await opening
        except (OSError, TeleportError) as error:
            self._log.error("a session cannot be recorded: {error}", error=str(error), sid=self.id)
            if strict:
                raise TeleportError(
                    Kind.INTERNAL, "this session must be recorded and cannot be", details=str(error)
                ) from error
            return
        self.transcript.begin(self._recorder)

    def _unrecorded(self, reason: str) -> None:
        text = "the session must be recorded and cannot be any more"
        self.finish(Ending(f"{text}: {reason}", f"disconnected: {text}"))

    def _kill(self) -> None:
        transport: Any = getattr(self.protocol, "transport", None)
        if not self._over and transport is not None:
            transport.abortConnection()

    def _let_go(self) -> None:
        if self._killer is not None and self._killer.active():
            self._killer.cancel()
        if self._life is not None:
            self._life.close()
        if self._lease is not None:
            self._lease.release()
        self.touch = lambda: None

    async def _end(self, error: TeleportError | str) -> None:
        self._let_go()
        self.commons.trackers.end(self.id)
        for running in tuple(self._running):
            self.result(running, error="the session ended before the statement did", ended=True)
        if not self._stands:
            self.emit(self._failure(error))
            self.transcript.note(f"refused: {error}")
        elif self._reason:
            self.transcript.note(f"ended: {self._reason}")
        recorded: Recorded | None = None
        if self._recorder is not None:
            self.transcript.flush()
            recorded = await self._recorder.close()
            self.commons.recordings.on_closed()
        if self._stands:
            self.emit(
                DatabaseSessionEnd(
                    **self._facts,
                    connection=self._connection(),
                    started=from_timestamp(self._started_at),
                    stopped=from_timestamp(self.clock.seconds()),
                    reason=self._reason,
                    queries=self.queries,
                    sent=self.sent,
                    received=self.received,
                    recorded=recorded,
                )
            )
        if self._provisioned is not None:
            await self.commons.users.deactivate(self, self._provisioned)
        self.tasks.cancel()
        if not self.commons.sessions:
            self.commons.on_idle()


__all__ = ["AuthorizedDatabase", "Commons", "Engine", "Permit", "Running", "Session"]
