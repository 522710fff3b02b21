"""
The SSH agent: the Twisted Service that serves this host to users of the cluster.

Connections come as streams of the tunnel, by L{SSHAgentService.acceptor}, or to a port of its own where it is told to
listen. Both are served alike: the SSH server runs here, end to end with the client.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IProtocol, IReactorTime
from twisted.internet.protocol import Factory
from twisted.logger import Logger

from teleport_tw.agents.admit import Admission
from teleport_tw.agents.ssh import agentforward, join, scp, x11
from teleport_tw.agents.ssh.accounts import Accounts
from teleport_tw.agents.ssh.forward import Forwards
from teleport_tw.agents.ssh.hostusers import HostUsers
from teleport_tw.agents.ssh.realm import Host, Realm, Registry
from teleport_tw.agents.ssh.session import open_session
from teleport_tw.agents.ssh.sftp import SFTPTransfer
from teleport_tw.agents.ssh.spawn import Spawner
from teleport_tw.agents.tracking import Trackers
from teleport_tw.api.attendance import Attendance
from teleport_tw.api.contract import Presence
from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.net.endpoints import TCPServer
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import Duration
from teleport_tw.conch.algorithms import Algorithms
from teleport_tw.conch.carrier import Limits
from teleport_tw.conch.signatures import HostKeys
from teleport_tw.conch.transport import ServerFactory, ServerSettings, ServerTransport
from teleport_tw.config.sections import SSHService
from teleport_tw.dial.lifetime import Ending, Lifetimes
from teleport_tw.dial.membership import HostIdentity
from teleport_tw.dial.tapping import Asks, Tapping
from teleport_tw.dial.view import Copy, View
from teleport_tw.events.sink import EventSink
from teleport_tw.protocols.ssh.keys import parse_line
from teleport_tw.recordings.capture import Recordings
from teleport_tw.tunnel.stream import Stream

TARGET_KIND = "node"

DRAIN_TIMEOUT = Duration(seconds=30)
"""How long sessions may take to end when the service stops."""


def default_registry() -> Registry:
    """
    @return: what every agent serves.
    """
    registry = Registry()
    registry.channels["session"] = open_session
    registry.subsystems["sftp"] = SFTPTransfer
    registry.commands.append(scp.intercept)
    Forwards().install(registry)
    agentforward.install(registry)
    x11.install(registry)
    join.install(registry)
    return registry


def host_keys(identity: HostIdentity) -> HostKeys:
    """
    @return: what the SSH server proves itself with.
    """
    blob = parse_line(identity.ssh_certificate.decode("ascii")).blob
    return HostKeys([(identity.ssh_key.native, blob)])


class Leases(Presence, Attendance, Protocol):
    """
    The parts of L{teleport_tw.api.contract.Api} that sessions need.
    """


class SSHAgentService(Service):
    """
    See the module.

    @ivar realm: what all its users share.
    """

    _log: ClassVar[Logger] = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        threads: Threads,
        identity: HostIdentity,
        node_name: str,
        version: str,
        section: SSHService,
        copy: Copy,
        leases: Leases,
        sink: EventSink,
        recordings: Recordings,
        labels: Callable[[], Mapping[str, str]],
        algorithms: Algorithms | None = None,
        proxy_address: str = "",
        listen: bool = False,
        registry: Registry | None = None,
        accounts: Accounts | None = None,
        drain_timeout: Duration = DRAIN_TIMEOUT,
        taps: Asks | None = None,
    ) -> None:
        """
        @param identity: the host's; L{renewed} takes the next.
        @param copy: L{teleport_tw.api.mirror.Mirror} of at least L{teleport_tw.dial.view.KINDS}, started elsewhere.
        @param leases: counts connections, is told which sessions run, and tells who proved to be in them.
        @param labels: the node's static and dynamic labels, at the time of asking.
        @param taps: asks for second factors in the middle of a login; C{None}: who needs one is refused.
        @param listen: whether C{section.listen_addr} is listened on.
        """
        view = View(copy, identity.cluster)
        host_users = None
        if os.geteuid() == 0 and not section.disable_create_host_user:
            host_users = HostUsers(threads, identity.host_id)
        lifetimes = Lifetimes(reactor, view, leases, identity.host_id)
        self.realm = Realm(
            reactor=reactor,
            threads=threads,
            host=Host(
                id=identity.host_id,
                name=node_name,
                cluster=identity.cluster,
                version=version,
                proxy_address=proxy_address,
            ),
            section=section,
            view=view,
            admission=Admission(view, reactor, identity.host_id, labels, joining=True),
            lifetimes=lifetimes,
            recordings=recordings,
            sink=sink,
            spawner=Spawner(reactor),
            registry=registry or default_registry(),
            accounts=accounts or Accounts(),
            host_users=host_users,
            trackers=Trackers(leases, reactor),
            presence=leases,
            tapping=Tapping(taps),
        )
        self.drain_timeout = drain_timeout
        self.port: IListeningPort | None = None
        self._listen = listen
        self._host_keys = host_keys(identity)
        self._algorithms = algorithms or Algorithms()

    def renewed(self, identity: HostIdentity) -> None:
        """
        New connections see the host's new certificate; for L{teleport_tw.dial.membership.Membership.subscribe}.
        """
        self._host_keys = host_keys(identity)

    async def acceptor(self, header: StreamHeader, stream: Stream) -> IProtocol:
        """
        Take a stream of the tunnel; see L{teleport_tw.tunnel.endpoints.Acceptor}. What the header says of the user
        counts for nothing: the user's certificate comes by SSH.

        @raise TeleportError: NOT_FOUND, it is not for us; CONNECTION_PROBLEM, we are going down.
        """
        if header.target_kind != TARGET_KIND:
            raise TeleportError(Kind.NOT_FOUND, f"this agent serves no targets of kind {header.target_kind!r}")
        if self.realm.draining or not self.running:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"{self.realm.host.name} is going down")
        return self.protocol()

    def protocol(self) -> ServerTransport:
        """
        @return: the SSH server for one connection.
        """
        return ServerTransport(self.settings())

    def settings(self) -> ServerSettings:
        """
        @return: for a connection that begins now.
        """
        networking = self.realm.view.networking()
        return ServerSettings(
            clock=self.realm.reactor,
            host_keys=self._host_keys,
            rules=self.realm.rules(),
            algorithms=self._algorithms,
            limits=Limits(
                keepalive_interval=networking.keep_alive_interval,
                keepalive_count_max=networking.keep_alive_count_max,
            ),
        )

    def startService(self) -> None:
        """
        Be ready for users.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self.realm.draining = False
        self.realm.spawner.startService()
        self.realm.lifetimes.startService()
        if self.realm.host_users is not None:
            self.realm.tasks.spawn("cleaning up host users", self.realm.host_users.clean_up())
        if self._listen:
            self.realm.tasks.spawn("listening for SSH", self._start_listening())

    async def _start_listening(self) -> None:
        endpoint = TCPServer(self.realm.reactor, *split_address(self.realm.section.listen_addr))
        self.port = await endpoint.listen(_Factory(self))
        self._log.info("SSH is served on {address}", address=self.port.getHost())

    def drain(self) -> Deferred[None]:
        """
        Take no more users and sessions.

        @return: fires when the last user has left.
        """
        self.realm.draining = True
        idle: Deferred[None] = Deferred()
        if not self.realm.users:
            idle.callback(None)
        else:
            self.realm.on_idle = lambda: None if idle.called else idle.callback(None)
        return idle

    def stopService(self) -> Deferred[None]:
        """
        Let sessions end, for C{drain_timeout} at most; who is left then is told and disconnected.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        realm = self.realm
        if self.port is not None:
            port, self.port = self.port, None
            stopped = port.stopListening()
            if stopped is not None:
                await stopped
        idle = self.drain()
        call = realm.reactor.callLater(
            self.drain_timeout.total_seconds(),
            realm.lifetimes.end_all,
            Ending("the server is going down", "disconnected: this host is going down"),
        )
        await idle
        if call.active():
            call.cancel()
        realm.lifetimes.stopService()
        await realm.recordings.settled()
        await realm.trackers.stop()
        realm.tasks.cancel()  # before the programs that they wait for are gone
        realm.spawner.stopService()


class _Factory(Factory):
    """
    The agent's own port, which strangers reach: who has not signed in is one of a bounded number.
    """

    noisy = False

    def __init__(self, service: SSHAgentService) -> None:
        self._service = service
        self._bounded = ServerFactory(service.settings())

    def buildProtocol(self, addr: IAddress | None) -> ServerTransport | None:
        """
        One more connection to the port, by the settings of now.
        """
        self._bounded.settings = self._service.settings()
        return self._bounded.buildProtocol(addr)
