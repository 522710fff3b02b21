"""
The database agent: the Twisted Service that serves databases to users of the cluster, by streams of the tunnel.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.agents.db.admit import DatabaseAdmission
from teleport_tw.agents.db.flow import Commons, Engine, Session
from teleport_tw.agents.db.passwords import Passwords
from teleport_tw.agents.db.policy import Policy
from teleport_tw.agents.db.target import Certifier, Targets
from teleport_tw.agents.db.users import Provisioner, Users
from teleport_tw.agents.tracking import Trackers
from teleport_tw.api.contract import Presence
from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import Duration
from teleport_tw.dial.lifetime import Ending, Lifetimes
from teleport_tw.dial.membership import HostIdentity
from teleport_tw.dial.view import Copy, View
from teleport_tw.events.sink import EventSink
from teleport_tw.recordings.capture import Recordings
from teleport_tw.resources.databases import Database
from teleport_tw.tunnel.stream import Stream

TARGET_KIND = "db"

CLEAN_UP_SECONDS = 30.0
"""Between two looks for automatic users whose database was away when they were to go."""
DRAIN_TIMEOUT = Duration(seconds=30)
"""How long sessions may take to end when the service stops."""


class DatabaseAgentService(Service):
    """
    See the module.

    @ivar commons: what all sessions share.
    @ivar engines: by protocol.
    @ivar databases: what is served now; see L{serve}.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        threads: Threads,
        identity: HostIdentity,
        copy: Copy,
        leases: Presence,
        sink: EventSink,
        recordings: Recordings,
        certifier: Certifier,
        engines: Mapping[str, Engine],
        provisioners: Mapping[str, Callable[[Targets], Provisioner]],
        directory: Path,
        policy: Policy | None = None,
        passwords: Passwords | None = None,
        drain_timeout: Duration = DRAIN_TIMEOUT,
    ) -> None:
        """
        @param copy: L{teleport_tw.api.mirror.Mirror} of at least L{teleport_tw.dial.view.KINDS}, started elsewhere.
        @param leases: counts connections, and hears which sessions run.
        @param certifier: auth, which gives certificates of C{db_client}.
        @param engines: L{teleport_tw.agents.db.engines.engines} and nothing less, but for tests.
        @param provisioners: L{teleport_tw.agents.db.engines.PROVISIONERS}.
        @param directory: where automatic users are noted.
        @param passwords: that this host has.
        """
        view = View(copy, identity.cluster)
        targets = Targets(reactor, threads, view, certifier, passwords=passwords or Passwords())
        users = Users(reactor, threads, directory, {name: make(targets) for name, make in provisioners.items()})
        self.commons = Commons(
            host_id=identity.host_id,
            reactor=reactor,
            threads=threads,
            view=view,
            admission=DatabaseAdmission(view, reactor, identity.host_id),
            lifetimes=Lifetimes(reactor, view, leases, identity.host_id),
            recordings=recordings,
            sink=sink,
            targets=targets,
            users=users,
            trackers=Trackers(leases, reactor),
            policy=policy or Policy(),
        )
        self.engines = engines
        self.databases: Mapping[str, Database] = {}
        self.draining = False
        self.drain_timeout = drain_timeout

    def serve(self, databases: Mapping[str, Database]) -> None:
        """
        @param databases: what is served from now on, by name; open sessions of others go on.
        """
        for name, database in self.databases.items():
            if databases.get(name) != database:
                self.commons.targets.forget(name)
        new = {name: database for name, database in databases.items() if name not in self.databases}
        self.databases = dict(databases)
        if new and self.running:
            self.commons.tasks.spawn("cleaning up database users", self.commons.users.clean_up(new))

    def renewed(self, identity: HostIdentity) -> None:
        """
        Nothing here shows the host's own certificate.
        """

    async def acceptor(self, header: StreamHeader, stream: Stream) -> IProtocol:
        """
        Take a stream of the tunnel; see L{teleport_tw.tunnel.endpoints.Acceptor}.

        @raise TeleportError: NOT_FOUND, it is not for us; ACCESS_DENIED, the certificate is not good for it;
            CONNECTION_PROBLEM, we are going down.
        """
        if header.target_kind != TARGET_KIND:
            raise TeleportError(Kind.NOT_FOUND, f"this agent serves no targets of kind {header.target_kind!r}")
        if self.draining or not self.running:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "this database agent is going down")
        return self.protocol(header)

    def protocol(self, header: StreamHeader) -> IProtocol:
        """
        @return: what speaks to one user.
        @raise TeleportError: as L{acceptor}.
        """
        database = self.databases.get(header.target_name)
        if database is None:
            raise not_found(f"database {header.target_name!r} is not served here")
        engine = self.engines.get(database.protocol)
        if engine is None:
            raise TeleportError(Kind.NOT_IMPLEMENTED, f"protocol {database.protocol!r} is not served by this agent")
        caller = self.commons.admission.identify(header, database)
        session = Session(self.commons, caller, header, _session_id(header.session_id))
        session.protocol = engine.serve(session)
        return session.protocol

    def startService(self) -> None:
        """
        Be ready for users.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self.draining = False
        self.commons.lifetimes.startService()
        self.commons.tasks.spawn("telling of long statements", self._look())
        self.commons.tasks.spawn("cleaning up database users", self._clean_up())

    async def _clean_up(self) -> None:
        await deferLater(self.commons.reactor, 0, lambda: None)  # whoever started us says what is served
        while True:
            await self.commons.users.clean_up(self.databases)
            await deferLater(self.commons.reactor, CLEAN_UP_SECONDS, lambda: None)

    async def _look(self) -> None:
        while True:
            await deferLater(self.commons.reactor, 1.0, lambda: None)
            self.commons.look()

    def drain(self) -> Deferred[None]:
        """
        Take no more sessions.

        @return: fires when the last has ended.
        """
        self.draining = True
        idle: Deferred[None] = Deferred()
        if not self.commons.sessions:
            idle.callback(None)
        else:
            self.commons.on_idle = lambda: None if idle.called else idle.callback(None)
        return idle

    def stopService(self) -> Deferred[None]:
        """
        Let sessions end, for C{drain_timeout} at most; those left then are told and disconnected.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        commons = self.commons
        idle = self.drain()
        call = commons.reactor.callLater(
            self.drain_timeout.total_seconds(),
            commons.lifetimes.end_all,
            Ending("the server is going down", "disconnected: the database agent is going down"),
        )
        await idle
        if call.active():
            call.cancel()
        commons.lifetimes.stopService()
        await commons.recordings.settled()
        await commons.trackers.stop()
        commons.tasks.cancel()


def _session_id(text: str) -> str:
    """
    @return: the proxy's id where it is a UUID, which file names and events are made of; else one of our own.
    """
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return str(uuid.uuid4())
