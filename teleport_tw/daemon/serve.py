"""
The service of each role, handed what it needs.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.application.service import IService
from twisted.internet.interfaces import IAddress

import teleport_tw
from teleport_tw.agents.admit import Admission
from teleport_tw.api import relaying
from teleport_tw.api.admin import AdminFiles
from teleport_tw.base.addresses import split_address
from teleport_tw.base.net.endpoints import UnixClient
from teleport_tw.base.tasks import Threads
from teleport_tw.config.sections import Configuration
from teleport_tw.config.sections import ProxyService as ProxySection
from teleport_tw.daemon.announcing import ServerAnnouncer
from teleport_tw.daemon.database import database
from teleport_tw.daemon.linked import Uploads
from teleport_tw.daemon.node import node
from teleport_tw.daemon.website import website
from teleport_tw.dial.lifetime import Lifetimes
from teleport_tw.dial.relay import RelayEndpoint
from teleport_tw.dial.tapping import Tapping
from teleport_tw.dial.view import KINDS as VIEW_KINDS
from teleport_tw.dial.view import View
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.trust import client_context, suites
from teleport_tw.proxy.doorkeeper import KINDS as PROXY_KINDS
from teleport_tw.proxy.forward import Forwarder
from teleport_tw.proxy.listener import ToAuth
from teleport_tw.proxy.service import Forwarding, ProxyService
from teleport_tw.recordings.capture import Recordings
from teleport_tw.recordings.upload import Uploader
from teleport_tw.resources.databases import KIND
from teleport_tw.resources.servers import PROXY, Server
from teleport_tw.rpc.client import server_name_for
from teleport_tw.rpc.peer import name_for
from teleport_tw.web.channel import BoundedSite
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.files import Files
from teleport_tw.web.playback import Playback
from teleport_tw.web.reach import Reach
from teleport_tw.web.terminals import Terminals

if TYPE_CHECKING:
    from teleport_tw.daemon.host import Host

KINDS: Mapping[SystemRole, Sequence[str]] = {
    SystemRole.PROXY: PROXY_KINDS,
    SystemRole.NODE: VIEW_KINDS,
    SystemRole.DB: (*VIEW_KINDS, KIND),
}
"""What each role keeps a copy of."""


def serve(role: SystemRole, host: Host, configuration: Configuration, threads: Threads) -> IService:
    """
    @return: the service of C{role}, not started.
    """
    made = {SystemRole.PROXY: _proxy, SystemRole.NODE: node, SystemRole.DB: database}
    return made[role](host, configuration, threads)


def _proxy(host: Host, configuration: Configuration, threads: Threads) -> IService:
    section, reactor = configuration.proxy, host.reactor
    facts = public_facts(configuration)
    reach = Reach(to_node=lambda *asked: proxy.inward.to_node(*asked), clock=reactor)
    terminals = Terminals(
        reach=reach,
        clock=reactor,
        still=lambda id, active: site.sessions.still(id, active),
    )
    files = Files(reach=reach, clock=reactor)
    playback = Playback(
        clock=reactor,
        threads=threads,
        still=lambda id, active: site.sessions.still(id, active),
    )
    for service in (terminals, files, playback):
        service.setServiceParent(host)  # type: ignore[no-untyped-call]

    def leaving() -> None:
        terminals.farewell()
        playback.farewell()

    site = website(host, facts, (terminals, files, playback))
    announced = Server(
        kind=PROXY,
        name=host.identity.host_id,
        hostname=host.node_name,
        addr=section.web_listen_addr,
        public_addrs=web_addresses(section),
        version=teleport_tw.__version__,
    )
    ServerAnnouncer(host.api, reactor, announced).setServiceParent(host)  # type: ignore[no-untyped-call]
    proxy = ProxyService(
        section=section,
        identity=host.identity,
        copy=host.copy,
        auth=way_to_auth(host, configuration),
        web=BoundedSite(site.resource(), reactor, trust_forwarded=section.trust_x_forwarded_for, streams=site.streams),
        sink=host.emitter,
        reactor=reactor,
        algorithms=host.algorithms,
        max_connections=configuration.teleport.max_connections,
        forwarding=_forwarding(host, configuration, threads),
        ciphers=suites(configuration.teleport.ciphersuites),
        leaving=leaving,
    )
    return proxy


def _forwarding(host: Host, configuration: Configuration, threads: Threads) -> Forwarding:
    """
    @return: for sessions that end at the proxy. Who may have one is decided by the code that decides at agents.
    """
    reactor, identity = host.reactor, host.identity
    view = View(host.copy, identity.cluster)
    directory = Path(configuration.teleport.data_dir) / "log" / "upload" / "streaming" / "proxy"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    uploader = Uploader(directory, host.api.put_recording, host.api.complete_recording, host.emitter, threads, reactor)
    Uploads(uploader).setServiceParent(host)  # type: ignore[no-untyped-call]
    return lambda endpoint: Forwarder(
        host_id=identity.host_id,
        cluster=identity.cluster,
        view=view,
        api=host.api,
        tapping=Tapping(host.api),
        lifetimes=Lifetimes(reactor, view, host.api, identity.host_id),
        recordings=Recordings(directory, host.api, reactor, threads, uploader.wake),
        sink=host.emitter,
        reactor=reactor,
        admit=lambda host_id, labels: Admission(view, reactor, host_id, labels),
        endpoint=endpoint,
        algorithms=host.algorithms,
    )


def way_to_auth(host: Host, configuration: Configuration) -> ToAuth | None:
    """
    Where bytes for auth go, and how auth gets to know whose they are: to its gRPC socket where it runs in this process,
    else to its own port.
    """
    reactor = host.reactor
    if configuration.auth.enabled:
        path = str(AdminFiles(Path(configuration.teleport.data_dir)).socket)
        return lambda client: UnixClient(reactor, path, named=name_for(str(getattr(client, "host", ""))))
    if not configuration.teleport.auth_servers:
        return None
    return lambda client: _relay(host, configuration, client)


def relay(host: Host, configuration: Configuration, client: IAddress) -> RelayEndpoint | None:
    """
    @return: the way to auth on another host for what is done here as a client at that address; C{None} where this host
        reaches auth by way of a proxy, which believes nobody's word for addresses.
    """
    return _relay(host, configuration, client) if configuration.teleport.auth_servers else None


def _relay(host: Host, configuration: Configuration, client: IAddress) -> RelayEndpoint:
    address, port = split_address(configuration.teleport.auth_servers[0])

    def context() -> ssl.SSLContext:
        identity = host.identity
        return client_context(
            identity.roots, certificate=identity.certificate_file, key=identity.key_file, alpn=(relaying.ALPN,)
        )

    return RelayEndpoint(host.reactor, address, port, context, server_name_for(host.identity.cluster), client)


def web_addresses(section: ProxySection) -> tuple[str, ...]:
    """
    @return: each C{host:port} by which users reach the proxy's pages, the first before the others.
    """
    port = split_address(section.web_listen_addr)[1]
    named = section.public_addr or (section.web_listen_addr,)
    return tuple(each if ":" in each else f"{each}:{port}" for each in named)


def public_facts(configuration: Configuration) -> PublicFacts:
    """
    @return: what the proxy tells everybody of its addresses.
    """
    section = configuration.proxy
    web = web_addresses(section)[0]
    ssh = ""
    if section.listen_addr:
        port = split_address(section.listen_addr)[1]
        ssh = section.ssh_public_addr[0] if section.ssh_public_addr else f"{web.rpartition(':')[0]}:{port}"
    databases = {}
    for word in ("postgres", "mysql", "mongo", "redis"):
        listen, public = getattr(section, f"{word}_listen_addr"), getattr(section, f"{word}_public_addr")
        if listen:
            databases[f"{word}_listen_addr"] = listen
        if public:
            databases[f"{word}_public_addr"] = public[0]
    return PublicFacts(web=web, ssh=ssh, ssh_listen=section.listen_addr, db=databases)
