"""
The proxy as a service: its listeners, their TLS contexts, and an orderly end.
"""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from random import SystemRandom
from typing import Any, ClassVar

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from teleport_tw.api.contract import Watched
from teleport_tw.api.mirror import Mirror
from teleport_tw.api.streams import StreamHeader, address_text
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.limits import ConnectionLimit
from teleport_tw.base.net.addresses import Address
from teleport_tw.base.net.endpoints import TCPServer
from teleport_tw.base.net.peeking import PEEK_SECONDS, GoOn, PeekingServer, RawRoute
from teleport_tw.base.net.tls import TLSConnection
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Duration
from teleport_tw.conch.algorithms import Algorithms
from teleport_tw.conch.signatures import HostKeys
from teleport_tw.conch.transport import ServerFactory, ServerSettings
from teleport_tw.conch.userauth import LoginRules
from teleport_tw.config.sections import ProxyProtocol
from teleport_tw.config.sections import ProxyService as Section
from teleport_tw.dial.balancer import SILENT_SECONDS, behind
from teleport_tw.dial.membership import HostIdentity
from teleport_tw.events.sink import EventSink
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.trust import CIPHERS, server_context
from teleport_tw.proxy.certificates import WebCertificates
from teleport_tw.proxy.databases import USAGE, Databases
from teleport_tw.proxy.detect import DATABASES, LIBPQ, Port, Want
from teleport_tw.proxy.dialin import DialIn, TurnedAway
from teleport_tw.proxy.doorkeeper import Doorkeeper
from teleport_tw.proxy.forward import Forwarder
from teleport_tw.proxy.inward import Inward
from teleport_tw.proxy.listener import Choose, Listener, ToAuth
from teleport_tw.proxy.ssh import JumpHost
from teleport_tw.proxy.targets import Targets
from teleport_tw.resources.metadata import Resource
from teleport_tw.tunnel.registry import Registry
from teleport_tw.tunnel.service import DRAIN_TIMEOUT, ProxyTunnel

_CLIENTS: Mapping[Want, AuthorityType] = {Want.TUNNEL: AuthorityType.HOST, Want.DIAL: AuthorityType.USER}
"""Who must show a certificate where."""

LEAST_RELOAD_SECONDS = 10.0
"""Files are not read more often, whatever C{https_keypairs_reload_interval} says."""

Forwarding = Callable[[Callable[[Resource, StreamHeader], IStreamClientEndpoint]], Forwarder]
"""From the way to a server to what speaks SSH with it on a user's behalf."""


