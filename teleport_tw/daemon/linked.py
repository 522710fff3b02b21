"""
What every agent of a host needs around it: links to the proxy with its own certificate, uploads, an orderly end.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from zope.interface import implementer

from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import access_denied
from teleport_tw.base.net.endpoints import TLSClient
from teleport_tw.base.timing import Duration, from_timestamp
from teleport_tw.config.sections import Configuration
from teleport_tw.dial.membership import HostIdentity
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.trust import client_context
from teleport_tw.pki.x509 import Side, Wanted, verify
from teleport_tw.proxy.detect import Want
from teleport_tw.recordings.upload import Uploader
from teleport_tw.tunnel.dialer import Dialer
from teleport_tw.tunnel.endpoints import Acceptor, Receptionist
from teleport_tw.tunnel.service import AgentTunnel

if TYPE_CHECKING:
    from teleport_tw.daemon.host import Host


@implementer(IStreamClientEndpoint)
@define(eq=False)
class ProxyEndpoint:
    """
    Dials a proxy for a tunnel link, with the certificates that are current then.

    @ivar current: gives the TLS context.
    """

    reactor: Any
    address: str
    current: Callable[[], ssl.SSLContext]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        @see: C{IStreamClientEndpoint.connect}
        """
        host, port = split_address(self.address)
        endpoint = TLSClient(self.reactor, host, port, self.current(), server_hostname=host, timeout=15)
        return endpoint.connect(protocolFactory)


class Uploads(Service):
    """
    An uploader as a service.
    """

    def __init__(self, uploader: Uploader) -> None:
        self._uploader = uploader

    def startService(self) -> None:
        """
        Send what a crash left behind, then what comes.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._uploader.start()

    def stopService(self) -> None:
        """
        The rest waits for the next start.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        self._uploader.stop()


@define(eq=False)
class LinkedService(MultiService):
    """
    An agent and its parts, started and stopped together.

    @ivar agent: serves; has C{acceptor}, C{drain} and C{renewed}.
    """

    host: Host
    agent: Any  # one class an agent, each with a section of its own
    _context: ssl.SSLContext | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        MultiService.__init__(self)

    def stopService(self) -> Deferred[Any]:
        """
        The agent first: the recordings that its last sessions leave are still taken by the uploader. Its tunnel goes
        with it, since it drains as sessions end.
        """
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.running = 0
        uploads = [part for part in self if isinstance(part, Uploads)]
        stopping = [maybeDeferred(part.stopService) for part in reversed(list(self)) if part not in uploads]
        await DeferredList(stopping, consumeErrors=True)
        for part in uploads:
            await maybeDeferred(part.stopService)

    def renewed(self, identity: HostIdentity) -> None:
        """
        The next connections use the new certificates.
        """
        self._context = None
        self.agent.renewed(identity)

    def context(self) -> ssl.SSLContext:
        """
        @return: for tunnel links. Not the name of the proxy counts but its role, which L{verify_proxy} reads.
        """
        if self._context is None:
            identity = self.host.identity
            made = client_context(
                self.authorities(),
                certificate=identity.certificate_file,
                key=identity.key_file,
                alpn=(Want.TUNNEL.value,),
            )
            made.check_hostname = False
            self._context = made
        return self._context

    def authorities(self) -> list[Authority]:
        """
        @return: who signs hosts, as the local copy has it.
        """
        found = map(Authority.parse, self.host.copy.list("cert_authority"))
        return [authority for authority in found if authority.type is AuthorityType.HOST]

    def verify_proxy(self, transport: Any) -> None:
        """
        @raise TeleportError: ACCESS_DENIED, it is no proxy of this cluster.
        """
        shown = transport.getPeerCertificate()
        now = from_timestamp(self.host.reactor.seconds())
        identity = verify([shown] if shown else [], self.authorities(), now, wanted=Wanted.HOST, side=Side.SERVER)
        if SystemRole.PROXY not in identity.system_roles:
            raise access_denied(details=f"{identity.username} is no proxy")

    async def drain(self, limit: Duration) -> None:
        """
        Nobody new; return when the last user has left, or after C{limit}.
        """
        await self.agent.drain().addTimeout(limit.total_seconds(), self.host.reactor, lambda *_: None)

    def link(self, proxy: str, acceptor: Acceptor) -> None:
        """
        @param proxy: where the tunnel goes.
        """
        reactor = self.host.reactor
        receptionist = Receptionist(acceptor, reactor)

        def make(name: str, endpoint: IStreamClientEndpoint, receptionist: Receptionist) -> Dialer:
            return Dialer(name, endpoint, reactor, receptionist, verify=self.verify_proxy)

        endpoints = {proxy: ProxyEndpoint(reactor, proxy, self.context)}
        AgentTunnel(reactor, receptionist, make, endpoints).setServiceParent(self)  # type: ignore[no-untyped-call]


def proxy_address(configuration: Configuration) -> str:
    """
    @return: where the tunnel goes: the proxy of the file, or the one of this process; empty without one.
    """
    if configuration.teleport.proxy_server:
        return configuration.teleport.proxy_server
    if not configuration.proxy.enabled:
        return ""
    host, port = split_address(configuration.proxy.web_listen_addr)
    return f"{'127.0.0.1' if host in ('0.0.0.0', '::', '') else host}:{port}"  # noqa: S104 not a listener
