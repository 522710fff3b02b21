"""
The order that every database session keeps, whatever its protocol.

Identify (before the protocol is made), authorize and open the recording (L{Session.begin}), dial (L{Session.dial}),
say that it stands (L{Session.started}), relay and tell of statements (L{Session.telling}), end
(L{Session.end}). A protocol only words the messages: whatever is raised here is a L{TeleportError} that it shows to
its client as an error of its own kind. It sets L{Session.ending}, which says goodbye in its own words when a lock,
idleness or the certificate's end closes the session.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IProtocol, IReactorTime
from twisted.logger import Logger

from teleport_tw.access.options import MergedOptions
from teleport_tw.agents.db.admit import AuthorizedDatabase, Caller, DatabaseAdmission, Permit
from teleport_tw.agents.db.policy import Policy
from teleport_tw.agents.db.target import Targets
from teleport_tw.agents.db.telling import Telling
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
    Connection,
    DatabaseSessionEnd,
    DatabaseSessionStart,
    DatabaseTarget,
    Recorded,
)
from teleport_tw.events.kinds import Session as SessionFacts
from teleport_tw.events.sink import EventSink
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
            session.telling.look(before)


@define(eq=False)
class Session:
    """
    One user's; made by the acceptor, which has verified the certificate.

    @ivar id: in events and recordings.
    @ivar ending: called once when we end the session: say goodbye as the protocol does, and close.
    @ivar telling: takes what the audit log is to know; a protocol with a command that changes the logical database says
        so to it.
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
    permit: Permit | None = field(default=None, init=False)
    protocol: IProtocol | None = field(default=None, init=False)
    touch: Callable[[], object] = field(default=lambda: None, init=False)
    transcript: Transcript = field(init=False)
    telling: Telling = field(init=False)
    tasks: Tasks = field(factory=Tasks, init=False)
    startup: Mapping[str, str] = field(factory=dict, init=False)
    _agent: str = field(default="", init=False)
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
        facts = {
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
        commons = self.commons
        self.telling = Telling(self.id, facts, commons.reactor, commons.policy, commons.sink, self.transcript)

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
        self.telling.know(user=user, name=name)
        try:
            permit = self.commons.admission.admit(self.caller, user, name)
            if permit.grants is not None:
                self.telling.know(roles=permit.grants.roles)
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
        self.telling.emit(self._start(**facts))
        self._track()
        target = self.telling.target
        self.transcript.note(
            f"{self.identity.username} is connected to {self.database.name}"
            f"{f', database {target.name}' if target.name else ''} as {target.user}"
        )

    def _track(self) -> None:
        user, account = self.identity.username, self.telling.target.user
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
            self.telling.emit(self._start(success=False, error=str(error), message=str(error)))
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

    # --- inside --------------------------------------------------------------------------------------------------

    def _start(self, **facts: Any) -> DatabaseSessionStart:
        return DatabaseSessionStart(
            **self.telling.facts,
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
            self.telling.emit(self._failure(error))

    def _failure(self, error: TeleportError | str) -> DatabaseSessionStart:
        if isinstance(error, str):
            return self._start(success=False, error=error or self._reason or "the client left", message=error)
        return self._start(success=False, error=error.details or error.message, message=error.message)

    async def _record(self) -> None:
        mode = self.commons.view.recording().mode
        if mode == "off":
            return
        self._mode = mode
        target = self.telling.target
        metadata = {
            "sid": self.id,
            "user": self.identity.username,
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
        for running in tuple(self.telling.running):
            self.telling.result(running, error="the session ended before the statement did", ended=True)
        if not self._stands:
            self.telling.emit(self._failure(error))
            self.transcript.note(f"refused: {error}")
        elif self._reason:
            self.transcript.note(f"ended: {self._reason}")
        recorded: Recorded | None = None
        if self._recorder is not None:
            self.transcript.flush()
            recorded = await self._recorder.close()
            self.commons.recordings.on_closed()
        if self._stands:
            self.telling.emit(
                DatabaseSessionEnd(
                    **self.telling.facts,
                    connection=self._connection(),
                    started=from_timestamp(self._started_at),
                    stopped=from_timestamp(self.clock.seconds()),
                    reason=self._reason,
                    queries=self.telling.queries,
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


__all__ = ["AuthorizedDatabase", "Commons", "Engine", "Permit", "Session"]