@define(eq=False, kw_only=True)
class ProxyService(Service):
    """
    One proxy.

    @ivar identity: this host's, as proxy; replaced by L{renewed}.
    @ivar copy: watches L{teleport_tw.proxy.doorkeeper.KINDS}.
    @ivar auth: where connections for auth are handed on to.
    @ivar web: serves pages and JSON.
    @ivar drain_timeout: how long streams may take to end when the service stops.
    @ivar forwarding: makes what speaks SSH itself where bytes are not to be relayed; without it, servers without an
        agent are not reached.
    @ivar refused: connections that were turned away, by cause.
    @ivar ciphers: of TLS 1.2, as OpenSSL names them.
    @ivar leaving: called when the service begins to stop.
    @ivar shuffle: puts the agents that serve one database into an order of chance.
    """

    section: Section
    identity: HostIdentity
    copy: Mirror
    auth: ToAuth | None
    web: IProtocolFactory
    sink: EventSink
    reactor: IReactorTime
    algorithms: Algorithms = field(factory=Algorithms)
    max_connections: int = 15000
    drain_timeout: Duration = DRAIN_TIMEOUT
    forwarding: Forwarding | None = None
    ciphers: str = CIPHERS
    leaving: Callable[[], object] = lambda: None
    shuffle: Callable[[list[Any]], object] = field(factory=lambda: SystemRandom().shuffle)
    forwarder: Forwarder | None = field(default=None, init=False)
    door: Doorkeeper = field(init=False)
    registry: Registry = field(init=False)
    dial: DialIn = field(init=False)
    jump: JumpHost = field(init=False)
    inward: Inward = field(init=False)
    databases: Databases = field(init=False)
    ports: list[IListeningPort] = field(factory=list, init=False)
    refused: Counter[str] = field(factory=Counter, init=False)
    _contexts: dict[Want, ssl.SSLContext] = field(factory=dict, init=False)
    _connections: ConnectionLimit = field(init=False)
    _ssh: ServerFactory = field(init=False)
    _plain_ssh: ServerFactory = field(init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _reloading: LoopingCall | None = field(default=None, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self.door = Doorkeeper(self.copy, self.reactor)
        self.registry = Registry(self.reactor, self.door.host)
        targets = Targets(self.identity.cluster, self.copy, self.registry, self.reactor, self.identity.host_id)
        if self.forwarding is not None:
            self.forwarder = self.forwarding(targets.endpoint)
        self.dial = DialIn(targets, self.reactor, forwarder=self.forwarder)
        self.inward = Inward(self.door, self.dial, self.reactor)
        self.jump = JumpHost(
            dial=self.dial,
            clock=self.reactor,
            authorities=lambda: self.door.authorities(AuthorityType.USER),
            admit=self.door.admit,
            sink=self.sink,
        )
        self._connections = ConnectionLimit(self.max_connections)
        self.databases = Databases(
            self.copy,
            self.registry,
            self.reactor,
            lambda connection: self.door.user(connection, USAGE),
            self.web,
            self.shuffle,
            self.section.mysql_server_version,
        )
        self._ssh = self.jump.factory(self._ssh_settings)
        self._plain_ssh = self.jump.factory(self._ssh_settings)
        self._plain_ssh.connections = self._connections
        self.copy.subscribe(self._authorities_changed)

    # --- certificates ---------------------------------------------------------------------------------------------

    def _ssh_settings(self, rules: LoginRules) -> ServerSettings:
        key, certificate = self.identity.ssh_pair()
        return ServerSettings(
            clock=self.reactor,
            host_keys=HostKeys([(key, certificate)]),
            rules=rules,
            algorithms=self.algorithms,
        )

    def renewed(self, identity: HostIdentity) -> None:
        """
        Use renewed certificates for connections from now on.
        """
        self.identity = identity
        self._contexts.clear()
        for factory in (self._ssh, self._plain_ssh):
            factory.settings = self._ssh_settings(factory.settings.rules)

    def reload(self, section: Section) -> None:
        """
        Read the web certificates anew; files that cannot be used leave those that are.

        @param section: the configuration as it is now; its C{https_keypairs} count.
        """
        try:
            fresh = self._web_context(section)
        except TeleportError as error:
            self._log.error("the web certificates stay as they are: {error}", error=error.message)
            return
        self.section = evolve(self.section, https_keypairs=section.https_keypairs)
        self._contexts[Want.WEB] = fresh
        self._contexts.pop(Want.UNNAMED, None)

    def _authorities_changed(self, news: Watched) -> None:
        kind = news.resource.kind if news.resource is not None else ""
        if kind in ("", "cert_authority"):
            self._contexts.clear()
        if kind in ("", "cert_authority", "lock", "cluster_auth_preference"):
            self.registry.recheck()

    def context(self, want: Want) -> ssl.SSLContext | None:
        """
        @return: the TLS context of one kind of connection, as it is now.
        """
        if want not in self._contexts:
            self._contexts[want] = self._context(want)
        return self._contexts[want]

    def _context(self, want: Want) -> ssl.SSLContext:
        if want is Want.WEB:
            return self._web_context(self.section)
        if want is Want.UNNAMED and self.section.https_keypairs:
            users = self.door.authorities(AuthorityType.USER)
            return WebCertificates(self.section.https_keypairs).context((), self.ciphers, users)
        return self._own_context(want)

    def _web_context(self, section: Section) -> ssl.SSLContext:
        if section.https_keypairs:
            return WebCertificates(section.https_keypairs).context((Want.WEB.value,), self.ciphers)
        return self._own_context(Want.WEB)

    def _own_context(self, want: Want) -> ssl.SSLContext:
        """
        Who comes for a database without a certificate is told so in the database's own words, and no alert of TLS.
        """
        clients = AuthorityType.USER if want in DATABASES else _CLIENTS.get(want)
        names = {Want.POSTGRES: (want.value, LIBPQ), Want.UNNAMED: ()}.get(want, (want.value,))
        return server_context(
            self.identity.certificate_file,
            self.identity.key_file,
            client_authorities=self.door.authorities(clients) if clients else None,
            require_client=want in _CLIENTS,
            alpn=names,
            ciphers=self.ciphers,
        )

    # --- connections ----------------------------------------------------------------------------------------------

    def _choosers(self) -> dict[Want, Choose]:
        return {
            Want.WEB: lambda connection: self.web,
            Want.TUNNEL: lambda connection: self.registry,
            Want.SSH: lambda connection: self._ssh,
            Want.DIAL: self._choose_dial,
        }

    def _tunnel_choosers(self) -> dict[Want, Choose]:
        return {Want.TUNNEL: lambda connection: self.registry}

    def _choose_dial(self, connection: TLSConnection) -> IProtocolFactory:
        try:
            identity = self.door.user(connection)
        except TeleportError as error:
            self._log.info(
                "{peer} is refused: {reason}", peer=connection.getPeer(), reason=error.details or error.message
            )
            return _One(TurnedAway(self.dial.clock, error))
        return _One(self.dial.build(identity, connection.getPeerCertificate() or b""))

    # --- life -----------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """
        Listen; the copy must be whole by now.
        """
        super().startService()  # type: ignore[no-untyped-call]
        if self.forwarder is not None:
            self.forwarder.startService()
        self._tasks.spawn("opening the proxy's listeners", self.listen())

    async def listen(self) -> None:
        """
        Open every listener that the section names; harmless when they are open.

        @raise CannotListenError: an address is taken.
        """
        if self.ports:
            return
        listener = Listener(
            self.identity.cluster,
            self.context,
            self._choosers(),
            self.auth,
            self._connections,
            refused=self.refused,
            databases=self.databases,
        )
        host, port = split_address(self.section.web_listen_addr)
        decide = behind(self.section.proxy_protocol, listener.decide)
        self.ports.append(await PeekingServer(self.reactor, host, port, decide=decide).start())
        if self.section.listen_addr:
            self.ports.append(await self._listen_for_ssh())
        if self.section.tunnel_listen_addr not in ("", self.section.web_listen_addr):
            host, port = split_address(self.section.tunnel_listen_addr)
            only = Listener(
                self.identity.cluster,
                self.context,
                self._tunnel_choosers(),
                None,
                self._connections,
                refused=self.refused,
                port=Port.TUNNEL,
            )
            decide = behind(self.section.proxy_protocol, only.decide)
            self.ports.append(await PeekingServer(self.reactor, host, port, decide=decide).start())
        for port_of in (Port.POSTGRES, Port.MYSQL, Port.MONGODB, Port.REDIS):
            if getattr(self.section, port_of.value) not in ("", self.section.web_listen_addr):
                self.ports.append(await self._listen_for_databases(port_of))
        self._reload_now_and_then()
        for open_port in self.ports:
            self._log.info("proxy listens on {address}", address=address_text(open_port.getHost()))

    def _reload_now_and_then(self) -> None:
        seconds = self.section.https_keypairs_reload_interval.total_seconds()
        if seconds and self.section.https_keypairs:
            self._reloading = LoopingCall(lambda: self.reload(self.section))
            self._reloading.clock = self.reactor
            self._reloading.start(max(seconds, LEAST_RELOAD_SECONDS), now=False)

    async def _listen_for_databases(self, port: Port) -> IListeningPort:
        only = Listener(
            self.identity.cluster,
            self.context,
            {},
            None,
            self._connections,
            refused=self.refused,
            databases=self.databases,
            port=port,
        )
        host, number = split_address(getattr(self.section, port.value))
        policy = self.section.proxy_protocol

        def greet(peer: Address) -> GoOn:
            # A load balancer's header may come before or after the greeting; the client waits for that.
            said = only.greet(peer)
            return evolve(said, then=behind(policy, said.then)) if callable(said.then) else said

        decide = behind(policy, only.decide)
        return await PeekingServer(
            self.reactor, host, number, decide=decide, greet=greet if port is Port.MYSQL else None
        ).start()

    async def _listen_for_ssh(self) -> IListeningPort:
        host, port = split_address(self.section.listen_addr)
        policy = self.section.proxy_protocol
        if policy is ProxyProtocol.OFF:
            return await TCPServer(self.reactor, host, port).listen(self._plain_ssh)
        route = RawRoute(self._plain_ssh)
        silent = (lambda peer: route) if policy is ProxyProtocol.UNSPECIFIED else None
        server = PeekingServer(
            self.reactor,
            host,
            port,
            decide=behind(policy, route),
            silent=silent,
            peek_timeout=SILENT_SECONDS if silent is not None else PEEK_SECONDS,
        )
        return await server.listen(self._plain_ssh)

    def stop_listening(self) -> Deferred[Any]:
        """
        Take no new connections.
        """
        ports, self.ports = self.ports, []
        if self._reloading is not None and self._reloading.running:
            self._reloading.stop()
        return DeferredList([Deferred.fromCoroutine(_stopped(port)) for port in ports])

    def stopService(self) -> Deferred[None]:
        """
        No new connections; agents are told to go elsewhere; streams have L{drain_timeout} to end.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.leaving()
        await self.stop_listening()
        tunnel = ProxyTunnel(self.reactor, self.registry, drain_timeout=self.drain_timeout)
        if self.forwarder is not None:
            draining = Deferred.fromCoroutine(self.forwarder.drained(self.drain_timeout))
            await DeferredList([draining, tunnel.stopService()])
            await self.forwarder.stopService()
        else:
            await tunnel.stopService()
        self.dial.tasks.cancel()
        self.databases.tasks.cancel()
        self.jump.tasks.cancel()
        self._tasks.cancel()


async def _stopped(port: IListeningPort) -> None:
    stopping = port.stopListening()
    if stopping is not None:
        await stopping


class _One(Factory):
    noisy = False

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: Any) -> Any:
        """
        The one that was made for this connection.
        """
        return self._protocol
